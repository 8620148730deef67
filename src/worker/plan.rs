//! Decides what a turn writes: pure and ordered. It reads no clock, draws no random number and iterates over nothing
//! unordered, so that the same inputs on the same state give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::input::{Input, decode};
use crate::broker::Properties;
use crate::contract::inbound::{Content, Inbound};
use crate::contract::outbound::{Origin, Rejection, Voice};
use crate::contract::reason::Reason;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Decision, Submission};
use crate::domain::dates::Timestamp;
use crate::domain::emission::Emission;
use crate::domain::exception::Exception;
use crate::domain::history::{EntryOutcome, Happening};
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::lifecycle::{self, Before, Ruling, Scene};
use crate::domain::refusal::Refusal;
use crate::domain::rules::{People, RuleSet};
use crate::domain::ticket::Ticket;
use crate::store::{
    Changes, EventKey, Failure, InboxRow, NewParked, OutboxId, Outcome, ParkedRow, RuleSetRow, Seen, Snapshot,
};

/// Most events that wait for one submission: all of them are applied in its turn, which has a deadline.
const PARKED_FOR_ONE_MAX: u64 = 1_000;

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
        let outcome = planner.take(&input.inbound, &input.delivery.properties, &input.delivery.body);
        planner.changes.outcomes.push(outcome);
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
    parked_for: BTreeMap<ExceptionId, u64>,
    /// Absences and load. Nothing stores them yet: everybody is there, and nobody has work.
    people: People,
    changes: Changes,
}

/// The event that is being looked at.
#[derive(Clone, Copy)]
struct Current<'a> {
    inbound: &'a Inbound,
    content: &'a Content,
}

impl<'a> Planner<'a> {
    fn new(terms: Terms<'a>, snapshot: Snapshot) -> Self {
        let mut live: BTreeMap<TicketId, BTreeSet<ExceptionId>> = BTreeMap::new();
        for exception in snapshot.exceptions.values().filter(|e| e.is_open() || e.is_enforced()) {
            live.entry(exception.ticket_id.clone()).or_default().insert(exception.id.clone());
        }
        // Of exceptions that are being submitted all rows are here, and nobody has counted them: the submission may be refused,
        // and then what comes after it parks too.
        let mut parked_for: BTreeMap<ExceptionId, u64> = BTreeMap::new();
        for row in &snapshot.parked {
            *parked_for.entry(row.event.exception_id.clone()).or_default() += 1;
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
            people: People::default(),
            changes: Changes::default(),
        }
    }

