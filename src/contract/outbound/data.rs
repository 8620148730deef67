//! The `data` of each outgoing type, field for field as the integration guide lists them ("Consuming"). Optional fields are
//! null, never absent.

use chrono::{NaiveDate, SecondsFormat};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::actor::Actor;
use crate::domain::dates::Timestamp;
use crate::domain::emission::{RequesterNotice, ReviewerNotice};
use crate::domain::exception::{Cause, EndedReason, Enforcement, Status};
use crate::domain::ids::UserId;
use crate::domain::rules::Explanation;

/// RFC 3339 in UTC, microseconds.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline, extend("format" = "date-time")))]
#[serde(transparent)]
pub(super) struct Moment(String);

impl Moment {
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// What became of an input that was not applied.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Well-formed, but the business says no.
    Refused,
    /// It can never be processed.
    Failed,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Summary<'a> {
    pub(super) ticket_title: &'a str,
    pub(super) severity: &'a str,
    pub(super) requester: &'a UserId,
    pub(super) team: Option<&'a str>,
    pub(super) reason: &'a str,
    pub(super) original_due_date: NaiveDate,
    pub(super) current_due_date: NaiveDate,
    pub(super) requested_due_date: NaiveDate,
    pub(super) approved_due_date: Option<NaiveDate>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct StatusChanged<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) from_status: Option<Status>,
    pub(super) to_status: Status,
    pub(super) from_enforcement: Option<Enforcement>,
    pub(super) to_enforcement: Enforcement,
    pub(super) ended_reason: Option<EndedReason>,
    pub(super) cause: Cause,
    pub(super) actor: &'a Actor,
    pub(super) comment: Option<&'a str>,
    pub(super) at: Moment,
    pub(super) summary: Summary<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Assigned<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) level: u32,
    pub(super) reviewers: &'a [UserId],
    pub(super) quorum: u32,
    pub(super) unassigned: bool,
    pub(super) rule: &'a str,
    pub(super) rules_version: &'a str,
    pub(super) rules_hash: &'a str,
    pub(super) explanation: &'a Explanation,
    pub(super) review_due_at: Option<Moment>,
    pub(super) summary: Summary<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct VoteRecorded<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) level: u32,
    pub(super) reviewer: &'a UserId,
    pub(super) approved_due_date: NaiveDate,
    pub(super) votes: u32,
    pub(super) votes_needed: u32,
    pub(super) level_complete: bool,
    pub(super) at: Moment,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Reviewer<'a> {
    pub(super) id: &'a UserId,
    pub(super) level: u32,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct NotifyReviewer<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) kind: ReviewerNotice,
    pub(super) recipient: Reviewer<'a>,
    pub(super) ticket_title: &'a str,
    pub(super) requester: &'a UserId,
    pub(super) reason: &'a str,
    pub(super) current_due_date: NaiveDate,
    pub(super) requested_due_date: NaiveDate,
    pub(super) severity: &'a str,
    pub(super) extension_days: i64,
    pub(super) previous_exceptions: u32,
    pub(super) review_due_at: Option<Moment>,
    pub(super) rule: &'a str,
    pub(super) batch_id: Option<&'a str>,
    pub(super) link: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Person<'a> {
    pub(super) id: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct NotifyRequester<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) kind: RequesterNotice,
    pub(super) recipient: Person<'a>,
    pub(super) status: Status,
    pub(super) approved_due_date: Option<NaiveDate>,
    pub(super) decided_by: Option<&'a str>,
    pub(super) comment: Option<&'a str>,
    pub(super) ticket_title: &'a str,
    pub(super) current_due_date: NaiveDate,
    pub(super) requested_due_date: NaiveDate,
    pub(super) link: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Approver {
    pub(super) id: String,
    pub(super) level: u32,
    pub(super) at: Moment,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct DeferralRequested<'a> {
    pub(super) exception_id: &'a str,
    pub(super) ticket_id: &'a str,
    pub(super) revision: u32,
    pub(super) expected_due_date: NaiveDate,
    pub(super) new_due_date: NaiveDate,
    pub(super) requested_due_date: NaiveDate,
    pub(super) original_due_date: NaiveDate,
    pub(super) extension_days: i64,
    pub(super) cumulative_extension_days: i64,
    pub(super) reason: &'a str,
    pub(super) approved_by: Vec<Approver>,
    pub(super) lock_scope: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Rejected<'a> {
    pub(super) exception_id: Option<&'a str>,
    pub(super) ticket_id: Option<&'a str>,
    pub(super) revision: Option<u32>,
    pub(super) event_id: &'a str,
    pub(super) event_source: &'a str,
    pub(super) event_type: Option<&'a str>,
    pub(super) kind: Answer,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) failure_id: Option<Uuid>,
}
