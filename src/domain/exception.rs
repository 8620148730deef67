//! The aggregate: one exception request, from its submission to its end. Two axes of state: `status` is the decision,
//! `enforcement` is what became of it. What may change it stands in [`super::lifecycle`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::dates::Timestamp;
use super::history::Chain;
use super::ids::{DecisionId, Digest, ExceptionId, TicketId, UserId};
use super::rules::{Assignment, Level, Pick};

/// The decision. `Requested` and `UnderReview` are *open*; the others are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Submitted, waiting for review.
    Requested,
    /// A reviewer acknowledged it.
    UnderReview,
    /// Decided: the ticket is deferred.
    Approved,
    /// Decided: the original date stays.
    Denied,
    /// Withdrawn or moot.
    Cancelled,
}

/// What became of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Not approved.
    None,
    /// Deferral published, not yet confirmed by the ticketing system.
    Pending,
    /// The ticket runs on the approved date.
    InForce,
    /// Over; `ended_reason` says why.
    Ended,
}

/// Why an enforcement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndedReason {
    /// The approved date has passed.
    Expired,
    /// Taken back by an approver or a manager.
    Revoked,
    /// A newer exception of the same ticket came into force.
    Superseded,
    /// The ticket is done.
    TicketClosed,
    /// The ticketing system would not, or did something else.
    DeferralRejected,
}

/// Why a status changed: a closed list, as far as it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A request came in.
    Submitted,
    /// The last level was completed.
    Approved,
    /// A reviewer said no.
    Denied,
    /// A rule approves by itself.
    AutoApproved,
    /// A rule denies by itself.
    AutoDenied,
    /// The request was beyond the longest extension.
    MaxExtension,
    /// The request was beyond the longest extension of all exceptions of the ticket together.
    MaxCumulativeExtension,
    /// Too many exceptions of the ticket were approved before.
    MaxPreviousExceptions,
    /// The request was beyond the date that is mandated for a known-exploited finding.
    KevDueDate,
    /// A newer exception came into force.
    Superseded,
}

/// What the submission said, as far as later decisions and events need it; the whole of it is in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The ticket's title.
    pub ticket_title: String,
    /// The finding's severity, lower case.
    pub severity: String,
    /// Who asks.
    pub requester: UserId,
    /// The requester's team.
    pub team: Option<String>,
    /// Why, one of the settings' reasons, lower case.
    pub reason: String,
    /// The ticket's first due date.
    pub original_due_date: NaiveDate,
    /// The ticket's due date at present.
    pub current_due_date: NaiveDate,
    /// The date that is asked for.
    pub requested_due_date: NaiveDate,
    /// The exception before this one; shown, not checked.
    pub previous_exception_id: Option<ExceptionId>,
    /// Ties requests together that were made in one go.
    pub batch_id: Option<String>,
}

/// One counted approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub reviewer: UserId,
    /// At which level.
    pub level: u32,
    /// Until when.
    pub approved_due_date: NaiveDate,
    /// The worker's clock when it was applied.
    pub at: Timestamp,
}

/// One exception request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Upstream's id.
    pub id: ExceptionId,
    /// The ticket whose date is to move.
    pub ticket_id: TicketId,
    /// The content digest of the submission: the same id with the same content is a repeat, for ever.
    pub submission: Digest,
    /// What was asked for.
    pub request: Request,
    /// The decision.
    pub status: Status,
    /// What became of it.
    pub enforcement: Enforcement,
    /// Why it ended, if it did.
    pub ended_reason: Option<EndedReason>,
    /// Why `status` or `enforcement` last changed.
    pub cause: Cause,
    /// 1 at submission, one more with each applied event that changes the exception.
    pub revision: u32,
    /// The number of the last outgoing event; they are counted without gap.
    pub sequence: u32,
    /// The rule and what it said.
    pub assignment: Assignment,
    /// The level under review; the last one when decided.
    pub level: Level,
    /// Counted approvals, oldest first.
    pub votes: Vec<Vote>,
    /// Decisions that acted, with the digest of their content: an id is used up for ever.
    pub decisions: BTreeMap<DecisionId, Digest>,
    /// The revision of the last amendment; a reviewer who has seen less decided about something else.
    pub amended_at_revision: Option<u32>,
    /// The date the ticket was deferred to.
    pub approved_due_date: Option<NaiveDate>,
    /// The end of the history chain.
    pub chain: Chain,
    /// When the submission was applied.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was approved, denied or cancelled.
    pub decided_at: Option<Timestamp>,
}

impl Exception {
    /// Whether it waits for a decision.
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Requested | Status::UnderReview)
    }

    /// Whether the ticket runs, or is about to run, on the approved date.
    pub fn is_enforced(&self) -> bool {
        matches!(self.enforcement, Enforcement::Pending | Enforcement::InForce)
    }

    /// The day its ticket runs until now, as far as this exception knows: the approved date while it is enforced, else the date the
    /// request found. Stored beside it, to be looked for.
    pub fn runs_until(&self) -> NaiveDate {
        self.approved_due_date.filter(|_| self.is_enforced()).unwrap_or(self.request.current_due_date)
    }

    /// Who approved or denied it, if a rule did.
    pub fn decided_by_policy(&self) -> Option<Actor> {
        let by_policy = match self.cause {
            Cause::AutoApproved
            | Cause::AutoDenied
            | Cause::MaxExtension
            | Cause::MaxCumulativeExtension
            | Cause::MaxPreviousExceptions
            | Cause::KevDueDate => true,
            Cause::Submitted | Cause::Approved | Cause::Denied | Cause::Superseded => false,
        };
        by_policy.then(|| Actor::policy(&self.assignment.rule))
    }

    /// Who is to review it now: the reviewers of its level while it is open, each once. For each of them it is one open
    /// assignment.
    pub fn assigned(&self) -> &[UserId] {
        if self.is_open() { &self.level.reviewers } else { &[] }
    }

    /// Who may yet be picked by load: the candidates of the levels to come that say `least_loaded`.
    pub fn picked_by_load(&self) -> impl Iterator<Item = &UserId> {
        let begun = if self.is_open() { self.level.number as usize } else { usize::MAX };
        let to_come = self.assignment.levels.iter().skip(begun);
        to_come.filter(|plan| plan.pick == Pick::LeastLoaded).flat_map(|plan| &plan.candidates)
    }

    /// Both axes at once.
    pub fn state(&self) -> (Status, Enforcement) {
        (self.status, self.enforcement)
    }

    /// The counted approvals of one level.
    pub fn votes_at(&self, level: u32) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(move |vote| vote.level == level)
    }

    /// When the clock next matters to it; `None` when never. A function of the state, stored beside it so that the due
    /// ones can be found. No timer is built yet.
    pub fn due_at(&self) -> Option<Timestamp> {
        None
    }

    /// The next number for an outgoing event.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }
}
