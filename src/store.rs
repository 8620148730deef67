//! The ports to the database: [`Store`] runs turns, [`Views`] answers look-ups. The values that cross them are here too.

pub mod audit;
pub mod desk;
pub mod document;
pub mod gauges;
pub mod lookups;
pub mod place;
pub mod postgres;
mod rows;
pub mod schema;
pub mod sqlite;
pub mod submissions;
mod tallies;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::contract::message::{Outgoing, Properties};
use crate::domain::dates::Timestamp;
use crate::domain::exception::Exception;
use crate::domain::history::Entry;
use crate::domain::ids::{Digest, ExceptionId, TicketId, UserId};
pub use crate::domain::outcome::Outcome;
use crate::domain::ticket::Ticket;
use crate::store::desk::Limit;
use crate::store::lookups::{ExceptionView, Exceptions, Newer, Selection, Stats, StoredEntry, TicketView};

/// The first 16 bytes of SHA-256(length of source, source, id): what an event is known by.
pub type EventKey = Digest;
/// A row of the outbox.
pub type OutboxId = i64;
/// A row of the parked events.
pub type ParkedId = i64;
/// A row of the failures.
pub type FailureId = uuid::Uuid;
/// The first 16 bytes of SHA-256 over a message as it came: what a suspect is known by before anything of it is read.
pub type MessageKey = Digest;

/// What the inputs of a turn name, known before anything is read: one look is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Events by key, with the digest of their content: whether they were seen before.
    pub events: BTreeMap<EventKey, BTreeSet<Digest>>,
    /// Exceptions by id, each with its ticket and the ticket's other live exceptions.
    pub exceptions: BTreeSet<ExceptionId>,
    /// Of these, the ones being submitted: parked events that wait for them are wanted too.
    pub submitted: BTreeSet<ExceptionId>,
    /// Tickets by id, each with its live exceptions.
    pub tickets: BTreeSet<TicketId>,
    /// At most so many parked events whose time has come.
    pub expired_max: usize,
    /// At most so many rows of the outbox that nobody has in hand; they are claimed for this instance.
    pub claims_max: usize,
    /// At most so many failures that an operator has marked: this turn gives them back in [`Committed::marked`] and leaves
    /// them as they are. One of them is given back however large it is, more only up to [`MARKED_BYTES_MAX`].
    pub marked_max: usize,
    /// Failures that are inputs of this turn: whether they are still marked.
    pub failures: BTreeSet<FailureId>,
    /// Messages by what they are noted under.
    pub notes: BTreeSet<MessageKey>,
    /// People whom a level that begins in this turn may pick by load. Those whom the stored levels of loaded exceptions name
    /// are wanted too: [`Wanted::load_of`] knows both.
    pub load: BTreeSet<UserId>,
}

impl Wanted {
    /// Everybody whose load has to be read; mostly nobody.
    pub fn load_of<'a>(&'a self, loaded: impl IntoIterator<Item = &'a Exception>) -> BTreeSet<&'a UserId> {
        let named = loaded.into_iter().filter(|exception| self.exceptions.contains(&exception.id));
        self.load.iter().chain(named.flat_map(Exception::picked_by_load)).collect()
    }
}

/// Most bytes of failures that come back at once; about as much as one batch of deliveries.
pub const MARKED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is known of an event that was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The digest of its content.
    pub digest: Digest,
    /// Whether it ended as a failure: then it has had no effect, and an operator may let it in again.
    pub failed: bool,
    /// Contents of the same (source, id), other than the first, that were already recorded as failures; only those wanted.
    pub conflicts: BTreeSet<Digest>,
}

/// Everything a turn may look at.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The database's clock when the transaction began. Ownership of outbox rows and parking count by it.
    pub database_time: Timestamp,
    /// Wanted events that are in the inbox.
    pub seen: BTreeMap<EventKey, Seen>,
    /// Exceptions that are wanted, or live on a wanted ticket or on the ticket of a wanted exception.
    pub exceptions: BTreeMap<ExceptionId, Exception>,
    /// Tickets that are wanted, or belong to a wanted exception.
    pub tickets: BTreeMap<TicketId, Ticket>,
    /// Parked events of submitted exceptions, and expired ones, in the order they were parked.
    pub parked: Vec<ParkedRow>,
    /// How many events are parked; counted only if a wanted exception is missing that is not being submitted, else 0.
    pub parked_count: u64,
    /// What of them waits for each of these missing exceptions.
    pub parked_for: BTreeMap<ExceptionId, Waiting>,
    /// Claimed rows of the outbox.
    pub claimed: Vec<Outgoing>,
    /// Of the wanted failures, those that are still marked.
    pub marked: BTreeMap<FailureId, LastFailure>,
    /// The notes there are about the wanted messages.
    pub notes: BTreeMap<MessageKey, Note>,
    /// Open assignments of those of whom they are wanted ([`Wanted::load_of`]); whoever is not here has none.
    pub load: BTreeMap<UserId, u32>,
}

