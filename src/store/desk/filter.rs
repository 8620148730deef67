//! Which failures are meant, and which part of a list: values that are checked once, when they are read from a command line or
//! a query. What is not one of the known words is told at once, instead of finding nothing.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::contract::reason::Reason;
use crate::domain::dates::{Timestamp, parse_time};
use crate::domain::ids::ExceptionId;

/// Where a failure is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureState {
    /// Somebody has to look at it.
    Open,
    /// Marked: the worker takes it next.
    Retrying,
    /// Taken, and it did not fail again.
    Resolved,
    /// Nobody will look at it.
    Discarded,
}

impl FailureState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Retrying, Self::Resolved, Self::Discarded];

    /// As stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            FailureState::Open => "open",
            FailureState::Retrying => "retrying",
            FailureState::Resolved => "resolved",
            FailureState::Discarded => "discarded",
        }
    }
}

impl fmt::Display for FailureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for FailureState {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let known = Self::ALL.into_iter().find(|state| state.word() == text);
        known.ok_or_else(|| BadFilter::new(text, "expected open, retrying, resolved or discarded"))
    }
}

/// A value that nothing in the list can have, or that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?}: {expected}")]
pub struct BadFilter {
    value: String,
    expected: String,
}

impl BadFilter {
    pub(in crate::store) fn new(value: &str, expected: impl Into<String>) -> Self {
        Self { value: value.chars().take(100).collect(), expected: expected.into() }
    }
}

/// Which failures are meant. What is not set, or empty, excludes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these.
    pub states: Vec<FailureState>,
    /// A word of the closed list.
    pub reason: Option<String>,
    /// The event's `type`.
    pub event_type: Option<String>,
    /// One kind of failure.
    pub fingerprint: Option<String>,
    /// The exception it names.
    pub exception_id: Option<ExceptionId>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// The names that [`Filter::set`] knows, as the API has them.
    pub const NAMES: [&str; 7] = ["state", "reason", "type", "fingerprint", "exception", "since", "until"];

    /// Nothing but what is open: what is meant where nobody says anything.
    pub fn open() -> Self {
        Self { states: vec![FailureState::Open], ..Self::default() }
    }

    /// Sets what has this name; false if nothing has. Ages are counted back from `now`.
    pub fn set(&mut self, name: &str, value: &str, now: Timestamp) -> Result<bool, BadFilter> {
        match name {
            "state" => self.states = states(value)?,
            "reason" => self.reason = Some(reason(value)?),
            "type" => self.event_type = Some(text(value)?),
            "fingerprint" => self.fingerprint = Some(text(value)?),
            "exception" => {
                let id = ExceptionId::parse(value).map_err(|error| BadFilter::new(value, error.to_string()))?;
                self.exception_id = Some(id);
            }
            "since" => self.since = Some(moment(value, now)?),
            "until" => self.until = Some(moment(value, now)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn states(value: &str) -> Result<Vec<FailureState>, BadFilter> {
    if value == "all" {
        return Ok(Vec::new());
    }
    value
        .parse()
        .map(|state| vec![state])
        .map_err(|error: BadFilter| BadFilter { expected: format!("{}, or all", error.expected), ..error })
}

fn reason(value: &str) -> Result<String, BadFilter> {
    if Reason::of(value).is_some() {
        return Ok(value.to_owned());
    }
    // The two kinds of `schema` are one word.
    let told = Reason::ALL.iter().filter(|reason| **reason != Reason::NoObject);
    let words: Vec<&str> = told.map(|reason| reason.word()).collect();
    Err(BadFilter::new(value, format!("expected one of {}", words.join(", "))))
}

/// Text that the database can hold: it would refuse the rest as an error of its own.
fn text(value: &str) -> Result<String, BadFilter> {
    if value.contains('\0') { Err(BadFilter::new(value, "contains U+0000")) } else { Ok(value.to_owned()) }
}

/// A time, or an age.
fn moment(value: &str, now: Timestamp) -> Result<Timestamp, BadFilter> {
    let past = || now.checked_sub_signed(chrono::Duration::from_std(humantime::parse_duration(value).ok()?).ok()?);
    // Earlier than the year 1 nothing was received, and the database's calendar has an end too.
    let age = || past().and_then(|time| parse_time(&time.to_rfc3339()));
    let bad = || BadFilter::new(value, "expected a time as in 2026-11-24T09:00:00Z, or an age as in 2h or 3d");
    parse_time(value).or_else(age).ok_or_else(bad)
}

/// A place in the list of failures, between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Of the failure before it.
    pub received_at: Timestamp,
    /// Of the failure before it.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.received_at.timestamp_micros(), self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let read = || {
            let (micros, id) = text.split_once('.')?;
            let received_at = Timestamp::from_timestamp_micros(micros.parse().ok()?)?;
            let cursor = Self { received_at, id: Uuid::try_parse(id).ok()? };
            // Only what was given out, and nothing beyond the database's calendar.
            (cursor.to_string() == text && parse_time(&received_at.to_rfc3339()).is_some()).then_some(cursor)
        };
        read().ok_or_else(|| BadFilter::new(text, "no cursor that this list gave out"))
    }
}

