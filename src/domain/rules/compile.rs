//! From the file to a rule set that can be asked: groups expanded, defaults merged, every name checked. Goes on after a
//! fault, so that all of them are told at once.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::cases;
use super::covering;
use super::node::Node;
use super::reader::{Members, Reader, Spot};
use super::report::{Finding, Report, nearest};
use super::{FALLBACK, Notify, Requesters, Reviewers, RuleSet};
use crate::domain::ids::{UserId, hex};

pub(super) mod condition;
pub(super) mod limits;
pub(super) mod rule;

/// The only form there is.
pub(super) const API_VERSION: &str = "reprieve/v1";
/// Longest `version`, in characters: it stands in every assignment.
pub(super) const VERSION_LENGTH_MAX: usize = 64;
/// The reasons of a file that names none.
const REASONS: [&str; 6] = [
    "fix_unavailable",
    "technical_limitation",
    "business_impact",
    "awaiting_maintenance_window",
    "compensating_control",
    "other",
];
/// When the requester is warned before the end, in days, where the file does not say.
const EXPIRY_WARNINGS_DAYS: [u16; 3] = [30, 7, 1];

/// What a file is worth.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The rules, if nothing is wrong with them.
    pub rules: Option<RuleSet>,
    /// Everything that is wrong or unwise.
    pub report: Report,
}

impl RuleSet {
    /// Reads a rules file.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let Checked { rules, report } = Self::check(text);
        rules.ok_or(report.errors)
    }

    /// Reads a rules file and says everything that is wrong or unwise, in the order of the file.
    pub fn check(text: &str) -> Checked {
        let root = match Node::parse(text) {
            Ok(root) => root,
            Err(fault) => {
                return Checked { rules: None, report: Report { errors: vec![fault], warnings: Vec::new() } };
            }
        };
        let mut compiler = Compiler::default();
        let rules = compiler.rule_set(&Spot::root(&root), text);
        let mut report = compiler.reader.report;
        let rules = rules.filter(|_| report.errors.is_empty());
        if let Some(rules) = &rules {
            report.warnings.extend(covering::covered(rules, &compiler.rule_spots));
        }
        report.sort();
        Checked { rules, report }
    }
}

#[derive(Default)]
struct Compiler<'a> {
    reader: Reader,
    groups: BTreeMap<String, Vec<UserId>>,
    /// Groups with a fault of their own: whoever uses one is not to blame for who is missing.
    broken_groups: BTreeSet<String>,
    /// How often such a group was used.
    doubts: usize,
    used_groups: BTreeSet<String>,
    /// Everybody the file names as somebody who might review.
    named: BTreeSet<UserId>,
    reasons: BTreeSet<String>,
    requesters: Requesters,
    /// The fields that conditions look at, each once.
    fields: Vec<String>,
    /// Where each rule stands, for what is only known in the end.
    rule_spots: Vec<Spot<'a>>,
}

impl<'a> Compiler<'a> {
    fn rule_set(&mut self, root: &Spot<'a>, text: &str) -> Option<RuleSet> {
        let file = self.reader.members(root, &FILE)?;
        let version = self.versions(&file);
        let groups = file.get("groups");
        self.groups(groups.as_ref());
        let settings = self.reader.required(&file, "settings", "at least `triage` has to be said");
        let settings = settings.and_then(|settings| self.reader.members(&settings, &SETTINGS));
        let mut rules = self.settings(settings.as_ref());
        let defaults = self.defaults(file.get("defaults").as_ref());
        let listed = file.get("rules");
        rules.rules = self.rules(listed.as_ref(), &defaults);
        let why = "it says who reviews what no rule matches; `reviewers: none` leaves that to triage";
        if let Some(fallback) = self.reader.required(&file, "fallback", why) {
            rules.fallback = self.fallback(&fallback, &defaults);
        }
        self.unused(groups.as_ref());
        // Where the rules themselves are not found, their tests are not to blame.
        let names: Option<Vec<_>> =
            listed.map(|_| rules.rules.iter().map(|rule| rule.name.as_str()).chain([FALLBACK]).collect());
        rules.cases =
            file.get("tests").map_or_else(Vec::new, |tests| cases::read(&mut self.reader, &tests, names.as_deref()));
        rules.named = std::mem::take(&mut self.named);
        rules.fields = std::mem::take(&mut self.fields);
        rules.version = version.unwrap_or_default();
        rules.hash = hex(&Sha256::digest(text));
        text.clone_into(&mut rules.text);
        Some(rules)
    }

    /// Counts what was found wrong: what follows only from an earlier fault is not told.
    fn faults(&self) -> usize {
        self.reader.errors() + self.doubts
    }

