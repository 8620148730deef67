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
