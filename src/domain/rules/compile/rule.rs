//! Rules, the fallback and their levels.

use std::collections::BTreeMap;

use super::Compiler;
use super::limits::{Bounds, Clock, TIMERS};
use crate::domain::fields::{self, Field, Kind};
use crate::domain::ids::UserId;
use crate::domain::rules::assignment::{Pick, Quorum};
use crate::domain::rules::node::Value;
use crate::domain::rules::reader::{Members, Spot};
use crate::domain::rules::{Auto, FALLBACK, LevelRule, Named, Requesters, Rule};

/// Longest name of a rule, in bytes: it stands in every event about the assignment.
pub(in crate::domain::rules) const NAME_LENGTH_MAX: usize = 128;
/// Most levels of a rule: an explanation has to show them all, and nobody waits for more.
pub(in crate::domain::rules) const LEVELS_MAX: usize = 10;

/// What holds for every rule that does not say otherwise.
#[derive(Default)]
pub(super) struct Defaults<'a> {
    quorum: Option<(Quorum, Spot<'a>)>,
    pick: Option<Pick>,
    require: Vec<String>,
    bounds: Bounds<'a>,
    clock: Clock,
}

/// What each part may say, beside the timers.
pub(in crate::domain::rules) const DEFAULTS: [&str; 4] = ["quorum", "pick", "require", "limits"];
pub(in crate::domain::rules) const RULE: [&str; 8] =
    ["name", "description", "match", "levels", "reviewers", "auto", "require", "limits"];
pub(in crate::domain::rules) const FALLBACK_RULE: [&str; 5] = ["levels", "reviewers", "auto", "require", "limits"];
pub(in crate::domain::rules) const LEVEL: [&str; 4] = ["reviewers", "quorum", "pick", "escalate_to"];
pub(in crate::domain::rules) const PEOPLE: [&str; 3] = ["users", "groups", "fields"];

pub(in crate::domain::rules) const AUTOS: [(&str, Auto); 2] = [("approve", Auto::Approve), ("deny", Auto::Deny)];
pub(in crate::domain::rules) const NOBODY: [(&str, ()); 1] = [("none", ())];
pub(in crate::domain::rules) const QUORUMS: [(&str, Option<Quorum>); 3] =
    [("any", Some(Quorum::Any)), ("all", Some(Quorum::All)), ("a number", None)];
pub(in crate::domain::rules) const PICKS: [(&str, Pick); 3] =
    [("all", Pick::All), ("hash", Pick::Hash), ("least_loaded", Pick::LeastLoaded)];