/// The events that wait for one submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub events: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
}

/// What is known of a failure that is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// Why it failed the last time.
    pub reason: String,
    /// The reasons under which it was announced.
    pub announced: BTreeSet<String>,
}

/// What is written down about a suspect before it is looked at. A note that is found belongs to a process that ended in the
/// middle of it, or to one that is still busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The process that tried last.
    pub run: uuid::Uuid,
    /// How many processes have tried, this one included.
    pub tries: u16,
    /// Since when it does, by the database's clock.
    pub at: Timestamp,
}

/// Everything a turn writes, and the outcome of each of its deliveries.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Changes {
    /// One for each input, in order.
    pub outcomes: Vec<Outcome>,
    /// Events not seen before.
    pub inbox: Vec<InboxRow>,
    /// Events that are in the inbox and get another outcome: parked ones that came to an end, failed ones that were let in. The
    /// digest is that of the content that had the effect.
    pub ended: Vec<InboxRow>,
    /// Exceptions that are new or changed; each once.
    pub exceptions: Vec<Exception>,
    /// Tickets that are new or changed; each once.
    pub tickets: Vec<Ticket>,
    /// How many open assignments more, or less, each reviewer has after this turn; nobody without a difference.
    pub load: BTreeMap<UserId, i64>,
    /// New history entries, in order per exception.
    pub history: Vec<Entry>,
    /// New outgoing events, in order: envelopes.
    pub outbox: Vec<String>,
    /// Whether this instance publishes the new ones itself: then nobody else may for 15 s.
    pub held: bool,
    /// Rows of the outbox that are done.
    pub confirmed: Vec<OutboxId>,
    /// Rows of the outbox that found no queue: tried again later.
    pub unroutable: Vec<OutboxId>,
    /// Events that begin to wait.
    pub park: Vec<NewParked>,
    /// Events that no longer wait.
    pub unpark: Vec<ParkedId>,
    /// New failures. One that is there already, and was resolved by letting the event wait, is open again.
    pub failures: Vec<Failure>,
    /// Failures that were tried again.
    pub retried: Vec<Retried>,
    /// Notes about suspects that are looked at next.
    pub notes: Vec<(MessageKey, Note)>,
    /// Messages that are settled: no note about them is needed any more.
    pub noted: Vec<MessageKey>,
    /// The rule set behind new assignments, kept so that they can be explained after the file has changed.
    pub rule_set: Option<RuleSetRow>,
    /// How parked events ended in this turn, for who counts: nothing is written of it.
    pub released: Vec<Outcome>,
}

/// An event's row in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Its key.
    pub key: EventKey,
    /// The digest of its content.
    pub digest: Digest,
    /// What became of it.
    pub outcome: Outcome,
}

/// An event that waits for its submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewParked {
    /// The exception it names.
    pub exception_id: ExceptionId,
    /// Its key in the inbox.
    pub event_key: EventKey,
    /// By the database's clock.
    pub parked_at: Timestamp,
    /// By the database's clock.
    pub expires_at: Timestamp,
    /// As it came.
    pub properties: Properties,
    /// As it came.
    pub body: Vec<u8>,
}

/// A row of the parked events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// Grows in the order of arrival.
    pub id: ParkedId,
    /// What is parked.
    pub event: NewParked,
}

/// The id of the failure that an event with this content is.
pub fn failure_id(key: EventKey, digest: Digest) -> FailureId {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("urn:reprieve:{key}/{digest}").as_bytes())
}

