//! Who must review: the exceptions manager's file, read ([`file`]), matched ([`matching`]) and resolved into levels of
//! reviewers, with an explanation that is stored with the assignment.

use serde::{Deserialize, Serialize};

use super::ids::UserId;

/// How many approvals complete a level, as the rule says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quorum {
    /// One.
    Any,
    /// Everybody who is left when the level begins.
    All,
    /// So many.
    Number(u32),
}

/// One level of a rule as stored with the assignment: groups expanded, order kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelPlan {
    /// Everybody the rule names for this level, the requester included; each once.
    pub candidates: Vec<UserId>,
    /// How many must approve.
    pub quorum: Quorum,
}

/// How an assignment was found. Its shape is the contract's, section 8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The file's `version`.
    pub rules_version: String,
    /// SHA-256 of the file, in hex.
    pub rules_hash: String,
    /// The rule that matched.
    pub rule: String,
    /// Whether parts were left out to keep it below 16 KiB.
    pub truncated: bool,
    /// The rules in order, up to the one that matched.
    pub tried: Vec<Tried>,
    /// The levels that have begun or will.
    pub levels: Vec<LevelExplained>,
}

/// One rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub rule: String,
    /// Whether all its conditions held.
    pub matched: bool,
    /// All of the matched rule; of another the first that failed.
    pub conditions: Vec<Condition>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The path.
    pub field: String,
    /// What the rule wants.
    pub wanted: String,
    /// What was there; `None` for a missing field.
    pub actual: Option<String>,
    /// Whether it held.
    pub holds: bool,
}

/// One level, as it was filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelExplained {
    /// Counts from 1.
    pub level: u32,
    /// Whom the rule names.
    pub candidates: Vec<UserId>,
    /// Who of them was left out, and why.
    pub dropped: Vec<Dropped>,
    /// Who reviews, once the level has begun.
    pub reviewers: Vec<UserId>,
    /// How many must approve, once the level has begun.
    pub quorum: Option<u32>,
    /// How reviewers are picked from those who are left.
    pub pick: String,
}

/// A candidate who does not review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Who.
    pub id: UserId,
    /// `requester`, `not_eligible` or `away`.
    pub why: String,
}
