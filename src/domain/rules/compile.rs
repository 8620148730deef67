//! From the file to a rule set that can be asked: groups expanded, defaults merged, every name checked. All errors at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::{Location, Spanned};
use sha2::{Digest as _, Sha256};

use super::file::{Fallback, File, Level, Limits, MayRequest, Nobody, QuorumText, Wanted};
use super::matching::{Comparison, Pattern};
use super::{LevelPlan, Quorum, Requesters, Rule, RuleSet};
use crate::domain::fields::{self, Kind};
use crate::domain::ids::{UserId, hex};

/// The only form there is.
const API_VERSION: &str = "reprieve/v1";
/// The reasons of a file that names none.
const REASONS: [&str; 6] = [
    "fix_unavailable",
    "technical_limitation",
    "business_impact",
    "awaiting_maintenance_window",
    "compensating_control",
    "other",
];
/// The longest extension where no limit says otherwise.
const MAX_EXTENSION_DAYS: i64 = 365;
/// The name under which the fallback shows.
const FALLBACK: &str = "fallback";

/// One thing that is wrong in a rules file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// Counts from 1; 0 where the place is not known.
    pub line: u64,
    /// Counts from 1; 0 where the place is not known.
    pub column: u64,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for RulesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl RuleSet {
    /// Reads a rules file.
    pub fn parse(text: &str) -> Result<Self, Vec<RulesError>> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            let message = error.without_snippet().to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            vec![RulesError { line, column, message }]
        })?;
        let mut compiler = Compiler { groups: BTreeMap::new(), errors: Vec::new() };
        let rule_set = compiler.rule_set(&file, text);
        if compiler.errors.is_empty() { Ok(rule_set) } else { Err(compiler.errors) }
    }
}

struct Compiler {
    groups: BTreeMap<String, Vec<UserId>>,
    errors: Vec<RulesError>,
}

impl Compiler {
    fn error(&mut self, at: &Location, message: impl Into<String>) {
        self.errors.push(RulesError { line: at.line(), column: at.column(), message: message.into() });
    }

    fn rule_set(&mut self, file: &File, text: &str) -> RuleSet {
        if file.api_version.value != API_VERSION {
            self.error(&file.api_version.defined, format!("apiVersion: expected {API_VERSION}"));
        }
        if file.version.value.is_empty() || file.version.value.len() > 64 {
            self.error(&file.version.defined, "version: expected 1 to 64 characters");
        }
        for (name, group) in &file.groups {
            let members = self.users(&group.value.members);
            if members.is_empty() {
                self.error(&group.defined, format!("the group {name} has no members"));
            }
            self.groups.insert(name.clone(), members);
        }
        let triage = self.users(&file.settings.triage.value);
        if triage.is_empty() {
            self.error(
                &file.settings.triage.defined,
                "triage: name at least one person, who reviews what nobody could be assigned to",
            );
        }
        self.users(&file.settings.managers);
        let zone = file.settings.time_zone.as_ref().map_or(Ok(chrono_tz::UTC), |zone| {
            zone.value.parse().map_err(|_| {
                self.error(&zone.defined, format!("time_zone: {:?} is no zone of the IANA database", zone.value));
            })
        });
        RuleSet {
            version: file.version.value.clone(),
            hash: hex(&Sha256::digest(text)),
            text: text.to_owned(),
            zone: zone.unwrap_or(chrono_tz::UTC),
            requesters: self.requesters(file.settings.may_request.as_ref()),
            reasons: match &file.settings.reasons {
                Some(reasons) => reasons.iter().map(|reason| reason.value.to_ascii_lowercase()).collect(),
                None => REASONS.map(str::to_owned).into(),
            },
            triage,
            rules: self.rules(file),
            fallback: self.fallback(file, &file.fallback),
        }
    }

    fn requesters(&mut self, may_request: Option<&MayRequest>) -> Requesters {
        let Some(may) = may_request.filter(|may| !may.any) else { return Requesters::Anybody };
        let mut users: BTreeSet<_> = self.users(&may.users).into_iter().collect();
        users.extend(self.members(&may.groups));
        Requesters::Listed { users, teams: may.teams.iter().map(|team| team.to_lowercase()).collect() }
    }

    fn rules(&mut self, file: &File) -> Vec<Rule> {
        let mut names = BTreeSet::from([FALLBACK.to_owned()]);
        let mut rules = Vec::with_capacity(file.rules.len());
        for Spanned { value: rule, defined, .. } in &file.rules {
            if rule.name.is_empty() || rule.name.len() > 128 {
                self.error(defined, "name: expected 1 to 128 characters");
            }
            if !names.insert(rule.name.clone()) {
                self.error(
                    defined,
                    format!("there is another rule named {}; names are unique, and `{FALLBACK}` is taken", rule.name),
                );
            }
            if rule.conditions.is_empty() {
                self.error(defined, format!("the rule {} matches everything: say so in `{FALLBACK}`", rule.name));
            }
            let comparisons =
                rule.conditions.iter().filter_map(|(field, wanted)| self.comparison(field, wanted)).collect();
            rules.push(Rule {
                name: rule.name.clone(),
                comparisons,
                levels: self.levels(file, defined, rule.levels.as_deref(), rule.reviewers.as_ref()),
                require: self.require(rule.require.as_ref().unwrap_or(&file.defaults.require)),
                max_extension_days: self.max_extension(&file.defaults.limits, &rule.limits),
            });
        }
        rules
    }

