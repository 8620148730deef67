//! Reads the tree of the file piece by piece and goes on after a fault, so that all of them are told at once. A piece that
//! is at fault is noted once, where it stands, and then counts as absent.

use std::collections::BTreeSet;

use super::node::{Key, Node, Value};
use super::report::{Finding, Place, Report, nearest};
use crate::domain::ids::{UserId, is_hidden};

/// A piece of the file and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    pub(super) node: &'a Node,
    pub(super) path: String,
}

/// A map that was looked through for unknown keys.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    pub(super) spot: Spot<'a>,
    members: &'a [(Key, Node)],
}

/// Whoever reads, with what was found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) report: Report,
    /// What is warned of once a file.
    warned_of: BTreeSet<&'static str>,
}

impl<'a> Spot<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    pub(super) fn at(&self) -> Place {
        self.node.at
    }

    pub(super) fn below(&self, name: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { node, path }
    }
}

impl<'a> Members<'a> {
    /// The member of a name; one without a value counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<Spot<'a>> {
        let (_, node) = self.members.iter().find(|(key, _)| key.name == name)?;
        (!matches!(node.value, Value::Null)).then(|| self.spot.below(name, node))
    }

    /// All of them, in the order of the file.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a Key, Spot<'a>)> {
        self.members.iter().map(|(key, node)| (key, self.spot.below(&key.name, node)))
    }
}

impl Reader {
    pub(super) fn error(&mut self, spot: &Spot<'_>, message: impl Into<String>) {
        self.note(spot.at(), &spot.path, message, None);
    }

