//! Failures that an operator has marked to be tried again: which they are, and what became of them. Marking them is the
//! operator's desk.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::Fault;
use crate::store::rows::{properties, storable};
use crate::store::{End, FailureId, LastFailure, MARKED_BYTES_MAX, Marked, Outcome, Retried};

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
  attempts = failures.attempts + (r.reason IS NOT NULL)::integer,
  outcome = r.outcome,
  code = r.code,
  reason = coalesce(r.reason, failures.reason),
  message = coalesce(r.message, failures.message),
  fingerprint = coalesce(r.fingerprint, failures.fingerprint),
  announced = CASE
    WHEN r.reason IS NULL OR r.reason = ANY(failures.announced) THEN failures.announced
    ELSE failures.announced || r.reason
  END
FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
  AS r (id, reason, message, fingerprint, outcome, code)
WHERE failures.id = r.id AND failures.id = ANY($1::uuid[])";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[MARKED, NEXT, RETRIED];

/// Of these failures the ones that are still marked.
pub(super) async fn read(
    connection: &mut PgConnection,
    ids: &BTreeSet<FailureId>,
) -> Result<BTreeMap<FailureId, LastFailure>, Fault> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let rows: Vec<(Uuid, String, String, Vec<String>)> = query_as(MARKED).bind(ids).fetch_all(connection).await?;
    let marked = rows.into_iter().filter(|(_, state, ..)| state == "retrying");
    Ok(marked
        .map(|(id, _, reason, announced)| (id, LastFailure { reason, announced: announced.into_iter().collect() }))
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
    let marked =
        |(id, stored, body): (Uuid, String, _)| Marked { id, properties: properties("failure", &id, &stored), body };
    Ok(rows.into_iter().map(marked).collect())
}

/// Writes what became of them.
pub(super) async fn write(connection: &mut PgConnection, retried: &[Retried]) -> Result<(), Fault> {
    if retried.is_empty() {
        return Ok(());
    }
    let again = || {
        retried.iter().map(|retried| match &retried.end {
            End::Again(again) => Some(again),
            End::Ended(_) => None,
        })
    };
    let ended = || {
        retried.iter().map(|retried| match retried.end {
            End::Ended(Outcome::Applied) => (Some("applied"), None),
            End::Ended(Outcome::Refused(code)) => (Some("refused"), Some(code)),
            End::Ended(Outcome::Parked) => (Some("parked"), None),
            End::Ended(Outcome::Repeated) => (Some("repeated"), None),
            End::Ended(Outcome::Failed(_)) | End::Again(_) => (None, None),
        })
    };
    query(RETRIED)
        .bind(retried.iter().map(|retried| retried.id).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| again.reason)).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| storable(&again.message))).collect::<Vec<_>>())
        .bind(again().map(|again| again.map(|again| storable(&again.fingerprint))).collect::<Vec<_>>())
        .bind(ended().map(|(outcome, _)| outcome).collect::<Vec<_>>())
        .bind(ended().map(|(_, code)| code).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