    fn fallback(&mut self, file: &File, fallback: &Spanned<Fallback>) -> Rule {
        let Spanned { value, defined, .. } = fallback;
        Rule {
            name: FALLBACK.to_owned(),
            comparisons: Vec::new(),
            levels: self.levels(file, defined, value.levels.as_deref(), value.reviewers.as_ref()),
            require: self.require(value.require.as_ref().unwrap_or(&file.defaults.require)),
            max_extension_days: self.max_extension(&file.defaults.limits, &value.limits),
        }
    }

    fn levels(
        &mut self,
        file: &File,
        at: &Location,
        levels: Option<&[Spanned<Level>]>,
        nobody: Option<&Nobody>,
    ) -> Vec<LevelPlan> {
        match (levels, nobody) {
            (None, Some(Nobody::None)) => vec![LevelPlan { candidates: Vec::new(), quorum: Quorum::Any }],
            (Some(levels), None) if !levels.is_empty() => levels.iter().map(|level| self.level(file, level)).collect(),
            _ => {
                self.error(at, "say who reviews: either `levels` with at least one level, or `reviewers: none`");
                Vec::new()
            }
        }
    }

    fn level(&mut self, file: &File, level: &Spanned<Level>) -> LevelPlan {
        let named = &level.value.reviewers;
        let mut candidates = self.users(&named.users);
        candidates.extend(self.members(&named.groups));
        let mut seen = BTreeSet::new();
        candidates.retain(|user| seen.insert(user.clone()));
        if candidates.is_empty() {
            self.error(
                &level.defined,
                "reviewers: name at least one user or group; `reviewers: none` beside `levels` leaves a rule to triage",
            );
        }
        let quorum = match level.value.quorum.as_ref().or(file.defaults.quorum.as_ref()) {
            None => Quorum::Any,
            Some(Spanned { value: QuorumText::Any, .. }) => Quorum::Any,
            Some(Spanned { value: QuorumText::All, .. }) => Quorum::All,
            Some(Spanned { value: QuorumText::Number(number), defined, .. }) => {
                let fits = u32::try_from(*number).ok().filter(|n| (1..=candidates.len()).contains(&(*n as usize)));
                if fits.is_none() {
                    self.error(
                        defined,
                        format!("quorum: {number} approvals of {} reviewers: expected 1 to {0}", candidates.len()),
                    );
                }
                Quorum::Number(fits.unwrap_or(1))
            }
        };
        LevelPlan { candidates, quorum }
    }

    fn comparison(&mut self, field: &str, wanted: &Spanned<Wanted>) -> Option<Comparison> {
        let known = fields::submission_field(field).map(|field| field.kind);
        let free = field.starts_with("custom.") || fields::DERIVED.contains(&field);
        match known {
            None if !free => self.error(
                &wanted.defined,
                format!("{field:?} is no field of a submission; your own fields are `custom.<name>`"),
            ),
            Some(Kind::Object | Kind::ObjectList | Kind::Custom) => {
                self.error(&wanted.defined, format!("{field} holds no plain value that could be compared"));
            }
            Some(Kind::TextList) => self
                .error(&wanted.defined, format!("{field} is a list: its operators `any` and `all` are not built yet")),
            _ => return Some(Comparison { field: field.to_owned(), wanted: pattern(&wanted.value) }),
        }
        None
    }

    fn require(&mut self, paths: &[Spanned<String>]) -> Vec<String> {
        for path in paths {
            if fields::submission_field(&path.value).is_none() && !path.value.starts_with("custom.") {
                self.error(&path.defined, format!("require: {:?} is no field of a submission", path.value));
            }
        }
        paths.iter().map(|path| path.value.clone()).collect()
    }

    fn max_extension(&mut self, defaults: &Limits, own: &Limits) -> i64 {
        let Some(limit) = own.max_extension.as_ref().or(defaults.max_extension.as_ref()) else {
            return MAX_EXTENSION_DAYS;
        };
        let days = limit.value.strip_suffix('d').and_then(|days| days.parse::<u16>().ok()).filter(|days| *days > 0);
        if days.is_none() {
            self.error(&limit.defined, "max_extension: expected a number of days as in 90d");
        }
        days.map_or(MAX_EXTENSION_DAYS, i64::from)
    }

    fn users(&mut self, texts: &[Spanned<String>]) -> Vec<UserId> {
        let parse = |text: &Spanned<String>| match UserId::parse(&text.value) {
            Ok(user) => Some(user),
            Err(error) => {
                self.error(&text.defined, format!("{:?} is no user id: {error}", text.value));
                None
            }
        };
        texts.iter().filter_map(parse).collect()
    }

    fn members(&mut self, groups: &[Spanned<String>]) -> Vec<UserId> {
        let mut members = Vec::new();
        for group in groups {
            match self.groups.get(&group.value) {
                Some(users) => members.extend(users.iter().cloned()),
                None => self.error(&group.defined, format!("there is no group named {}", group.value)),
            }
        }
        members
    }
}

fn pattern(wanted: &Wanted) -> Pattern {
    match wanted {
        Wanted::Bool(value) => Pattern::Bool(*value),
        Wanted::Number(text) => Pattern::Number(text.clone()),
        Wanted::Text(text) if text.contains('*') => Pattern::Glob(text.to_lowercase()),
        Wanted::Text(text) => Pattern::Text(text.to_lowercase()),
        Wanted::AnyOf(list) => Pattern::AnyOf(list.iter().map(pattern).collect()),
    }
}
