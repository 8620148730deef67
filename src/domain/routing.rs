//! What a set of rules makes of a submission, for those who ask before or afterwards: which rule, which limit, who reviews.
//! It asks what decides in earnest ([`super::lifecycle::submit`], [`RuleSet::find`]) and changes nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::command::Submission;
use super::dates::{Timestamp, day};
use super::exception::{Cause, Exception};
use super::ids::{Digest, UserId};
use super::lifecycle::{Before, Ruling, Scene, broken_limit, derive, earliest_due_date, submit};
use super::refusal::Refusal;
use super::rules::{Auto, Derived, Explanation, Facts, People, RuleSet};
use super::ticket::Ticket;

/// A submission, and what was known when it came in.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked for.
    pub submission: &'a Submission,
    /// The ticket as its exceptions before this one left it.
    pub ticket: Option<&'a Ticket>,
    /// When: it says what day it is.
    pub at: Timestamp,
}

/// What the rules make of it. Absences, load and `pick` change from day to day and are not looked at, nor is whether
/// another request of the ticket is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Routing {
    /// The rule that matches.
    pub rule: String,
    /// What the rule decides by itself: `approve` or `deny`.
    pub auto: Option<&'static str>,
    /// The limit that is broken: then it is denied, whatever the rule says.
    pub limit: Option<Cause>,
    /// The code under which it is refused: then it is no exception at all.
    pub refused: Option<&'static str>,
    /// The levels of review.
    pub levels: Vec<RoutedLevel>,
}

/// One level of review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoutedLevel {
    /// Who could review, the requester and whoever is not eligible left out.
    pub candidates: BTreeSet<UserId>,
    /// How many must approve, as the rule says it.
    pub quorum: String,
    /// Who of the candidates is asked, as the rule says it.
    pub pick: &'static str,
    /// Who is added where too few are left.
    pub escalate_to: BTreeSet<UserId>,
}

impl Question<'_> {
    /// The values that are derived from it by the calendar of these rules.
    pub fn derived(&self, rules: &RuleSet) -> Derived {
        let earliest = earliest_due_date(self.submission, self.ticket);
        derive(self.submission, earliest, self.ticket, day(self.at, rules.zone))
    }

    /// What these rules make of it.
    pub fn routing(&self, rules: &RuleSet) -> Routing {
        let (submission, derived) = (self.submission, self.derived(rules));
        let requester = &submission.request.requester;
        let (rule, assignment) = rules.find(&Facts { data: &submission.data, derived }, requester);
        let level = |plan: &super::rules::LevelPlan| RoutedLevel {
            candidates: plan.available(requester),
            quorum: plan.quorum.word(),
            pick: plan.pick.word(),
            escalate_to: plan.escalate_to.iter().cloned().collect(),
        };
        Routing {
            rule: rule.name.clone(),
            auto: rule.auto.map(Auto::word),
            limit: broken_limit(&assignment, submission, derived, earliest_due_date(submission, self.ticket)),
            refused: self.applied(rules).err().map(Refusal::code),
            levels: assignment.levels.iter().map(level).collect(),
        }
    }

    /// The whole explanation of it, the first level filled as on a day when nobody is away.
    pub fn explanation(&self, rules: &RuleSet) -> Explanation {
        let submission = self.submission;
        let facts = Facts { data: &submission.data, derived: self.derived(rules) };
        let mut explanation = rules.explain(&facts, &submission.request.requester);
        if let Ok(exception) = self.applied(rules) {
            explanation.begun(&exception);
        }
        explanation
    }

    fn applied(&self, rules: &RuleSet) -> Result<Exception, Refusal> {
        let before = Before { existing: None, ticket: self.ticket, ticket_has_open: false };
        let scene = Scene { rules, people: &People::default(), now: self.at };
        match submit(self.submission, Digest([0; 16]), before, scene) {
            Ruling::Applied(exception, _) => Ok(*exception),
            Ruling::Refused(refusal) => Err(refusal),
            Ruling::Nothing => unreachable!("nothing of this id exists"),
        }
    }
}

#[cfg(test)]
mod tests;