    /// An error about a word, with the known one it was probably meant to be.
    pub(super) fn unknown<'w>(
        &mut self,
        spot: &Spot<'_>,
        message: impl Into<String>,
        word: &str,
        known: impl Iterator<Item = &'w str>,
    ) {
        self.note(spot.at(), &spot.path, message, nearest(word, known));
    }

    /// An error about the name of a member, which stands before what it names.
    pub(super) fn unknown_key<'w>(
        &mut self,
        key: &Key,
        path: &str,
        message: impl Into<String>,
        known: impl Iterator<Item = &'w str>,
    ) {
        self.note(key.at, path, message, nearest(&key.name, known));
    }

    fn note(&mut self, at: Place, path: &str, message: impl Into<String>, suggestion: Option<String>) {
        self.report.errors.push(Finding { at, path: path.to_owned(), message: message.into(), suggestion });
    }

    pub(super) fn warn(&mut self, at: Place, path: &str, message: impl Into<String>) {
        let finding = Finding { at, path: path.to_owned(), message: message.into(), suggestion: None };
        self.report.warnings.push(finding);
    }

    /// Warns of a key that is checked and kept but does not act yet.
    pub(super) fn dormant(&mut self, spot: &Spot<'_>, key: &'static str) {
        self.warn_once(spot, key, "is checked and kept, but does not act yet");
    }

    /// Warns of a word once a file, at its first place.
    pub(super) fn warn_once(&mut self, spot: &Spot<'_>, word: &'static str, message: &str) {
        if self.warned_of.insert(word) {
            self.warn(spot.at(), &spot.path, format!("{word} {message}"));
        }
    }

    /// How many errors were found so far.
    pub(super) fn errors(&self) -> usize {
        self.report.errors.len()
    }

    /// A map without any key that is not known.
    pub(super) fn members<'a>(&mut self, spot: &Spot<'a>, known: &[&str]) -> Option<Members<'a>> {
        let members = self.map(spot)?;
        for (key, _) in members.members.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let path = spot.below(&key.name, spot.node).path;
            let message = format!("there is no key {:?} here", key.name);
            self.note(key.at, &path, message, nearest(&key.name, known.iter().copied()));
        }
        // Left standing when what was below it is gone: whether it now means all or nothing, nobody can see.
        let empty =
            |(key, node): &&(Key, Node)| known.contains(&key.name.as_str()) && matches!(node.value, Value::Null);
        for (key, _) in members.members.iter().filter(empty) {
            let path = spot.below(&key.name, spot.node).path;
            self.note(key.at, &path, format!("{} has no value: give it one, or leave it out", key.name), None);
        }
        Some(members)
    }

    /// A map of any keys.
    pub(super) fn map<'a>(&mut self, spot: &Spot<'a>) -> Option<Members<'a>> {
        if let Value::Map(members) = &spot.node.value {
            return Some(Members { spot: spot.clone(), members });
        }
        self.error(spot, format!("expected a map, found {}", spot.node.kind()));
        None
    }

    /// A member that must be there.
    pub(super) fn required<'a>(&mut self, members: &Members<'a>, name: &str, why: &str) -> Option<Spot<'a>> {
        let found = members.get(name);
        if found.is_none() {
            self.note(members.spot.at(), &members.spot.path, format!("the key `{name}` is missing: {why}"), None);
        }
        found
    }

    pub(super) fn list<'a>(&mut self, spot: &Spot<'a>) -> Vec<Spot<'a>> {
        if let Value::List(items) = &spot.node.value {
            let below = |(at, node)| Spot { node, path: format!("{}[{at}]", spot.path) };
            return items.iter().enumerate().map(below).collect();
        }
        self.error(spot, format!("expected a list, found {}", spot.node.kind()));
        Vec::new()
    }

    /// Text; a number counts as it is written.
    pub(super) fn text<'a>(&mut self, spot: &Spot<'a>) -> Option<&'a str> {
        if let Value::Text(text) | Value::Number(text) = &spot.node.value {
            // Nobody sees them, and a database takes no U+0000.
            if text.chars().any(|c| is_hidden(c) && !['\n', '\t'].contains(&c)) {
                self.error(spot, "contains a control, bidirectional or zero-width character");
                return None;
            }
            return Some(text);
        }
        self.error(spot, format!("expected text, found {}", spot.node.kind()));
        None
    }

    pub(super) fn texts<'a>(&mut self, spot: &Spot<'a>) -> Vec<(Spot<'a>, &'a str)> {
        let items = self.list(spot);
        items.into_iter().filter_map(|item| self.text(&item).map(|text| (item, text))).collect()
    }

    pub(super) fn boolean(&mut self, spot: &Spot<'_>) -> Option<bool> {
        if let Value::Bool(value) = &spot.node.value {
            return Some(*value);
        }
        self.error(spot, format!("expected true or false, found {}", spot.node.kind()));
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, spot: &Spot<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(spot)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("expected {}, found {text:?}", or(&known));
            self.unknown(spot, message, text, known.into_iter());
        }
        found
    }

    /// A whole number.
    pub(super) fn count(&mut self, spot: &Spot<'_>) -> Option<u32> {
        let count = if let Value::Number(text) = &spot.node.value { text.parse().ok() } else { None };
        if count.is_none() {
            self.error(spot, "expected a whole number, 0 or more");
        }
        count
    }

    /// A number of days as in `90d`.
    pub(super) fn days(&mut self, spot: &Spot<'_>) -> Option<u16> {
        let days = match &spot.node.value {
            Value::Text(text) => whole(text.strip_suffix('d').unwrap_or_default()),
            _ => None,
        };
        if days.is_none() {
            self.error(spot, "expected a number of days as in 90d");
        }
        days
    }

    /// A time as in `2d`, `12h`, `30m` or `45s`, in seconds.
    pub(super) fn seconds(&mut self, spot: &Spot<'_>) -> Option<u64> {
        let seconds = match &spot.node.value {
            Value::Text(text) => [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
                .into_iter()
                .find_map(|(unit, length)| Some(u64::from(whole(text.strip_suffix(unit)?)?) * length)),
            _ => None,
        };
        if seconds.is_none() {
            self.error(spot, "expected a time as in 2d, 12h, 30m or 45s");
        }
        seconds
    }

    /// People, each once, in their order.
    pub(super) fn users(&mut self, spot: &Spot<'_>) -> Vec<UserId> {
        let mut users = Vec::new();
        for (spot, text) in self.texts(spot) {
            match UserId::parse(text) {
                Ok(user) if users.contains(&user) => {
                    self.warn(spot.at(), &spot.path, format!("{user} is named twice"));
                }
                Ok(user) => users.push(user),
                Err(error) => self.error(&spot, format!("{text:?} is no user id: {error}")),
            }
        }
        users
    }
}

/// A number of at most four digits, 1 or more: no term in a rules file is longer than 27 years.
fn whole(text: &str) -> Option<u16> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// `a, b or c`.
pub(super) fn or(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