/// How many items a page has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// Enough to look at, and far from holding up anything.
    pub const DEFAULT: Self = Self(50);
    /// A page stays an answer of a moment; whoever wants more follows the cursor.
    pub const MAX: Self = Self(500);
    /// Marked in one transaction: a tenth of a second at most for which a turn may have to wait.
    pub const STEP: Self = Self(1_000);

    /// What is left of it after so many; none if it is used up.
    pub fn rest(self, used: usize) -> Option<Self> {
        let rest = usize::from(self.0).checked_sub(used)?;
        u16::try_from(rest).ok().filter(|rest| *rest > 0).map(Self)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0.into()
    }
}

impl FromStr for Limit {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let limit = text.parse().ok().filter(|limit| (1..=Self::MAX.0).contains(limit)).map(Self);
        limit.ok_or_else(|| BadFilter::new(text, format!("expected a number from 1 to {}", Self::MAX.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        parse_time("2026-11-24T09:00:00Z").unwrap()
    }

    #[test]
    fn every_name_sets_its_part_of_the_filter() {
        let values =
            ["all", "schema", "exception.submitted.v1", "schema/-/", "EX-1", "2h", "2026-11-24T10:00:00+02:00"];
        let mut filter = Filter::open();
        for (name, value) in Filter::NAMES.into_iter().zip(values) {
            assert!(filter.set(name, value, now()).unwrap(), "{name}");
        }
        let expected = Filter {
            states: vec![],
            reason: Some("schema".into()),
            event_type: Some("exception.submitted.v1".into()),
            fingerprint: Some("schema/-/".into()),
            exception_id: Some(ExceptionId::parse("EX-1").unwrap()),
            since: parse_time("2026-11-24T07:00:00Z"),
            until: parse_time("2026-11-24T08:00:00Z"),
        };
        assert_eq!(filter, expected);
        assert_eq!(filter.set("colour", "red", now()), Ok(false));
    }

    #[test]
    fn what_no_failure_can_have_is_told() {
        for (name, value, said) in [
            ("state", "shut", "expected open, retrying, resolved or discarded, or all"),
            ("state", "", "expected open"),
            ("reason", "shcema", "expected one of unauthenticated, unauthorized, too_large, "),
            ("type", "a\0b", "U+0000"),
            ("fingerprint", "\0", "U+0000"),
            ("exception", "a b", "expected 1 to 128 characters"),
            ("since", "yesterday", "expected a time as in"),
            ("since", "2026-11-24", "expected a time as in"),
            ("until", "99999years", "expected a time as in"),
            ("until", "3000years", "expected a time as in"),
        ] {
            let error = Filter::open().set(name, value, now()).unwrap_err().to_string();
            assert!(error.contains(said), "{name} {value:?}: {error}");
        }
    }

    #[test]
    fn a_cursor_survives_its_text_and_nothing_else_is_one() {
        let cursor = Cursor { received_at: now() + chrono::Duration::microseconds(7), id: Uuid::from_u128(9) };
        let text = cursor.to_string();
        assert_eq!(text, "1795510800000007.00000000000000000000000000000009");
        assert_eq!(text.parse(), Ok(cursor));
        for text in [
            "",
            ".",
            "1",
            "1.x",
            "x.9",
            "+1.00000000000000000000000000000009",
            &format!("99{text}"),
            &format!("999{text}"),
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_a_number_in_its_bounds() {
        assert_eq!("500".parse(), Ok(Limit::MAX));
        for text in ["0", "501", "-1", "", "ten", "99999999"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
