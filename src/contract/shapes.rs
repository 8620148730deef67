//! What the API and `-o json` show: the same objects for both. Optional fields are null, never absent.
//! It reads nothing from anywhere: it is given the aggregate and the stored history.

pub mod desk;
pub mod lookups;

use chrono::{DateTime, NaiveDate};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::dates::Timestamp;
use crate::domain::exception::{Cause, EndedReason, Enforcement, Exception, Status, Vote};
use crate::domain::ids::{ExceptionId, TicketId, UserId, hex};
use crate::domain::rules::Explanation;

/// One history row as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Counts from 1.
    pub number: u32,
    /// In the order of [`crate::domain::history::Happening::fields`], without the last one, the body.
    pub fields: &'a [String; 10],
    /// The stored hash.
    pub hash: &'a [u8],
}

/// A stored row that is not what was once written. The rest of the exception may be sound.
#[derive(Debug, thiserror::Error)]
#[error("history entry {number} of {exception_id} holds no valid {field}: the stored row was changed from outside")]
pub struct ShapeError {
    exception_id: ExceptionId,
    number: u32,
    field: &'static str,
}

/// `exception`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is what the aggregate calls by this name, and is documented there")]
pub struct ExceptionShape<'a> {
    pub exception_id: &'a ExceptionId,
    pub ticket_id: &'a TicketId,
    pub ticket_title: &'a str,
    pub severity: &'a str,
    pub status: Status,
    pub enforcement: Enforcement,
    pub ended_reason: Option<EndedReason>,
    pub cause: Cause,
    pub revision: u32,
    pub level: u32,
    pub levels: usize,
    pub unassigned: bool,
    pub info_needed: bool,
    pub reviewers: &'a [UserId],
    pub quorum: u32,
    pub votes: &'a [Vote],
    pub requester: &'a UserId,
    pub team: Option<&'a str>,
    pub reason: &'a str,
    pub original_due_date: NaiveDate,
    pub current_due_date: NaiveDate,
    pub requested_due_date: NaiveDate,
    pub approved_due_date: Option<NaiveDate>,
    pub rule: &'a str,
    pub rules_version: &'a str,
    pub rules_hash: &'a str,
    pub review_due_at: Option<Timestamp>,
    pub previous_exception_id: Option<&'a ExceptionId>,
    pub batch_id: Option<&'a str>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// `detail`
#[derive(Debug, Serialize)]
pub struct Detail<'a> {
    /// The exception itself.
    #[serde(flatten)]
    pub exception: ExceptionShape<'a>,
    /// The data of the submission that was applied, byte for byte.
    pub request: Option<&'a RawValue>,
    /// How its reviewers were found.
    pub explanation: &'a Explanation,
    /// The newest entries, oldest of them first.
    pub history: Vec<HistoryShape<'a>>,
}

/// One element of `history`.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is what `domain::history` calls by this name; `seq` is the entry's number")]
pub struct HistoryShape<'a> {
    pub seq: u32,
    pub at: Timestamp,
    pub kind: &'a str,
    pub actor: ActorShape<'a>,
    pub event: Option<EventShape<'a>>,
    pub outcome: &'a str,
    pub code: Option<&'a str>,
    pub revision: u32,
    pub hash: String,
    pub previous_hash: String,
}

/// Who did it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "both are documented in `domain::actor`")]
pub struct ActorShape<'a> {
    pub id: &'a str,
    pub kind: &'a str,
}

/// The event behind an entry.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "all are documented in `domain::history`")]
pub struct EventShape<'a> {
    pub source: &'a str,
    pub id: &'a str,
    #[serde(rename = "type")]
    pub event_type: &'a str,
}

/// `problem` (RFC 9457).
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub problem_type: &'static str,
    /// The status in words.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: &'a str,
    /// The path that was asked for.
    pub instance: &'a str,
}

/// The shape of one exception.
pub fn exception(exception: &Exception) -> ExceptionShape<'_> {
    let (request, assignment) = (&exception.request, &exception.assignment);
    ExceptionShape {
        exception_id: &exception.id,
        ticket_id: &exception.ticket_id,
        ticket_title: &request.ticket_title,
        severity: &request.severity,
        status: exception.status,
        enforcement: exception.enforcement,
        ended_reason: exception.ended_reason,
        cause: exception.cause,
        revision: exception.revision,
        level: exception.level.number,
        levels: assignment.levels.len(),
        unassigned: exception.level.unassigned,
        info_needed: false, // `request_info` is not built yet
        reviewers: if exception.is_open() { &exception.level.reviewers } else { &[] },
        quorum: exception.level.quorum,
        votes: &exception.votes,
        requester: &request.requester,
        team: request.team.as_deref(),
        reason: &request.reason,
        original_due_date: request.original_due_date,
        current_due_date: request.current_due_date,
        requested_due_date: request.requested_due_date,
        approved_due_date: exception.approved_due_date,
        rule: &assignment.rule,
        rules_version: &assignment.rules_version,
        rules_hash: &assignment.rules_hash,
        review_due_at: None, // no timer is built yet
        previous_exception_id: request.previous_exception_id.as_ref(),
        batch_id: request.batch_id.as_deref(),
        created_at: exception.created_at,
        updated_at: exception.updated_at,
    }
}

/// The shape of one exception with the data of its submission, the first entry's body, and its history as [`history`] makes it.
pub fn detail<'a>(
    aggregate: &'a Exception,
    submitted: Option<&'a str>,
    before: Option<&[u8]>,
    rows: impl IntoIterator<Item = Row<'a>>,
) -> Result<Detail<'a>, ShapeError> {
    let fault = |_| ShapeError { exception_id: aggregate.id.clone(), number: 1, field: "body" };
    Ok(Detail {
        exception: exception(aggregate),
        request: submitted.map(serde_json::from_str).transpose().map_err(fault)?,
        explanation: &aggregate.assignment.explanation,
        history: history(&aggregate.id, before, rows)?,
    })
}

/// The shape of entries that follow one another, oldest first; `before` is the hash of the one before them, if there is one.
pub fn history<'a>(
    exception_id: &ExceptionId,
    before: Option<&[u8]>,
    rows: impl IntoIterator<Item = Row<'a>>,
) -> Result<Vec<HistoryShape<'a>>, ShapeError> {
    let mut previous_hash = hex(before.unwrap_or(&[0; 32]));
    let shape = |row: Row<'a>| {
        let fault = |field| ShapeError { exception_id: exception_id.clone(), number: row.number, field };
        let [at, kind, actor_id, actor_kind, source, id, event_type, outcome, code, revision] = row.fields;
        let hash = hex(row.hash);
        let at = at.parse().ok().and_then(DateTime::from_timestamp_micros);
        Ok(HistoryShape {
            seq: row.number,
            at: at.ok_or_else(|| fault("time"))?,
            kind,
            actor: ActorShape { id: actor_id, kind: actor_kind },
            event: (!id.is_empty()).then_some(EventShape { source, id, event_type }),
            outcome,
            code: (!code.is_empty()).then_some(code.as_str()),
            revision: revision.parse().map_err(|_| fault("revision"))?,
            previous_hash: std::mem::replace(&mut previous_hash, hash.clone()),
            hash,
        })
    };
    rows.into_iter().map(shape).collect()
}

#[cfg(test)]
pub(crate) mod tests;
