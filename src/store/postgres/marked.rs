//! Failures that an operator has marked to be tried again: which they are, and what became of them. Marking them is the
//! operator's desk.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::Fault;
use super::write::storable;
use crate::contract::message::Properties;
use crate::store::{FailureId, MARKED_BYTES_MAX, Mark, Marked, Retried};

/// The state is looked at here: with it as a condition, a server with few marked rows reads all of those.
const MARKED: &str = "SELECT id, state, reason, announced FROM failures WHERE id = ANY($1::uuid[])";

/// The length of a long body is known without reading it.
const NEXT: &str = "\
SELECT f.id, f.properties, f.body FROM (
  SELECT
    m.id, m.received_at, m.properties, m.body,
    sum(octet_length(m.body)) OVER (ORDER BY m.received_at, m.id) - octet_length(m.body) AS bytes_before
  FROM (
    SELECT id, received_at, properties, body FROM failures WHERE state = 'retrying' ORDER BY received_at, id LIMIT $1::bigint
  ) AS m
) AS f
WHERE f.bytes_before < $2::bigint
ORDER BY f.received_at, f.id";

/// Whatever an operator did meanwhile: the turn saw it marked, and nobody else ends a mark.
const RETRIED: &str = "\
UPDATE failures SET
  state = CASE WHEN r.reason IS NULL THEN 'resolved' ELSE 'open' END,
  attempts = failures.attempts + 1,
  reason = coalesce(r.reason, failures.reason),
  message = coalesce(r.message, failures.message),
  fingerprint = coalesce(r.fingerprint, failures.fingerprint),
  announced = CASE
    WHEN r.reason IS NULL OR r.reason = ANY(failures.announced) THEN failures.announced
    ELSE failures.announced || r.reason
  END
FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[]) AS r (id, reason, message, fingerprint)
WHERE failures.id = r.id AND failures.id = ANY($1::uuid[])";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[MARKED, NEXT, RETRIED];

/// Of these failures the ones that are still marked.
pub(super) async fn read(
    connection: &mut PgConnection,
    ids: &BTreeSet<FailureId>,
) -> Result<BTreeMap<FailureId, Mark>, Fault> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let rows: Vec<(Uuid, String, String, Vec<String>)> = query_as(MARKED).bind(ids).fetch_all(connection).await?;
    let marked = rows.into_iter().filter(|(_, state, ..)| state == "retrying");
    Ok(marked
        .map(|(id, _, reason, announced)| (id, Mark { reason, announced: announced.into_iter().collect() }))
        .collect())
}

/// The next marked failures, in the order in which they came.
pub(super) async fn next(connection: &mut PgConnection, most: usize) -> Result<Vec<Marked>, Fault> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, String, Vec<u8>)> = query_as(NEXT)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .bind(i64::try_from(MARKED_BYTES_MAX).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let marked = |(id, properties, body): (Uuid, String, _)| {
        let properties = serde_json::from_str(&properties).unwrap_or_else(|error| {
            // Without them it fails again, with its bytes. An error would stop every turn.
            tracing::error!(failure.id = %id, "the properties of failure {id} cannot be read: {error}");
            Properties::default()
        });
        Marked { id, properties, body }
    };
    Ok(rows.into_iter().map(marked).collect())
}

/// Writes what became of them.
pub(super) async fn write(connection: &mut PgConnection, retried: &[Retried]) -> Result<(), Fault> {
    if retried.is_empty() {
        return Ok(());
    }
    let again = || retried.iter().map(|retried| retried.again.as_ref());
    query(RETRIED)
        .bind(retried.iter().map(|retried| retried.id).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| again.reason)).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| storable(&again.message))).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| storable(&again.fingerprint))).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
