//! Decides what a turn writes: pure and ordered. It reads no clock, draws no random number and iterates over nothing
//! unordered, so that the same inputs on the same state give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::input::Input;
use crate::broker::Properties;
use crate::contract::inbound::{Content, Inbound};
use crate::contract::json::Fault;
use crate::contract::outbound::{Origin, Rejection, Voice};
use crate::contract::reason::Reason;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Decision, Submission};
use crate::domain::dates::Timestamp;
use crate::domain::emission::Emission;
use crate::domain::exception::Exception;
use crate::domain::history::{EntryOutcome, Happening};
use crate::domain::ids::{Digest, ExceptionId, TicketId};
use crate::domain::lifecycle::{self, Before, Ruling, Scene};
use crate::domain::refusal::Refusal;
use crate::domain::rules::{People, RuleSet};
use crate::domain::ticket::Ticket;
use crate::store::{
    Changes, End, EventKey, FailureId, InboxRow, LastFailure, OutboxId, Outcome, ParkedRow, Retried, RuleSetRow, Seen,
    Snapshot, Waiting,
};

mod failing;
pub mod suspects;
mod waiting;

/// What a turn knows beside its inputs and the state.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// How outgoing events begin; carries the turn's time.
    pub voice: Voice<'a>,
    /// Whether this instance publishes what the turn writes.
    pub held: bool,
    /// How long an early event waits for its submission.
    pub parking_ttl: Duration,
    /// How many may wait at once.
    pub parking_max: u64,
    /// Whether the rule set has yet to be stored.
    pub store_rule_set: bool,
    /// What goes wrong when the events that wait for a submission are applied with it: then they fail for this, and the
    /// submission does not.
    pub parked_blamed: Option<&'a Fault>,
}

/// Fates that no committed turn has written yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Rows the broker has confirmed.
    pub confirmed: Vec<OutboxId>,
    /// Rows that found no queue.
    pub unroutable: Vec<OutboxId>,
}

/// Decides a turn.
pub fn plan(inputs: &[Input], settled: &Settled, terms: &Terms<'_>, snapshot: Snapshot) -> Changes {
    let mut planner = Planner::new(*terms, snapshot);
    for input in inputs {
        let outcome = planner.take(input);
        planner.changes.outcomes.push(outcome);
        planner.changes.noted.extend(input.note);
    }
    planner.expire();
    let mut changes = planner.finish();
    changes.held = terms.held;
    changes.confirmed.clone_from(&settled.confirmed);
    changes.unroutable.clone_from(&settled.unroutable);
    changes
}

struct Planner<'a> {
    terms: Terms<'a>,
    database_time: Timestamp,
    seen: BTreeMap<EventKey, Seen>,
    exceptions: BTreeMap<ExceptionId, Exception>,
    /// The open and enforced exceptions of each ticket.
    live: BTreeMap<TicketId, BTreeSet<ExceptionId>>,
    tickets: BTreeMap<TicketId, Ticket>,
    changed: BTreeSet<ExceptionId>,
    changed_tickets: BTreeSet<TicketId>,
    /// In the order of arrival; taken out when they are applied.
    parked: BTreeMap<i64, ParkedRow>,
    parked_count: u64,
    /// The load of those who may be picked by it, kept current within the turn; the count of others begins at 0 here and
    /// is never looked at. Nothing stores absences yet: everybody is there.
    people: People,
    parked_for: BTreeMap<ExceptionId, Waiting>,
    marked: BTreeMap<FailureId, LastFailure>,
    changes: Changes,
}

/// The event that is being looked at.
#[derive(Clone, Copy)]
struct Current<'a> {
    inbound: &'a Inbound,
    content: &'a Content,
}

/// An input as it came, and the failure it is, if it is tried again.
#[derive(Clone, Copy)]
struct Raw<'a> {
    properties: &'a Properties,
    body: &'a [u8],
    failure: Option<FailureId>,
}

