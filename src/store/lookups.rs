//! What people look up: lists of exceptions, a ticket, figures. The values that cross the port [`super::Views`] are here, and how a
//! page is found whatever is asked for: see `search`.

mod search;
mod selection;

use chrono::NaiveDate;

use crate::domain::exception::Exception;
use crate::domain::ids::TicketId;
use crate::store::desk::{OutboxState, Page};
pub use search::Bounds;
pub(super) use search::{BLOCK, Found, Searched, Stretch, search};
pub(super) use selection::Lead;
pub use selection::{Newer, Selection};

/// The days before and after today that [`Stats`] are about.
pub const STATS_DAYS: u64 = 30;

/// Exceptions, the newest first.
pub type Exceptions = Page<Exception, Newer>;

/// Most entries of a history that are looked up at once. Their events' bytes are not among them, so it is 300 KiB, and a MiB or
/// two at worst; only requests that are refused again and again have more.
pub const ENTRIES_MAX: u32 = 1_000;

/// One history row as it is stored, for showing. The bytes of its event are left out: they may be many, and nobody is shown them. For
/// checking the chain there is [`super::audit`].
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Counts from 1.
    pub number: u32,
    /// The stored fields, in the order of [`crate::domain::history::Happening::fields`], without the last one, the body.
    pub fields: [String; 10],
    /// The stored hash.
    pub hash: Vec<u8>,
}

/// An exception with what happened to it.
#[derive(Clone, Debug)]
pub struct ExceptionView {
    /// The exception.
    pub exception: Exception,
    /// The data of the submission that was applied, byte for byte: the body of its first entry.
    pub submitted: Option<String>,
    /// The entry before the first of the newest, if they are not all.
    pub before: Option<StoredEntry>,
    /// The newest entries, oldest first, at most [`ENTRIES_MAX`].
    pub newest: Vec<StoredEntry>,
}

impl ExceptionView {
    /// Of what was read, with the entry before the newest, if there are so many.
    pub(super) fn of(exception: Exception, submitted: Option<String>, mut entries: Vec<StoredEntry>) -> Self {
        let last_before = exception.chain.entries.saturating_sub(ENTRIES_MAX);
        let before = entries.first().is_some_and(|first| first.number <= last_before).then(|| entries.remove(0));
        Self { exception, submitted, before, newest: entries }
    }

    /// The number after which its entries are read.
    pub(super) fn after(exception: &Exception) -> u32 {
        exception.chain.entries.saturating_sub(ENTRIES_MAX + 1)
    }
}

/// A ticket, as far as exceptions named it.
#[derive(Clone, Debug)]
pub struct TicketView {
    /// The ticketing system's id.
    pub id: TicketId,
    /// The day it runs until: the approved date of the exception that is enforced, else the date its newest exception found.
    pub current_due_date: NaiveDate,
    /// The newest of its exceptions.
    pub exceptions: Exceptions,
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Exceptions that wait for a decision.
    pub open: u64,
    /// Of these, the ones that nobody could be found for: triage has them.
    pub unassigned: u64,
    /// Days since the oldest of the open ones came.
    pub oldest_open_days: Option<u64>,
    /// Approved or denied today or in the 29 days before.
    pub decided_30d: u64,
    /// Of these, the approved ones.
    pub approved_30d: u64,
    /// Half of these took no longer. Exact below two days, then by whole days.
    pub median_hours_to_decision: Option<i64>,
    /// Exceptions in force.
    pub in_force: u64,
    /// Exceptions that are enforced until a day from today to 30 days ahead.
    pub expiring_30d: u64,
    /// Events that wait for their submission, up to [`COUNT_MAX`].
    pub parked: u64,
    /// Failures that somebody has to look at, up to [`COUNT_MAX`].
    pub failures_open: u64,
    /// What is to be published.
    pub outbox: OutboxState,
}

/// What is counted row by row is counted so far: a few milliseconds, and nobody cares how many more there are.
pub const COUNT_MAX: i64 = 100_000;
