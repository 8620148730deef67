//! The fake database: real domain values in ordered maps. What the schema's constraints say is asserted here, and a turn is
//! applied whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reprieve::broker::Outgoing;
use reprieve::domain::dates::Timestamp;
use reprieve::domain::exception::{Exception, Status};
use reprieve::domain::history::{Entry, link};
use reprieve::domain::ids::{Digest, ExceptionId, TicketId, UserId};
use reprieve::domain::ticket::Ticket;
use reprieve::store::{
    Changes, Committed, End, EventKey, Failure, FailureId, InboxRow, LastFailure, Marked, MessageKey, NewParked, Note,
    OutboxId, Outcome, ParkedId, ParkedRow, Retried, Seen, Snapshot, Waiting, Wanted,
};

/// How long a row stays with who wrote or claimed it.
const HOLD: Duration = Duration::from_secs(15);
/// A term further ahead than this is void: it was written by a clock that was wrong.
const TERM_MAX: Duration = Duration::from_secs(30);
/// How long a row that found no queue waits.
const POSTPONED: Duration = Duration::from_secs(10);

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    pub(crate) body: String,
    pub(crate) free_at: Timestamp,
}

/// What the database saw, in the order in which it saw it: what the oracle folds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Logged {
    /// An event for the first time.
    First(EventKey, Digest),
    /// Another content of an event that was there.
    Conflict(EventKey, Digest),
    /// The end of waiting.
    Orphaned(EventKey),
    /// A failure, tried again.
    Again(EventKey, Digest),
    /// What made an event fail is mended.
    Mended(EventKey),
    /// The next time an event is processed it fails for this reason, because of what processing it did before.
    Blamed(EventKey, &'static str),
}

/// A failure as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desk {
    pub(crate) state: State,
    pub(crate) reason: &'static str,
    pub(crate) announced: BTreeSet<String>,
}

/// Whether a failure is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Marked,
    Resolved,
}

/// All tables.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) exceptions: BTreeMap<ExceptionId, Exception>,
    pub(crate) tickets: BTreeMap<TicketId, Ticket>,
    /// Open assignments of each reviewer.
    pub(crate) load: BTreeMap<UserId, u32>,
    pub(crate) history: BTreeMap<ExceptionId, Vec<Entry>>,
    pub(crate) inbox: BTreeMap<EventKey, (Digest, Outcome)>,
    pub(crate) outbox: BTreeMap<OutboxId, OutboxRow>,
    pub(crate) parked: BTreeMap<ParkedId, NewParked>,
    pub(crate) failures: BTreeMap<(EventKey, Digest), Failure>,
    /// By the failure's id.
    pub(crate) desk: BTreeMap<FailureId, Desk>,
    pub(crate) notes: BTreeMap<MessageKey, Note>,
    pub(crate) rule_sets: BTreeSet<String>,
    /// Rows the outbox may hold.
    pub(crate) outbox_max: usize,
    /// Every row that was ever committed to the outbox.
    pub(crate) bodies: BTreeMap<OutboxId, String>,
    /// In the order of commits.
    pub(crate) log: Vec<Logged>,
    last_parked: ParkedId,
}

impl Database {
    /// What a turn may look at, as the port documents it. `now` is when the transaction began.
    pub(crate) fn snapshot(&self, wanted: &Wanted, now: Timestamp) -> Snapshot {
        let tickets = self.wanted_tickets(wanted);
        let live = |e: &Exception| (e.is_open() || e.is_enforced()) && tickets.contains(&e.ticket_id);
        let exceptions: BTreeMap<_, _> = self
            .exceptions
            .iter()
            .filter(|(id, exception)| wanted.exceptions.contains(*id) || live(exception))
            .map(|(id, exception)| (id.clone(), exception.clone()))
            .collect();
        let missing = |id: &&ExceptionId| !self.exceptions.contains_key(*id) && !wanted.submitted.contains(*id);
        let missing: Vec<&ExceptionId> = wanted.exceptions.iter().filter(missing).collect();
        let waiting = |id: &ExceptionId| {
            let events = || self.parked.values().filter(|event| event.exception_id == *id);
            Waiting { events: events().count() as u64, bytes: events().map(|event| event.body.len() as u64).sum() }
        };
        let load = |user: &UserId| Some((user.clone(), *self.load.get(user)?));
        Snapshot {
            database_time: now,
            load: wanted.load_of(exceptions.values()).into_iter().filter_map(load).collect(),
            seen: wanted.events.iter().filter_map(|(key, digests)| Some((*key, self.seen(*key, digests)?))).collect(),
            exceptions,
            tickets: tickets.into_iter().filter_map(|id| Some((id.clone(), self.tickets.get(&id)?.clone()))).collect(),
            parked: self.parked(wanted, now),
            parked_count: if missing.is_empty() { 0 } else { self.parked.len() as u64 },
            parked_for: missing.iter().map(|id| ((*id).clone(), waiting(id))).collect(),
            claimed: self.claims(wanted.claims_max, now),
            marked: wanted.failures.iter().filter_map(|id| Some((*id, self.mark(*id)?))).collect(),
            notes: wanted.notes.iter().filter_map(|key| Some((*key, *self.notes.get(key)?))).collect(),
        }
    }