impl<'a> Planner<'a> {
    fn new(terms: Terms<'a>, snapshot: Snapshot) -> Self {
        let mut live: BTreeMap<TicketId, BTreeSet<ExceptionId>> = BTreeMap::new();
        for exception in snapshot.exceptions.values().filter(|e| e.is_open() || e.is_enforced()) {
            live.entry(exception.ticket_id.clone()).or_default().insert(exception.id.clone());
        }
        // Of exceptions that are being submitted all rows are here, and nobody has counted them: the submission may be refused,
        // and then what comes after it parks too.
        let mut parked_for: BTreeMap<ExceptionId, Waiting> = BTreeMap::new();
        for row in &snapshot.parked {
            let waiting = parked_for.entry(row.event.exception_id.clone()).or_default();
            waiting.events += 1;
            waiting.bytes += row.event.body.len() as u64;
        }
        parked_for.extend(snapshot.parked_for);
        Self {
            terms,
            database_time: snapshot.database_time,
            seen: snapshot.seen,
            exceptions: snapshot.exceptions,
            live,
            tickets: snapshot.tickets,
            changed: BTreeSet::new(),
            changed_tickets: BTreeSet::new(),
            parked: snapshot.parked.into_iter().map(|row| (row.id, row)).collect(),
            parked_count: snapshot.parked_count,
            parked_for,
            people: People { load: snapshot.load, ..People::default() },
            marked: snapshot.marked,
            changes: Changes::default(),
        }
    }

    /// One input. A failure that is no longer marked was taken by another instance.
    fn take(&mut self, input: &Input) -> Outcome {
        let Input { inbound, properties, body, failure, .. } = input;
        let raw = Raw { properties, body, failure: *failure };
        let Some(id) = *failure else { return self.enter(inbound, raw) };
        if !self.marked.contains_key(&id) {
            return Outcome::Repeated;
        }
        let outcome = self.enter(inbound, raw);
        if !matches!(outcome, Outcome::Failed(_)) {
            self.changes.retried.push(Retried { id, end: End::Ended(outcome) });
        }
        outcome
    }

    /// The door: a repeat, a conflict, a fault, or a command. What failed had no effect: an operator may let it in again, also
    /// with other bytes.
    fn enter(&mut self, inbound: &Inbound, raw: Raw<'_>) -> Outcome {
        let is_new = match self.seen.get_mut(&inbound.key) {
            None => true,
            Some(seen) if seen.failed && raw.failure.is_some() => false,
            Some(seen) if seen.digest == inbound.digest => return Outcome::Repeated,
            Some(seen) => {
                if !seen.conflicts.insert(inbound.digest) && raw.failure.is_none() {
                    return Outcome::Repeated;
                }
                let message =
                    "an event of this source and id came before with other content; a corrected event needs a new id";
                return self.fail(inbound, &Fault::new(Reason::IdConflict, message), raw);
            }
        };
        let outcome = match &inbound.content {
            Err(fault) => self.fail(inbound, fault, raw),
            Ok(content) => match self.act(Current { inbound, content }) {
                Outcome::Parked => self.park(inbound, content.command.exception_id(), raw),
                outcome => outcome,
            },
        };
        let failed = matches!(outcome, Outcome::Failed(_));
        // An edit can make another event of a failure than the one that failed. Until it is let in, that has not come.
        let has_come = raw.failure.is_none() || !failed;
        if is_new && has_come {
            self.seen.insert(inbound.key, Seen { digest: inbound.digest, failed, conflicts: BTreeSet::new() });
            self.changes.inbox.push(InboxRow { key: inbound.key, digest: inbound.digest, outcome });
        } else if !is_new {
            self.ended(inbound.key, inbound.digest, outcome);
        }
        outcome
    }

