//! What the API and `-o json` show of a ticket, and of how things stand.

use chrono::NaiveDate;
use serde::Serialize;

use super::ExceptionShape;
use super::desk::OutboxShape;
use crate::domain::ids::TicketId;

/// `ticket`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is documented in `store::lookups::TicketView`")]
pub struct TicketShape<'a> {
    pub ticket_id: &'a TicketId,
    pub current_due_date: NaiveDate,
    pub exceptions: Vec<ExceptionShape<'a>>,
}

/// `stats`
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "each is documented in `store::lookups::Stats`; the rate is of 1, null where nothing was decided"
)]
pub struct StatsShape {
    pub open: u64,
    pub unassigned: u64,
    pub oldest_open_days: Option<u64>,
    pub decided_30d: u64,
    pub approval_rate: Option<f64>,
    pub median_days_to_decision: Option<f64>,
    pub in_force: u64,
    pub expiring_30d: u64,
    pub parked: u64,
    pub failures_open: u64,
    pub outbox: OutboxShape,
}
