//! What is asked at the desk. Every list has an end, by rows and by the bytes it carries.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryAs;
use sqlx::{Postgres, query_as, query_scalar};
use uuid::Uuid;

use super::super::Fault;
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
use crate::store::desk::{
    self, Cursor, FailureState, Filter, FilterCount, Group, Limit, OutboxState, PAGE_BYTES_MAX, Page, ParkedColumns,
    ParkedEvent, StoredFailure, page, state, unsigned,
};
use crate::store::rows::properties;

/// What a failure has to be, by the first seven parameters; `NULL`, or an empty list, asks nothing.
macro_rules! matching {
    () => {
        "\
(cardinality($1::text[]) = 0 OR f.state = ANY($1::text[]))
AND ($2::text IS NULL OR f.reason = $2::text)
AND ($3::text IS NULL OR f.event_type = $3::text)
AND ($4::text IS NULL OR f.fingerprint = $4::text)
AND ($5::text IS NULL OR f.exception_id = $5::text)
AND ($6::timestamptz IS NULL OR f.received_at >= $6::timestamptz)
AND ($7::timestamptz IS NULL OR f.received_at < $7::timestamptz)"
    };
}
pub(super) use matching;

macro_rules! columns {
    () => {
        "\
f.id, f.state, f.reason, f.message, f.fingerprint, f.source, f.event_id, f.event_type, f.exception_id, f.attempts,
f.outcome, f.code, f.received_at, f.edited_from,
(SELECT e.id FROM failures AS e WHERE e.edited_from = f.id ORDER BY e.received_at DESC, e.id DESC LIMIT 1) AS edited_to,
f.properties, substr(f.body, 1, 262144) AS body, octet_length(f.body)::bigint AS body_bytes"
    };
}

/// The rows are found first and their bodies fetched last, as many as fit; the first always does. `found` is one more than was
/// asked for if there is more. A body's length is known without reading it.
const FAILURES: &str = concat!(
    "SELECT ",
    columns!(),
    ", p.found
FROM (
  SELECT
    f.id, count(*) OVER () AS found, row_number() OVER (ORDER BY f.received_at DESC, f.id DESC) AS place,
    sum(least(octet_length(f.body), 262144)) OVER (ORDER BY f.received_at DESC, f.id DESC)
      - least(octet_length(f.body), 262144) AS bytes_before
  FROM (
    SELECT f.id, f.received_at, f.body FROM failures AS f WHERE ",
    matching!(),
    "
    AND ($8::timestamptz IS NULL OR (f.received_at, f.id) < ($8::timestamptz, $9::uuid))
    ORDER BY f.received_at DESC, f.id DESC LIMIT $10::bigint + 1
  ) AS f
) AS p
JOIN failures AS f ON f.id = p.id
WHERE p.bytes_before < $11::bigint AND p.place <= $10::bigint
ORDER BY p.place"
);

const BODY: &str = "SELECT body FROM failures WHERE id = $1::uuid";

const FAILURE: &str = concat!("SELECT ", columns!(), ", 1::bigint AS found FROM failures AS f WHERE f.id = $1::uuid");

const GROUPS: &str = concat!(
    "SELECT g.fingerprint, x.reason, g.count, g.first_at, g.last_at, x.id
FROM (
  SELECT f.fingerprint, count(*) AS count, min(f.received_at) AS first_at, max(f.received_at) AS last_at
  FROM failures AS f WHERE ",
    matching!(),
    "
  GROUP BY f.fingerprint ORDER BY count(*) DESC, f.fingerprint LIMIT $8::bigint
) AS g
CROSS JOIN LATERAL (
  SELECT f.id, f.reason FROM failures AS f WHERE ",
    matching!(),
    "
  AND f.fingerprint = g.fingerprint AND f.received_at = g.last_at ORDER BY f.id DESC LIMIT 1
) AS x
ORDER BY g.count DESC, g.fingerprint"
);

const COUNT: &str = concat!("SELECT count(*), now() FROM failures AS f WHERE ", matching!());

const STATES: &str = "SELECT id, state FROM failures WHERE id = ANY($1::uuid[]) ORDER BY id";

const PARKED: &str = "\
SELECT id, exception_id, parked_at, expires_at, properties, body, found
FROM (
  SELECT
    p.*, count(*) OVER () AS found, row_number() OVER (ORDER BY p.id) AS place,
    sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS bytes_before
  FROM (
    SELECT id, exception_id, parked_at, expires_at, properties, body FROM parked
    WHERE ($1::text IS NULL OR exception_id = $1::text) AND ($2::bigint IS NULL OR id > $2::bigint)
    ORDER BY id LIMIT $3::bigint + 1
  ) AS p
) AS p
WHERE p.bytes_before < $4::bigint AND p.place <= $3::bigint
ORDER BY p.place";

const OUTBOX: &str = "\
SELECT
  count(*), count(*) FILTER (WHERE unroutable), floor(extract(epoch FROM now() - min(created_at)))::bigint
FROM outbox";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[FAILURES, FAILURE, BODY, GROUPS, COUNT, STATES, PARKED, OUTBOX];

type Rows<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

/// Binds the first seven parameters.
pub(super) fn by_filter<'q, T>(query: Rows<'q, T>, filter: &'q Filter) -> Rows<'q, T> {
    query
        .bind(filter.states.iter().map(|state| state.word()).collect::<Vec<_>>())
        .bind(filter.reason.as_deref())
        .bind(filter.event_type.as_deref())
        .bind(filter.fingerprint.as_deref())
        .bind(filter.exception_id.as_ref().map(ExceptionId::as_str))
        .bind(filter.since)
        .bind(filter.until)
}

