//! What is asked at the desk. Every list has an end, by rows and by the bytes it carries.

use chrono::Utc;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row as _, Sqlite, query, query_as, query_scalar};
use uuid::Uuid;

use super::super::Fault;
use super::super::values::{json, time};
use crate::domain::dates::{Timestamp, to_microseconds};
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
use crate::store::desk::{
    self, Cursor, FailureState, Filter, FilterCount, Group, Limit, OutboxState, PAGE_BYTES_MAX, Page, ParkedColumns,
    ParkedEvent, StoredFailure, page, state, unsigned,
};
use crate::store::rows::properties;

/// What a failure has to be, by the first nine parameters; `NULL` asks nothing. The part of the list is between two places that
/// are not in it, always given, so that an index leads to it; and if one state is meant, an index leads to its failures.
macro_rules! matching {
    (one) => {
        concat!("f.state = ?1", matching!())
    };
    (any) => {
        concat!("(?1 = '' OR instr(?1, ' ' || f.state || ' '))", matching!())
    };
    () => {
        "
AND (?2 IS NULL OR f.reason = ?2)
AND (?3 IS NULL OR f.event_type = ?3)
AND (?4 IS NULL OR f.fingerprint = ?4)
AND (?5 IS NULL OR f.exception_id = ?5)
AND (f.received_at, f.id) > (?6, ?7)
AND (f.received_at, f.id) < (?8, ?9)"
    };
}
pub(super) use matching;

/// One statement for one state, one for none or several.
pub(super) struct ByState {
    pub(super) one: &'static str,
    pub(super) any: &'static str,
}

impl ByState {
    pub(super) fn of(&self, filter: &Filter) -> &'static str {
        if filter.states.len() == 1 { self.one } else { self.any }
    }
}

macro_rules! by_state {
    ($statement:ident) => {
        ByState { one: $statement!(one), any: $statement!(any) }
    };
}
pub(super) use by_state;

macro_rules! columns {
    () => {
        "\
f.id, f.state, f.reason, f.message, f.fingerprint, f.source, f.event_id, f.event_type, f.exception_id, f.attempts,
f.outcome, f.code, f.received_at, f.edited_from,
(SELECT e.id FROM failures AS e WHERE e.edited_from = f.id ORDER BY e.received_at DESC, e.id DESC LIMIT 1) AS edited_to,
f.properties, substr(f.body, 1, 262144) AS body, octet_length(f.body) AS body_bytes"
    };
}

/// The rows are found first and their bodies fetched last, as many as fit; the first always does. `found` is one more than was
/// asked for if there is more. A body's length is known without reading it.
macro_rules! failures {
    ($states:ident) => {
        concat!(
            "SELECT ",
            columns!(),
            ", p.found
FROM (
  SELECT
    s.key, count(*) OVER () AS found, row_number() OVER (ORDER BY s.received_at DESC, s.id DESC) AS place,
    sum(s.bytes) OVER (ORDER BY s.received_at DESC, s.id DESC) - s.bytes AS bytes_before
  FROM (
    SELECT f.rowid AS key, f.received_at, f.id, min(octet_length(f.body), 262144) AS bytes FROM failures AS f WHERE ",
            matching!($states),
            "
    ORDER BY f.received_at DESC, f.id DESC LIMIT ?10 + 1
  ) AS s
) AS p
CROSS JOIN failures AS f ON f.rowid = p.key
WHERE p.bytes_before < ?11 AND p.place <= ?10
ORDER BY p.place"
        )
    };
}
const FAILURES: ByState = by_state!(failures);

const BODY: &str = "SELECT body FROM failures WHERE id = ?1";

const FAILURE: &str = concat!("SELECT ", columns!(), " FROM failures AS f WHERE f.id = ?1");

macro_rules! groups {
    ($states:ident) => {
        concat!(
            "SELECT g.fingerprint, x.reason, g.count, g.first_at, g.last_at, x.id
FROM (
  SELECT f.fingerprint, count(*) AS count, min(f.received_at) AS first_at, max(f.received_at) AS last_at
  FROM failures AS f WHERE ",
            matching!($states),
            "
  GROUP BY f.fingerprint ORDER BY count(*) DESC, f.fingerprint LIMIT ?10
) AS g
CROSS JOIN failures AS x ON x.rowid = (
  SELECT f.rowid FROM failures AS f WHERE ",
            matching!($states),
            "
  AND f.fingerprint = g.fingerprint AND f.received_at = g.last_at ORDER BY f.id DESC LIMIT 1
)
ORDER BY g.count DESC, g.fingerprint"
        )
    };
}
const GROUPS: ByState = by_state!(groups);

