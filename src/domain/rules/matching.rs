//! Whether a rule's conditions hold for a submission. Strings compare without case, numbers digit by digit. A missing field
//! makes the innermost comparison false, and `not` turns that round.

use chrono::NaiveDate;
use serde::Serialize;

use super::decimal::Decimal;
use super::explanation::{Condition, Tried};
use crate::domain::fields::{self, Kind};
use crate::domain::ids::UserId;
use crate::domain::json::Json;

mod actual;

pub(super) use actual::{Actual, Actuals};

/// What rules look at: the submitted data and the values derived from it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The submitted data.
    pub data: &'a Json,
    /// The derived values.
    pub derived: Derived,
}

/// Values the worker computes, in days or counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Derived {
    /// Requested date minus the ticket's current date.
    pub extension_days: i64,
    /// Requested date minus the earliest original date known for the ticket.
    pub cumulative_extension_days: i64,
    /// Approved exceptions of the ticket.
    pub previous_exceptions: i64,
    /// Current date minus today.
    pub days_to_due: i64,
}

/// One key of a rule's `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) field: String,
    /// Where [`Actuals`] have it.
    pub(super) place: usize,
    /// What it wants, as explanations show it.
    pub(super) wanted: String,
    pub(super) test: Test,
}

/// What a value is asked. Texts are lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Flag(bool),
    Number(Amount),
    Text(String),
    Glob(String),
    OneOf(Vec<Test>),
    Not(Box<Test>),
    /// Several operators in one condition: all of them.
    Every(Vec<Test>),
    /// Of a list: some element fits one of these.
    Any(Vec<Test>),
    /// Of a list: each of these fits some element.
    All(Vec<Test>),
    Than(Order, Amount),
    Before(NaiveDate),
    After(NaiveDate),
    Present(bool),
}

/// A number as it was written, and as it compares.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    pub(super) written: String,
    pub(super) value: Decimal,
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Amount {}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Order {
    pub(super) fn word(self) -> &'static str {
        match self {
            Order::Gt => "gt",
            Order::Gte => "gte",
            Order::Lt => "lt",
            Order::Lte => "lte",
        }
    }

    pub(super) fn holds(self, actual: &Decimal, wanted: &Decimal) -> bool {
        match self {
            Order::Gt => actual > wanted,
            Order::Gte => actual >= wanted,
            Order::Lt => actual < wanted,
            Order::Lte => actual <= wanted,
        }
    }
}

impl Comparison {
    pub(super) fn new(field: &str, place: usize, test: Test) -> Self {
        Self { field: field.to_owned(), place, wanted: cut(&test.to_string()), test }
    }

    /// Whether it holds. Thousands are asked for one event, so that nothing is made here.
    pub(super) fn holds(&self, actuals: &Actuals) -> bool {
        self.test.holds(actuals.at(self.place))
    }

    /// How an explanation shows it.
    pub(super) fn shown(&self, actuals: &Actuals) -> Condition {
        Condition {
            field: self.field.clone(),
            wanted: self.wanted.clone(),
            holds: self.holds(actuals),
            actual: actuals.shown(self.place),
        }
    }
}

/// Shows one rule: all its conditions if they hold, otherwise the first that fails.
pub(super) fn look(rule: &str, comparisons: &[Comparison], actuals: &Actuals) -> Tried {
    let failed = comparisons.iter().find(|comparison| !comparison.holds(actuals));
    let told = failed.map_or(comparisons, std::slice::from_ref);
    let conditions = told.iter().map(|comparison| comparison.shown(actuals)).collect();
    Tried { rule: rule.to_owned(), matched: failed.is_none(), conditions }
}

