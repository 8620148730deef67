//! The first half of a turn: takes the write lock and reads what is wanted, one statement for each kind of thing, none for
//! what is not wanted. It decides nothing. The second half: [`super::write`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Row, query_as, query_scalar, raw_sql};
use uuid::Uuid;

use super::{Fault, marked, notes, reviewers};
use crate::contract::message::Outgoing;
use crate::domain::exception::Exception;
use crate::domain::ids::{Digest, ExceptionId, TicketId};
use crate::domain::ticket::Ticket;
use crate::store::rows;
use crate::store::{EventKey, NewParked, ParkedRow, Seen, Snapshot, Waiting, Wanted};

/// One message. The lock is a statement of its own: only what is read after it is safe from other writers. An epoch is 15 days.
const BEGIN: &str =
    concat!("BEGIN; ", write_lock!(), "; SELECT now(), floor(extract(epoch FROM now()) / 1296000)::bigint");

const SEEN: &str = "SELECT key, digest, outcome = 'failed' FROM inbox WHERE key = ANY($1::uuid[])";

const CONFLICTS: &str = "\
SELECT event_key, digest FROM failures WHERE event_key = ANY($1::uuid[]) AND digest = ANY($2::uuid[])";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = ANY($1::text[])";

const TICKETS: &str = "\
SELECT id, earliest_due_date, approved, last_event_at FROM tickets WHERE id = ANY($1::text[])";

/// The first condition is that of the partial index. Only keys: most of these exceptions are loaded already.
const LIVE: &str = "\
SELECT key FROM exceptions WHERE ticket_id = ANY($1::text[]) AND status IN ('requested', 'under_review')
UNION ALL
SELECT key FROM exceptions WHERE ticket_id = ANY($1::text[]) AND enforcement IN ('pending', 'in_force')";

const EXCEPTIONS_BY_KEY: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE key = ANY($1::bigint[])";

/// Sorted here and not there: asked for the order, a server with a small table would read all of it in that order.
const PARKED: &str = "\
SELECT id, exception_id, event_key, parked_at, expires_at, properties, body
FROM parked WHERE exception_id = ANY($1::text[])";

const EXPIRED: &str = "\
SELECT id, exception_id, event_key, parked_at, expires_at, properties, body
FROM parked WHERE expires_at <= now() ORDER BY expires_at, id LIMIT $1::bigint";

const PARKED_COUNT: &str = "SELECT count(*) FROM parked";

const PARKED_FOR: &str = "\
SELECT exception_id, count(*), sum(octet_length(body))::bigint FROM parked WHERE exception_id = ANY($1::text[]) GROUP BY exception_id";

/// A term further ahead than any that is given was written by a clock that has jumped. The rows are an array, not a join:
/// how many they will be is not known when the plan is made.
const CLAIM: &str = "\
UPDATE outbox SET free_at = now() + interval '15 seconds', attempts = least(attempts + 1, 32767)
WHERE id = ANY(ARRAY(
  SELECT id FROM outbox WHERE free_at <= now() OR free_at > now() + interval '30 seconds' ORDER BY id LIMIT $1::bigint
))
RETURNING id, body";

/// Every statement of this file that is prepared.
pub(super) const STATEMENTS: &[&str] =
    &[SEEN, CONFLICTS, EXCEPTIONS, TICKETS, LIVE, EXCEPTIONS_BY_KEY, PARKED, EXPIRED, PARKED_COUNT, PARKED_FOR, CLAIM];

/// What was read, and what the second half needs of it.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// Our keys of the exceptions in the snapshot: what is not here is new.
    pub(super) keys: BTreeMap<ExceptionId, i64>,
    /// The number of the 15 days it is, by the database's clock.
    pub(super) epoch: i64,
    /// How many parked events were found expired.
    pub(super) expired: usize,
}

/// What [`exception`] reads; a row may have more columns after these.
pub(super) type ExceptionRow = (i64, String, String, i32, i32, i32, Vec<u8>, String);
type ParkedColumns = (i64, String, Uuid, DateTime<Utc>, DateTime<Utc>, String, Vec<u8>);

