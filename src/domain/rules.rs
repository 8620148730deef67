//! Who must review: the exceptions manager's file is read strictly ([`RuleSet::parse`]), matched against a submission
//! ([`RuleSet::find`]) and resolved into levels of reviewers, with an explanation that is stored with the assignment.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::exception::{Assignment, Level};
use super::ids::UserId;

mod compile;
mod file;
mod matching;

pub use compile::RulesError;
pub use matching::{Derived, Facts};

/// Largest explanation, in bytes of JSON (product description, section 4).
pub const EXPLANATION_BYTES_MAX: usize = 16 * 1024;

/// A rules file, ready to be asked.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// The file's `version`.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub hash: String,
    /// The file.
    pub text: String,
    /// The time zone that says what day it is.
    pub zone: Tz,
    /// The reasons that may be given, lower case.
    pub reasons: BTreeSet<String>,
    requesters: Requesters,
    triage: Vec<UserId>,
    rules: Vec<Rule>,
    fallback: Rule,
}

/// Who may submit.
#[derive(Clone, Debug)]
enum Requesters {
    Anybody,
    Listed { users: BTreeSet<UserId>, teams: Vec<String> },
}

/// One rule; the fallback is one without comparisons.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the file.
    pub name: String,
    /// Fields of the submission that must not be empty.
    pub require: Vec<String>,
    /// The longest extension, in days.
    pub max_extension_days: i64,
    comparisons: Vec<matching::Comparison>,
    levels: Vec<LevelPlan>,
}

impl RuleSet {
    /// Whether somebody may submit, by name or by team.
    pub fn may_request(&self, requester: &UserId, team: Option<&str>) -> bool {
        match &self.requesters {
            Requesters::Anybody => true,
            Requesters::Listed { users, teams } => {
                let team = team.map(str::to_lowercase).unwrap_or_default();
                users.contains(requester)
                    || (!team.is_empty() && teams.iter().any(|t| matching::glob(t.as_bytes(), team.as_bytes())))
            }
        }
    }

    /// The first rule that matches, else the fallback, and the assignment it makes.
    pub fn find(&self, facts: &Facts<'_>, requester: &UserId) -> (&Rule, Assignment) {
        let mut tried = Vec::new();
        let mut found = &self.fallback;
        for rule in &self.rules {
            let look = matching::look(&rule.name, &rule.comparisons, facts);
            let matched = look.matched;
            tried.push(look);
            if matched {
                found = rule;
                break;
            }
        }
        if found.comparisons.is_empty() {
            tried.push(matching::look(&found.name, &found.comparisons, facts));
        }
        let levels = found.levels.iter().zip(1..).map(|(plan, level)| plan.explained(level, requester)).collect();
        let mut explanation = Explanation {
            rules_version: self.version.clone(),
            rules_hash: self.hash.clone(),
            rule: found.name.clone(),
            truncated: false,
            tried,
            levels,
        };
        explanation.fit();
        let assignment = Assignment {
            rule: found.name.clone(),
            rules_version: self.version.clone(),
            rules_hash: self.hash.clone(),
            levels: found.levels.clone(),
            triage: self.triage.clone(),
            max_extension_days: found.max_extension_days,
            explanation,
        };
        (found, assignment)
    }
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
    fn explained(&self, level: u32, requester: &UserId) -> LevelExplained {
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
    /// Leaves out the farthest rules, then the long lists of people, until it is below 16 KiB. The matched rule stays.
    fn fit(&mut self) {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

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

#[cfg(test)]
mod tests;
