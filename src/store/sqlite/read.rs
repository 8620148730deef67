//! The first half of a turn: takes the write lock and reads what is wanted, one statement for each kind of thing, none for
//! what is not wanted. It decides nothing. The second half: [`super::write`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar, raw_sql};

use super::values::{date, digest, json, limit, time};
use super::{Fault, inbox, marked, notes, reviewers};
use crate::domain::dates::{Timestamp, to_microseconds};
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::ticket::Ticket;
use crate::store::rows;
use crate::store::{NewParked, ParkedRow, Snapshot, Waiting, Wanted};

/// The lock comes with it: only what is read after it is safe from other writers.
const BEGIN: &str = "BEGIN IMMEDIATE";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE id IN (SELECT value FROM json_each(?1))";

const TICKETS: &str = "\
SELECT id, earliest_due_date, approved, last_event_at FROM tickets WHERE id IN (SELECT value FROM json_each(?1))";

/// The first condition is that of the partial index. Only keys: most of these exceptions are loaded already.
const LIVE: &str = "\
SELECT key FROM exceptions
WHERE ticket_id IN (SELECT value FROM json_each(?1)) AND status IN ('requested', 'under_review')
UNION ALL
SELECT key FROM exceptions
WHERE ticket_id IN (SELECT value FROM json_each(?1)) AND enforcement IN ('pending', 'in_force')";

const EXCEPTIONS_BY_KEY: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE key IN (SELECT value FROM json_each(?1))";

const PARKED: &str = "\
SELECT id, exception_id, event_key, parked_at, expires_at, properties, body
FROM parked WHERE exception_id IN (SELECT value FROM json_each(?1))";

const EXPIRED: &str = "\
SELECT id, exception_id, event_key, parked_at, expires_at, properties, body
FROM parked WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2";

/// Reads the smallest index, and only in a turn that may park; how many may be parked is bounded.
const PARKED_COUNT: &str = "SELECT count(*) FROM parked";

/// The length of a body is known without reading it.
const PARKED_FOR: &str = "\
SELECT exception_id, count(*), sum(octet_length(body))
FROM parked WHERE exception_id IN (SELECT value FROM json_each(?1)) GROUP BY exception_id";

/// Every statement of this file that is prepared.
pub(super) const STATEMENTS: &[&str] =
    &[EXCEPTIONS, TICKETS, LIVE, EXCEPTIONS_BY_KEY, PARKED, EXPIRED, PARKED_COUNT, PARKED_FOR];

/// What was read, and what the second half needs of it.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// Our keys of the exceptions in the snapshot: what is not here is new.
    pub(super) keys: BTreeMap<ExceptionId, i64>,
    /// How many parked events were found expired.
    pub(super) expired: usize,
}

type ExceptionColumns = (i64, String, String, i64, i64, i64, Vec<u8>, String);
type ParkedColumns = (i64, String, Vec<u8>, i64, i64, String, Vec<u8>);

/// Begins the transaction and reads. The clock is read once, when the lock is held.
pub(super) async fn load(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<Loaded, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let snapshot = Snapshot { database_time: to_microseconds(Utc::now()), ..Snapshot::default() };
    let mut loaded = Loaded { snapshot, keys: BTreeMap::new(), expired: 0 };
    loaded.snapshot.seen = inbox::read(connection, wanted).await?;
    read_exceptions(connection, wanted, &mut loaded).await?;
    read_parked(connection, wanted, &mut loaded).await?;
    count_parked(connection, wanted, &mut loaded.snapshot).await?;
    loaded.snapshot.marked = marked::read(connection, &wanted.failures).await?;
    loaded.snapshot.notes = notes::read(connection, &wanted.notes).await?;
    loaded.snapshot.load = reviewers::read(connection, wanted.load_of(loaded.snapshot.exceptions.values())).await?;
    Ok(loaded)
}

