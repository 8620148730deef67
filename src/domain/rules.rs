//! Who must review: the exceptions manager's file is read strictly ([`RuleSet::parse`]), matched against a submission
//! ([`RuleSet::find`]) and resolved into levels of reviewers, with an explanation that is stored with the assignment.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use super::ids::UserId;

mod assignment;
mod compile;
mod file;
mod matching;

pub use assignment::{Assignment, Condition, Dropped, Explanation, Level, LevelExplained, LevelPlan, Quorum, Tried};
pub use compile::RulesError;
pub use matching::{Derived, Facts};

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

#[cfg(test)]
mod tests;
