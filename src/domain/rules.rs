//! Who must review: the exceptions manager's file is read strictly ([`RuleSet::check`]), matched against a submission
//! ([`RuleSet::find`]) and resolved into levels of reviewers ([`Assignment::begin`]), with an explanation that is stored
//! with the assignment. The file carries its own tests ([`RuleSet::test`]).

use std::collections::BTreeSet;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::ids::UserId;
use super::json::Json;

mod assignment;
mod cases;
mod compile;
mod covering;
mod decimal;
mod explanation;
mod filling;
mod matching;
mod node;
mod reader;
mod report;
#[cfg(test)]
pub(crate) mod schema;

pub use assignment::{Assignment, KevDueDate, Level, LevelPlan, OnDeadline, Pick, Quorum, Timers};
pub use cases::{CaseReport, CaseResult, Difference};
pub use compile::Checked;
pub use explanation::{Condition, Dropped, Explanation, LevelExplained, Tried};
pub use filling::{Filling, People};
pub use matching::{Derived, Facts};
pub use report::{Finding, Place, Report};

use explanation::Why;
use matching::Actuals;

/// The name under which the fallback shows.
const FALLBACK: &str = "fallback";

/// A rules file, ready to be asked.
#[derive(Clone, Debug, Default)]
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
    /// Who may reassign and revoke anything.
    pub managers: Vec<UserId>,
    /// Who is told of a new request.
    pub notify: Notify,
    /// When the requester is warned before the end, in days. Kept, but nothing warns yet.
    pub expiry_warnings_days: Vec<u16>,
    requesters: Requesters,
    reviewers: Reviewers,
    /// Everybody the file names as somebody who might review.
    named: BTreeSet<UserId>,
    triage: Vec<UserId>,
    /// The fields that the rules look at, each once.
    fields: Vec<String>,
    rules: Vec<Rule>,
    fallback: Rule,
    cases: Vec<cases::Case>,
}

/// Who is told of a new request, beside the requester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// Those who are to review it.
    #[default]
    Assigned,
    /// Everybody who might be.
    All,
}

/// Who may submit.
#[derive(Clone, Debug, Default)]
enum Requesters {
    #[default]
    Anybody,
    Listed {
        users: BTreeSet<UserId>,
        teams: Vec<String>,
    },
}

/// Who may review.
#[derive(Clone, Debug, Default)]
enum Reviewers {
    /// Whoever the file names.
    #[default]
    Named,
    Anybody,
    Listed(BTreeSet<UserId>),
}

/// One rule; the fallback is one without comparisons.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Its name, unique in the file.
    pub name: String,
    /// Fields of the submission that must not be empty.
    pub require: Vec<String>,
    /// Whether it decides by itself.
    pub auto: Option<Auto>,
    limits: Limits,
    comparisons: Vec<matching::Comparison>,
    levels: Vec<LevelRule>,
}

/// What a rule decides by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// Approved, where the limits hold. Never for a known-exploited ticket.
    Approve,
    /// Denied.
    Deny,
}

impl Auto {
    /// As the file writes it.
    pub fn word(self) -> &'static str {
        match self {
            Auto::Approve => "approve",
            Auto::Deny => "deny",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    max_extension_days: i64,
    max_cumulative_extension_days: Option<i64>,
    max_previous_exceptions: Option<u32>,
    kev_due_date: KevDueDate,
}

/// One level as a rule says it, groups expanded, fields not.
#[derive(Clone, Debug, Default)]
struct LevelRule {
    named: Named,
    quorum: Quorum,
    pick: Pick,
    escalate_to: Named,
    timers: Timers,
}

/// People by id, and by the fields of the event that name them.
#[derive(Clone, Debug, Default)]
struct Named {
    users: Vec<UserId>,
    fields: Vec<String>,
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

    /// Whether somebody is eligible: as a candidate, a delegate, the target of a reassignment.
    pub fn may_review(&self, user: &UserId) -> bool {
        match &self.reviewers {
            Reviewers::Anybody => true,
            Reviewers::Named => self.named.contains(user),
            Reviewers::Listed(users) => users.contains(user),
        }
    }

