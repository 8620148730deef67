//! The conditions of a rule: each is checked against what its field holds, so that one that could never hold is an error
//! and not a rule that is silently passed over.

use super::Compiler;
use crate::domain::dates::parse_date;
use crate::domain::fields::{self, Kind, SEVERITIES};
use crate::domain::ids::UserId;
use crate::domain::rules::decimal::Decimal;
use crate::domain::rules::matching::{Amount, Comparison, Order, Test};
use crate::domain::rules::node::Value;
use crate::domain::rules::reader::{Spot, or};

/// Longest path of a field of the sender's own, in bytes: explanations show it.
pub(in crate::domain::rules) const PATH_LENGTH_MAX: usize = 128;
/// Deepest `not`, lists and operators within one another.
const DEPTH_MAX: usize = 8;

pub(in crate::domain::rules) const OPERATORS: [&str; 10] =
    ["not", "any", "all", "gt", "gte", "lt", "lte", "before", "after", "present"];

/// What a field holds, as far as comparisons care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain::rules) enum Holds {
    Text,
    Person,
    Severity,
    Reason,
    Date,
    Bool,
    Number,
    Texts,
    /// Nothing that could be compared: it may only be there or not.
    Parts,
    Anything,
}

impl Holds {
    pub(in crate::domain::rules) fn of(path: &str) -> Option<Self> {
        if path == "reason" {
            return Some(Holds::Reason);
        }
        if fields::is_own(path) {
            return Some(Holds::Anything);
        }
        if fields::DERIVED.contains(&path) {
            return Some(Holds::Number);
        }
        Some(match fields::submission_field(path)?.kind {
            Kind::Id | Kind::Word | Kind::Verdict | Kind::Text | Kind::LongText | Kind::Time => Holds::Text,
            Kind::User => Holds::Person,
            Kind::Severity => Holds::Severity,
            Kind::Date => Holds::Date,
            Kind::Bool => Holds::Bool,
            Kind::Score | Kind::Count => Holds::Number,
            Kind::TextList => Holds::Texts,
            Kind::Object | Kind::ObjectList | Kind::Custom => Holds::Parts,
        })
    }

    /// Whether an operator can be asked of it.
    pub(in crate::domain::rules) fn takes(self, operator: &str) -> bool {
        match operator {
            "not" | "present" => true,
            "any" | "all" => matches!(self, Holds::Texts | Holds::Anything),
            "before" | "after" => matches!(self, Holds::Date | Holds::Anything),
            _ => matches!(self, Holds::Number | Holds::Anything),
        }
    }

    /// Whether it may be one of a list.
    pub(in crate::domain::rules) fn is_one(self) -> bool {
        !matches!(self, Holds::Texts | Holds::Parts)
    }

    /// What the elements of a list hold that `any` and `all` look at.
    pub(in crate::domain::rules) fn element(self) -> Self {
        if self == Holds::Texts { Holds::Text } else { self }
    }

    pub(in crate::domain::rules) fn is_text(self) -> bool {
        matches!(self, Holds::Text | Holds::Person | Holds::Severity | Holds::Reason | Holds::Anything)
    }

    /// What it holds and how to ask for it, for messages.
    fn told(self) -> &'static str {
        match self {
            Holds::Text | Holds::Person => "text; write it in quotes if it looks like something else",
            Holds::Severity => "a severity",
            Holds::Reason => "one of settings.reasons",
            Holds::Date => "a date: compare it with one as in 2027-06-30, or with `before` and `after`",
            Holds::Bool => "true or false",
            Holds::Number => "a number: compare it with one, or with `gt`, `gte`, `lt` and `lte`",
            Holds::Texts => "a list: ask `{ any: [...] }` or `{ all: [...] }` of it",
            Holds::Parts => "no plain value: only `present` can be asked of it",
            Holds::Anything => "anything",
        }
    }
}

impl<'a> Compiler<'a> {
    pub(super) fn conditions(&mut self, spot: &Spot<'a>) -> Vec<Comparison> {
        let Some(conditions) = self.reader.map(spot) else { return Vec::new() };
        if conditions.all().next().is_none() {
            self.reader.error(spot, "without conditions the rule matches everything: say it in the fallback");
        }
        let mut comparisons = Vec::new();
        for (key, condition) in conditions.all() {
            let field = key.name.as_str();
            let Some(holds) = Holds::of(field).filter(|_| field.len() <= PATH_LENGTH_MAX) else {
                let known = fields::SUBMISSION.iter().map(|field| field.path).chain(fields::DERIVED);
                let message = format!("{field:?} is no field of a submission; your own fields are `custom.<name>`");
                self.reader.unknown_key(key, &condition.path, message, known);
                continue;
            };
            let test = self.test(&condition, field, holds, DEPTH_MAX);
            let place = self.place(field);
            comparisons.extend(test.map(|test| Comparison::new(field, place, test)));
        }
        comparisons
    }

    /// Where a field stands among all that the rules look at.
    fn place(&mut self, field: &str) -> usize {
        self.fields.iter().position(|known| known == field).unwrap_or_else(|| {
            self.fields.push(field.to_owned());
            self.fields.len() - 1
        })
    }

    fn test(&mut self, spot: &Spot<'a>, field: &str, holds: Holds, depth: usize) -> Option<Test> {
        if depth == 0 {
            self.reader.error(spot, format!("conditions within conditions: at most {DEPTH_MAX}"));
            return None;
        }
        match &spot.node.value {
            Value::List(_) => self.one_of(spot, field, holds, depth),
            Value::Map(_) => self.operators(spot, field, holds, depth),
            _ => self.equality(spot, field, holds),
        }
    }

