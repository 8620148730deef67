//! What is changed at the desk: the state of a failure, and by an edit a new failure beside the old one. Each is one short
//! transaction under the write lock, on a connection that ends with it.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, query, query_as, raw_sql};
use uuid::Uuid;

use super::super::Fault;
use super::super::values::time;
use super::look::{self, ByState, by_filter, by_state, hex, matching, now, words};
use crate::domain::ids::ExceptionId;
use crate::store::desk::{
    Cursor, Edit, Edited, FailureState, Filter, Limit, Mark, New, Old, Same, Step, state, unsigned,
};
use crate::store::rows::properties;

/// The lock of every turn, taken at once: whoever reads first and writes then may be refused for what came between.
const BEGIN: &str = "BEGIN IMMEDIATE";

const THESE: &str = "\
UPDATE failures SET state = ?1 WHERE id IN (SELECT unhex(value) FROM json_each(?2)) AND instr(?3, ' ' || state || ' ')";

/// The rows are found in their order, so that a broken row of steps can be begun again where it broke.
macro_rules! next {
    ($states:ident) => {
        concat!(
            "SELECT f.received_at, f.id FROM failures AS f WHERE ",
            matching!($states),
            "
AND instr(?10, ' ' || f.state || ' ')
ORDER BY f.received_at, f.id LIMIT ?11"
        )
    };
}
const NEXT: ByState = by_state!(next);

const OLD: &str = "SELECT state, reason, properties FROM failures WHERE id = ?1";

const SAME: &str = "SELECT id, edited_from FROM failures WHERE event_key = ?1 AND digest = ?2";

/// What was wrong is what was wrong before: nobody has looked at the new bytes yet.
const INSERT: &str = "\
INSERT INTO failures (
  id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, state, received_at,
  properties, body, edited_from)
SELECT ?1, ?2, ?3, f.reason, f.message, f.fingerprint, ?4, ?5, ?6, ?7, 'retrying', ?8, ?9, ?10, f.id
FROM failures AS f WHERE f.id = ?11";

/// Every statement of this file that is prepared.
pub(super) fn statements() -> impl Iterator<Item = &'static str> {
    [THESE, NEXT.one, NEXT.any, OLD, SAME, INSERT].into_iter()
}

pub(super) async fn these(
    connection: &mut SqliteConnection,
    mark: Mark,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, FailureState)>, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let found = look::states(connection, ids).await?;
    change(connection, mark.makes(), mark, ids).await?;
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    Ok(found)
}

/// Where the mark may be made; and how many that were.
async fn change(
    connection: &mut SqliteConnection,
    makes: FailureState,
    mark: Mark,
    ids: &[Uuid],
) -> Result<u64, Fault> {
    let changed = query(THESE).bind(makes.word()).bind(hex(ids)?).bind(words(mark.takes())).execute(connection).await?;
    Ok(changed.rows_affected())
}

pub(super) async fn next(
    connection: &mut SqliteConnection,
    mark: Mark,
    filter: &Filter,
    after: Option<Cursor>,
    limit: Limit,
) -> Result<Step, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let statement = by_filter(NEXT.of(filter), filter, after, None);
    let rows = statement.bind(words(mark.takes())).bind(limit.get()).fetch_all(&mut *connection).await?;
    let step = rows.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Uuid> = step.iter().map(|place| place.id).collect();
    let changed = change(connection, mark.makes(), mark, &ids).await?;
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    Ok(Step { changed, next: step.last().copied().filter(|_| changed >= unsigned(limit.get())) })
}

fn place(row: &SqliteRow) -> Result<Cursor, Fault> {
    let id = row.try_get("id")?;
    Ok(Cursor { received_at: time("failure", &id, row.try_get("received_at")?)?, id })
}

pub(super) async fn edit(connection: &mut SqliteConnection, id: Uuid, edit: &Edit) -> Result<Edited, Fault> {
    raw_sql(BEGIN).execute(&mut *connection).await?;
    let edited = put(connection, id, edit).await?;
    let end = if matches!(edited, Edited::Made(..)) { "COMMIT" } else { "ROLLBACK" };
    raw_sql(end).execute(connection).await.map_err(Fault::Commit)?;
    Ok(edited)
}

async fn put(connection: &mut SqliteConnection, id: Uuid, edit: &Edit) -> Result<Edited, Fault> {
    let row: Option<(String, String, String)> = query_as(OLD).bind(id).fetch_optional(&mut *connection).await?;
    let Some((word, reason, stored)) = row else { return Ok(Edited::Unknown) };
    let old = Old { id, state: state(id, &word)?, reason, properties: properties("failure", &id, &stored) };
    let new = match New::of(edit, &old) {
        Ok(new) => new,
        Err(edited) => return Ok(edited),
    };
    let (key, digest) = (Uuid::from_bytes(new.inbound.key.0), Uuid::from_bytes(new.inbound.digest.0));
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
        .bind(now().timestamp_micros())
        .bind(properties)
        .bind(&edit.body)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    change(connection, FailureState::Discarded, Mark::Retry, &[id]).await?;
    Ok(new.made())
}
