//! The rows of exceptions: what is new is inserted, what is known is updated by our key. The document holds the aggregate
//! ([`crate::store::document`]); the columns beside it repeat what is looked for and checked. It is called by [`super::write`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Postgres, Row, query};

use super::Fault;
use crate::domain::dates::Timestamp;
use crate::domain::exception::Exception;
use crate::domain::ids::{ExceptionId, UserId};
use crate::store::{document, rows};

/// The first sixteen parameters are the same in both statements. Lists of people come joined by spaces, which no id contains,
/// because there are no arrays of arrays of different lengths.
const INSERT: &str = "\
INSERT INTO exceptions (
  status, enforcement, severity, reviewers, approvers, requested_due_date, approved_due_date, revision, sequence, entries,
  head, due_at, decided_at, updated_at, document, runs_until, id, ticket_id, requester, created_at)
SELECT
  e.status, e.enforcement, e.severity, string_to_array(e.reviewers, ' '), string_to_array(e.approvers, ' '),
  e.requested_due_date, e.approved_due_date, e.revision, e.sequence, e.entries, e.head, e.due_at, e.decided_at, e.updated_at,
  e.document, e.runs_until, e.id, e.ticket_id, e.requester, e.created_at
FROM UNNEST(
  $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::bigint[], $9::bigint[],
  $10::bigint[], $11::bytea[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::date[],
  $17::text[], $18::text[], $19::text[], $20::timestamptz[]
) WITH ORDINALITY AS e (
  status, enforcement, severity, reviewers, approvers, requested_due_date, approved_due_date, revision, sequence, entries,
  head, due_at, decided_at, updated_at, document, runs_until, id, ticket_id, requester, created_at, position)
ORDER BY e.position
RETURNING id, key";

/// The key stands there twice: whatever join is planned while the table is small, only rows that are named are read when it
/// is large.
const UPDATE: &str = "\
UPDATE exceptions AS x SET
  status = e.status, enforcement = e.enforcement, severity = e.severity,
  reviewers = string_to_array(e.reviewers, ' '), approvers = string_to_array(e.approvers, ' '),
  requested_due_date = e.requested_due_date, approved_due_date = e.approved_due_date, revision = e.revision,
  sequence = e.sequence, entries = e.entries, head = e.head, due_at = e.due_at, decided_at = e.decided_at,
  updated_at = e.updated_at, document = e.document, runs_until = e.runs_until
FROM UNNEST(
  $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::bigint[], $9::bigint[],
  $10::bigint[], $11::bytea[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::date[],
  $17::bigint[]
) AS e (
  status, enforcement, severity, reviewers, approvers, requested_due_date, approved_due_date, revision, sequence, entries,
  head, due_at, decided_at, updated_at, document, runs_until, key)
WHERE x.key = e.key AND x.key = ANY($17::bigint[])";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[INSERT, UPDATE];

/// Writes all; the keys of the new ones are added to `keys`. Updates come first: the request that ends makes room for the
/// next one of its ticket.
pub(super) async fn store(
    connection: &mut PgConnection,
    exceptions: &[Exception],
    keys: &mut BTreeMap<ExceptionId, i64>,
) -> Result<(), Fault> {
    let (known, new): (Vec<&Exception>, Vec<&Exception>) =
        exceptions.iter().partition(|exception| keys.contains_key(&exception.id));
    let mut known: Vec<(i64, &Exception)> =
        known.into_iter().filter_map(|exception| Some((*keys.get(&exception.id)?, exception))).collect();
    known.sort_unstable_by_key(|(key, _)| *key);
    update(connection, &known).await?;
    insert(connection, &new, keys).await
}

async fn update(connection: &mut PgConnection, known: &[(i64, &Exception)]) -> Result<(), Fault> {
    if known.is_empty() {
        return Ok(());
    }
    let mut state = State::default();
    known.iter().try_for_each(|(_, exception)| state.push(exception))?;
    let keys: Vec<i64> = known.iter().map(|(key, _)| *key).collect();
    let written = state.bind(query(UPDATE)).bind(keys).execute(connection).await?.rows_affected();
    if written != known.len() as u64 {
        return Err(Fault::Contradiction(format!("{} changed exceptions, {written} rows of them", known.len())));
    }
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    new: &[&Exception],
    keys: &mut BTreeMap<ExceptionId, i64>,
) -> Result<(), Fault> {
    if new.is_empty() {
        return Ok(());
    }
    let mut state = State::default();
    new.iter().try_for_each(|exception| state.push(exception))?;
    let rows = state
        .bind(query(INSERT))
        .bind(new.iter().map(|exception| exception.id.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|exception| exception.ticket_id.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|exception| exception.request.requester.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|exception| exception.created_at).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    for row in rows {
        let id: String = row.try_get(0)?;
        let id = ExceptionId::parse(&id).map_err(|error| Fault::unreadable("exception", &id, &error))?;
        keys.insert(id, row.try_get(1)?);
    }
    Ok(())
}

/// The columns that change, one list for each.
#[derive(Default)]
struct State<'a> {
    status: Vec<&'static str>,
    enforcement: Vec<&'static str>,
    severity: Vec<&'a str>,
    reviewers: Vec<String>,
    approvers: Vec<String>,
    requested_due_date: Vec<NaiveDate>,
    approved_due_date: Vec<Option<NaiveDate>>,
    revision: Vec<i64>,
    sequence: Vec<i64>,
    entries: Vec<i64>,
    head: Vec<&'a [u8]>,
    due_at: Vec<Option<Timestamp>>,
    decided_at: Vec<Option<Timestamp>>,
    updated_at: Vec<Timestamp>,
    document: Vec<String>,
    runs_until: Vec<NaiveDate>,
}

impl<'a> State<'a> {
    fn push(&mut self, exception: &'a Exception) -> Result<(), Fault> {
        let unwritable = |error| Fault::Contradiction(format!("exception {}: {error}", exception.id));
        let document = document::write(exception).map_err(unwritable)?;
        self.status.push(rows::status(exception.status));
        self.enforcement.push(rows::enforcement(exception.enforcement));
        self.severity.push(&exception.request.severity);
        self.reviewers.push(joined(exception.assigned().iter()));
        self.approvers.push(joined(exception.votes.iter().map(|vote| &vote.reviewer)));
        self.requested_due_date.push(exception.request.requested_due_date);
        self.approved_due_date.push(exception.approved_due_date);
        self.revision.push(exception.revision.into());
        self.sequence.push(exception.sequence.into());
        self.entries.push(exception.chain.entries.into());
        self.head.push(&exception.chain.head);
        self.due_at.push(exception.due_at());
        self.decided_at.push(exception.decided_at);
        self.updated_at.push(exception.updated_at);
        self.document.push(document);
        self.runs_until.push(exception.runs_until());
        Ok(())
    }

    fn bind(self, query: Query<'_, Postgres, PgArguments>) -> Query<'_, Postgres, PgArguments> {
        query
            .bind(self.status)
            .bind(self.enforcement)
            .bind(self.severity)
            .bind(self.reviewers)
            .bind(self.approvers)
            .bind(self.requested_due_date)
            .bind(self.approved_due_date)
            .bind(self.revision)
            .bind(self.sequence)
            .bind(self.entries)
            .bind(self.head)
            .bind(self.due_at)
            .bind(self.decided_at)
            .bind(self.updated_at)
            .bind(self.document)
            .bind(self.runs_until)
    }
}

fn joined<'a>(people: impl Iterator<Item = &'a UserId>) -> String {
    people.map(UserId::as_str).collect::<Vec<_>>().join(" ")
}
