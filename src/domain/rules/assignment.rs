//! What a rule assigns, stored whole with the exception: the levels with their groups expanded, the limits, the explanation.
//! Which rule it is, is found elsewhere ([`super::RuleSet::find`]); how a level is filled when it begins, in
//! [`super::filling`].
//!
//! Stored documents outlive programs: every field that came later has a default that means what its absence meant.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::explanation::Explanation;
use crate::domain::exception::Cause;
use crate::domain::ids::UserId;

/// How many approvals complete a level, as the rule says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quorum {
    /// One.
    #[default]
    Any,
    /// Everybody who is left when the level begins.
    All,
    /// So many.
    Number(u32),
}

/// Which of those who are left review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// All of them.
    #[default]
    All,
    /// As many as the quorum, by the hash of exception, level and member.
    Hash,
    /// As many as the quorum, those with the fewest open assignments first.
    LeastLoaded,
}

impl Quorum {
    /// As the file writes it.
    pub fn word(self) -> String {
        match self {
            Quorum::Any => "any".to_owned(),
            Quorum::All => "all".to_owned(),
            Quorum::Number(number) => number.to_string(),
        }
    }
}

impl Pick {
    /// As the file writes it.
    pub fn word(self) -> &'static str {
        match self {
            Pick::All => "all",
            Pick::Hash => "hash",
            Pick::LeastLoaded => "least_loaded",
        }
    }
}

/// What the clock does to a level. Kept, but no timer acts yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// Reviewers are reminded after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_after_s: Option<u64>,
    /// `escalate_to` is added after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after_s: Option<u64>,
    /// The review should be done after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_within_s: Option<u64>,
    /// What happens when it is not.
    #[serde(default)]
    pub on_deadline: OnDeadline,
}

/// What a missed review deadline does. Never an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// Nothing.
    #[default]
    Keep,
    /// The request is cancelled.
    Cancel,
    /// The request is denied.
    Deny,
}

/// One level of a rule as stored with the assignment: groups and fields expanded, order kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelPlan {
    /// Everybody the rule names for this level, the requester included; each once.
    pub candidates: Vec<UserId>,
    /// How many must approve.
    pub quorum: Quorum,
    /// Who of those who are left reviews.
    #[serde(default)]
    pub pick: Pick,
    /// Who is added where fewer are left than the quorum needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<UserId>,
    /// Candidates, also of `escalate_to`, whom the settings did not let review at submission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_eligible: Vec<UserId>,
    /// What the clock does.
    #[serde(default)]
    pub timers: Timers,
}

/// What a rule says about the date that the ticketing system mandates for a known-exploited finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KevDueDate {
    /// Nothing goes beyond it.
    #[default]
    Cap,
    /// Two levels or more may.
    Ignore,
}

/// The rule that was found at submission, and all that it said: later changes of the file move nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The name of the rule that matched.
    pub rule: String,
    /// The file's `version`.
    pub rules_version: String,
    /// SHA-256 of the file, in hex.
    pub rules_hash: String,
    /// The levels, groups expanded.
    pub levels: Vec<LevelPlan>,
    /// Who reviews what nobody could be assigned to.
    pub triage: Vec<UserId>,
    /// The longest extension, in days.
    pub max_extension_days: i64,
    /// The longest extension beyond the ticket's earliest date, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cumulative_extension_days: Option<i64>,
    /// The most exceptions of the ticket that were approved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_previous_exceptions: Option<u32>,
    /// Whether the mandated date is a limit.
    #[serde(default)]
    pub kev_due_date: KevDueDate,
    /// The ticket's `kev_due_date`, as last known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandated_date: Option<NaiveDate>,
    /// How it was found.
    pub explanation: Explanation,
}

/// The level under review. Its quorum is a number from the moment it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Counts from 1; 1 also where a rule decided and no level ever began.
    pub number: u32,
    /// Who may act, in the order of the rule.
    pub reviewers: Vec<UserId>,
    /// How many approvals complete it; never 0.
    pub quorum: u32,
    /// Whether too few reviewers were left, so that triage was added.
    pub unassigned: bool,
}

impl Level {
    /// What stands there when a rule decides by itself.
    pub fn none() -> Self {
        Self { number: 1, reviewers: Vec::new(), quorum: 1, unassigned: false }
    }
}

impl Assignment {
    /// The first limit that a date breaks, in the order of the contract's causes: `current` is the ticket's date, `earliest` the
    /// earliest that is known for it.
    pub fn broken_by(&self, date: NaiveDate, current: NaiveDate, earliest: NaiveDate) -> Option<Cause> {
        let beyond = |from: NaiveDate, days: i64| (date - from).num_days() > days;
        if beyond(current, self.max_extension_days) {
            return Some(Cause::MaxExtension);
        }
        if self.max_cumulative_extension_days.is_some_and(|days| beyond(earliest, days)) {
            return Some(Cause::MaxCumulativeExtension);
        }
        let mandated = self.mandated_date.filter(|_| self.kev_due_date == KevDueDate::Cap);
        mandated.filter(|mandated| date > *mandated).map(|_| Cause::KevDueDate)
    }

    /// The limit on what was approved before.
    pub fn broken_by_previous(&self, previous: i64) -> bool {
        self.max_previous_exceptions.is_some_and(|most| previous > i64::from(most))
    }
}