    /// Another outcome of an event that is in the inbox already, or was put there by this turn; with it the content that had an
    /// effect, if one had.
    fn ended(&mut self, key: EventKey, digest: Digest, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::Failed(_));
        let known = self.seen.entry(key).or_insert(Seen { digest, failed, conflicts: BTreeSet::new() });
        known.failed = failed;
        if !failed {
            known.digest = digest;
        }
        let row = InboxRow { key, digest: known.digest, outcome };
        let rows = self.changes.inbox.iter_mut().chain(&mut self.changes.ended);
        match rows.into_iter().find(|row| row.key == key) {
            Some(known) => *known = row,
            None => self.changes.ended.push(row),
        }
    }

    fn act(&mut self, event: Current<'_>) -> Outcome {
        match &event.content.command {
            Command::Submit(submission) => self.submit(event, submission),
            Command::Decide(decision) => self.decide(event, decision),
        }
    }

    fn submit(&mut self, event: Current<'_>, submission: &Submission) -> Outcome {
        let existing = self.exceptions.get(&submission.exception_id);
        let siblings = self.live.get(&submission.ticket_id);
        let open = |id: &ExceptionId| self.exceptions.get(id).is_some_and(Exception::is_open);
        let before = Before {
            existing,
            ticket: self.tickets.get(&submission.ticket_id),
            ticket_has_open: siblings.is_some_and(|ids| ids.iter().any(open)),
        };
        match lifecycle::submit(submission, event.inbound.digest, before, self.scene()) {
            Ruling::Nothing => Outcome::Applied,
            Ruling::Refused(refusal) => self.refuse(event, refusal),
            Ruling::Applied(exception, emissions) => {
                self.count_ticket(submission, &exception);
                if self.terms.store_rule_set && self.changes.rule_set.is_none() {
                    let rules = self.terms.rules;
                    let (hash, version, body) = (rules.hash.clone(), rules.version.clone(), rules.text.clone());
                    self.changes.rule_set = Some(RuleSetRow { hash, version, body });
                }
                // A rule that approves by itself brings it into force at once.
                let policy = exception.decided_by_policy().filter(|_| exception.is_enforced());
                self.apply(event, *exception, &emissions);
                if let Some(policy) = policy {
                    self.approve_ticket(event, &submission.ticket_id, &submission.exception_id, &policy);
                }
                self.release_parked(&submission.exception_id);
                Outcome::Applied
            }
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene { rules: self.terms.rules, people: &self.people, now: self.terms.voice.now }
    }

    fn count_ticket(&mut self, submission: &Submission, exception: &Exception) {
        let original = submission.request.original_due_date;
        let id = &exception.ticket_id;
        let fresh = || Ticket { id: id.clone(), earliest_due_date: original, approved: 0, last_event_at: None };
        let known = self.tickets.contains_key(id);
        let ticket = self.tickets.entry(id.clone()).or_insert_with(fresh);
        if !known || original < ticket.earliest_due_date {
            ticket.earliest_due_date = original;
            self.changed_tickets.insert(id.clone());
        }
    }

    fn decide(&mut self, event: Current<'_>, decision: &Decision) -> Outcome {
        let Some(exception) = self.exceptions.get(&decision.exception_id) else { return Outcome::Parked };
        let Some(ticket) = self.tickets.get(&exception.ticket_id) else {
            unreachable!("a store that gives an exception gives its ticket: both are written by the same turn");
        };
        let digest = event.inbound.digest;
        match lifecycle::decide(exception, decision, digest, ticket, self.scene()) {
            Ruling::Nothing => Outcome::Applied,
            Ruling::Refused(refusal) => self.refuse(event, refusal),
            Ruling::Applied(exception, emissions) => {
                let comes_into_force = exception.is_enforced();
                let ticket_id = exception.ticket_id.clone();
                self.apply(event, *exception, &emissions);
                if comes_into_force {
                    self.approve_ticket(event, &ticket_id, &decision.exception_id, &Actor::user(&decision.reviewer));
                }
                Outcome::Applied
            }
        }
    }

    /// Counts the approval, and ends the older enforced exceptions of the ticket (T23), in order of their ids.
    fn approve_ticket(&mut self, event: Current<'_>, ticket_id: &TicketId, newer: &ExceptionId, actor: &Actor) {
        if let Some(ticket) = self.tickets.get_mut(ticket_id) {
            ticket.approved += 1;
            self.changed_tickets.insert(ticket_id.clone());
        }
        let siblings = self.live.get(ticket_id).cloned().unwrap_or_default();
        for id in siblings.iter().filter(|id| *id != newer) {
            let Some(older) = self.exceptions.get(id).filter(|older| older.is_enforced()) else { continue };
            let (next, emissions) = lifecycle::supersede(older, actor, self.terms.voice.now);
            let happening = Happening { kind: "superseded", body: String::new(), ..self.happening(event, &next, None) };
            self.write(event.inbound, next, happening, &emissions);
        }
    }

    /// A new state of an exception, with its history entry and what it says.
    fn apply(&mut self, event: Current<'_>, exception: Exception, emissions: &[Emission]) {
        let happening = self.happening(event, &exception, None);
        self.write(event.inbound, exception, happening, emissions);
    }

    fn write(&mut self, inbound: &Inbound, mut exception: Exception, happening: Happening, emissions: &[Emission]) {
        let origin = Origin { id: &inbound.id, traceparent: inbound.traceparent.as_deref() };
        for emission in emissions {
            self.changes.outbox.push(self.terms.voice.say(&mut exception, emission, Some(origin)));
        }
        let siblings = self.live.entry(exception.ticket_id.clone()).or_default();
        if exception.is_open() || exception.is_enforced() {
            siblings.insert(exception.id.clone());
        } else {
            siblings.remove(&exception.id);
        }
        self.record(exception, happening);
    }

    fn record(&mut self, mut exception: Exception, happening: Happening) {
        self.changes.history.push(exception.chain.append(&exception.id, happening));
        self.count_assignments(&exception);
        self.changed.insert(exception.id.clone());
        self.exceptions.insert(exception.id.clone(), exception);
    }

    /// Whoever was assigned before the change has one open assignment less, and whoever is after it one more.
    fn count_assignments(&mut self, after: &Exception) {
        let before = self.exceptions.get(&after.id).map(Exception::assigned).unwrap_or_default();
        if before == after.assigned() {
            return;
        }
        let steps = before.iter().map(|user| (user, -1)).chain(after.assigned().iter().map(|user| (user, 1)));
        for (user, step) in steps {
            let load = self.people.load.entry(user.clone()).or_default();
            *load = load.saturating_add_signed(step);
            *self.changes.load.entry(user.clone()).or_default() += i64::from(step);
        }
    }

    fn happening(&self, event: Current<'_>, exception: &Exception, refusal: Option<Refusal>) -> Happening {
        Happening {
            at: self.terms.voice.now,
            kind: event.content.command.kind(),
            actor: Actor::user(event.content.command.actor()),
            event: Some(event.inbound.event_ref()),
            outcome: if refusal.is_some() { EntryOutcome::Refused } else { EntryOutcome::Applied },
            code: refusal.map(Refusal::code),
            revision: exception.revision,
            body: event.content.data.clone(),
        }
    }

    /// T25: a row in the history of the exception it names, if there is one, and an answer.
    fn refuse(&mut self, event: Current<'_>, refusal: Refusal) -> Outcome {
        let exception = self.exceptions.get(event.content.command.exception_id()).cloned();
        let message = refusal.to_string();
        let answer =
            self.terms.voice.reject(event.inbound, Rejection::Refused, refusal.code(), &message, exception.as_ref());
        self.changes.outbox.push(answer);
        if let Some(exception) = exception {
            let happening = self.happening(event, &exception, Some(refusal));
            self.record(exception, happening);
        }
        Outcome::Refused(refusal.code())
    }

    fn finish(mut self) -> Changes {
        self.changes.load.retain(|_, difference| *difference != 0);
        self.changes.exceptions = self.changed.iter().filter_map(|id| self.exceptions.remove(id)).collect();
        self.changes.tickets = self.changed_tickets.iter().filter_map(|id| self.tickets.remove(id)).collect();
        self.changes
    }
}

#[cfg(test)]
mod tests;