    /// The eligible people that are known by name: those who are told with `notify: all`.
    pub fn eligible(&self) -> &BTreeSet<UserId> {
        match &self.reviewers {
            Reviewers::Anybody | Reviewers::Named => &self.named,
            Reviewers::Listed(users) => users,
        }
    }

    /// Everybody whom some level with `pick: least_loaded` names, by name or by a field of one of these submissions: of nobody
    /// else the load is looked at when one of them is assigned. Nobody without submissions.
    pub fn picked_by_load<'a>(&self, submissions: impl IntoIterator<Item = &'a Json>) -> BTreeSet<UserId> {
        let levels = self.rules.iter().chain([&self.fallback]).flat_map(|rule| &rule.levels);
        let by_load: Vec<_> =
            levels.filter(|level| level.pick == Pick::LeastLoaded).map(|level| &level.named).collect();
        let mut picked = BTreeSet::new();
        for (position, data) in submissions.into_iter().enumerate() {
            for named in &by_load {
                // The names in the file are the same for all of them.
                let users = named.users.iter().filter(|_| position == 0).cloned();
                picked.extend(users.chain(named.by_field(data)));
            }
        }
        picked
    }

    /// The first rule that matches, else the fallback, and the assignment it makes.
    pub fn find(&self, facts: &Facts<'_>, requester: &UserId) -> (&Rule, Assignment) {
        let actuals = Actuals::of(&self.fields, facts);
        let found = self.rules.iter().position(|rule| rule.matches(&actuals)).unwrap_or(self.rules.len());
        let rule = self.rules.get(found).unwrap_or(&self.fallback);
        // What is explained is made only now, and only of the rules that there is room for.
        let before = self.rules.iter().take(found).rev();
        let (tried, left_out) = explanation::nearest([rule].into_iter().chain(before).map(|rule| rule.look(&actuals)));
        let mut assignment = self.assign(rule, tried, facts, requester);
        assignment.explanation.truncated |= left_out;
        (rule, assignment)
    }

    /// Every rule with all its conditions, up to the fallback, whether or not one before it matched.
    pub fn trace(&self, facts: &Facts<'_>) -> Vec<Tried> {
        let actuals = Actuals::of(&self.fields, facts);
        self.rules.iter().chain([&self.fallback]).map(|rule| rule.trace(&actuals)).collect()
    }

    /// The whole explanation, for a person: every condition of every rule up to the one that matches, and nothing left out.
    /// [`RuleSet::find`] makes the one that is stored, which has a bound.
    pub fn explain(&self, facts: &Facts<'_>, requester: &UserId) -> Explanation {
        let mut tried = self.trace(facts);
        let found = tried.iter().position(|tried| tried.matched).unwrap_or_default();
        tried.truncate(found + 1);
        let rule = self.rules.get(found).unwrap_or(&self.fallback);
        self.explanation(rule, tried, &self.plans(rule, facts), requester)
    }

    fn assign(&self, rule: &Rule, tried: Vec<Tried>, facts: &Facts<'_>, requester: &UserId) -> Assignment {
        let levels = self.plans(rule, facts);
        let mut explanation = self.explanation(rule, tried, &levels, requester);
        explanation.fit();
        Assignment {
            rule: rule.name.clone(),
            rules_version: self.version.clone(),
            rules_hash: self.hash.clone(),
            levels,
            triage: self.triage.clone(),
            max_extension_days: rule.limits.max_extension_days,
            max_cumulative_extension_days: rule.limits.max_cumulative_extension_days,
            max_previous_exceptions: rule.limits.max_previous_exceptions,
            kev_due_date: rule.limits.kev_due_date,
            mandated_date: facts.mandated_date(),
            explanation,
        }
    }

    fn explanation(&self, rule: &Rule, tried: Vec<Tried>, levels: &[LevelPlan], requester: &UserId) -> Explanation {
        Explanation {
            rules_version: self.version.clone(),
            rules_hash: self.hash.clone(),
            rule: rule.name.clone(),
            truncated: false,
            tried,
            levels: levels.iter().zip(1..).map(|(plan, level)| plan.explained(level, requester)).collect(),
        }
    }