macro_rules! count {
    ($states:ident) => {
        concat!("SELECT count(*) FROM failures AS f WHERE ", matching!($states))
    };
}
const COUNT: ByState = by_state!(count);

const STATES: &str = "\
SELECT id, state FROM failures WHERE id IN (SELECT unhex(value) FROM json_each(?1)) ORDER BY id";

macro_rules! parked {
    ($of:literal) => {
        concat!(
            "SELECT e.id, e.exception_id, e.parked_at, e.expires_at, e.properties, e.body, p.found
FROM (
  SELECT
    s.id, count(*) OVER () AS found, row_number() OVER (ORDER BY s.id) AS place,
    sum(s.bytes) OVER (ORDER BY s.id) - s.bytes AS bytes_before
  FROM (
    SELECT id, octet_length(body) AS bytes FROM parked WHERE id > ?1",
            $of,
            " ORDER BY id LIMIT ?2 + 1
  ) AS s
) AS p
CROSS JOIN parked AS e ON e.id = p.id
WHERE p.bytes_before < ?3 AND p.place <= ?2
ORDER BY p.place"
        )
    };
}
const PARKED: &str = parked!("");
const PARKED_FOR: &str = parked!(" AND exception_id = ?4");

const OUTBOX: &str =
    "SELECT count(*), count(*) FILTER (WHERE unroutable), (?1 - min(created_at)) / 1000000 FROM outbox";

/// Every statement of this file.
pub(super) fn statements() -> impl Iterator<Item = &'static str> {
    let by_state = [FAILURES, GROUPS, COUNT].into_iter().flat_map(|it| [it.one, it.any]);
    by_state.chain([FAILURE, BODY, STATES, PARKED, PARKED_FOR, OUTBOX])
}

/// A place in the list: microseconds, then the id.
type Place = (i64, Uuid);

fn place(cursor: Cursor) -> Place {
    (cursor.received_at.timestamp_micros(), cursor.id)
}

/// The database's clock: the process's own, as fine as it is stored.
pub(super) fn now() -> Timestamp {
    to_microseconds(Utc::now())
}

/// One parameter for many words, none of which has a space: `instr(?, ' ' || word || ' ')`.
pub(super) fn words(states: &[FailureState]) -> String {
    states.iter().map(|state| format!(" {} ", state.word())).collect()
}

/// One parameter for many ids: `SELECT unhex(value) FROM json_each(?)`.
pub(super) fn hex(ids: &[Uuid]) -> Result<String, Fault> {
    json(&ids.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>())
}

type Statement = Query<'static, Sqlite, SqliteArguments>;

