//! What a rule assigns: levels of reviewers, stored whole with the exception, how each level is filled when it begins, and
//! the explanation of it all. Which rule it is, is found elsewhere ([`super::RuleSet::find`]).

use serde::{Deserialize, Serialize};

use crate::domain::ids::UserId;

/// Largest explanation, in bytes of JSON: it goes out with every assignment and stands in the exception's row, which every
/// decision rewrites.
pub(super) const EXPLANATION_BYTES_MAX: usize = 16 * 1024;

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

/// How an assignment was found. Published with it and shown by the look-ups: the names never change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dropped {
    /// Who.
    pub id: UserId,
    /// `requester`, `not_eligible` or `away`.
    pub why: String,
}

/// The rule that was found at submission, and all that it said: later changes of the file move nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How it was found.
    pub explanation: Explanation,
}

/// The level under review. Its quorum is a number from the moment it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Counts from 1.
    pub number: u32,
    /// Who may act, in the order of the rule.
    pub reviewers: Vec<UserId>,
    /// How many approvals complete it; never 0.
    pub quorum: u32,
    /// Whether too few reviewers were left, so that triage was added.
    pub unassigned: bool,
}

impl Assignment {
    /// Fills a level. The requester never reviews; where fewer are left than the quorum needs, the triage recipients are
    /// added and the level is unassigned. The quorum is a number from here on and never 0: an empty level never approves.
    pub fn begin(&mut self, number: u32, requester: &UserId) -> Option<Level> {
        let plan = self.levels.get(number.checked_sub(1)? as usize)?;
        let mut reviewers: Vec<_> = plan.candidates.iter().filter(|user| *user != requester).cloned().collect();
        let left = u32::try_from(reviewers.len()).unwrap_or(u32::MAX);
        let quorum = match plan.quorum {
            Quorum::Any => 1,
            Quorum::All => left.max(1),
            Quorum::Number(number) => number.max(1),
        };
        let unassigned = left < quorum;
        if unassigned {
            let added: Vec<_> =
                self.triage.iter().filter(|user| *user != requester && !reviewers.contains(user)).cloned().collect();
            reviewers.extend(added);
        }
        if let Some(explained) = self.explanation.levels.iter_mut().find(|explained| explained.level == number) {
            explained.quorum = Some(quorum);
            explained.reviewers.clone_from(&reviewers);
        }
        self.explanation.fit();
        Some(Level { number, reviewers, quorum, unassigned })
    }
}

impl LevelPlan {
    pub(super) fn explained(&self, level: u32, requester: &UserId) -> LevelExplained {
        let dropped = self.candidates.iter().filter(|user| *user == requester);
        LevelExplained {
            level,
            candidates: self.candidates.clone(),
            dropped: dropped.map(|user| Dropped { id: user.clone(), why: "requester".to_owned() }).collect(),
            reviewers: Vec::new(),
            quorum: None,
            pick: "all".to_owned(),
        }
    }
}

impl Explanation {
    /// Leaves out the farthest rules, then the long lists of people, until it is below 16 KiB. The matched rule
    /// stays unless it alone is longer: then only its name is left.
    pub(super) fn fit(&mut self) {
        while self.is_too_large() {
            self.truncated = true;
            if self.tried.len() > 1 {
                self.tried.drain(..self.tried.len().div_ceil(2).min(self.tried.len() - 1));
            } else if self.levels.iter().any(|level| level.candidates.len() + level.reviewers.len() > 20) {
                for level in &mut self.levels {
                    level.candidates.truncate(10);
                    level.reviewers.truncate(10);
                }
            } else if self.levels.len() > 1 {
                self.levels.truncate(self.levels.len() / 2);
            } else {
                self.tried.clear();
                return;
            }
        }
    }

    fn is_too_large(&self) -> bool {
        // A bound from above is enough nearly always, and costs no serialisation.
        let people: usize =
            self.levels.iter().map(|l| l.candidates.len() + l.reviewers.len() + 2 * l.dropped.len()).sum();
        let conditions: usize = self.tried.iter().map(|tried| tried.conditions.len()).sum();
        let bound = people * 140 + conditions * 1_200 + self.tried.len() * 200 + self.levels.len() * 200 + 600;
        bound > EXPLANATION_BYTES_MAX
            && serde_json::to_string(self).is_ok_and(|json| json.len() > EXPLANATION_BYTES_MAX)
    }
}
