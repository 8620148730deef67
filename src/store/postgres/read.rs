//! What a turn reads, each kind with one statement, and skipped when nothing of it is wanted. The transaction is open and the
//! write lock is held: what is read here cannot change before the commit.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{TurnError, unreadable};
use crate::contract::message::Outgoing;
use crate::domain::dates::Timestamp;
use crate::domain::exception::Exception;
use crate::domain::history::Chain;
use crate::domain::ids::{Digest, ExceptionId, TicketId};
use crate::domain::ticket::Ticket;
use crate::store::document::{self, Columns};
use crate::store::{EventKey, NewParked, ParkedRow, Seen, Snapshot, Wanted};

/// Our keys of the exceptions that were read.
pub(super) type Keys = BTreeMap<ExceptionId, i64>;

const SEEN: &str = "SELECT key, digest FROM inbox WHERE key = ANY($1)";
const CONFLICTS: &str = "SELECT event_key, digest FROM failures WHERE event_key = ANY($1)";
const BY_ID: &str =
    "SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = ANY($1)";
const LIVE: &str = "SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions \
    WHERE ticket_id = ANY($1) AND status IN ('requested', 'under_review') AND key <> ALL($2) \
    UNION ALL \
    SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions \
    WHERE ticket_id = ANY($1) AND enforcement IN ('pending', 'in_force') AND key <> ALL($2)";
const TICKETS: &str = "SELECT id, earliest_due_date, approved, last_event_at FROM tickets WHERE id = ANY($1)";
const PARKED: &str = "SELECT id, exception_id, event_key, parked_at, expires_at, properties, body FROM parked \
    WHERE exception_id = ANY($1) ORDER BY id";
const EXPIRED: &str = "SELECT id, exception_id, event_key, parked_at, expires_at, properties, body FROM parked \
    WHERE expires_at <= now() ORDER BY expires_at LIMIT $1";
const PARKED_COUNT: &str = "SELECT count(*) FROM parked";
/// Free rows, and rows whose term is further ahead than any instance sets: a clock was wrong.
const CLAIM: &str = "UPDATE outbox SET free_at = now() + interval '15 s' WHERE id IN ( \
    SELECT id FROM outbox WHERE free_at <= now() OR free_at > now() + interval '30 s' ORDER BY id LIMIT $1) \
    RETURNING id, body";
/// An upper bound from the two ends of the primary key; counted only where that says too much.
const OUTBOX_SPAN: &str = "SELECT coalesce(max(id) - min(id) + 1, 0) FROM outbox";
const OUTBOX_COUNT: &str = "SELECT count(*) FROM outbox";

/// The statements of this file, by name: a test prepares each and looks at its plan.
pub(super) const STATEMENTS: [(&str, &str); 11] = [
    ("seen", SEEN),
    ("conflicts", CONFLICTS),
    ("exceptions by id", BY_ID),
    ("live exceptions", LIVE),
    ("tickets", TICKETS),
    ("parked", PARKED),
    ("expired", EXPIRED),
    ("parked count", PARKED_COUNT),
    ("claim", CLAIM),
    ("outbox span", OUTBOX_SPAN),
    ("outbox count", OUTBOX_COUNT),
];

