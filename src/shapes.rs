//! From what the stores give to the contract's shapes: one room for the API and for the command line, so that both show the same.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::contract::shapes::desk::{FailureShape, GroupShape, OutboxShape, ParkedShape};
use crate::contract::shapes::lookups::{StatsShape, TicketShape};
use crate::contract::shapes::{self, Detail, ExceptionShape, HistoryShape, Row, ShapeError};
use crate::domain::ids::ExceptionId;
use crate::store::desk::{Group, OutboxState, ParkedEvent, StoredFailure};
use crate::store::lookups::{ExceptionView, Exceptions, Stats, StoredEntry, TicketView};

/// The contract's `detail`.
pub fn detail(view: &ExceptionView) -> Result<Detail<'_>, ShapeError> {
    let before = view.before.as_ref().map(|entry| entry.hash.as_slice());
    shapes::detail(&view.exception, view.submitted.as_deref(), before, rows(&view.newest))
}

/// The contract's `history`, of all entries.
pub fn history<'a>(id: &ExceptionId, entries: &'a [StoredEntry]) -> Result<Vec<HistoryShape<'a>>, ShapeError> {
    shapes::history(id, None, rows(entries))
}

fn rows(entries: &[StoredEntry]) -> impl Iterator<Item = Row<'_>> {
    entries.iter().map(|entry| Row { number: entry.number, fields: &entry.fields, hash: &entry.hash })
}

/// The contract's `exception`, of each on a page.
pub fn exceptions(page: &Exceptions) -> Vec<ExceptionShape<'_>> {
    page.items.iter().map(shapes::exception).collect()
}

/// The contract's `ticket`.
pub fn ticket(ticket: &TicketView) -> TicketShape<'_> {
    TicketShape {
        ticket_id: &ticket.id,
        current_due_date: ticket.current_due_date,
        exceptions: exceptions(&ticket.exceptions),
    }
}

/// The contract's `stats`.
#[expect(clippy::cast_precision_loss, reason = "a ratio of counts that are far below 2^52, and hours")]
pub fn stats(stats: &Stats) -> StatsShape {
    let hundredths = |value: f64| (value * 100.0).round() / 100.0;
    let rate = || hundredths(stats.approved_30d as f64 / stats.decided_30d as f64);
    StatsShape {
        open: stats.open,
        unassigned: stats.unassigned,
        oldest_open_days: stats.oldest_open_days,
        decided_30d: stats.decided_30d,
        approval_rate: (stats.decided_30d > 0).then(rate),
        median_days_to_decision: stats.median_hours_to_decision.map(|hours| hundredths(hours as f64 / 24.0)),
        in_force: stats.in_force,
        expiring_30d: stats.expiring_30d,
        parked: stats.parked,
        failures_open: stats.failures_open,
        outbox: outbox(stats.outbox),
    }
}

/// The contract's `failure`.
pub fn failure(failure: &StoredFailure) -> FailureShape<'_> {
    FailureShape {
        failure_id: failure.id,
        state: failure.state.word(),
        reason: &failure.reason,
        message: &failure.message,
        event_source: &failure.source,
        event_id: &failure.event_id,
        event_type: failure.event_type.as_deref(),
        exception_id: failure.exception_id.as_deref(),
        fingerprint: &failure.fingerprint,
        attempts: failure.attempts,
        outcome: failure.outcome.as_deref(),
        code: failure.code.as_deref(),
        received_at: failure.received_at,
        edited_from: failure.edited_from,
        edited_to: failure.edited_to,
        body_base64: BASE64_STANDARD.encode(&failure.body),
        body_bytes: failure.body_bytes,
        headers: &failure.properties.headers,
    }
}

/// The contract's `group`.
pub fn group(group: &Group) -> GroupShape<'_> {
    GroupShape {
        fingerprint: &group.fingerprint,
        reason: &group.reason,
        count: group.count,
        first_at: group.first_at,
        last_at: group.last_at,
        example_failure_id: group.example,
    }
}

/// The contract's `parked`.
pub fn parked(event: &ParkedEvent) -> ParkedShape<'_> {
    ParkedShape {
        event_source: &event.source,
        event_id: &event.event_id,
        event_type: event.event_type.as_deref(),
        exception_id: &event.exception_id,
        parked_at: event.parked_at,
        expires_at: event.expires_at,
    }
}

/// The contract's `outbox`.
pub fn outbox(outbox: OutboxState) -> OutboxShape {
    let OutboxState { pending, unroutable, oldest_age_s } = outbox;
    OutboxShape { pending, unroutable, oldest_age_s }
}
