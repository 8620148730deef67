//! Checks the fields of `data` against their tables, one at a time. Every problem is noted and the first by rank is kept, so that an input with
//! several faults ends with the reason the contract gives precedence to.

use super::json::Fault;
use super::reason::Reason;
use crate::domain::command::Verdict;
use crate::domain::dates::{parse_date, parse_time};
use crate::domain::fields::{Field, Kind, SEVERITIES};
use crate::domain::ids::{ExceptionId, IdError, UserId, is_hidden};
use crate::domain::json::Json;

/// Longest text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Longest [`Kind::LongText`], in bytes.
pub(super) const LONG_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Longest list.
pub(super) const LIST_ITEMS_MAX: usize = 1_000;
/// Longest decimal number, in characters: more digits than any score has, few enough to compare at once.
pub(super) const SCORE_LENGTH_MAX: usize = 32;

/// An object under the reader's eye, with what was wrong so far.
#[derive(Debug)]
pub struct Fields<'a> {
    data: &'a Json,
    worst: Option<Fault>,
}

impl<'a> Fields<'a> {
    /// Begins to read `data`.
    pub fn new(data: &'a Json) -> Self {
        Self { data, worst: None }
    }

    /// What is read.
    pub fn data(&self) -> &'a Json {
        self.data
    }

    /// The problem of the highest rank, if there was any.
    pub fn worst(self) -> Option<Fault> {
        self.worst
    }

    /// Notes a problem.
    pub fn note(&mut self, reason: Reason, message: String) {
        if self.worst.as_ref().is_none_or(|worst| reason < worst.reason) {
            self.worst = Some(Fault::new(reason, message));
        }
    }

    /// Checks the bounds that hold for every text and list, also for those that no table names.
    pub fn bounds(&mut self, table: &[Field]) {
        self.bound(self.data, &Way { name: "data", outer: None }, table);
    }

    /// Checks one field of a table against its kind.
    pub fn check(&mut self, field: &Field) {
        let path = field.path;
        let Some(value) = self.data.at(path) else {
            // Where the object around it is missing, that alone is said.
            let parent_is_there =
                path.rsplit_once('.').is_none_or(|(parent, _)| matches!(self.data.at(parent), Some(Json::Object(_))));
            if field.required && parent_is_there {
                self.note(Reason::Schema, format!("data.{path} is missing"));
            }
            return;
        };
        match field.kind {
            Kind::Id => self.parse(path, value, ExceptionId::parse),
            Kind::User => self.parse(path, value, UserId::parse),
            Kind::Word => drop(self.word(path, value)),
            Kind::Severity => self.one_of(path, value, &SEVERITIES, &[]),
            Kind::Verdict => self.one_of(path, value, &Verdict::ALL.map(Verdict::word), &Verdict::NOT_BUILT),
            Kind::Text | Kind::LongText => drop(self.text(path, value)),
            Kind::Date => self.moment(path, value, |text| parse_date(text).is_some(), "a date as in 2026-12-31"),
            Kind::Time => {
                let what = "a time with offset as in 2026-11-24T09:00:00Z";
                self.moment(path, value, |text| parse_time(text).is_some(), what);
            }
            Kind::Bool => self.expect(path, value, "true or false", |v| matches!(v, Json::Bool(_))),
            Kind::Count => self.expect(path, value, "a whole number from 0 to 4294967295", is_count),
            Kind::Score => self.expect(path, value, "a decimal number, as a string or a number", is_score),
            Kind::TextList => {
                self.expect(path, value, "a list of strings", |v| list_of(v, |i| matches!(i, Json::Text(_))));
            }
            Kind::Object | Kind::Custom => self.expect(path, value, "an object", |v| matches!(v, Json::Object(_))),
            Kind::ObjectList => {
                self.expect(path, value, "a list of objects with strings", |v| list_of(v, is_text_object));
            }
        }
    }

    fn text(&mut self, path: &str, value: &'a Json) -> Option<&'a str> {
        match value {
            Json::Text(text) => Some(text),
            other => {
                self.note(Reason::Schema, format!("data.{path}: expected a string, found {}", other.kind()));
                None
            }
        }
    }

    fn parse<T>(&mut self, path: &str, value: &'a Json, parse: fn(&str) -> Result<T, IdError>) {
        if let Some(Err(error)) = self.text(path, value).map(parse) {
            let reason = if error == IdError::Hidden { Reason::BadText } else { Reason::Schema };
            self.note(reason, format!("data.{path}: {error}"));
        }
    }

    fn moment(&mut self, path: &str, value: &'a Json, holds: fn(&str) -> bool, what: &str) {
        if self.text(path, value).is_some_and(|text| !holds(text)) {
            self.note(Reason::BadTime, format!("data.{path}: expected {what}"));
        }
    }

    /// A word that is read in any case, lower-cased.
    fn word(&mut self, path: &str, value: &'a Json) -> Option<String> {
        let text = self.text(path, value)?;
        if text.chars().any(is_hidden) {
            let message = format!("data.{path}: contains a control, bidirectional or zero-width character");
            self.note(Reason::BadText, message);
            return None;
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.note(Reason::Schema, format!("data.{path}: expected one word of printable ASCII"));
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    /// One of the words; what is planned is told apart from what is wrong.
    fn one_of(&mut self, path: &str, value: &'a Json, words: &[&str], not_built: &[&str]) {
        let Some(word) = self.word(path, value).filter(|word| !words.contains(&word.as_str())) else { return };
        let what = if not_built.contains(&word.as_str()) { "is not built yet" } else { "is not known" };
        self.note(Reason::Schema, format!("data.{path}: {word:?} {what}; expected one of {}", words.join(", ")));
    }

    fn expect(&mut self, path: &str, value: &Json, what: &str, holds: fn(&Json) -> bool) {
        if !holds(value) {
            self.note(Reason::Schema, format!("data.{path}: expected {what}, found {}", value.kind()));
        }
    }

    /// The way to a value is written out only where something is wrong with it.
    fn bound(&mut self, value: &Json, way: &Way<'_>, table: &[Field]) {
        match value {
            Json::Text(text) => {
                let max = if way.is_long(table) { LONG_TEXT_BYTES_MAX } else { TEXT_BYTES_MAX };
                if text.len() > max {
                    self.note(Reason::Schema, format!("{way}: longer than {max} bytes"));
                }
            }
            Json::List(items) => {
                if items.len() > LIST_ITEMS_MAX {
                    self.note(Reason::Schema, format!("{way}: more than {LIST_ITEMS_MAX} items"));
                }
                for item in items {
                    self.bound(item, way, table);
                }
            }
            Json::Object(members) => {
                for (name, member) in members {
                    self.bound(member, &Way { name, outer: Some(way) }, table);
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
}

/// Where a value stands.
struct Way<'w> {
    name: &'w str,
    outer: Option<&'w Way<'w>>,
}

impl Way<'_> {
    /// Whether the table names a long text here; those stand directly in `data`.
    fn is_long(&self, table: &[Field]) -> bool {
        let outermost = self.outer.is_some_and(|outer| outer.outer.is_none());
        outermost && table.iter().any(|field| field.kind == Kind::LongText && field.path == self.name)
    }
}

impl std::fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}.")?;
        }
        // A name is the sender's: it is shown, and cannot forge what stands around it.
        write!(f, "{}", self.name.escape_debug())
    }
}

fn list_of(value: &Json, holds: fn(&Json) -> bool) -> bool {
    matches!(value, Json::List(items) if items.iter().all(holds))
}

fn is_text_object(value: &Json) -> bool {
    matches!(value, Json::Object(members) if members.iter().all(|(_, member)| matches!(member, Json::Text(_) | Json::Null)))
}

/// A JSON number as written, or a text of digits with at most one point between them: never a float inside.
fn is_score(value: &Json) -> bool {
    match value {
        Json::Number(text) => text.len() <= SCORE_LENGTH_MAX,
        Json::Text(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            text.len() <= SCORE_LENGTH_MAX && digits(whole) && digits(fraction)
        }
        _ => false,
    }
}

fn is_count(value: &Json) -> bool {
    matches!(value, Json::Number(number) if number.parse::<u32>().is_ok())
}