    fn mark(&self, id: FailureId) -> Option<LastFailure> {
        let desk = self.desk.get(&id).filter(|desk| desk.state == State::Marked)?;
        Some(LastFailure { reason: desk.reason.to_owned(), announced: desk.announced.clone() })
    }

    /// The next failures that are marked.
    pub(crate) fn marked(&self, most: usize) -> Vec<Marked> {
        let is_marked = |failure: &&Failure| self.desk[&failure.id].state == State::Marked;
        let mut marked: Vec<_> = self.failures.values().filter(is_marked).collect();
        marked.sort_by_key(|failure| (failure.received_at, failure.id));
        let marked = marked.into_iter().take(most);
        marked.map(|f| Marked { id: f.id, properties: f.properties.clone(), body: f.body.clone() }).collect()
    }

    fn wanted_tickets(&self, wanted: &Wanted) -> BTreeSet<TicketId> {
        let of_exceptions = wanted.exceptions.iter().filter_map(|id| self.exceptions.get(id));
        wanted.tickets.iter().cloned().chain(of_exceptions.map(|exception| exception.ticket_id.clone())).collect()
    }

    fn seen(&self, key: EventKey, digests: &BTreeSet<Digest>) -> Option<Seen> {
        let (digest, outcome) = *self.inbox.get(&key)?;
        let recorded = |other: &&Digest| **other != digest && self.failures.contains_key(&(key, **other));
        let failed = matches!(outcome, Outcome::Failed(_));
        Some(Seen { digest, failed, conflicts: digests.iter().filter(recorded).copied().collect() })
    }

    fn parked(&self, wanted: &Wanted, now: Timestamp) -> Vec<ParkedRow> {
        let mut expired: Vec<_> = self.parked.iter().filter(|(_, event)| event.expires_at <= now).collect();
        expired.sort_by_key(|(id, event)| (event.expires_at, **id));
        let expired: BTreeSet<_> = expired.into_iter().take(wanted.expired_max).map(|(id, _)| *id).collect();
        let rows = self
            .parked
            .iter()
            .filter(|(id, event)| wanted.submitted.contains(&event.exception_id) || expired.contains(id));
        rows.map(|(id, event)| ParkedRow { id: *id, event: event.clone() }).collect()
    }

    fn claims(&self, claims_max: usize, now: Timestamp) -> Vec<Outgoing> {
        let free = self.outbox.iter().filter(|(_, row)| row.free_at <= now || row.free_at > now + TERM_MAX);
        free.take(claims_max).map(|(id, row)| Outgoing { id: *id, body: row.body.clone() }).collect()
    }

    /// Commits a turn. `Err` says which constraint it breaks.
    pub(crate) fn commit(
        &mut self,
        wanted: &Wanted,
        claimed: Vec<Outgoing>,
        changes: Changes,
        now: Timestamp,
    ) -> Result<Committed, String> {
        self.write_events(&changes)?;
        for exception in changes.exceptions {
            self.write_exception(exception)?;
        }
        for (user, difference) in changes.load {
            let load = self.load.entry(user.clone()).or_default();
            let after = i64::from(*load) + difference;
            *load = u32::try_from(after).map_err(|_| format!("{user}: {after} open assignments"))?;
        }
        for entry in changes.history {
            self.write_entry(entry)?;
        }
        self.tickets.extend(changes.tickets.into_iter().map(|ticket| (ticket.id.clone(), ticket)));
        self.check_tickets()?;
        self.rule_sets.extend(changes.rule_set.map(|row| row.hash));
        let claims_full = wanted.claims_max > 0 && claimed.len() >= wanted.claims_max;
        for claim in &claimed {
            self.outbox.entry(claim.id).and_modify(|row| row.free_at = now + HOLD);
        }
        let free_at = if changes.held { now + HOLD } else { now };
        let mut outgoing = claimed;
        for body in changes.outbox {
            let id = self.next_row();
            self.bodies.insert(id, body.clone());
            self.outbox.insert(id, OutboxRow { body: body.clone(), free_at });
            if changes.held {
                outgoing.push(Outgoing { id, body });
            }
        }
        for id in &changes.unroutable {
            self.outbox.entry(*id).and_modify(|row| row.free_at = now + POSTPONED);
        }
        self.outbox.retain(|id, _| !changes.confirmed.contains(id));
        let marked = self.marked(wanted.marked_max);
        Ok(Committed {
            outcomes: changes.outcomes,
            outgoing,
            claims_full,
            expired: 0,
            outbox_full: self.outbox.len() >= self.outbox_max,
            marked,
            published: 0,
        })
    }