    fn one_of(&mut self, spot: &Spot<'a>, field: &str, holds: Holds, depth: usize) -> Option<Test> {
        if !holds.is_one() {
            self.reader.error(spot, format!("{field} holds {}", holds.told()));
            return None;
        }
        self.tests(spot, field, holds, depth).map(Test::OneOf)
    }

    /// The elements of a list; none if one of them is at fault.
    fn tests(&mut self, spot: &Spot<'a>, field: &str, holds: Holds, depth: usize) -> Option<Vec<Test>> {
        let items = self.reader.list(spot);
        if items.is_empty() {
            if matches!(spot.node.value, Value::List(_)) {
                self.reader.error(spot, "an empty list matches nothing");
            }
            return None;
        }
        let tests: Vec<_> = items.iter().map(|item| self.test(item, field, holds, depth - 1)).collect();
        tests.into_iter().collect()
    }

    fn operators(&mut self, spot: &Spot<'a>, field: &str, holds: Holds, depth: usize) -> Option<Test> {
        let members = self.reader.map(spot)?;
        if members.all().next().is_none() {
            self.reader.error(spot, "without an operator nothing is compared");
            return None;
        }
        let mut tests = Vec::new();
        let mut count = 0;
        for (key, operand) in members.all() {
            count += 1;
            if OPERATORS.contains(&key.name.as_str()) {
                tests.extend(self.operator(&key.name, &operand, field, holds, depth));
            } else {
                let message = format!("there is no operator {:?}; there are {}", key.name, or(&OPERATORS));
                self.reader.unknown_key(key, &operand.path, message, OPERATORS.into_iter());
            }
        }
        if tests.len() < count {
            return None;
        }
        if count > 1 { Some(Test::Every(tests)) } else { tests.pop() }
    }

    fn operator(&mut self, name: &str, spot: &Spot<'a>, field: &str, holds: Holds, depth: usize) -> Option<Test> {
        match name {
            "not" => return self.test(spot, field, holds, depth - 1).map(|test| Test::Not(Box::new(test))),
            "present" => return self.reader.boolean(spot).map(Test::Present),
            _ => {}
        }
        if !holds.takes(name) {
            self.reader.error(spot, format!("{field} holds {}; `{name}` cannot be asked of it", holds.told()));
            return None;
        }
        match name {
            "any" => self.tests(spot, field, holds.element(), depth).map(Test::Any),
            "all" => self.tests(spot, field, holds.element(), depth).map(Test::All),
            "before" => self.day(spot).map(Test::Before),
            "after" => self.day(spot).map(Test::After),
            "gt" => self.amount(spot).map(|amount| Test::Than(Order::Gt, amount)),
            "gte" => self.amount(spot).map(|amount| Test::Than(Order::Gte, amount)),
            "lt" => self.amount(spot).map(|amount| Test::Than(Order::Lt, amount)),
            _ => self.amount(spot).map(|amount| Test::Than(Order::Lte, amount)),
        }
    }

    fn equality(&mut self, spot: &Spot<'a>, field: &str, holds: Holds) -> Option<Test> {
        match (&spot.node.value, holds) {
            (Value::Bool(value), Holds::Bool | Holds::Anything) => Some(Test::Flag(*value)),
            (Value::Number(_), Holds::Number | Holds::Anything) => self.amount(spot).map(Test::Number),
            (Value::Text(text), Holds::Number) if Decimal::parse(text).is_some() => self.amount(spot).map(Test::Number),
            (Value::Text(_), Holds::Date) => self.day(spot).map(|day| Test::Text(day.to_string())),
            (Value::Text(text), holds) if holds.is_text() => self.text_test(spot, text, field, holds),
            (value, _) => {
                let missing = "; for a missing field ask `{ present: false }`";
                let missing = if matches!(value, Value::Null) { missing } else { "" };
                self.reader.error(spot, format!("{field} holds {}{missing}", holds.told()));
                None
            }
        }
    }

    fn text_test(&mut self, spot: &Spot<'a>, text: &str, field: &str, holds: Holds) -> Option<Test> {
        self.glob(spot, text);
        if text.contains('*') {
            return Some(Test::Glob(text.to_lowercase()));
        }
        let word = text.to_lowercase();
        match holds {
            Holds::Severity if !SEVERITIES.contains(&word.as_str()) => {
                let message = format!("{text:?} is no severity: expected {}", or(&SEVERITIES));
                self.reader.unknown(spot, message, text, SEVERITIES.into_iter());
                None
            }
            Holds::Reason if !self.reasons.contains(&word) => {
                let known: Vec<_> = self.reasons.iter().cloned().collect();
                let message = format!("{text:?} is none of settings.reasons");
                self.reader.unknown(spot, message, text, known.iter().map(String::as_str));
                None
            }
            Holds::Person => match UserId::parse(text) {
                Ok(user) => Some(Test::Text(user.to_string())),
                Err(error) => {
                    self.reader.error(spot, format!("{field} is a person, and {text:?} is no user id: {error}"));
                    None
                }
            },
            _ => Some(Test::Text(word)),
        }
    }

    fn amount(&mut self, spot: &Spot<'a>) -> Option<Amount> {
        if let Value::Number(text) | Value::Text(text) = &spot.node.value
            && let Some(value) = Decimal::parse(text)
        {
            return Some(Amount { written: text.clone(), value });
        }
        self.reader.error(spot, "expected a decimal number as in 7.5");
        None
    }

    fn day(&mut self, spot: &Spot<'a>) -> Option<chrono::NaiveDate> {
        let day = if let Value::Text(text) = &spot.node.value { parse_date(text) } else { None };
        if day.is_none() {
            self.reader.error(spot, "expected a date as in 2027-06-30");
        }
        day
    }
}
