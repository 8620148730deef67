//! What the exceptions of one ticket have in common: small, whatever their number.

use chrono::NaiveDate;

use super::dates::Timestamp;
use super::ids::TicketId;

/// One ticket, as far as exceptions named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The ticketing system's id.
    pub id: TicketId,
    /// The earliest `original_due_date` any exception of it gave: cumulative extensions count from here.
    pub earliest_due_date: NaiveDate,
    /// How many of its exceptions were ever approved.
    pub approved: u32,
    /// The `time` of the newest ticket event that was applied; an older one has no effect.
    pub last_event_at: Option<Timestamp>,
}