/// Begins the transaction and reads.
pub(super) async fn load(connection: &mut PgConnection, wanted: &Wanted) -> Result<Loaded, Fault> {
    let begun = raw_sql(BEGIN).fetch_all(&mut *connection).await?;
    let clock = begun.last().ok_or(sqlx::Error::RowNotFound)?;
    let mut loaded = Loaded {
        snapshot: Snapshot { database_time: clock.try_get(0)?, ..Snapshot::default() },
        keys: BTreeMap::new(),
        epoch: clock.try_get(1)?,
        expired: 0,
    };
    read_seen(connection, wanted, &mut loaded.snapshot.seen).await?;
    read_exceptions(connection, wanted, &mut loaded).await?;
    read_parked(connection, wanted, &mut loaded).await?;
    loaded.snapshot.marked = marked::read(connection, &wanted.failures).await?;
    loaded.snapshot.notes = notes::read(connection, &wanted.notes).await?;
    loaded.snapshot.load = reviewers::read(connection, wanted.load_of(loaded.snapshot.exceptions.values())).await?;
    loaded.snapshot.claimed = claim(connection, wanted.claims_max).await?;
    Ok(loaded)
}

async fn read_seen(
    connection: &mut PgConnection,
    wanted: &Wanted,
    seen: &mut BTreeMap<EventKey, Seen>,
) -> Result<(), Fault> {
    if wanted.events.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = wanted.events.keys().map(uuid).collect();
    let rows: Vec<(Uuid, Uuid, bool)> = query_as(SEEN).bind(keys).fetch_all(&mut *connection).await?;
    seen.extend(rows.into_iter().map(|(key, digest, failed)| {
        let digest = Digest(digest.into_bytes());
        (Digest(key.into_bytes()), Seen { digest, failed, conflicts: BTreeSet::new() })
    }));

    let others = seen.iter().flat_map(|(key, row)| {
        let wanted = wanted.events.get(key).into_iter().flatten();
        wanted.filter(|digest| **digest != row.digest).map(|digest| (uuid(key), uuid(digest)))
    });
    let (keys, digests): (Vec<Uuid>, Vec<Uuid>) = others.unzip();
    if keys.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Uuid, Uuid)> = query_as(CONFLICTS).bind(keys).bind(digests).fetch_all(connection).await?;
    for (key, digest) in rows {
        let (key, digest) = (Digest(key.into_bytes()), Digest(digest.into_bytes()));
        let is_wanted = wanted.events.get(&key).is_some_and(|digests| digests.contains(&digest));
        if let Some(row) = seen.get_mut(&key).filter(|row| is_wanted && row.digest != digest) {
            row.conflicts.insert(digest);
        }
    }
    Ok(())
}