    fn versions(&mut self, file: &Members<'a>) -> Option<String> {
        if let Some(spot) = self.reader.required(file, "apiVersion", "say `apiVersion: reprieve/v1`") {
            self.reader.word(&spot, &[(API_VERSION, ())]);
        }
        let spot = self.reader.required(file, "version", "it is stored with every assignment")?;
        let version = self.reader.text(&spot)?;
        if version.trim().is_empty() || version.contains(['\n', '\t']) || version.chars().count() > VERSION_LENGTH_MAX {
            self.reader.error(&spot, format!("expected 1 to {VERSION_LENGTH_MAX} characters"));
        }
        Some(version.to_owned())
    }

    fn groups(&mut self, groups: Option<&Spot<'a>>) {
        let Some(groups) = groups.and_then(|groups| self.reader.map(groups)) else { return };
        for (key, group) in groups.all() {
            let before = self.faults();
            let members = self.reader.members(&group, &GROUP);
            let members = members.and_then(|group| self.reader.required(&group, "members", "who is in the group?"));
            let users = members.as_ref().map_or_else(Vec::new, |members| self.reader.users(members));
            if let Some(members) = members.filter(|_| users.is_empty() && self.faults() == before) {
                self.reader.error(&members, format!("the group {} has no members", key.name));
            }
            if self.faults() > before {
                self.broken_groups.insert(key.name.clone());
            }
            self.named.extend(users.iter().cloned());
            self.groups.insert(key.name.clone(), users);
        }
    }

    fn unused(&mut self, groups: Option<&Spot<'a>>) {
        let Some(groups) = groups.and_then(|groups| self.reader.map(groups)) else { return };
        for (key, group) in groups.all().filter(|(key, _)| !self.used_groups.contains(&key.name)) {
            self.reader.warn(key.at, &group.path, format!("the group {} is used nowhere", key.name));
        }
    }

    fn settings(&mut self, settings: Option<&Members<'a>>) -> RuleSet {
        let mut rules = RuleSet { expiry_warnings_days: EXPIRY_WARNINGS_DAYS.to_vec(), ..RuleSet::default() };
        self.reasons = REASONS.map(str::to_owned).into();
        let Some(settings) = settings else { return rules };
        if let Some(zone) = settings.get("time_zone") {
            rules.zone = self.zone(&zone);
        }
        if let Some(reasons) = settings.get("reasons") {
            self.reasons = self.read_reasons(&reasons);
        }
        rules.reasons.clone_from(&self.reasons);
        rules.requesters = self.may_request(settings.get("may_request").as_ref());
        self.requesters = rules.requesters.clone();
        rules.reviewers = self.may_review(settings.get("may_review").as_ref());
        rules.managers = settings.get("managers").map_or_else(Vec::new, |spot| self.named_users(&spot));
        if let Some(triage) = self.reader.required(settings, "triage", "who reviews what nobody could be assigned to?")
        {
            let before = self.faults();
            rules.triage = self.named_users(&triage);
            if rules.triage.is_empty() && self.faults() == before {
                let message = "name at least one person, who reviews what nobody could be assigned to";
                self.reader.error(&triage, message);
            }
        }
        if let Some(spot) = settings.get("notify") {
            rules.notify = self.reader.word(&spot, &NOTIFY).unwrap_or_default();
        }
        if let Some(spot) = settings.get("expiry_warnings") {
            rules.expiry_warnings_days =
                self.reader.list(&spot).iter().filter_map(|item| self.reader.days(item)).collect();
            self.reader.dormant(&spot, "expiry_warnings");
        }
        if let Some(spot) = settings.get("deferral") {
            self.deferral(&spot);
        }
        rules
    }

    fn zone(&mut self, spot: &Spot<'a>) -> chrono_tz::Tz {
        let Some(name) = self.reader.text(spot) else { return chrono_tz::UTC };
        name.parse().unwrap_or_else(|_| {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            self.reader.unknown(spot, format!("{name:?} is no zone of the IANA database"), name, known);
            chrono_tz::UTC
        })
    }