/// Binds the first nine parameters. What is meant stands between `above` and `below`, as far as they are given.
pub(super) fn by_filter(
    statement: &'static str,
    filter: &Filter,
    above: Option<Cursor>,
    below: Option<Cursor>,
) -> Statement {
    let since = filter.since.map(|since| (since.timestamp_micros().saturating_sub(1), Uuid::max()));
    let until = filter.until.map(|until| (until.timestamp_micros(), Uuid::nil()));
    let above = above.map(place).max(since).unwrap_or((i64::MIN, Uuid::nil()));
    let below = below.map(place).into_iter().chain(until).min().unwrap_or((i64::MAX, Uuid::max()));
    let states = match filter.states.as_slice() {
        [state] => state.word().to_owned(),
        states => words(states),
    };
    query(statement)
        .bind(states)
        .bind(filter.reason.clone())
        .bind(filter.event_type.clone())
        .bind(filter.fingerprint.clone())
        .bind(filter.exception_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(above.0)
        .bind(above.1)
        .bind(below.0)
        .bind(below.1)
}

pub(super) async fn failures(
    connection: &mut SqliteConnection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: Limit,
) -> Result<Page<StoredFailure, Cursor>, Fault> {
    let statement = by_filter(FAILURES.of(filter), filter, None, after);
    let rows = statement.bind(limit.get()).bind(PAGE_BYTES_MAX).fetch_all(connection).await?;
    let found = rows.first().map(|row| row.try_get("found")).transpose()?;
    let items = rows.iter().map(stored).collect::<Result<_, _>>()?;
    Ok(page(items, found, |last: &StoredFailure| Cursor { received_at: last.received_at, id: last.id }))
}

pub(super) async fn failure(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<StoredFailure>, Fault> {
    let row = query(FAILURE).bind(id).fetch_optional(connection).await?;
    row.as_ref().map(stored).transpose()
}

pub(super) async fn body(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<Vec<u8>>, Fault> {
    Ok(query_scalar(BODY).bind(id).fetch_optional(connection).await?)
}

pub(super) async fn groups(
    connection: &mut SqliteConnection,
    filter: &Filter,
    limit: Limit,
) -> Result<Vec<Group>, Fault> {
    let statement = by_filter(GROUPS.of(filter), filter, None, None);
    let rows = statement.bind(limit.get()).fetch_all(connection).await?;
    let group = |row: &SqliteRow| {
        let (fingerprint, reason, count, first_at, last_at, example) = FromRow::from_row(row)?;
        Ok(Group {
            fingerprint,
            reason,
            count: unsigned(count),
            first_at: time("failure", &example, first_at)?,
            last_at: time("failure", &example, last_at)?,
            example,
        })
    };
    rows.iter().map(group).collect()
}

pub(super) async fn count(connection: &mut SqliteConnection, filter: &Filter) -> Result<FilterCount, Fault> {
    // Before the count: what comes later was not counted, but for what came in this moment.
    let as_of = now();
    let row = by_filter(COUNT.of(filter), filter, None, None).fetch_one(connection).await?;
    Ok(FilterCount { count: unsigned(row.try_get(0)?), as_of })
}

pub(super) async fn states(
    connection: &mut SqliteConnection,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, FailureState)>, Fault> {
    let rows: Vec<(Uuid, String)> = query_as(STATES).bind(hex(ids)?).fetch_all(connection).await?;
    rows.into_iter().map(|(id, word)| Ok((id, state(id, &word)?))).collect()
}

pub(super) async fn parked(
    connection: &mut SqliteConnection,
    exception: Option<&ExceptionId>,
    after: Option<ParkedId>,
    limit: Limit,
) -> Result<Page<ParkedEvent, ParkedId>, Fault> {
    let statement = query(if exception.is_some() { PARKED_FOR } else { PARKED });
    let statement = statement.bind(after.unwrap_or(ParkedId::MIN)).bind(limit.get()).bind(PAGE_BYTES_MAX);
    let statement = match exception {
        Some(exception) => statement.bind(exception.as_str()),
        None => statement,
    };
    let rows = statement.fetch_all(connection).await?;
    let found = rows.first().map(|row| row.try_get("found")).transpose()?;
    Ok(page(rows.iter().map(waiting).collect::<Result<_, _>>()?, found, |last: &ParkedEvent| last.id))
}

pub(in crate::store::sqlite) async fn outbox(connection: &mut SqliteConnection) -> Result<OutboxState, Fault> {
    let now = now().timestamp_micros();
    let (pending, unroutable, oldest): (i64, i64, Option<i64>) =
        query_as(OUTBOX).bind(now).fetch_one(connection).await?;
    Ok(OutboxState { pending: unsigned(pending), unroutable: unsigned(unroutable), oldest_age_s: oldest.map(unsigned) })
}

fn stored(row: &SqliteRow) -> Result<StoredFailure, Fault> {
    let id = row.try_get("id")?;
    Ok(StoredFailure {
        id,
        state: state(id, row.try_get("state")?)?,
        reason: row.try_get("reason")?,
        message: row.try_get("message")?,
        fingerprint: row.try_get("fingerprint")?,
        source: row.try_get("source")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        exception_id: row.try_get("exception_id")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(0),
        outcome: row.try_get("outcome")?,
        code: row.try_get("code")?,
        received_at: time("failure", &id, row.try_get("received_at")?)?,
        edited_from: row.try_get("edited_from")?,
        edited_to: row.try_get("edited_to")?,
        properties: properties("failure", &id, row.try_get("properties")?),
        body: row.try_get("body")?,
        body_bytes: unsigned(row.try_get("body_bytes")?),
    })
}

fn waiting(row: &SqliteRow) -> Result<ParkedEvent, Fault> {
    let id: ParkedId = row.try_get("id")?;
    Ok(desk::parked(ParkedColumns {
        id,
        exception_id: row.try_get("exception_id")?,
        parked_at: time("parked event", &id, row.try_get("parked_at")?)?,
        expires_at: time("parked event", &id, row.try_get("expires_at")?)?,
        properties: row.try_get("properties")?,
        body: row.try_get("body")?,
    }))
}