/// The wanted exceptions, then their tickets and the wanted ones, then what else lives on those.
async fn read_exceptions(connection: &mut PgConnection, wanted: &Wanted, loaded: &mut Loaded) -> Result<(), Fault> {
    if !wanted.exceptions.is_empty() {
        let ids: Vec<&str> = wanted.exceptions.iter().map(ExceptionId::as_str).collect();
        let rows: Vec<ExceptionRow> = query_as(EXCEPTIONS).bind(ids).fetch_all(&mut *connection).await?;
        rows.into_iter().try_for_each(|row| loaded.take_exception(row))?;
    }
    let snapshot = &mut loaded.snapshot;
    let found = snapshot.exceptions.values().map(|exception| exception.ticket_id.as_str());
    let tickets: BTreeSet<&str> = found.chain(wanted.tickets.iter().map(TicketId::as_str)).collect();
    if tickets.is_empty() {
        return Ok(());
    }
    let tickets: Vec<&str> = tickets.into_iter().collect();
    let rows: Vec<(String, NaiveDate, i32, Option<DateTime<Utc>>)> =
        query_as(TICKETS).bind(&tickets).fetch_all(&mut *connection).await?;
    for (id, earliest_due_date, approved, last_event_at) in rows {
        let id = TicketId::parse(&id).map_err(|error| Fault::unreadable("ticket", &id, &error))?;
        let approved = rows::count("ticket", id.as_str(), approved.into())?;
        snapshot.tickets.insert(id.clone(), Ticket { id, earliest_due_date, approved, last_event_at });
    }

    let live: Vec<i64> = query_scalar(LIVE).bind(&tickets).fetch_all(&mut *connection).await?;
    let known: BTreeSet<i64> = loaded.keys.values().copied().collect();
    let missing: BTreeSet<i64> = live.into_iter().filter(|key| !known.contains(key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<i64> = missing.into_iter().collect();
    let rows: Vec<ExceptionRow> = query_as(EXCEPTIONS_BY_KEY).bind(missing).fetch_all(connection).await?;
    rows.into_iter().try_for_each(|row| loaded.take_exception(row))
}

async fn read_parked(connection: &mut PgConnection, wanted: &Wanted, loaded: &mut Loaded) -> Result<(), Fault> {
    let mut rows = BTreeMap::new();
    if !wanted.submitted.is_empty() {
        let ids: Vec<&str> = wanted.submitted.iter().map(ExceptionId::as_str).collect();
        let found: Vec<ParkedColumns> = query_as(PARKED).bind(ids).fetch_all(&mut *connection).await?;
        rows.extend(found.into_iter().map(|row| (row.0, row)));
    }
    if wanted.expired_max > 0 {
        let most = i64::try_from(wanted.expired_max).unwrap_or(i64::MAX);
        let found: Vec<ParkedColumns> = query_as(EXPIRED).bind(most).fetch_all(&mut *connection).await?;
        loaded.expired = found.len();
        rows.extend(found.into_iter().map(|row| (row.0, row)));
    }
    let snapshot = &mut loaded.snapshot;
    snapshot.parked = rows.into_values().map(parked).collect::<Result<_, _>>()?;
    // A submission is missing by nature; what may park is anything else that names nothing.
    let missing = |id: &&ExceptionId| !snapshot.exceptions.contains_key(id) && !wanted.submitted.contains(id);
    let missing: Vec<&str> = wanted.exceptions.iter().filter(missing).map(ExceptionId::as_str).collect();
    if !missing.is_empty() {
        let count: i64 = query_scalar(PARKED_COUNT).fetch_one(&mut *connection).await?;
        snapshot.parked_count = u64::try_from(count).unwrap_or(0);
        let counts: Vec<(String, i64, i64)> = query_as(PARKED_FOR).bind(missing).fetch_all(connection).await?;
        for (id, events, bytes) in counts {
            let id = ExceptionId::parse(&id).map_err(|error| Fault::unreadable("parked event", &id, &error))?;
            let count = |value| u64::try_from(value).unwrap_or(0);
            snapshot.parked_for.insert(id, Waiting { events: count(events), bytes: count(bytes) });
        }
    }
    Ok(())
}

async fn claim(connection: &mut PgConnection, most: usize) -> Result<Vec<Outgoing>, Fault> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows: Vec<(i64, String)> = query_as(CLAIM).bind(most).fetch_all(connection).await?;
    rows.sort_unstable_by_key(|(id, _)| *id);
    Ok(rows.into_iter().map(|(id, body)| Outgoing { id, body }).collect())
}

impl Loaded {
    fn take_exception(&mut self, row: ExceptionRow) -> Result<(), Fault> {
        let (key, exception) = exception(row)?;
        self.keys.insert(exception.id.clone(), key);
        self.snapshot.exceptions.insert(exception.id.clone(), exception);
        Ok(())
    }
}

/// One stored exception with our key.
pub(super) fn exception(row: ExceptionRow) -> Result<(i64, Exception), Fault> {
    let (key, id, ticket_id, revision, sequence, entries, head, document) = row;
    let (revision, sequence, entries) = (revision.into(), sequence.into(), entries.into());
    Ok(rows::exception(rows::ExceptionRow { key, id, ticket_id, revision, sequence, entries, head, document })?)
}

fn parked(row: ParkedColumns) -> Result<ParkedRow, Fault> {
    let (id, exception_id, event_key, parked_at, expires_at, stored, body) = row;
    let name = id.to_string();
    let event = NewParked {
        exception_id: ExceptionId::parse(&exception_id)
            .map_err(|error| Fault::unreadable("parked event", &name, &error))?,
        event_key: Digest(event_key.into_bytes()),
        parked_at,
        expires_at,
        properties: rows::properties("parked event", &id, &stored),
        body,
    };
    Ok(ParkedRow { id, event })
}

pub(super) fn uuid(digest: &Digest) -> Uuid {
    Uuid::from_bytes(digest.0)
}
