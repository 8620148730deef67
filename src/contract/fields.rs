//! Reads the fields of `data`, one at a time. Every problem is noted and the first by rank is kept, so that an input with
//! several faults ends with the reason the contract gives precedence to.

use chrono::NaiveDate;

use super::json::Fault;
use super::reason::Reason;
use crate::domain::dates::{Timestamp, parse_date, parse_time};
use crate::domain::fields::{Field, Kind, SEVERITIES};
use crate::domain::ids::{IdError, UserId, is_hidden};
use crate::domain::json::Json;

/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Longest `justification`, in bytes.
const JUSTIFICATION_BYTES_MAX: usize = 16 * 1024;
/// Longest list.
const LIST_ITEMS_MAX: usize = 1_000;
/// Longest decimal number, in characters: more digits than any score has, few enough to compare at once.
const SCORE_LENGTH_MAX: usize = 32;

/// An object under the reader's eye, with what was wrong so far.
#[derive(Debug)]
pub struct Fields<'a> {
    data: &'a Json,
    worst: Option<Fault>,
}

impl<'a> Fields<'a> {
    /// Begins to read `data`. Bounds that hold for every text and list are checked at once.
    pub fn new(data: &'a Json) -> Self {
        let mut fields = Self { data, worst: None };
        fields.bounds(data, &Way { name: "data", outer: None });
        fields
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

    /// A field that must be there.
    pub fn required(&mut self, path: &str) -> Option<&'a Json> {
        let found = self.data.at(path);
        if found.is_none() {
            self.note(Reason::Schema, format!("data.{path} is missing"));
        }
        found
    }

    /// A text.
    pub fn text(&mut self, path: &str, value: &'a Json) -> Option<&'a str> {
        match value {
            Json::Text(text) => Some(text),
            other => {
                self.note(Reason::Schema, format!("data.{path}: expected a string, found {}", other.kind()));
                None
            }
        }
    }

    /// A text that may be missing.
    pub fn optional_text(&mut self, path: &str) -> Option<&'a str> {
        let value = self.data.at(path)?;
        self.text(path, value)
    }

    /// An identifier or person.
    pub fn parse<T>(&mut self, path: &str, value: &'a Json, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
        let text = self.text(path, value)?;
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let reason = if error == IdError::Hidden { Reason::BadText } else { Reason::Schema };
                self.note(reason, format!("data.{path}: {error}"));
                None
            }
        }
    }

    /// An identifier or person that must be there.
    pub fn required_id<T>(&mut self, path: &str, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
        let value = self.required(path)?;
        self.parse(path, value, parse)
    }

    /// A date.
    pub fn date(&mut self, path: &str, value: &'a Json) -> Option<NaiveDate> {
        let text = self.text(path, value)?;
        let date = parse_date(text);
        if date.is_none() {
            self.note(Reason::BadTime, format!("data.{path}: expected a date as in 2026-12-31"));
        }
        date
    }

    /// A date that may be missing.
    pub fn optional_date(&mut self, path: &str) -> Option<NaiveDate> {
        let value = self.data.at(path)?;
        self.date(path, value)
    }

    /// A moment that may be missing.
    pub fn optional_time(&mut self, path: &str) -> Option<Timestamp> {
        let value = self.data.at(path)?;
        let time = parse_time(self.text(path, value)?);
        if time.is_none() {
            self.note(Reason::BadTime, format!("data.{path}: expected a time with offset as in 2026-11-24T09:00:00Z"));
        }
        time
    }

    /// A word that is read in any case, lower-cased.
    pub fn word(&mut self, path: &str, value: &'a Json) -> Option<String> {
        let text = self.text(path, value)?;
        if text.chars().any(is_hidden) {
            self.note(
                Reason::BadText,
                format!("data.{path}: contains a control, bidirectional or zero-width character"),
            );
            return None;
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.note(Reason::Schema, format!("data.{path}: expected one word of printable ASCII"));
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    /// A whole number from 0 that may be missing.
    pub fn optional_count(&mut self, path: &str) -> Option<u32> {
        let value = self.data.at(path)?;
        let count = if let Json::Number(number) = value { number.parse().ok() } else { None };
        if count.is_none() {
            self.note(Reason::Schema, format!("data.{path}: expected a whole number from 0 to {}", u32::MAX));
        }
        count
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
            Kind::Id => drop(self.parse(path, value, crate::domain::ids::ExceptionId::parse)),
            Kind::User => drop(self.parse(path, value, UserId::parse)),
            Kind::Word => drop(self.word(path, value)),
            Kind::Severity => {
                if self.word(path, value).is_some_and(|word| !SEVERITIES.contains(&word.as_str())) {
                    self.note(Reason::Schema, format!("data.{path}: expected one of {}", SEVERITIES.join(", ")));
                }
            }
            Kind::Text => drop(self.text(path, value)),
            Kind::Date => drop(self.date(path, value)),
            Kind::Bool => self.expect(path, value, "true or false", |v| matches!(v, Json::Bool(_))),
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

    fn expect(&mut self, path: &str, value: &Json, what: &str, holds: fn(&Json) -> bool) {
        if !holds(value) {
            self.note(Reason::Schema, format!("data.{path}: expected {what}, found {}", value.kind()));
        }
    }

    /// Texts and lists anywhere in the data are bounded, also those nobody here knows. The way to a value is written out only
    /// where something is wrong with it.
    fn bounds(&mut self, value: &Json, way: &Way<'_>) {
        match value {
            Json::Text(text) => {
                let max = if way.is_justification() { JUSTIFICATION_BYTES_MAX } else { TEXT_BYTES_MAX };
                if text.len() > max {
                    self.note(Reason::Schema, format!("{way}: longer than {max} bytes"));
                }
            }
            Json::List(items) => {
                if items.len() > LIST_ITEMS_MAX {
                    self.note(Reason::Schema, format!("{way}: more than {LIST_ITEMS_MAX} items"));
                }
                for item in items {
                    self.bounds(item, way);
                }
            }
            Json::Object(members) => {
                for (name, member) in members {
                    self.bounds(member, &Way { name, outer: Some(way) });
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
    fn is_justification(&self) -> bool {
        self.name == "justification" && self.outer.is_some_and(|outer| outer.outer.is_none())
    }
}

impl std::fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}.")?;
        }
        f.write_str(self.name)
    }
}

fn list_of(value: &Json, holds: fn(&Json) -> bool) -> bool {
    matches!(value, Json::List(items) if items.iter().all(holds))
}

fn is_text_object(value: &Json) -> bool {
    matches!(value, Json::Object(members) if members.iter().all(|(_, member)| matches!(member, Json::Text(_) | Json::Null)))
}

/// Digits with at most one point between them: never a float inside.
fn is_score(value: &Json) -> bool {
    let (Json::Text(text) | Json::Number(text)) = value else { return false };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= SCORE_LENGTH_MAX && digits(whole) && digits(fraction)
}
