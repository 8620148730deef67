//! What is changed at the desk: the state of a failure, and by an edit a new failure beside the old one. Each is one short
//! transaction under the write lock.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as, raw_sql};
use uuid::Uuid;

use super::super::Fault;
use super::super::read::uuid;
use super::look::{self, by_filter, matching};
use crate::domain::dates::Timestamp;
use crate::domain::ids::ExceptionId;
use crate::store::desk::{
    Cursor, Edit, Edited, FailureState, Filter, Limit, Mark, New, Old, Same, Step, state, unsigned,
};
use crate::store::rows::properties;

/// The lock of every turn.
const BEGIN: &str = concat!("BEGIN READ WRITE; ", write_lock!());

const THESE: &str = "UPDATE failures SET state = $1::text WHERE id = ANY($2::uuid[]) AND state = ANY($3::text[])";

/// The rows are found in their order, so that a broken row of steps can be begun again where it broke.
const NEXT: &str = concat!(
    "WITH step AS (
  SELECT f.id, f.received_at FROM failures AS f WHERE ",
    matching!(),
    "
  AND f.state = ANY($8::text[])
  AND ($9::timestamptz IS NULL OR (f.received_at, f.id) > ($9::timestamptz, $10::uuid))
  ORDER BY f.received_at, f.id LIMIT $11::bigint
), marked AS (
  UPDATE failures SET state = $12::text WHERE id = ANY(ARRAY(SELECT id FROM step)) RETURNING id
)
SELECT received_at, id, (SELECT count(*) FROM marked) FROM step ORDER BY received_at DESC, id DESC LIMIT 1"
);

const OLD: &str = "SELECT state, reason, properties FROM failures WHERE id = $1::uuid";

const SAME: &str = "SELECT id, edited_from FROM failures WHERE event_key = $1::uuid AND digest = $2::uuid";

/// What was wrong is what was wrong before: nobody has looked at the new bytes yet.
const INSERT: &str = "\
INSERT INTO failures (
  id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, state, received_at,
  properties, body, edited_from)
SELECT
  $1::uuid, $2::uuid, $3::uuid, f.reason, f.message, f.fingerprint, $4::text, $5::text, $6::text, $7::text, 'retrying', now(),
  $8::text, $9::bytea, f.id
FROM failures AS f WHERE f.id = $10::uuid";

/// Every statement of this file that is prepared.
pub(super) const STATEMENTS: &[&str] = &[THESE, NEXT, OLD, SAME, INSERT];

pub(super) async fn these(
    connection: &mut PgConnection,
    mark: Mark,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, FailureState)>, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let found = look::states(connection, ids).await?;
    query(THESE).bind(mark.makes().word()).bind(ids).bind(takes(mark)).execute(&mut *connection).await?;
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    Ok(found)
}

fn takes(mark: Mark) -> Vec<&'static str> {
    mark.takes().iter().map(|state| state.word()).collect()
}

pub(super) async fn next(
    connection: &mut PgConnection,
    mark: Mark,
    filter: &Filter,
    after: Option<Cursor>,
    limit: Limit,
) -> Result<Step, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let last: Option<(Timestamp, Uuid, i64)> = by_filter(query_as(NEXT), filter)
        .bind(takes(mark))
        .bind(after.map(|cursor| cursor.received_at))
        .bind(after.map(|cursor| cursor.id))
        .bind(limit.get())
        .bind(mark.makes().word())
        .fetch_optional(&mut *connection)
        .await?;
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    Ok(last.map_or(Step { changed: 0, next: None }, |(received_at, id, changed)| Step {
        changed: unsigned(changed),
        next: (changed >= limit.get()).then_some(Cursor { received_at, id }),
    }))
}

pub(super) async fn edit(connection: &mut PgConnection, id: Uuid, edit: &Edit) -> Result<Edited, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let edited = place(connection, id, edit).await?;
    let end = if matches!(edited, Edited::Made(..)) { "COMMIT" } else { "ROLLBACK" };
    raw_sql(end).execute(connection).await.map_err(Fault::Commit)?;
    Ok(edited)
}

async fn place(connection: &mut PgConnection, id: Uuid, edit: &Edit) -> Result<Edited, Fault> {
    let row: Option<(String, String, String)> = query_as(OLD).bind(id).fetch_optional(&mut *connection).await?;
    let Some((word, reason, stored)) = row else { return Ok(Edited::Unknown) };
    let old = Old { id, state: state(id, &word)?, reason, properties: properties("failure", &id, &stored) };
    let new = match New::of(edit, &old) {
        Ok(new) => new,
        Err(edited) => return Ok(edited),
    };
    let (key, digest) = (uuid(&new.inbound.key), uuid(&new.inbound.digest));
    let same: Option<(Uuid, Option<Uuid>)> =
        query_as(SAME).bind(key).bind(digest).fetch_optional(&mut *connection).await?;
    let same = same.map(|(id, edited_from)| Same { id, edited_from });
    if let Some(edited) = New::against(&old, same.as_ref()) {
        return Ok(edited);
    }
    let properties = serde_json::to_string(&new.properties).map_err(|error| Fault::Contradiction(error.to_string()))?;
    query(INSERT)
        .bind(new.id)
        .bind(key)
        .bind(digest)
        .bind(&new.inbound.source)
        .bind(&new.inbound.id)
        .bind(new.inbound.event_type.as_deref())
        .bind(new.inbound.exception_id.as_ref().map(ExceptionId::as_str))
        .bind(properties)
        .bind(&edit.body)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let discarded = FailureState::Discarded.word();
    query(THESE).bind(discarded).bind(vec![id]).bind(takes(Mark::Retry)).execute(connection).await?;
    Ok(new.made())
}