    /// One delivery: a repeat, a conflict, a fault, or a command.
    fn take(&mut self, inbound: &Inbound, properties: &Properties, body: &[u8]) -> Outcome {
        if let Some(seen) = self.seen.get_mut(&inbound.key) {
            if seen.digest == inbound.digest || !seen.conflicts.insert(inbound.digest) {
                return Outcome::Repeated;
            }
            let message =
                "an event of this source and id came before with other content; a corrected event needs a new id";
            return self.fail(inbound, Reason::IdConflict, message, properties, body);
        }
        self.seen.insert(inbound.key, Seen { digest: inbound.digest, conflicts: BTreeSet::new() });
        let outcome = match &inbound.content {
            Err(fault) => self.fail(inbound, fault.reason, &fault.message, properties, body),
            Ok(content) => match self.act(Current { inbound, content }) {
                Outcome::Parked => self.park(inbound, content.command.exception_id(), properties, body),
                outcome => outcome,
            },
        };
        self.changes.inbox.push(InboxRow { key: inbound.key, digest: inbound.digest, outcome });
        outcome
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
        self.changed.insert(exception.id.clone());
        self.exceptions.insert(exception.id.clone(), exception);
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

    fn fail(
        &mut self,
        inbound: &Inbound,
        reason: Reason,
        message: &str,
        properties: &Properties,
        body: &[u8],
    ) -> Outcome {
        let code = reason.word();
        let id = uuid::Uuid::new_v5(
            &uuid::Uuid::NAMESPACE_URL,
            format!("urn:reprieve:{}/{}", inbound.key, inbound.digest).as_bytes(),
        );
        let place = message.split_once(": ").map_or("", |(place, _)| place);
        let answer = self.terms.voice.reject(inbound, Rejection::Failed(id), code, message, None);
        self.changes.outbox.push(answer);
        self.changes.failures.push(Failure {
            id,
            event_key: inbound.key,
            digest: inbound.digest,
            reason: code,
            message: message.to_owned(),
            fingerprint: format!("{code}/{}/{place}", inbound.event_type.as_deref().unwrap_or("-")),
            source: inbound.source.clone(),
            event_id: inbound.id.clone(),
            event_type: inbound.event_type.clone(),
            exception_id: inbound.exception_id.clone(),
            received_at: self.database_time,
            properties: properties.clone(),
            body: body.to_vec(),
        });
        Outcome::Failed(code)
    }

    fn park(&mut self, inbound: &Inbound, exception_id: &ExceptionId, properties: &Properties, body: &[u8]) -> Outcome {
        let waiting = self.parked_for.entry(exception_id.clone()).or_default();
        if self.parked_count >= self.terms.parking_max || *waiting >= PARKED_FOR_ONE_MAX {
            let message = "its exception is not there, and as many events as may wait for it, or at all, wait already";
            return self.fail(inbound, Reason::Orphaned, message, properties, body);
        }
        *waiting += 1;
        self.parked_count += 1;
        self.changes.park.push(NewParked {
            exception_id: exception_id.clone(),
            event_key: inbound.key,
            parked_at: self.database_time,
            expires_at: self.database_time + self.terms.parking_ttl,
            properties: properties.clone(),
            body: body.to_vec(),
        });
        Outcome::Parked
    }

    /// The submission is there: what came too early is applied now, in the order of arrival.
    fn release_parked(&mut self, exception_id: &ExceptionId) {
        let stored: Vec<_> = self.parked.extract_if(.., |_, row| row.event.exception_id == *exception_id).collect();
        for (id, row) in stored {
            self.changes.unpark.push(id);
            let outcome = self.unpark(&row.event);
            self.changes.ended.push((row.event.event_key, outcome));
        }
        let (early, later) =
            std::mem::take(&mut self.changes.park).into_iter().partition(|p| p.exception_id == *exception_id);
        self.changes.park = later;
        let early: Vec<NewParked> = early;
        for event in early {
            let outcome = self.unpark(&event);
            if let Some(row) = self.changes.inbox.iter_mut().find(|row| row.key == event.event_key) {
                row.outcome = outcome;
            }
        }
    }

    fn unpark(&mut self, event: &NewParked) -> Outcome {
        self.parked_count = self.parked_count.saturating_sub(1);
        let inbound = decode(&event.properties, &event.body);
        match &inbound.content {
            Ok(content) => self.act(Current { inbound: &inbound, content }),
            Err(fault) => self.fail(&inbound, fault.reason, &fault.message, &event.properties, &event.body),
        }
    }

    /// What has waited too long becomes a failure.
    fn expire(&mut self) {
        let database_time = self.database_time;
        let expired: Vec<_> = self.parked.extract_if(.., |_, row| row.event.expires_at <= database_time).collect();
        for (id, ParkedRow { event, .. }) in expired {
            let inbound = decode(&event.properties, &event.body);
            let message = "its submission did not come within parking.ttl";
            let outcome = self.fail(&inbound, Reason::Orphaned, message, &event.properties, &event.body);
            self.changes.unpark.push(id);
            self.changes.ended.push((event.event_key, outcome));
        }
    }

    fn finish(mut self) -> Changes {
        self.changes.exceptions = self.changed.iter().filter_map(|id| self.exceptions.remove(id)).collect();
        self.changes.tickets = self.changed_tickets.iter().filter_map(|id| self.tickets.remove(id)).collect();
        self.changes
    }
}

#[cfg(test)]
mod tests;