    /// Whether nothing is left that a turn would take by itself, but what waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outbox.is_empty() && self.desk.values().all(|desk| desk.state != State::Marked)
    }

    /// The id of the next row of the outbox.
    pub(crate) fn next_row(&self) -> OutboxId {
        self.bodies.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// Inbox, failures and parked events, and the log of them.
    fn write_events(&mut self, changes: &Changes) -> Result<(), String> {
        for row in &changes.inbox {
            if self.inbox.insert(row.key, (row.digest, row.outcome)).is_some() {
                return Err(format!("the event {} is in the inbox twice", row.key));
            }
            self.log.push(Logged::First(row.key, row.digest));
        }
        for retried in &changes.retried {
            self.write_retried(retried)?;
        }
        for InboxRow { key, digest, outcome } in &changes.ended {
            let before = match self.inbox.get_mut(key) {
                Some(row) if matches!(row.1, Outcome::Parked | Outcome::Failed(_)) => {
                    std::mem::replace(row, (*digest, *outcome)).1
                }
                other => return Err(format!("the event {key} ended as {outcome:?} but was {other:?}")),
            };
            if before == Outcome::Parked && *outcome == Outcome::Failed("orphaned") {
                self.log.push(Logged::Orphaned(*key));
            }
        }
        for failure in &changes.failures {
            self.write_failure(failure)?;
        }
        for (key, note) in &changes.notes {
            self.notes.insert(*key, *note);
        }
        self.notes.retain(|key, _| !changes.noted.contains(key));
        for id in &changes.unpark {
            if self.parked.remove(id).is_none() {
                return Err(format!("row {id} of the parked events is gone already"));
            }
        }
        for event in &changes.park {
            self.last_parked += 1;
            self.parked.insert(self.last_parked, event.clone());
        }
        Ok(())
    }

    fn write_failure(&mut self, failure: &Failure) -> Result<(), String> {
        if failure.reason == "id_conflict" {
            self.log.push(Logged::Conflict(failure.event_key, failure.digest));
        }
        let fresh = Desk { state: State::Open, reason: failure.reason, announced: BTreeSet::new() };
        let desk = self.desk.entry(failure.id).or_insert(fresh);
        let known = self.failures.insert((failure.event_key, failure.digest), failure.clone()).is_some();
        if known && desk.state != State::Resolved {
            return Err(format!("the event {} failed twice with one content", failure.event_key));
        }
        (desk.state, desk.reason) = (State::Open, failure.reason);
        desk.announced.insert(failure.reason.to_owned());
        Ok(())
    }

    fn write_retried(&mut self, retried: &Retried) -> Result<(), String> {
        let failure = self.failures.values().find(|failure| failure.id == retried.id);
        let (Some(failure), Some(desk)) = (failure, self.desk.get_mut(&retried.id)) else {
            return Err(format!("the failure {} was tried again but is not there", retried.id));
        };
        if desk.state != State::Marked {
            return Err(format!("the failure {} was tried again but is {:?}", retried.id, desk.state));
        }
        desk.state = State::Resolved;
        if let End::Again(again) = &retried.end {
            (desk.state, desk.reason) = (State::Open, again.reason);
            desk.announced.insert(again.reason.to_owned());
        }
        self.log.push(Logged::Again(failure.event_key, failure.digest));
        Ok(())
    }

    fn write_exception(&mut self, exception: Exception) -> Result<(), String> {
        let id = exception.id.clone();
        let approved = exception.status == Status::Approved;
        if exception.votes.iter().any(|vote| vote.reviewer == exception.request.requester) {
            return Err(format!("{id}: exceptions_no_self_approval"));
        }
        if approved != exception.approved_due_date.is_some() {
            return Err(format!("{id}: exceptions_approved_has_date"));
        }
        if (exception.state().1 != reprieve::domain::exception::Enforcement::None) != approved {
            return Err(format!("{id}: exceptions_enforced_means_approved"));
        }
        if let Some(before) = self.exceptions.get(&id) {
            let reopened = !before.is_open() && before.status != exception.status;
            if reopened || exception.revision < before.revision || exception.sequence < before.sequence {
                return Err(format!("{id}: it goes back in time"));
            }
        }
        self.exceptions.insert(id, exception);
        Ok(())
    }

    fn write_entry(&mut self, entry: Entry) -> Result<(), String> {
        let id = entry.exception_id.clone();
        let entries = self.history.entry(id.clone()).or_default();
        let before = entries.last().map_or([0; 32], |last| last.hash);
        let hash = link(&before, id.as_str(), entry.number, &entry.happening.fields());
        if entry.number as usize != entries.len() + 1 || entry.hash != hash {
            return Err(format!("{id}: entry {} does not follow the {} before it", entry.number, entries.len()));
        }
        entries.push(entry);
        Ok(())
    }

    /// `exceptions_one_open`, and that each exception has its ticket.
    fn check_tickets(&self) -> Result<(), String> {
        let mut open = BTreeSet::new();
        for exception in self.exceptions.values() {
            if !self.tickets.contains_key(&exception.ticket_id) {
                return Err(format!("{}: its ticket is missing", exception.id));
            }
            if exception.is_open() && !open.insert(&exception.ticket_id) {
                return Err(format!("{}: exceptions_one_open", exception.id));
            }
        }
        Ok(())
    }
}
