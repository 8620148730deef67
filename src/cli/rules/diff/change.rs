//! What is different between two routings, in words.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::cli::output::tame;
use crate::domain::ids::UserId;
use crate::domain::routing::{RoutedLevel, Routing};

/// One thing that is different.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::rules) struct Change {
    /// The field of [`Routing`].
    pub(in crate::cli::rules) of: &'static str,
    what: String,
    old: String,
    new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.what, tame(&self.old), tame(&self.new))
    }
}

/// Everything that is different, in the order in which it matters.
pub(in crate::cli::rules) fn changes(old: &Routing, new: &Routing) -> Vec<Change> {
    let mut found = Vec::new();
    let mut compare = |of, what: String, old: String, new: String| {
        if old != new {
            found.push(Change { of, what, old, new });
        }
    };
    compare("rule", "rule".into(), old.rule.clone(), new.rule.clone());
    compare("refused", "refused".into(), or_none(old.refused), or_none(new.refused));
    let limit = |routing: &Routing| routing.limit.map_or_else(|| "none".into(), |limit| word(&limit));
    compare("limit", "limit".into(), limit(old), limit(new));
    compare("auto", "auto".into(), or_none(old.auto), or_none(new.auto));
    for at in 0..old.levels.len().max(new.levels.len()) {
        let (old, new) = (old.levels.get(at), new.levels.get(at));
        let level = format!("level {}", at + 1);
        let (Some(old), Some(new)) = (old, new) else {
            compare("levels", level, people(old), people(new));
            continue;
        };
        let mut part = |what: &str, old: String, new: String| compare("levels", format!("{level}{what}"), old, new);
        part("", names(&old.candidates), names(&new.candidates));
        part(" quorum", old.quorum.clone(), new.quorum.clone());
        part(" pick", old.pick.into(), new.pick.into());
        part(" escalate_to", names(&old.escalate_to), names(&new.escalate_to));
    }
    found
}

fn or_none(word: Option<&str>) -> String {
    word.unwrap_or("none").to_owned()
}

fn people(level: Option<&RoutedLevel>) -> String {
    level.map_or_else(|| "no such level".to_owned(), |level| names(&level.candidates))
}

fn names(users: &BTreeSet<UserId>) -> String {
    if users.is_empty() {
        return "nobody".to_owned();
    }
    users.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
}

/// A value of the contract as its word.
pub(in crate::cli::rules) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