    fn plans(&self, rule: &Rule, facts: &Facts<'_>) -> Vec<LevelPlan> {
        rule.levels.iter().map(|level| self.plan(level, facts)).collect()
    }

    /// A person named by a field of the event is eligible, whoever else is.
    fn plan(&self, level: &LevelRule, facts: &Facts<'_>) -> LevelPlan {
        let (candidates, by_field) = level.named.people(facts);
        let (escalate_to, also_by_field) = level.escalate_to.people(facts);
        let everybody: BTreeSet<_> = candidates.iter().chain(&escalate_to).collect();
        let eligible = |user: &UserId| self.may_review(user) || by_field.contains(user) || also_by_field.contains(user);
        let not_eligible = everybody.into_iter().filter(|user| !eligible(user)).cloned().collect();
        LevelPlan {
            candidates,
            quorum: level.quorum,
            pick: level.pick,
            escalate_to,
            not_eligible,
            timers: level.timers,
        }
    }
}

impl Rule {
    fn matches(&self, actuals: &Actuals) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(actuals)) && !self.passes_over(actuals)
    }

    fn look(&self, actuals: &Actuals) -> Tried {
        let look = matching::look(&self.name, &self.comparisons, actuals);
        if look.matched && self.passes_over(actuals) {
            return Tried { rule: look.rule, matched: false, conditions: vec![known_exploited()] };
        }
        look
    }

    fn trace(&self, actuals: &Actuals) -> Tried {
        let mut conditions: Vec<_> = self.comparisons.iter().map(|comparison| comparison.shown(actuals)).collect();
        conditions.extend(self.passes_over(actuals).then(known_exploited));
        Tried { rule: self.name.clone(), matched: conditions.iter().all(|condition| condition.holds), conditions }
    }

    /// No rule approves a known-exploited ticket by itself: the next one is tried.
    fn passes_over(&self, actuals: &Actuals) -> bool {
        self.auto == Some(Auto::Approve) && actuals.known_exploited
    }
}

/// How an explanation shows that a rule was passed over.
fn known_exploited() -> Condition {
    Condition {
        field: "ticket.kev".to_owned(),
        wanted: "not known to be exploited, for auto: approve".to_owned(),
        actual: Some("known to be exploited".to_owned()),
        holds: false,
    }
}

impl Named {
    /// Everybody, each once, and who of them was named by a field.
    fn people(&self, facts: &Facts<'_>) -> (Vec<UserId>, BTreeSet<UserId>) {
        let mut people = self.users.clone();
        let mut by_field = BTreeSet::new();
        for user in self.by_field(facts.data) {
            if !people.contains(&user) {
                people.push(user.clone());
            }
            by_field.insert(user);
        }
        (people, by_field)
    }

    /// Who is named by a field. What is no person's id names nobody: then the level has one candidate less.
    fn by_field<'a>(&'a self, data: &'a Json) -> impl Iterator<Item = UserId> + 'a {
        let values = self.fields.iter().filter_map(|field| data.at(field));
        let texts =
            values.flat_map(
                |value| {
                    if let Json::List(items) = value { items.as_slice() } else { std::slice::from_ref(value) }
                },
            );
        texts.filter_map(|text| if let Json::Text(text) = text { UserId::parse(text).ok() } else { None })
    }
}

impl LevelPlan {
    fn explained(&self, level: u32, requester: &UserId) -> LevelExplained {
        let dropped = self.candidates.iter().filter_map(|user| {
            let why = self.drops(user, requester).map(Why::word)?;
            Some(Dropped { id: user.clone(), why: why.to_owned() })
        });
        LevelExplained {
            level,
            candidates: self.candidates.clone(),
            dropped: dropped.collect(),
            reviewers: Vec::new(),
            quorum: None,
            pick: self.pick.word().to_owned(),
        }
    }
}

impl Facts<'_> {
    /// The date that the ticketing system mandates for a known-exploited finding.
    fn mandated_date(&self) -> Option<NaiveDate> {
        super::dates::parse_date(self.data.text_at("ticket.kev_due_date")?)
    }
}

#[cfg(test)]
mod tests;
