//! The second half of a turn: writes what was decided, one statement for each table, none for an empty one. Only what may be long,
//! and is rare, goes in row by row: its bytes as they are. Rows of new exceptions and of the outbox get their numbers in the order
//! in which they came. It decides nothing. The first half: [`super::read`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::query;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::values::json;
use super::{Fault, exceptions, inbox, marked, notes, outbox, reviewers};
use crate::contract::message::Properties;
use crate::domain::dates::Timestamp;
use crate::domain::history::Entry;
use crate::domain::ids::{ExceptionId, TicketId, hex};
use crate::domain::ticket::Ticket;
use crate::store::rows::storable;
use crate::store::{Changes, Failure, NewParked, ParkedId, RuleSetRow};

/// `WHERE true`: without it `ON` would be read as that of a join.
const TICKETS: &str = "\
INSERT INTO tickets (id, earliest_due_date, approved, last_event_at)
SELECT value ->> 'id', value ->> 'earliest_due_date', value ->> 'approved', value ->> 'last_event_at'
FROM jsonb_each(?1) WHERE true
ON CONFLICT (id) DO UPDATE SET
  earliest_due_date = excluded.earliest_due_date, approved = excluded.approved, last_event_at = excluded.last_event_at";

const HISTORY: &str = "\
INSERT INTO history (
  exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash)
SELECT
  value ->> 'exception_key', value ->> 'entry', value ->> 'at', value ->> 'kind', value ->> 'actor', value ->> 'actor_kind',
  value ->> 'source', value ->> 'event_id', value ->> 'event_type', value ->> 'outcome', value ->> 'code',
  value ->> 'revision', value ->> 'body', unhex(value ->> 'hash')
FROM jsonb_each(?1)";

const PARK: &str = "\
INSERT INTO parked (exception_id, event_key, parked_at, expires_at, properties, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const UNPARK: &str = "DELETE FROM parked WHERE id IN (SELECT value FROM json_each(?1))";

/// A failure that was resolved by letting its event wait for its submission is open again if that never came.
const FAILURE: &str = "\
INSERT INTO failures (
  id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, received_at, properties,
  body, announced)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?4)
ON CONFLICT (event_key, digest) DO UPDATE SET
  state = 'open', reason = excluded.reason, message = excluded.message, fingerprint = excluded.fingerprint,
  outcome = NULL, code = NULL, attempts = attempts + 1, announced = ltrim(announced || ' ' || excluded.announced)
WHERE state = 'resolved'";

const RULE_SET: &str = "\
INSERT INTO rule_sets (hash, version, first_used_at, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (hash) DO NOTHING";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[TICKETS, HISTORY, PARK, UNPARK, FAILURE, RULE_SET];

/// Writes everything but the outgoing events.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    changes: &Changes,
    keys: &mut BTreeMap<ExceptionId, i64>,
    now: Timestamp,
) -> Result<(), Fault> {
    exceptions::store(connection, &changes.exceptions, keys).await?;
    write_tickets(connection, &changes.tickets).await?;
    reviewers::write(connection, &changes.load).await?;
    write_history(connection, &changes.history, keys).await?;
    inbox::write(connection, &changes.inbox, now).await?;
    inbox::write_ended(connection, &changes.ended).await?;
    outbox::settle(connection, &changes.confirmed, &changes.unroutable, now).await?;
    write_parked(connection, &changes.park, &changes.unpark).await?;
    write_failures(connection, &changes.failures).await?;
    marked::write(connection, &changes.retried).await?;
    notes::write(connection, &changes.notes, &changes.noted, now).await
}

/// Keeps a rules file.
pub(super) async fn keep_rule_set(
    connection: &mut SqliteConnection,
    rules: &RuleSetRow,
    now: Timestamp,
) -> Result<(), Fault> {
    query(RULE_SET)
        .bind(&rules.hash)
        .bind(&rules.version)
        .bind(now.timestamp_micros())
        .bind(&rules.body)
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(Serialize)]
struct TicketRow<'a> {
    id: &'a TicketId,
    earliest_due_date: NaiveDate,
    approved: u32,
    last_event_at: Option<i64>,
}