/// Reads everything that is wanted.
pub(super) async fn snapshot(
    connection: &mut PgConnection,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(Snapshot, Keys), TurnError> {
    let mut snapshot = Snapshot { database_time: now, ..Snapshot::default() };
    let mut keys = Keys::new();
    snapshot.seen = seen(connection, wanted).await?;
    if !wanted.exceptions.is_empty() {
        let ids: Vec<&str> = wanted.exceptions.iter().map(ExceptionId::as_str).collect();
        let rows = sqlx::query(BY_ID).bind(ids).fetch_all(&mut *connection).await?;
        take_exceptions(rows, &mut snapshot, &mut keys)?;
        if snapshot.exceptions.len() < wanted.exceptions.len() {
            let count: i64 = sqlx::query_scalar(PARKED_COUNT).fetch_one(&mut *connection).await?;
            snapshot.parked_count = u64::try_from(count).unwrap_or_default();
        }
    }
    let mut tickets = wanted.tickets.clone();
    tickets.extend(snapshot.exceptions.values().map(|exception| exception.ticket_id.clone()));
    if !tickets.is_empty() {
        read_tickets(connection, &tickets, &mut snapshot, &mut keys).await?;
    }
    read_parked(connection, wanted, &mut snapshot).await?;
    if wanted.claims_max > 0 {
        snapshot.claimed = claim(connection, wanted.claims_max).await?;
    }
    Ok((snapshot, keys))
}

async fn seen(connection: &mut PgConnection, wanted: &Wanted) -> Result<BTreeMap<EventKey, Seen>, TurnError> {
    let mut seen = BTreeMap::new();
    if wanted.events.is_empty() {
        return Ok(seen);
    }
    let keys: Vec<Uuid> = wanted.events.keys().map(|key| Uuid::from_bytes(key.0)).collect();
    for row in sqlx::query(SEEN).bind(keys).fetch_all(&mut *connection).await? {
        let (key, digest) = (digest(&row, "key")?, digest(&row, "digest")?);
        seen.insert(key, Seen { digest, conflicts: BTreeSet::new() });
    }
    let differs = |(key, seen): &(&EventKey, &Seen)| {
        wanted.events.get(*key).is_some_and(|all| all.iter().any(|one| *one != seen.digest))
    };
    let conflicting: Vec<Uuid> = seen.iter().filter(differs).map(|(key, _)| Uuid::from_bytes(key.0)).collect();
    if !conflicting.is_empty() {
        for row in sqlx::query(CONFLICTS).bind(conflicting).fetch_all(&mut *connection).await? {
            let (key, digest) = (digest(&row, "event_key")?, digest(&row, "digest")?);
            if let Some(seen) = seen.get_mut(&key) {
                seen.conflicts.insert(digest);
            }
        }
    }
    Ok(seen)
}

async fn read_tickets(
    connection: &mut PgConnection,
    tickets: &BTreeSet<TicketId>,
    snapshot: &mut Snapshot,
    keys: &mut Keys,
) -> Result<(), TurnError> {
    let ids: Vec<&str> = tickets.iter().map(TicketId::as_str).collect();
    for row in sqlx::query(TICKETS).bind(&ids).fetch_all(&mut *connection).await? {
        let id: &str = row.try_get("id")?;
        let id = TicketId::parse(id).map_err(|error| unreadable(id, error))?;
        let ticket = Ticket {
            id: id.clone(),
            earliest_due_date: row.try_get("earliest_due_date")?,
            approved: number(&row, "approved")?,
            last_event_at: row.try_get("last_event_at")?,
        };
        snapshot.tickets.insert(id, ticket);
    }
    let known: Vec<i64> = keys.values().copied().collect();
    let rows = sqlx::query(LIVE).bind(&ids).bind(known).fetch_all(connection).await?;
    take_exceptions(rows, snapshot, keys)
}

fn take_exceptions(rows: Vec<PgRow>, snapshot: &mut Snapshot, keys: &mut Keys) -> Result<(), TurnError> {
    for row in rows {
        let exception = exception(&row)?;
        keys.insert(exception.id.clone(), row.try_get("key")?);
        snapshot.exceptions.insert(exception.id.clone(), exception);
    }
    Ok(())
}

/// An exception from its row.
pub(super) fn exception(row: &PgRow) -> Result<Exception, TurnError> {
    let id: &str = row.try_get("id")?;
    let fail = |message: &dyn std::fmt::Display| unreadable(id, message);
    let head: &[u8] = row.try_get("head")?;
    let columns = Columns {
        id: ExceptionId::parse(id).map_err(|error| fail(&error))?,
        ticket_id: TicketId::parse(row.try_get("ticket_id")?).map_err(|error| fail(&error))?,
        revision: number(row, "revision")?,
        sequence: number(row, "sequence")?,
        chain: Chain { entries: number(row, "entries")?, head: head.try_into().map_err(|error| fail(&error))? },
    };
    document::read(row.try_get("document")?, columns).map_err(|error| fail(&error))
}

async fn read_parked(connection: &mut PgConnection, wanted: &Wanted, snapshot: &mut Snapshot) -> Result<(), TurnError> {
    let mut rows = Vec::new();
    if !wanted.submitted.is_empty() {
        let ids: Vec<&str> = wanted.submitted.iter().map(ExceptionId::as_str).collect();
        rows = sqlx::query(PARKED).bind(ids).fetch_all(&mut *connection).await?;
    }
    if wanted.expired_max > 0 {
        let most = i64::try_from(wanted.expired_max).unwrap_or(i64::MAX);
        rows.extend(sqlx::query(EXPIRED).bind(most).fetch_all(connection).await?);
    }
    // One that is wanted for its submission may have expired too.
    let mut parked = BTreeMap::new();
    for row in rows {
        let row = parked_row(&row)?;
        parked.insert(row.id, row);
    }
    snapshot.parked = parked.into_values().collect();
    Ok(())
}

fn parked_row(row: &PgRow) -> Result<ParkedRow, TurnError> {
    let exception_id: &str = row.try_get("exception_id")?;
    let properties: &str = row.try_get("properties")?;
    let event = NewParked {
        exception_id: ExceptionId::parse(exception_id).map_err(|error| unreadable(exception_id, error))?,
        event_key: digest(row, "event_key")?,
        parked_at: row.try_get("parked_at")?,
        expires_at: row.try_get("expires_at")?,
        properties: serde_json::from_str(properties).map_err(|error| unreadable(exception_id, error))?,
        body: row.try_get("body")?,
    };
    Ok(ParkedRow { id: row.try_get("id")?, event })
}

async fn claim(connection: &mut PgConnection, most: usize) -> Result<Vec<Outgoing>, TurnError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = sqlx::query(CLAIM).bind(most).fetch_all(connection).await?;
    let outgoing = |row: &PgRow| Ok(Outgoing { id: row.try_get("id")?, body: row.try_get("body")? });
    let mut claimed = rows.iter().map(outgoing).collect::<Result<Vec<_>, sqlx::Error>>()?;
    claimed.sort_by_key(|event| event.id);
    Ok(claimed)
}

/// Whether the outbox holds as many rows as it may.
pub(super) async fn outbox_is_full(connection: &mut PgConnection, max: u64) -> Result<bool, TurnError> {
    let reaches = |count: i64| u64::try_from(count).unwrap_or_default() >= max;
    let span: i64 = sqlx::query_scalar(OUTBOX_SPAN).fetch_one(&mut *connection).await?;
    if !reaches(span) {
        return Ok(false);
    }
    let count: i64 = sqlx::query_scalar(OUTBOX_COUNT).fetch_one(connection).await?;
    Ok(reaches(count))
}

fn digest(row: &PgRow, column: &str) -> Result<Digest, sqlx::Error> {
    row.try_get::<Uuid, _>(column).map(|uuid| Digest(uuid.into_bytes()))
}

fn number(row: &PgRow, column: &str) -> Result<u32, TurnError> {
    let value: i32 = row.try_get(column)?;
    u32::try_from(value).map_err(|error| unreadable(column, error))
}
