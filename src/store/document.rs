//! The aggregate as stored JSON, with its own version `"v"`: what every store keeps in its `document` column. Not the shape
//! of the API, and not the columns beside it ([`Beside`]), which exist to be found, checked and chained. The stores that
//! write both: [`super::postgres`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::dates::Timestamp;
use crate::domain::exception::{Cause, EndedReason, Enforcement, Exception, Request, Status, Vote};
use crate::domain::history::Chain;
use crate::domain::ids::{DecisionId, Digest, ExceptionId, TicketId};
use crate::domain::rules::{Assignment, Level};

/// The version this program writes, and the newest it can read. Optional fields may be added within it.
const VERSION: u32 = 1;

/// What stands in columns of its own, and therefore not in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Upstream's id.
    pub id: ExceptionId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// Counts the changes.
    pub revision: u32,
    /// The number of the last outgoing event.
    pub sequence: u32,
    /// The end of the history chain: columns `entries` and `head`.
    pub chain: Chain,
}

/// Why a stored document is no exception.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Written by a program that changed the meaning of what was there.
    #[error("the document has version {0}, this program reads {VERSION}: run the newer program")]
    Newer(u32),
    /// Damaged, or edited by hand.
    #[error("the document cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Fields that a newer writer added are ignored: two versions may run side by side.
#[derive(Serialize, Deserialize)]
struct Document<'a> {
    v: u32,
    submission: Digest,
    request: Cow<'a, Request>,
    status: Status,
    enforcement: Enforcement,
    ended_reason: Option<EndedReason>,
    cause: Cause,
    assignment: Cow<'a, Assignment>,
    level: Cow<'a, Level>,
    votes: Cow<'a, [Vote]>,
    decisions: Cow<'a, BTreeMap<DecisionId, Digest>>,
    amended_at_revision: Option<u32>,
    approved_due_date: Option<NaiveDate>,
    created_at: Timestamp,
    updated_at: Timestamp,
    decided_at: Option<Timestamp>,
}

/// The document of an exception.
pub fn write(exception: &Exception) -> Result<String, DocumentError> {
    Ok(serde_json::to_string(&Document {
        v: VERSION,
        submission: exception.submission,
        request: Cow::Borrowed(&exception.request),
        status: exception.status,
        enforcement: exception.enforcement,
        ended_reason: exception.ended_reason,
        cause: exception.cause,
        assignment: Cow::Borrowed(&exception.assignment),
        level: Cow::Borrowed(&exception.level),
        votes: Cow::Borrowed(&exception.votes),
        decisions: Cow::Borrowed(&exception.decisions),
        amended_at_revision: exception.amended_at_revision,
        approved_due_date: exception.approved_due_date,
        created_at: exception.created_at,
        updated_at: exception.updated_at,
        decided_at: exception.decided_at,
    })?)
}

/// The exception of a document and the columns beside it.
pub fn read(document: &str, beside: Beside) -> Result<Exception, DocumentError> {
    let document: Document<'_> =
        serde_json::from_str(document).map_err(|error| newer(document).unwrap_or(error.into()))?;
    if document.v > VERSION {
        return Err(DocumentError::Newer(document.v));
    }
    Ok(Exception {
        id: beside.id,
        ticket_id: beside.ticket_id,
        submission: document.submission,
        request: document.request.into_owned(),
        status: document.status,
        enforcement: document.enforcement,
        ended_reason: document.ended_reason,
        cause: document.cause,
        revision: beside.revision,
        sequence: beside.sequence,
        assignment: document.assignment.into_owned(),
        level: document.level.into_owned(),
        votes: document.votes.into_owned(),
        decisions: document.decisions.into_owned(),
        amended_at_revision: document.amended_at_revision,
        approved_due_date: document.approved_due_date,
        chain: beside.chain,
        created_at: document.created_at,
        updated_at: document.updated_at,
        decided_at: document.decided_at,
    })
}