impl<'a> TicketRow<'a> {
    fn of(ticket: &'a Ticket) -> Self {
        Self {
            id: &ticket.id,
            earliest_due_date: ticket.earliest_due_date,
            approved: ticket.approved,
            last_event_at: ticket.last_event_at.map(|at| at.timestamp_micros()),
        }
    }
}

async fn write_tickets(connection: &mut SqliteConnection, tickets: &[Ticket]) -> Result<(), Fault> {
    if tickets.is_empty() {
        return Ok(());
    }
    let rows: BTreeMap<&TicketId, &Ticket> = tickets.iter().map(|ticket| (&ticket.id, ticket)).collect();
    let rows: Vec<TicketRow<'_>> = rows.into_values().map(TicketRow::of).collect();
    query(TICKETS).bind(json(&rows)?).execute(connection).await?;
    Ok(())
}

#[derive(Serialize)]
struct HistoryRow<'a> {
    exception_key: i64,
    entry: u32,
    at: i64,
    kind: &'a str,
    actor: &'a str,
    actor_kind: &'a str,
    source: Option<&'a str>,
    event_id: Option<&'a str>,
    event_type: Option<&'a str>,
    outcome: &'a str,
    code: Option<&'a str>,
    revision: u32,
    body: &'a str,
    hash: String,
}

async fn write_history(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    keys: &BTreeMap<ExceptionId, i64>,
) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    let rows: Vec<HistoryRow<'_>> = entries.iter().map(|entry| history_row(entry, keys)).collect::<Result<_, _>>()?;
    query(HISTORY).bind(json(&rows)?).execute(connection).await?;
    Ok(())
}

fn history_row<'a>(entry: &'a Entry, keys: &BTreeMap<ExceptionId, i64>) -> Result<HistoryRow<'a>, Fault> {
    let happening = &entry.happening;
    let event = happening.event.as_ref();
    let unknown = || Fault::Contradiction(format!("history of exception {} that does not exist", entry.exception_id));
    Ok(HistoryRow {
        exception_key: *keys.get(&entry.exception_id).ok_or_else(unknown)?,
        entry: entry.number,
        at: happening.at.timestamp_micros(),
        kind: happening.kind,
        actor: &happening.actor.id,
        actor_kind: happening.actor.kind.word(),
        source: event.map(|event| event.source.as_str()),
        event_id: event.map(|event| event.id.as_str()),
        event_type: event.map(|event| event.event_type.as_str()),
        outcome: happening.outcome.word(),
        code: happening.code,
        revision: happening.revision,
        body: &happening.body,
        hash: hex(&entry.hash),
    })
}

async fn write_parked(
    connection: &mut SqliteConnection,
    events: &[NewParked],
    ended: &[ParkedId],
) -> Result<(), Fault> {
    for event in events {
        query(PARK)
            .bind(event.exception_id.as_str())
            .bind(event.event_key.0.as_slice())
            .bind(event.parked_at.timestamp_micros())
            .bind(event.expires_at.timestamp_micros())
            .bind(properties(&event.properties)?)
            .bind(event.body.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    if !ended.is_empty() {
        query(UNPARK).bind(json(ended)?).execute(connection).await?;
    }
    Ok(())
}

async fn write_failures(connection: &mut SqliteConnection, failures: &[Failure]) -> Result<(), Fault> {
    let rows: BTreeMap<Uuid, &Failure> = failures.iter().map(|failure| (failure.id, failure)).collect();
    for failure in rows.values() {
        query(FAILURE)
            .bind(failure.id)
            .bind(failure.event_key.0.as_slice())
            .bind(failure.digest.0.as_slice())
            .bind(failure.reason)
            .bind(storable(&failure.message))
            .bind(storable(&failure.fingerprint))
            .bind(storable(&failure.source))
            .bind(storable(&failure.event_id))
            .bind(failure.event_type.as_deref().map(storable))
            .bind(failure.exception_id.as_ref().map(ExceptionId::as_str))
            .bind(failure.received_at.timestamp_micros())
            .bind(properties(&failure.properties)?)
            .bind(failure.body.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn properties(properties: &Properties) -> Result<String, Fault> {
    serde_json::to_string(properties).map_err(|error| Fault::Contradiction(error.to_string()))
}