    fn read_reasons(&mut self, spot: &Spot<'a>) -> BTreeSet<String> {
        let mut reasons = BTreeSet::new();
        for (item, text) in self.reader.texts(spot) {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.reader.error(&item, "expected one word of printable ASCII");
            }
            reasons.insert(text.to_ascii_lowercase());
        }
        if reasons.is_empty() {
            self.reader.error(spot, "without a reason nobody could submit a request");
        }
        reasons
    }

    fn may_request(&mut self, spot: Option<&Spot<'a>>) -> Requesters {
        let may = spot.and_then(|spot| self.reader.members(spot, &MAY_REQUEST));
        let Some(may) = may else { return Requesters::Anybody };
        if self.anybody(&may) {
            return Requesters::Anybody;
        }
        let before = self.faults();
        let mut users: BTreeSet<_> =
            may.get("users").map_or_else(Vec::new, |spot| self.reader.users(&spot)).into_iter().collect();
        users.extend(may.get("groups").map_or_else(Vec::new, |spot| self.members(&spot)));
        let mut teams = Vec::new();
        for (item, text) in may.get("teams").map_or_else(Vec::new, |spot| self.reader.texts(&spot)) {
            self.glob(&item, text);
            teams.push(text.to_lowercase());
        }
        if users.is_empty() && teams.is_empty() && self.faults() == before {
            self.reader
                .error(&may.spot, "nobody may submit a request: say `any: true`, or name users, groups or teams");
        }
        Requesters::Listed { users, teams }
    }

    fn may_review(&mut self, spot: Option<&Spot<'a>>) -> Reviewers {
        let may = spot.and_then(|spot| self.reader.members(spot, &MAY_REVIEW));
        let Some(may) = may else { return Reviewers::Named };
        if self.anybody(&may) {
            return Reviewers::Anybody;
        }
        let before = self.faults();
        let mut users = may.get("users").map_or_else(Vec::new, |spot| self.named_users(&spot));
        users.extend(may.get("groups").map_or_else(Vec::new, |spot| self.members(&spot)));
        if users.is_empty() && self.faults() == before {
            self.reader.error(&may.spot, "nobody may review: say `any: true`, or name users or groups");
        }
        Reviewers::Listed(users.into_iter().collect())
    }

    /// Whether `any: true` stands there; beside it nothing else does.
    fn anybody(&mut self, may: &Members<'a>) -> bool {
        let any = may.get("any").and_then(|spot| self.reader.boolean(&spot)).unwrap_or(false);
        if let Some((_, other)) =
            may.all().find(|(key, _)| any && ["users", "groups", "teams"].contains(&key.name.as_str()))
        {
            self.reader.error(&other, "`any: true` lets everybody; leave out one of them");
        }
        any
    }

    fn deferral(&mut self, spot: &Spot<'a>) {
        let Some(deferral) = self.reader.members(spot, &DEFERRAL) else { return };
        let Some(confirmation) = deferral.get("confirmation") else { return };
        if self.reader.word(&confirmation, &CONFIRMATIONS) == Some(true) {
            let message =
                "`expected` is not built yet: an approval would be in force before it is confirmed; say `none`";
            self.reader.error(&confirmation, message);
        }
    }

    /// People who may review because they are named.
    fn named_users(&mut self, spot: &Spot<'a>) -> Vec<UserId> {
        let users = self.reader.users(spot);
        for user in users.iter().filter(|user| self.groups.contains_key(user.as_str())) {
            let message =
                format!("{user} is taken for a person, and is the name of a group too: say `groups: [{user}]`");
            self.reader.warn(spot.at(), &spot.path, message);
        }
        self.named.extend(users.iter().cloned());
        users
    }

    /// The members of a list of groups.
    fn members(&mut self, spot: &Spot<'a>) -> Vec<UserId> {
        let mut members = Vec::new();
        for (item, name) in self.reader.texts(spot) {
            self.used_groups.insert(name.to_owned());
            self.doubts += usize::from(self.broken_groups.contains(name));
            if let Some(users) = self.groups.get(name) {
                members.extend(users.iter().cloned());
            } else {
                let known = || self.groups.keys().map(String::as_str);
                // The group that was probably meant is not unused: one slip is told once.
                self.used_groups.extend(nearest(name, known()));
                self.reader.unknown(&item, format!("there is no group named {name}"), name, known());
            }
        }
        members
    }

    /// Only `*` is special: a file that means more must not be read as less.
    fn glob(&mut self, spot: &Spot<'a>, text: &str) {
        if text.contains('*') && text.contains(['?', '[', ']', '{', '}', '\\']) {
            let message = format!("{text:?}: in a glob only `*` has a meaning, it stands for any characters");
            self.reader.error(spot, message);
        }
    }
}

// What each part of the file may say: the schema for editors is made of the same tables.

pub(super) const FILE: [&str; 8] =
    ["apiVersion", "version", "settings", "groups", "defaults", "rules", "fallback", "tests"];
pub(super) const GROUP: [&str; 1] = ["members"];
pub(super) const MAY_REQUEST: [&str; 4] = ["any", "users", "groups", "teams"];
pub(super) const MAY_REVIEW: [&str; 3] = ["any", "users", "groups"];
pub(super) const DEFERRAL: [&str; 1] = ["confirmation"];
/// Each with whether it is still to be built.
pub(super) const CONFIRMATIONS: [(&str, bool); 2] = [("none", false), ("expected", true)];
pub(super) const NOTIFY: [(&str, Notify); 2] = [("assigned", Notify::Assigned), ("all", Notify::All)];
pub(super) const SETTINGS: [&str; 9] = [
    "time_zone",
    "may_request",
    "may_review",
    "managers",
    "triage",
    "reasons",
    "notify",
    "expiry_warnings",
    "deferral",
];

#[cfg(test)]
pub(super) mod tests;
