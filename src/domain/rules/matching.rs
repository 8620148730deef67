//! Whether a rule's conditions hold for a submission. Strings compare without case; a missing field makes a comparison
//! false.

use super::{Condition, Tried};
use crate::domain::json::Json;

/// What rules look at: the submitted data and the values derived from it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The submitted data.
    pub data: &'a Json,
    /// The derived values.
    pub derived: Derived,
}

/// Values the worker computes, in days or counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) field: String,
    pub(super) wanted: Pattern,
}

/// What a value is compared with. Texts are lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Bool(bool),
    Number(String),
    Text(String),
    Glob(String),
    AnyOf(Vec<Pattern>),
}

impl Comparison {
    fn look(&self, facts: &Facts<'_>) -> Condition {
        let actual = facts.value(&self.field);
        Condition {
            field: self.field.clone(),
            wanted: self.wanted.to_string(),
            holds: actual.as_ref().is_some_and(|value| self.wanted.accepts(value)),
            actual: actual.as_ref().map(shown),
        }
    }
}

/// Looks at one rule: its conditions in order, up to the first that fails.
pub(super) fn look(rule: &str, comparisons: &[Comparison], facts: &Facts<'_>) -> Tried {
    let mut conditions = Vec::with_capacity(comparisons.len());
    for comparison in comparisons {
        let condition = comparison.look(facts);
        if !condition.holds {
            return Tried { rule: rule.to_owned(), matched: false, conditions: vec![condition] };
        }
        conditions.push(condition);
    }
    Tried { rule: rule.to_owned(), matched: true, conditions }
}

impl Facts<'_> {
    fn value(&self, field: &str) -> Option<Json> {
        let derived = match field {
            "extension_days" => self.derived.extension_days,
            "cumulative_extension_days" => self.derived.cumulative_extension_days,
            "previous_exceptions" => self.derived.previous_exceptions,
            "days_to_due" => self.derived.days_to_due,
            path => return self.data.at(path).cloned(),
        };
        Some(Json::Number(derived.to_string()))
    }
}

impl Pattern {
    fn accepts(&self, value: &Json) -> bool {
        match (self, value) {
            (Pattern::AnyOf(patterns), value) => patterns.iter().any(|pattern| pattern.accepts(value)),
            (Pattern::Bool(wanted), Json::Bool(actual)) => wanted == actual,
            (Pattern::Number(wanted), Json::Number(actual) | Json::Text(actual)) => same_number(wanted, actual),
            (Pattern::Text(wanted), Json::Text(actual)) => actual.to_lowercase() == *wanted,
            (Pattern::Glob(wanted), Json::Text(actual)) => glob(wanted.as_bytes(), actual.to_lowercase().as_bytes()),
            _ => false,
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pattern::Bool(value) => write!(f, "{value}"),
            Pattern::Number(text) | Pattern::Text(text) | Pattern::Glob(text) => f.write_str(text),
            Pattern::AnyOf(patterns) => {
                f.write_str("[")?;
                for (at, pattern) in patterns.iter().enumerate() {
                    write!(f, "{}{pattern}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A value as an explanation shows it, cut where it is long.
fn shown(value: &Json) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    let text = match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(text) | Json::Text(text) => text.clone(),
        Json::List(items) => format!("[{}]", items.iter().take(20).map(shown).collect::<Vec<_>>().join(", ")),
        Json::Object(members) => format!("an object of {}", members.len()),
    };
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Whether two decimals are the same number, digit by digit: never a float inside. One with an exponent equals only itself.
fn same_number(a: &str, b: &str) -> bool {
    fn plain(text: &str) -> Option<(bool, &str, &str)> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (whole_is, fraction_is) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole_is.is_empty() && fraction_is.is_empty();
        let number = !whole.is_empty() && digits(whole) && digits(fraction);
        number.then_some((text.starts_with('-') && !zero, whole_is, fraction_is))
    }
    match (plain(a), plain(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters. Looks back to the last star only, so that no
/// pattern takes longer than pattern times text.
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
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, fits) in [
            ("payments-*", "payments-api", true),
            ("payments-*", "payments-", true),
            ("payments-*", "payment-api", false),
            ("*-api", "a-b-api", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn numbers_are_compared_by_value_and_never_as_floats() {
        for (a, b, same) in [
            ("8.10", "8.1", true),
            ("008", "8", true),
            ("-0", "0", true),
            ("1e3", "1000", false),
            ("0.1", "0.10000000000000000001", false),
            ("x", "8", false),
        ] {
            assert_eq!(same_number(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn a_missing_field_makes_a_comparison_false() {
        let data = Json::Object(vec![("reason".into(), Json::Text("Other".into())), ("x".into(), Json::Null)]);
        let derived =
            Derived { extension_days: 30, cumulative_extension_days: 40, previous_exceptions: 2, days_to_due: -3 };
        let facts = Facts { data: &data, derived };
        let holds = |field: &str, wanted: Pattern| Comparison { field: field.into(), wanted }.look(&facts).holds;
        assert!(holds("reason", Pattern::Text("other".into())));
        assert!(holds(
            "extension_days",
            Pattern::AnyOf(vec![Pattern::Number("7".into()), Pattern::Number("30".into())])
        ));
        for (field, number) in
            [("cumulative_extension_days", "40"), ("previous_exceptions", "2"), ("days_to_due", "-3")]
        {
            assert!(holds(field, Pattern::Number(number.into())), "{field}");
        }
        assert!(!holds("x", Pattern::Text("null".into())));
        assert!(!holds("ticket.kev", Pattern::Bool(false)));
    }
}