pub(super) async fn failures(
    connection: &mut PgConnection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: Limit,
) -> Result<Page<StoredFailure, Cursor>, Fault> {
    let rows: Vec<FailureRow> = by_filter(query_as(FAILURES), filter)
        .bind(after.map(|cursor| cursor.received_at))
        .bind(after.map(|cursor| cursor.id))
        .bind(limit.get())
        .bind(PAGE_BYTES_MAX)
        .fetch_all(connection)
        .await?;
    let found = rows.first().map(|row| row.found);
    let items = rows.into_iter().map(FailureRow::stored).collect::<Result<_, _>>()?;
    Ok(page(items, found, |last: &StoredFailure| Cursor { received_at: last.received_at, id: last.id }))
}

pub(super) async fn failure(connection: &mut PgConnection, id: Uuid) -> Result<Option<StoredFailure>, Fault> {
    let row: Option<FailureRow> = query_as(FAILURE).bind(id).fetch_optional(connection).await?;
    row.map(FailureRow::stored).transpose()
}

pub(super) async fn body(connection: &mut PgConnection, id: Uuid) -> Result<Option<Vec<u8>>, Fault> {
    Ok(query_scalar(BODY).bind(id).fetch_optional(connection).await?)
}

pub(super) async fn groups(connection: &mut PgConnection, filter: &Filter, limit: Limit) -> Result<Vec<Group>, Fault> {
    type Row = (String, String, i64, DateTime<Utc>, DateTime<Utc>, Uuid);
    let rows: Vec<Row> = by_filter(query_as(GROUPS), filter).bind(limit.get()).fetch_all(connection).await?;
    let group = |(fingerprint, reason, count, first_at, last_at, example)| Group {
        fingerprint,
        reason,
        count: unsigned(count),
        first_at,
        last_at,
        example,
    };
    Ok(rows.into_iter().map(group).collect())
}

pub(super) async fn count(connection: &mut PgConnection, filter: &Filter) -> Result<FilterCount, Fault> {
    let (count, as_of) = by_filter(query_as(COUNT), filter).fetch_one(connection).await?;
    Ok(FilterCount { count: unsigned(count), as_of })
}

pub(super) async fn states(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, Fault> {
    let rows: Vec<(Uuid, String)> = query_as(STATES).bind(ids).fetch_all(connection).await?;
    rows.into_iter().map(|(id, word)| Ok((id, state(id, &word)?))).collect()
}

pub(super) async fn parked(
    connection: &mut PgConnection,
    exception: Option<&ExceptionId>,
    after: Option<ParkedId>,
    limit: Limit,
) -> Result<Page<ParkedEvent, ParkedId>, Fault> {
    let rows: Vec<ParkedRow> = query_as(PARKED)
        .bind(exception.map(ExceptionId::as_str))
        .bind(after)
        .bind(limit.get())
        .bind(PAGE_BYTES_MAX)
        .fetch_all(connection)
        .await?;
    let found = rows.first().map(|row| row.found);
    Ok(page(rows.into_iter().map(ParkedRow::event).collect(), found, |last| last.id))
}

pub(in crate::store::postgres) async fn outbox(connection: &mut PgConnection) -> Result<OutboxState, Fault> {
    let (pending, unroutable, oldest): (i64, i64, Option<i64>) = query_as(OUTBOX).fetch_one(connection).await?;
    let oldest_age_s = oldest.map(unsigned);
    Ok(OutboxState { pending: unsigned(pending), unroutable: unsigned(unroutable), oldest_age_s })
}

#[derive(sqlx::FromRow)]
struct FailureRow {
    id: Uuid,
    state: String,
    reason: String,
    message: String,
    fingerprint: String,
    source: String,
    event_id: String,
    event_type: Option<String>,
    exception_id: Option<String>,
    attempts: i32,
    outcome: Option<String>,
    code: Option<String>,
    received_at: DateTime<Utc>,
    edited_from: Option<Uuid>,
    edited_to: Option<Uuid>,
    properties: String,
    body: Vec<u8>,
    body_bytes: i64,
    found: i64,
}

impl FailureRow {
    fn stored(self) -> Result<StoredFailure, Fault> {
        Ok(StoredFailure {
            id: self.id,
            state: state(self.id, &self.state)?,
            reason: self.reason,
            message: self.message,
            fingerprint: self.fingerprint,
            source: self.source,
            event_id: self.event_id,
            event_type: self.event_type,
            exception_id: self.exception_id,
            attempts: u32::try_from(self.attempts).unwrap_or(0),
            outcome: self.outcome,
            code: self.code,
            received_at: self.received_at,
            edited_from: self.edited_from,
            edited_to: self.edited_to,
            properties: properties("failure", &self.id, &self.properties),
            body: self.body,
            body_bytes: unsigned(self.body_bytes),
        })
    }
}

#[derive(sqlx::FromRow)]
struct ParkedRow {
    id: i64,
    exception_id: String,
    parked_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    properties: String,
    body: Vec<u8>,
    found: i64,
}

impl ParkedRow {
    fn event(self) -> ParkedEvent {
        let Self { id, exception_id, parked_at, expires_at, properties, body, found: _ } = self;
        desk::parked(ParkedColumns { id, exception_id, parked_at, expires_at, properties, body })
    }
}