/// The wanted exceptions, then their tickets and the wanted ones, then what else lives on those.
async fn read_exceptions(connection: &mut SqliteConnection, wanted: &Wanted, loaded: &mut Loaded) -> Result<(), Fault> {
    if !wanted.exceptions.is_empty() {
        let ids = json(&wanted.exceptions)?;
        let rows: Vec<ExceptionColumns> = query_as(EXCEPTIONS).bind(ids).fetch_all(&mut *connection).await?;
        rows.into_iter().try_for_each(|row| loaded.take_exception(row))?;
    }
    let snapshot = &mut loaded.snapshot;
    let found = snapshot.exceptions.values().map(|exception| &exception.ticket_id);
    let tickets: BTreeSet<&TicketId> = found.chain(&wanted.tickets).collect();
    if tickets.is_empty() {
        return Ok(());
    }
    let tickets = json(&tickets)?;
    let rows: Vec<(String, String, i64, Option<i64>)> =
        query_as(TICKETS).bind(&tickets).fetch_all(&mut *connection).await?;
    for row in rows {
        let ticket = ticket(row)?;
        snapshot.tickets.insert(ticket.id.clone(), ticket);
    }

    let live: Vec<i64> = query_scalar(LIVE).bind(tickets).fetch_all(&mut *connection).await?;
    let known: BTreeSet<i64> = loaded.keys.values().copied().collect();
    let missing: BTreeSet<i64> = live.into_iter().filter(|key| !known.contains(key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let rows: Vec<ExceptionColumns> = query_as(EXCEPTIONS_BY_KEY).bind(json(&missing)?).fetch_all(connection).await?;
    rows.into_iter().try_for_each(|row| loaded.take_exception(row))
}

async fn read_parked(connection: &mut SqliteConnection, wanted: &Wanted, loaded: &mut Loaded) -> Result<(), Fault> {
    let mut rows = BTreeMap::new();
    if !wanted.submitted.is_empty() {
        let ids = json(&wanted.submitted)?;
        let found: Vec<ParkedColumns> = query_as(PARKED).bind(ids).fetch_all(&mut *connection).await?;
        rows.extend(found.into_iter().map(|row| (row.0, row)));
    }
    if wanted.expired_max > 0 {
        let now = loaded.snapshot.database_time.timestamp_micros();
        let found: Vec<ParkedColumns> =
            query_as(EXPIRED).bind(now).bind(limit(wanted.expired_max)).fetch_all(connection).await?;
        loaded.expired = found.len();
        rows.extend(found.into_iter().map(|row| (row.0, row)));
    }
    loaded.snapshot.parked = rows.into_values().map(parked).collect::<Result<_, _>>()?;
    Ok(())
}

/// A submission is missing by nature; what may park is anything else that names nothing.
async fn count_parked(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    snapshot: &mut Snapshot,
) -> Result<(), Fault> {
    let missing = |id: &&ExceptionId| !snapshot.exceptions.contains_key(id) && !wanted.submitted.contains(id);
    let missing: Vec<&ExceptionId> = wanted.exceptions.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    snapshot.parked_count = number(query_scalar(PARKED_COUNT).fetch_one(&mut *connection).await?);
    let counts: Vec<(String, i64, i64)> = query_as(PARKED_FOR).bind(json(&missing)?).fetch_all(connection).await?;
    for (id, events, bytes) in counts {
        let id = ExceptionId::parse(&id).map_err(|error| Fault::unreadable("parked event", &id, &error))?;
        snapshot.parked_for.insert(id, Waiting { events: number(events), bytes: number(bytes) });
    }
    Ok(())
}

impl Loaded {
    fn take_exception(&mut self, row: ExceptionColumns) -> Result<(), Fault> {
        let (key, id, ticket_id, revision, sequence, entries, head, document) = row;
        let row = rows::ExceptionRow { key, id, ticket_id, revision, sequence, entries, head, document };
        let (key, exception) = rows::exception(row)?;
        self.keys.insert(exception.id.clone(), key);
        self.snapshot.exceptions.insert(exception.id.clone(), exception);
        Ok(())
    }
}

fn ticket(row: (String, String, i64, Option<i64>)) -> Result<Ticket, Fault> {
    let (id, earliest_due_date, approved, last_event_at) = row;
    let earliest_due_date = date("ticket", &id, &earliest_due_date)?;
    let approved = rows::count("ticket", &id, approved)?;
    let last_event_at: Option<Timestamp> = last_event_at.map(|at| time("ticket", &id, at)).transpose()?;
    let id = TicketId::parse(&id).map_err(|error| Fault::unreadable("ticket", &id, &error))?;
    Ok(Ticket { id, earliest_due_date, approved, last_event_at })
}

fn parked(row: ParkedColumns) -> Result<ParkedRow, Fault> {
    let (id, exception_id, event_key, parked_at, expires_at, stored, body) = row;
    let what = "parked event";
    let event = NewParked {
        exception_id: ExceptionId::parse(&exception_id)
            .map_err(|error| Fault::unreadable(what, &id.to_string(), &error))?,
        event_key: digest(what, &id, event_key)?,
        parked_at: time(what, &id, parked_at)?,
        expires_at: time(what, &id, expires_at)?,
        properties: rows::properties(what, &id, &stored),
        body,
    };
    Ok(ParkedRow { id, event })
}
