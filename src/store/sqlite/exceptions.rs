//! The rows of exceptions: what is new is inserted, what is known is updated by our key. The document holds the aggregate
//! ([`crate::store::document`]); the columns beside it repeat what is looked for and checked. It is called by [`super::write`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};

use super::Fault;
use super::values::json;
use crate::domain::exception::Exception;
use crate::domain::ids::{ExceptionId, UserId, hex};
use crate::store::{document, rows};

/// The rows of an array come in its order, and so get their keys.
const INSERT: &str = "\
INSERT INTO exceptions (
  id, ticket_id, requester, created_at, status, enforcement, severity, reviewers, approvers, requested_due_date,
  approved_due_date, revision, sequence, entries, head, due_at, decided_at, updated_at, document, runs_until)
SELECT
  value ->> 'id', value ->> 'ticket_id', value ->> 'requester', value ->> 'created_at', value ->> 'status',
  value ->> 'enforcement', value ->> 'severity', value ->> 'reviewers', value ->> 'approvers',
  value ->> 'requested_due_date', value ->> 'approved_due_date', value ->> 'revision', value ->> 'sequence',
  value ->> 'entries', unhex(value ->> 'head'), value ->> 'due_at', value ->> 'decided_at', value ->> 'updated_at',
  value ->> 'document', value ->> 'runs_until'
FROM jsonb_each(?1)
RETURNING id, key";

const UPDATE: &str = "\
UPDATE exceptions SET
  status = value ->> 'status', enforcement = value ->> 'enforcement', severity = value ->> 'severity',
  reviewers = value ->> 'reviewers', approvers = value ->> 'approvers',
  requested_due_date = value ->> 'requested_due_date', approved_due_date = value ->> 'approved_due_date',
  revision = value ->> 'revision', sequence = value ->> 'sequence', entries = value ->> 'entries',
  head = unhex(value ->> 'head'), due_at = value ->> 'due_at', decided_at = value ->> 'decided_at',
  updated_at = value ->> 'updated_at', document = value ->> 'document',
  runs_until = value ->> 'runs_until'
FROM jsonb_each(?1) AS e WHERE exceptions.key = e.value ->> 'key'";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[INSERT, UPDATE];

/// The columns; `key` is ours, and null in a row that has none yet.
#[derive(Serialize)]
struct Row<'a> {
    key: Option<i64>,
    id: &'a ExceptionId,
    ticket_id: &'a str,
    requester: &'a UserId,
    created_at: i64,
    status: &'static str,
    enforcement: &'static str,
    severity: &'a str,
    reviewers: String,
    approvers: String,
    requested_due_date: NaiveDate,
    approved_due_date: Option<NaiveDate>,
    revision: u32,
    sequence: u32,
    entries: u32,
    head: String,
    due_at: Option<i64>,
    decided_at: Option<i64>,
    updated_at: i64,
    document: String,
    runs_until: NaiveDate,
}

/// Writes all; the keys of the new ones are added to `keys`. Updates come first: the request that ends makes room for the
/// next one of its ticket.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    exceptions: &[Exception],
    keys: &mut BTreeMap<ExceptionId, i64>,
) -> Result<(), Fault> {
    let rows = exceptions.iter().map(|exception| row(exception, keys.get(&exception.id).copied()));
    let (mut known, new): (Vec<Row<'_>>, Vec<Row<'_>>) =
        rows.collect::<Result<Vec<_>, Fault>>()?.into_iter().partition(|row| row.key.is_some());
    known.sort_unstable_by_key(|row| row.key);
    if !known.is_empty() {
        let written = query(UPDATE).bind(json(&known)?).execute(&mut *connection).await?.rows_affected();
        if written != known.len() as u64 {
            return Err(Fault::Contradiction(format!("{} changed exceptions, {written} rows of them", known.len())));
        }
    }
    if !new.is_empty() {
        let made: Vec<(String, i64)> = query_as(INSERT).bind(json(&new)?).fetch_all(connection).await?;
        for (id, key) in made {
            let id = ExceptionId::parse(&id).map_err(|error| Fault::unreadable("exception", &id, &error))?;
            keys.insert(id, key);
        }
    }
    Ok(())
}

fn row(exception: &Exception, key: Option<i64>) -> Result<Row<'_>, Fault> {
    let unwritable = |error| Fault::Contradiction(format!("exception {}: {error}", exception.id));
    Ok(Row {
        key,
        id: &exception.id,
        ticket_id: exception.ticket_id.as_str(),
        requester: &exception.request.requester,
        created_at: exception.created_at.timestamp_micros(),
        status: rows::status(exception.status),
        enforcement: rows::enforcement(exception.enforcement),
        severity: &exception.request.severity,
        reviewers: joined(exception.assigned().iter()),
        approvers: joined(exception.votes.iter().map(|vote| &vote.reviewer)),
        requested_due_date: exception.request.requested_due_date,
        approved_due_date: exception.approved_due_date,
        revision: exception.revision,
        sequence: exception.sequence,
        entries: exception.chain.entries,
        head: hex(&exception.chain.head),
        due_at: exception.due_at().map(|at| at.timestamp_micros()),
        decided_at: exception.decided_at.map(|at| at.timestamp_micros()),
        updated_at: exception.updated_at.timestamp_micros(),
        document: document::write(exception).map_err(unwritable)?,
        runs_until: exception.runs_until(),
    })
}

/// With a space before and after each, so that a whole name is looked for; nobody is an empty text.
fn joined<'a>(people: impl Iterator<Item = &'a UserId>) -> String {
    let mut text = String::new();
    for person in people {
        text.push_str(if text.is_empty() { " " } else { "" });
        text.push_str(person.as_str());
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_stands_between_spaces() {
        let people = |names: &[&str]| {
            let people: Vec<UserId> = names.iter().map(|name| UserId::parse(name).unwrap()).collect();
            joined(people.iter())
        };
        assert_eq!(people(&[]), "");
        assert_eq!(people(&["a"]), " a ");
        assert_eq!(people(&["a", "b"]), " a b ");
    }
}
