//! What a transition says to the outside, in the order it says it. How that looks on the wire is
//! [`crate::contract::outbound`]'s business.

use chrono::NaiveDate;
use serde::Serialize;

use super::actor::Actor;
use super::exception::{Cause, Enforcement, Status};
use super::ids::UserId;

/// One outgoing event about an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emission {
    /// One of the two axes moved.
    StatusChanged {
        /// Both axes before; `None` at submission.
        from: Option<(Status, Enforcement)>,
        /// Both axes after.
        to: (Status, Enforcement),
        /// Why.
        cause: Cause,
        /// Who.
        actor: Actor,
        /// What the reviewer said.
        comment: Option<String>,
    },
    /// A level began, or gained reviewers.
    Assigned,
    /// An approval that did not complete the last level.
    VoteRecorded {
        /// At which level.
        level: u32,
        /// Whose.
        reviewer: UserId,
        /// Until when.
        approved_due_date: NaiveDate,
        /// Votes of the level so far.
        votes: u32,
        /// Votes that complete it.
        votes_needed: u32,
    },
    /// A message to a reviewer.
    NotifyReviewer {
        /// About what.
        kind: ReviewerNotice,
        /// To whom.
        recipient: UserId,
        /// At which level.
        level: u32,
        /// Requested date minus current date.
        extension_days: i64,
        /// Approved exceptions of the ticket so far.
        previous_exceptions: u32,
    },
    /// A message to the requester.
    NotifyRequester {
        /// About what.
        kind: RequesterNotice,
        /// Who decided, if this is about a decision.
        decided_by: Option<String>,
        /// What the deciding reviewer said.
        comment: Option<String>,
    },
    /// The ticket is to be deferred.
    DeferralRequested {
        /// Approved date minus current date.
        extension_days: i64,
        /// Approved date minus the earliest original date known for the ticket.
        cumulative_extension_days: i64,
    },
}

/// Why a reviewer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReviewerNotice {
    /// A request is theirs to review.
    Assigned,
    /// The level before is complete.
    LevelReady,
    /// Nobody could be assigned: triage.
    Unassigned,
}

/// Why the requester is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RequesterNotice {
    /// It came in.
    Received,
    /// It was approved or denied.
    Decided,
}