impl Facts<'_> {
    /// What stands at a path, a person as the person is known everywhere else.
    pub(super) fn value(&self, field: &str) -> Option<Json> {
        let derived = match field {
            "extension_days" => self.derived.extension_days,
            "cumulative_extension_days" => self.derived.cumulative_extension_days,
            "previous_exceptions" => self.derived.previous_exceptions,
            "days_to_due" => self.derived.days_to_due,
            path => {
                let found = self.data.at(path)?.clone();
                let person = fields::submission_field(path).is_some_and(|field| field.kind == Kind::User);
                return Some(match found {
                    Json::Text(text) if person => {
                        Json::Text(UserId::parse(&text).map_or(text, |user| user.to_string()))
                    }
                    other => other,
                });
            }
        };
        Some(Json::Number(derived.to_string()))
    }

    /// Whether the ticket is known to be exploited: it says so, or it carries a mandated date and does not deny it.
    pub(super) fn is_known_exploited(&self) -> bool {
        match self.data.at("ticket.kev") {
            Some(Json::Bool(kev)) => *kev,
            _ => self.data.at("ticket.kev_due_date").is_some(),
        }
    }
}

impl Test {
    /// Whether it holds for what is there.
    pub(super) fn holds(&self, actual: &Actual) -> bool {
        match (self, actual) {
            (Test::Not(test), actual) => !test.holds(actual),
            (Test::OneOf(tests), actual) => tests.iter().any(|test| test.holds(actual)),
            (Test::Every(tests), actual) => tests.iter().all(|test| test.holds(actual)),
            (Test::Present(wanted), actual) => !matches!(actual, Actual::Missing) == *wanted,
            (Test::Flag(wanted), Actual::Flag(actual)) => wanted == actual,
            (Test::Text(wanted), Actual::Text { folded, .. }) => folded == wanted,
            (Test::Glob(wanted), Actual::Text { folded, .. }) => glob(wanted.as_bytes(), folded.as_bytes()),
            (Test::Number(wanted), actual) => actual.number().is_some_and(|actual| *actual == wanted.value),
            (Test::Than(order, wanted), actual) => {
                actual.number().is_some_and(|actual| order.holds(actual, &wanted.value))
            }
            (Test::Before(wanted), Actual::Text { date, .. }) => date.is_some_and(|actual| actual < *wanted),
            (Test::After(wanted), Actual::Text { date, .. }) => date.is_some_and(|actual| actual > *wanted),
            (Test::Any(wanted), Actual::List(items)) => {
                items.iter().any(|item| wanted.iter().any(|test| test.holds(item)))
            }
            (Test::All(wanted), Actual::List(items)) => {
                wanted.iter().all(|test| items.iter().any(|item| test.holds(item)))
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Test::Flag(value) => write!(f, "{value}"),
            Test::Number(amount) => f.write_str(&amount.written),
            Test::Text(text) | Test::Glob(text) => f.write_str(text),
            Test::OneOf(tests) => list(f, "[", tests, "]"),
            Test::Not(test) => write!(f, "not {test}"),
            Test::Every(tests) => list(f, "", tests, ""),
            Test::Any(tests) => list(f, "any [", tests, "]"),
            Test::All(tests) => list(f, "all [", tests, "]"),
            Test::Than(order, amount) => write!(f, "{} {}", order.word(), amount.written),
            Test::Before(date) => write!(f, "before {date}"),
            Test::After(date) => write!(f, "after {date}"),
            Test::Present(true) => f.write_str("present"),
            Test::Present(false) => f.write_str("not present"),
        }
    }
}

fn list(f: &mut std::fmt::Formatter<'_>, open: &str, tests: &[Test], close: &str) -> std::fmt::Result {
    f.write_str(open)?;
    for (at, test) in tests.iter().enumerate() {
        write!(f, "{}{test}", if at > 0 { ", " } else { "" })?;
    }
    f.write_str(close)
}

/// Longest value an explanation shows, in characters.
pub(super) const SHOWN_CHARS_MAX: usize = 200;

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// A value as an explanation shows it, cut where it is long.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(text) | Json::Text(text) => text.clone(),
        Json::List(items) => format!("[{}]", items.iter().take(20).map(shown).collect::<Vec<_>>().join(", ")),
        Json::Object(members) => format!("an object of {}", members.len()),
    };
    cut(&text)
}

/// Whether a text fits a pattern in which `*`, and nothing else, stands for any characters. Looks back to the last star
/// only, so that no pattern takes longer than pattern times text.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(byte) = text.get(t) {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(byte) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests;