impl<'a> Compiler<'a> {
    pub(super) fn defaults(&mut self, spot: Option<&Spot<'a>>) -> Defaults<'a> {
        let known = [&DEFAULTS[..], &TIMERS].concat();
        let Some(defaults) = spot.and_then(|spot| self.reader.members(spot, &known)) else {
            return Defaults::default();
        };
        Defaults {
            quorum: defaults.get("quorum").and_then(|spot| self.quorum(&spot).map(|quorum| (quorum, spot))),
            pick: defaults.get("pick").and_then(|spot| self.pick(&spot)),
            require: defaults.get("require").map_or_else(Vec::new, |spot| self.require(&spot)),
            bounds: self.bounds(defaults.get("limits").as_ref()),
            clock: self.clock(&defaults),
        }
    }

    pub(super) fn rules(&mut self, spot: Option<&Spot<'a>>, defaults: &Defaults<'a>) -> Vec<Rule> {
        let known = [&RULE[..], &TIMERS];
        let mut names = BTreeMap::from([(FALLBACK.to_owned(), 0)]);
        let mut rules = Vec::new();
        for spot in spot.map_or_else(Vec::new, |spot| self.reader.list(spot)) {
            let Some(members) = self.reader.members(&spot, &known.concat()) else { continue };
            let name = self.name(&members, &mut names);
            if let Some(description) = members.get("description") {
                self.reader.text(&description);
            }
            let why = "a rule for everything is the fallback";
            let conditions = self.reader.required(&members, "match", why);
            let comparisons = conditions.map_or_else(Vec::new, |conditions| self.conditions(&conditions));
            let rule = Rule { name, comparisons, ..self.rest_of(&members, defaults) };
            self.rule_spots.push(spot);
            rules.push(rule);
        }
        rules
    }

    pub(super) fn fallback(&mut self, spot: &Spot<'a>, defaults: &Defaults<'a>) -> Rule {
        let known = [&FALLBACK_RULE[..], &TIMERS].concat();
        let Some(members) = self.reader.members(spot, &known) else { return Rule::default() };
        let rule = self.rest_of(&members, defaults);
        if let Some(auto) = members.get("auto").filter(|_| rule.auto == Some(Auto::Approve)) {
            let message = "the fallback takes known-exploited tickets too: it cannot approve by itself";
            self.reader.error(&auto, message);
        }
        Rule { name: FALLBACK.to_owned(), ..rule }
    }

    fn name(&mut self, members: &Members<'a>, names: &mut BTreeMap<String, u64>) -> String {
        let Some(spot) = self.reader.required(members, "name", "explanations and tests call the rule by it") else {
            return String::new();
        };
        let Some(name) = self.reader.text(&spot) else { return String::new() };
        if name.trim().is_empty() || name.contains(['\n', '\t']) || name.len() > NAME_LENGTH_MAX {
            self.reader.error(&spot, format!("expected 1 to {NAME_LENGTH_MAX} bytes"));
        }
        match names.insert(name.to_owned(), spot.at().line) {
            None => {}
            Some(0) => self.reader.error(&spot, format!("the name {FALLBACK} is taken by the fallback")),
            Some(line) => self.reader.error(&spot, format!("the rule of line {line} is named {name} too")),
        }
        name.to_owned()
    }

    /// What a rule and the fallback have in common.
    fn rest_of(&mut self, members: &Members<'a>, defaults: &Defaults<'a>) -> Rule {
        let bounds = self.bounds(members.get("limits").as_ref()).over(&defaults.bounds);
        let clock = self.clock(members).over(defaults.clock);
        let auto = members.get("auto").and_then(|spot| self.reader.word(&spot, &AUTOS));
        let said = ["levels", "reviewers", "auto"].iter().filter_map(|key| members.get(key)).collect::<Vec<_>>();
        if let [_, second, ..] = said.as_slice() {
            self.reader.error(second, "a rule has either `levels`, or `reviewers: none`, or `auto`");
        }
        let levels = match (members.get("levels"), members.get("reviewers")) {
            (Some(levels), _) => self.levels(&levels, defaults, clock),
            (None, Some(nobody)) => {
                self.reader.word(&nobody, &NOBODY);
                vec![LevelRule { timers: clock.timers(), ..LevelRule::default() }]
            }
            (None, None) => {
                if said.is_empty() {
                    let message = "say who reviews: `levels`, or `reviewers: none` for triage, or `auto`";
                    self.reader.error(&members.spot, message);
                }
                Vec::new()
            }
        };
        if let Some(spot) = bounds.ignores_mandate().filter(|_| levels.len() < 2 && auto != Some(Auto::Deny)) {
            let message = format!(
                "`ignore` needs two levels or more: nobody passes a mandated date alone, and {} has {}",
                members.spot.path,
                levels.len()
            );
            self.reader.error(spot, message);
        }
        Rule {
            name: String::new(),
            require: members.get("require").map_or_else(|| defaults.require.clone(), |spot| self.require(&spot)),
            auto,
            limits: bounds.limits(),
            comparisons: Vec::new(),
            levels,
        }
    }

    fn levels(&mut self, spot: &Spot<'a>, defaults: &Defaults<'a>, clock: Clock) -> Vec<LevelRule> {
        let before = self.faults();
        let levels = self.reader.list(spot);
        if levels.is_empty() && self.faults() == before {
            self.reader
                .error(spot, "name at least one level; `reviewers: none` instead of `levels` leaves it to triage");
        }
        if levels.len() > LEVELS_MAX {
            self.reader.error(spot, format!("expected at most {LEVELS_MAX} levels"));
        }
        levels.iter().map(|level| self.level(level, defaults, clock).unwrap_or_default()).collect()
    }

    fn level(&mut self, spot: &Spot<'a>, defaults: &Defaults<'a>, clock: Clock) -> Option<LevelRule> {
        let known = [&LEVEL[..], &TIMERS].concat();
        let level = self.reader.members(spot, &known)?;
        let timers = self.clock(&level).over(clock).timers();
        let before = self.faults();
        let named = self.reader.required(&level, "reviewers", "who reviews?").map(|spot| self.reviewers(&spot));
        let all_known = self.faults() == before;
        let own_quorum = level.get("quorum").map(|spot| (self.quorum(&spot), spot));
        let (quorum, quorum_spot) = if let Some((quorum, spot)) = &own_quorum {
            (quorum.unwrap_or_default(), Some(spot))
        } else {
            let outer = defaults.quorum.as_ref();
            (outer.map_or(Quorum::Any, |(quorum, _)| *quorum), outer.map(|(_, spot)| spot))
        };
        let rule = LevelRule {
            named: named.unwrap_or_default(),
            quorum,
            pick: level.get("pick").and_then(|spot| self.pick(&spot)).or(defaults.pick).unwrap_or_default(),
            escalate_to: level.get("escalate_to").map_or_else(Named::default, |spot| self.reviewers(&spot)),
            timers,
        };
        if let (true, Quorum::Number(number), Some(quorum)) = (all_known, rule.quorum, quorum_spot) {
            let members = rule.named.users.len() + rule.named.fields.len();
            if number as usize > members {
                let message = format!("{number} approvals cannot come from {}: it names {members}", spot.path);
                self.reader.error(quorum, message);
            }
        }
        if all_known {
            self.warn_of_a_level_that_may_be_empty(spot, &rule);
        }
        Some(rule)
    }

    /// The requester never reviews: where that leaves too few, triage has to step in.
    fn warn_of_a_level_that_may_be_empty(&mut self, spot: &Spot<'a>, rule: &LevelRule) {
        let needed = if let Quorum::Number(number) = rule.quorum { number as usize } else { 1 };
        let without = |users: &[UserId], user: &UserId| users.iter().filter(|other| *other != user).count();
        let may_request = |user: &UserId| match &self.requesters {
            Requesters::Listed { users, teams } if teams.is_empty() => users.contains(user),
            _ => true,
        };
        let mut everybody = rule.named.users.clone();
        everybody.extend(rule.escalate_to.users.iter().filter(|user| !rule.named.users.contains(user)).cloned());
        let too_few = |user: &&UserId| may_request(user) && without(&everybody, user) < needed;
        if let Some(user) = rule.named.users.iter().find(too_few) {
            let message =
                format!("a request by {user} leaves fewer reviewers than the quorum; name more, or `escalate_to`");
            self.reader.warn(spot.at(), &spot.path, message);
        } else if let Some(field) = rule.named.fields.first().filter(|_| everybody.len() < needed) {
            let message =
                format!("without {field}, or where it is the requester, too few are left; name `escalate_to`");
            self.reader.warn(spot.at(), &spot.path, message);
        }
    }

    fn reviewers(&mut self, spot: &Spot<'a>) -> Named {
        let before = self.faults();
        let Some(named) = self.reader.members(spot, &PEOPLE) else { return Named::default() };
        let mut users = named.get("users").map_or_else(Vec::new, |spot| self.named_users(&spot));
        for user in named.get("groups").map_or_else(Vec::new, |spot| self.members(&spot)) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        let fields = named.get("fields").map_or_else(Vec::new, |spot| self.person_fields(&spot));
        if users.is_empty() && fields.is_empty() && self.faults() == before {
            self.reader.error(spot, "name at least one user, group or field");
        }
        Named { users, fields }
    }

    fn person_fields(&mut self, spot: &Spot<'a>) -> Vec<String> {
        let mut fields = Vec::new();
        for (item, path) in self.reader.texts(spot) {
            let known = fields::submission_field(path);
            let holds_a_person = known.is_some_and(may_name_people) || fields::is_own(path);
            if path == REQUESTER {
                self.reader.error(&item, "the requester never reviews");
            } else if known.is_none() && !fields::is_own(path) {
                let people = fields::SUBMISSION.iter().filter(|field| field.kind == Kind::User).map(|field| field.path);
                self.reader.unknown(&item, format!("{path:?} is no field of a submission"), path, people);
            } else if !holds_a_person {
                self.reader.error(&item, format!("{path} names no person"));
            } else {
                fields.push(path.to_owned());
            }
        }
        fields
    }

    fn quorum(&mut self, spot: &Spot<'a>) -> Option<Quorum> {
        if let Value::Number(_) = spot.node.value {
            let number = self.reader.count(spot)?;
            if number == 0 {
                self.reader.error(spot, "expected at least 1: an empty level never approves");
            }
            return Some(Quorum::Number(number.max(1)));
        }
        self.reader.word(spot, &QUORUMS).flatten()
    }

    fn pick(&mut self, spot: &Spot<'a>) -> Option<Pick> {
        self.reader.word(spot, &PICKS)
    }

    fn require(&mut self, spot: &Spot<'a>) -> Vec<String> {
        let mut paths = Vec::new();
        for (item, path) in self.reader.texts(spot) {
            if fields::submission_field(path).is_some() || fields::is_own(path) {
                paths.push(path.to_owned());
            } else {
                let known = fields::SUBMISSION.iter().map(|field| field.path);
                self.reader.unknown(&item, format!("{path:?} is no field of a submission"), path, known);
            }
        }
        paths
    }
}

/// The one person who never reviews.
const REQUESTER: &str = "requester.id";

/// Whether a level may name its reviewers by this field.
pub(in crate::domain::rules) fn may_name_people(field: &Field) -> bool {
    matches!(field.kind, Kind::User | Kind::Text) && field.path != REQUESTER
}