/// A newer shape may not even parse: then the version is the better message.
fn newer(document: &str) -> Option<DocumentError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let Version { v } = serde_json::from_str(document).ok()?;
    (v > VERSION).then_some(DocumentError::Newer(v))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::dates::parse_date;
    use crate::domain::ids::UserId;
    use crate::domain::rules::{
        Condition, Dropped, Explanation, KevDueDate, LevelExplained, LevelPlan, OnDeadline, Pick, Quorum, Timers, Tried,
    };

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn time(micros: i64) -> Timestamp {
        Timestamp::from_timestamp_micros(micros).unwrap()
    }

    fn assignment(text: &str) -> Assignment {
        let plan = LevelPlan {
            candidates: vec![user("dana@x.com"), user("zoe@x.com")],
            quorum: Quorum::Number(2),
            pick: Pick::LeastLoaded,
            escalate_to: vec![user("eli@x.com")],
            not_eligible: vec![user("eli@x.com")],
            timers: Timers { review_within_s: Some(5), on_deadline: OnDeadline::Deny, ..Timers::default() },
        };
        let condition = Condition { field: "a.b".into(), wanted: text.into(), actual: None, holds: false };
        Assignment {
            rule: text.into(),
            rules_version: "7".into(),
            rules_hash: "ab".into(),
            levels: vec![plan.clone(), LevelPlan { quorum: Quorum::All, ..plan }],
            triage: vec![user("triage")],
            max_extension_days: 90,
            max_cumulative_extension_days: Some(180),
            max_previous_exceptions: Some(3),
            kev_due_date: KevDueDate::Ignore,
            mandated_date: parse_date("2027-01-01"),
            explanation: Explanation {
                tried: vec![Tried { rule: text.into(), matched: true, conditions: vec![condition] }],
                levels: vec![LevelExplained {
                    level: 1,
                    candidates: vec![],
                    dropped: vec![Dropped { id: user("zoe@x.com"), why: "requester".into() }],
                    reviewers: vec![user("dana@x.com")],
                    quorum: None,
                    pick: "all".into(),
                }],
                ..Explanation::default()
            },
        }
    }

    prop_compose! {
        fn exceptions()(
            text in any::<String>(),
            status in prop::sample::select(vec![Status::Requested, Status::UnderReview, Status::Approved, Status::Cancelled]),
            ended_reason in prop::sample::select(vec![None, Some(EndedReason::Superseded), Some(EndedReason::TicketClosed)]),
            numbers in any::<[u32; 4]>(),
            bytes in any::<[u8; 16]>(),
            some in any::<bool>(),
            micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999,
        ) -> Exception {
            let [revision, sequence, entries, level] = numbers;
            let date = time(micros).date_naive();
            let optional = some.then(|| text.clone());
            Exception {
                id: ExceptionId::parse("EX-1").unwrap(),
                ticket_id: TicketId::parse("SEC-1").unwrap(),
                submission: Digest(bytes),
                request: Request {
                    ticket_title: text.clone(), severity: "high".into(), requester: user("zoe@x.com"), team: optional.clone(),
                    reason: "fix_unavailable".into(), original_due_date: date, current_due_date: date, requested_due_date: date,
                    previous_exception_id: some.then(|| ExceptionId::parse("EX-0").unwrap()), batch_id: optional,
                },
                status, enforcement: Enforcement::InForce, ended_reason, cause: Cause::Denied, revision, sequence,
                assignment: assignment(&text),
                level: Level { number: level, reviewers: vec![user("dana@x.com")], quorum: 1, unassigned: some },
                votes: vec![Vote { reviewer: user("dana@x.com"), level, approved_due_date: date, at: time(micros) }],
                decisions: BTreeMap::from([(DecisionId::parse("D-1").unwrap(), Digest(bytes))]),
                amended_at_revision: some.then_some(revision),
                approved_due_date: some.then_some(date),
                chain: Chain { entries, head: [bytes[0]; 32] },
                created_at: time(micros), updated_at: time(micros), decided_at: some.then(|| time(micros)),
            }
        }
    }

    /// As version 0.1 wrote it before rules had limits, `pick`, `escalate_to` and timers.
    #[test]
    fn a_document_from_before_means_what_it_meant() {
        let old = r#"{"rule":"r","rules_version":"7","rules_hash":"ab","triage":["triage"],"max_extension_days":90,
            "levels":[{"candidates":["dana@x.com"],"quorum":{"number":1}},{"candidates":[],"quorum":"all"}],
            "explanation":{"rules_version":"7","rules_hash":"ab","rule":"r","truncated":false,"tried":[],"levels":[]}}"#;
        let read: Assignment = serde_json::from_str(old).unwrap();
        let explanation = Explanation {
            rules_version: "7".into(),
            rules_hash: "ab".into(),
            rule: "r".into(),
            ..Explanation::default()
        };
        let first =
            LevelPlan { candidates: vec![user("dana@x.com")], quorum: Quorum::Number(1), ..LevelPlan::default() };
        let expected = Assignment {
            rule: "r".into(),
            rules_version: "7".into(),
            rules_hash: "ab".into(),
            levels: vec![first, LevelPlan { quorum: Quorum::All, ..LevelPlan::default() }],
            triage: vec![user("triage")],
            max_extension_days: 90,
            explanation,
            ..Assignment::default()
        };
        assert_eq!(read, expected);
    }

    fn beside(exception: &Exception) -> Beside {
        Beside {
            id: exception.id.clone(),
            ticket_id: exception.ticket_id.clone(),
            revision: exception.revision,
            sequence: exception.sequence,
            chain: exception.chain,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(exception in exceptions()) {
            prop_assert_eq!(read(&write(&exception).unwrap(), beside(&exception)).unwrap(), exception);
        }

        #[test]
        fn a_field_of_a_newer_writer_is_tolerated(exception in exceptions()) {
            let document = write(&exception).unwrap().replacen('{', r#"{"later":[1],"#, 1);
            prop_assert_eq!(read(&document, beside(&exception)).unwrap(), exception);
        }

        #[test]
        fn a_newer_version_is_named(exception in exceptions()) {
            let document = write(&exception).unwrap().replacen(r#""v":1"#, r#""v":2"#, 1);
            prop_assert!(matches!(read(&document, beside(&exception)), Err(DocumentError::Newer(2))));
            let other_shape = read(r#"{"v":2}"#, beside(&exception));
            prop_assert!(matches!(other_shape, Err(DocumentError::Newer(2))));
            let empty = read("{}", beside(&exception));
            prop_assert!(matches!(empty, Err(DocumentError::Malformed(_))));
        }
    }
}