/// An input that can never be processed, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As [`failure_id`] makes it: the same input fails once.
    pub id: uuid::Uuid,
    /// The event's key.
    pub event_key: EventKey,
    /// The digest of its content.
    pub digest: Digest,
    /// A word of the closed list.
    pub reason: &'static str,
    /// What is wrong and what would be right, for a person.
    pub message: String,
    /// Groups failures of one kind: reason, type and the place in the event.
    pub fingerprint: String,
    /// The event's `source`, or what stands in for it.
    pub source: String,
    /// The event's `id`, or what stands in for it.
    pub event_id: String,
    /// The event's `type`, where it could be read.
    pub event_type: Option<String>,
    /// The exception it names, where that could be read.
    pub exception_id: Option<ExceptionId>,
    /// The database's clock.
    pub received_at: Timestamp,
    /// As it came.
    pub properties: Properties,
    /// As it came.
    pub body: Vec<u8>,
}

/// A failure that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// The failure.
    pub id: FailureId,
    /// What became of it.
    pub end: End,
}

/// What became of a failure that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is resolved: its event has this outcome.
    Ended(Outcome),
    /// It failed again.
    Again(Again),
}

/// Why a failure failed again, as in [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what `Failure` calls by this name")]
pub struct Again {
    pub reason: &'static str,
    pub message: String,
    pub fingerprint: String,
}

/// A failure that an operator has marked to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The failure.
    pub id: FailureId,
    /// As it came, or as it was edited.
    pub properties: Properties,
    /// As it came, or as it was edited.
    pub body: Vec<u8>,
}

/// A rules file, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSetRow {
    /// SHA-256 of the file, in hex.
    pub hash: String,
    /// The file's `version`.
    pub version: String,
    /// The file.
    pub body: String,
}

/// What is committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// The outcome of each input.
    pub outcomes: Vec<Outcome>,
    /// The events now in this instance's hands: the claimed ones, then the turn's own when `held`.
    pub outgoing: Vec<Outgoing>,
    /// Whether the claim was as large as was wanted.
    pub claims_full: bool,
    /// How many parked events were found expired.
    pub expired: usize,
    /// Whether the outbox holds as much as it may.
    pub outbox_full: bool,
    /// Failures that are marked, the longest known first.
    pub marked: Vec<Marked>,
    /// How many events the commit itself has published: into a log that is its own broker.
    pub published: u64,
}

/// Why a turn did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reached, not answered, full, read-only, or anything not known to be the content's fault. Nothing is known of
    /// the turn, not even whether it was committed: try the same inputs again.
    #[error("{0}")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The content is at fault and nothing was written: the database refused it (SQLSTATE classes 22, 23, 54), it names a
    /// stored row that is damaged, or it contradicts what is stored. Halve the inputs.
    #[error("the database refused the content: {0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Decides what a turn writes: a plain function, so nothing can be awaited while the transaction is open. It may be asked
/// again on fresh state.
pub type Plan<'a> = dyn FnMut(Snapshot) -> Changes + Send + 'a;

/// Runs turns, one at a time in the whole database.
#[async_trait]
pub trait Store: Send {
    /// One turn: takes the database's write lock, reads what is wanted, asks `plan`, writes, commits.
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError>;
}

/// A look-up that could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Nothing is known of what was asked for: ask again.
    #[error("{0}")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row that was found cannot be used, however often one asks.
    #[error("{row}: {why}; {remedy}")]
    Unreadable {
        /// Which row, with the id that people know.
        row: String,
        /// What is wrong with it; it may show what is in it.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// What people look at; on its own connections, never the worker's.
#[async_trait]
pub trait Views: Send + Sync {
    /// One exception with the newest entries of its history.
    async fn exception(&self, id: &ExceptionId) -> Result<Option<ExceptionView>, ViewError>;

    /// The entries of one exception after a number, oldest first, at most [`lookups::ENTRIES_MAX`]; none if there is no such exception.
    async fn history(&self, id: &ExceptionId, after: u32) -> Result<Option<Vec<StoredEntry>>, ViewError>;

    /// Exceptions, the newest first. A page may be short of the limit, or empty, and go on all the same.
    async fn exceptions(
        &self,
        selection: &Selection,
        after: Option<Newer>,
        limit: Limit,
    ) -> Result<Exceptions, ViewError>;

    /// A ticket with its newest exceptions; none if no exception has named it.
    async fn ticket(&self, id: &TicketId, limit: Limit) -> Result<Option<TicketView>, ViewError>;

    /// How things stand on this day.
    async fn stats(&self, today: NaiveDate) -> Result<Stats, ViewError>;
}
