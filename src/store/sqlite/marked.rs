//! Failures that an operator has marked to be tried again: which they are, and what became of them. Marking them is the
//! operator's desk.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};
use uuid::Uuid;
use uuid::fmt::Simple;

use super::Fault;
use super::values::{digest, json, limit};
use crate::store::rows::{properties, storable};
use crate::store::{End, FailureId, LastFailure, MARKED_BYTES_MAX, Marked, Outcome, Retried};

const MARKED: &str = "\
SELECT id, state, reason, announced FROM failures WHERE id IN (SELECT unhex(value) FROM json_each(?1))";

/// The length of a long body is known without reading it.
const NEXT: &str = "\
SELECT id, octet_length(body) FROM failures WHERE state = 'retrying' ORDER BY received_at, id LIMIT ?1";

const BODY: &str = "SELECT properties, body FROM failures WHERE id = ?1";

/// Whatever an operator did meanwhile: the turn saw it marked, and nobody else ends a mark.
const RETRIED: &str = "\
UPDATE failures SET
  state = iif(r.value ->> 'reason' IS NULL, 'resolved', 'open'),
  attempts = attempts + (r.value ->> 'reason' IS NOT NULL),
  outcome = r.value ->> 'outcome',
  code = r.value ->> 'code',
  reason = coalesce(r.value ->> 'reason', reason),
  message = coalesce(r.value ->> 'message', message),
  fingerprint = coalesce(r.value ->> 'fingerprint', fingerprint),
  announced = CASE
    WHEN r.value ->> 'reason' IS NULL THEN announced
    WHEN instr(' ' || announced || ' ', ' ' || (r.value ->> 'reason') || ' ') > 0 THEN announced
    ELSE ltrim(announced || ' ' || (r.value ->> 'reason'))
  END
FROM jsonb_each(?1) AS r WHERE failures.id = unhex(r.value ->> 'id')";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[MARKED, NEXT, BODY, RETRIED];

#[derive(Serialize)]
struct Row {
    id: Simple,
    reason: Option<&'static str>,
    message: Option<String>,
    fingerprint: Option<String>,
    outcome: Option<&'static str>,
    code: Option<&'static str>,
}

/// Of these failures the ones that are still marked.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    ids: &BTreeSet<FailureId>,
) -> Result<BTreeMap<FailureId, LastFailure>, Fault> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Simple> = ids.iter().map(|id| id.simple()).collect();
    let rows: Vec<(Vec<u8>, String, String, String)> = query_as(MARKED).bind(json(&ids)?).fetch_all(connection).await?;
    let marked = rows.into_iter().filter(|(_, state, ..)| state == "retrying");
    let last = |(id, _, reason, announced): (Vec<u8>, String, String, String)| {
        let announced = announced.split_whitespace().map(str::to_owned).collect();
        Ok((uuid(id)?, LastFailure { reason, announced }))
    };
    marked.map(last).collect()
}

/// The next marked failures, in the order in which they came: one however large it is, more only up to a bound.
pub(super) async fn next(connection: &mut SqliteConnection, most: usize) -> Result<Vec<Marked>, Fault> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(Vec<u8>, i64)> = query_as(NEXT).bind(limit(most)).fetch_all(&mut *connection).await?;
    let mut marked = Vec::new();
    let mut bytes = 0;
    for (id, length) in rows {
        if bytes >= MARKED_BYTES_MAX {
            break;
        }
        bytes = bytes.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let id = uuid(id)?;
        let (stored, body): (String, Vec<u8>) = query_as(BODY).bind(id).fetch_one(&mut *connection).await?;
        marked.push(Marked { id, properties: properties("failure", &id, &stored), body });
    }
    Ok(marked)
}

/// Writes what became of them.
pub(super) async fn write(connection: &mut SqliteConnection, retried: &[Retried]) -> Result<(), Fault> {
    if retried.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row> = retried.iter().map(Row::of).collect();
    query(RETRIED).bind(json(&rows)?).execute(connection).await?;
    Ok(())
}

impl Row {
    fn of(retried: &Retried) -> Self {
        let id = retried.id.simple();
        let (again, (outcome, code)) = match &retried.end {
            End::Again(again) => (Some(again), (None, None)),
            End::Ended(outcome) => (None, word(*outcome)),
        };
        Self {
            id,
            reason: again.map(|again| again.reason),
            message: again.map(|again| storable(&again.message)),
            fingerprint: again.map(|again| storable(&again.fingerprint)),
            outcome,
            code,
        }
    }
}

fn word(outcome: Outcome) -> (Option<&'static str>, Option<&'static str>) {
    match outcome {
        Outcome::Applied => (Some("applied"), None),
        Outcome::Refused(code) => (Some("refused"), Some(code)),
        Outcome::Parked => (Some("parked"), None),
        Outcome::Repeated => (Some("repeated"), None),
        Outcome::Failed(_) => (None, None),
    }
}

fn uuid(bytes: Vec<u8>) -> Result<Uuid, Fault> {
    Ok(Uuid::from_bytes(digest("failure", &"by its id", bytes)?.0))
}
