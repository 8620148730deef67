//! What an event has at the fields that rules look at: read once, so that a thousand rules compare it without reading it
//! again.

use chrono::NaiveDate;

use super::{Facts, shown};
use crate::domain::dates::parse_date;
use crate::domain::json::Json;
use crate::domain::rules::decimal::Decimal;

/// A value as tests compare it.
#[derive(Clone, Debug)]
pub(in crate::domain::rules) enum Actual {
    Missing,
    Flag(bool),
    Number(Decimal),
    /// Lower case; scores and dates come as texts too.
    Text {
        folded: String,
        number: Option<Decimal>,
        date: Option<NaiveDate>,
    },
    List(Vec<Actual>),
    /// There, and comparable to nothing.
    Other,
}

impl Actual {
    pub(in crate::domain::rules) fn of(value: Option<&Json>) -> Self {
        match value {
            None => Actual::Missing,
            Some(Json::Bool(value)) => Actual::Flag(*value),
            Some(Json::Number(text)) => Decimal::parse(text).map_or(Actual::Other, Actual::Number),
            Some(Json::Text(text)) => {
                Actual::Text { folded: text.to_lowercase(), number: Decimal::parse(text), date: parse_date(text) }
            }
            Some(Json::List(items)) => Actual::List(items.iter().map(|item| Actual::of(Some(item))).collect()),
            Some(Json::Null | Json::Object(_)) => Actual::Other,
        }
    }

    /// A text or a number, as a number.
    pub(super) fn number(&self) -> Option<&Decimal> {
        match self {
            Actual::Number(number) => Some(number),
            Actual::Text { number, .. } => number.as_ref(),
            _ => None,
        }
    }
}

/// What one event has at all the fields that the rules of a file look at.
#[derive(Clone, Debug)]
pub(in crate::domain::rules) struct Actuals {
    values: Vec<Actual>,
    /// The same, as explanations show them.
    shown: Vec<Option<String>>,
    /// Whether the ticket is known to be exploited: then no rule approves it.
    pub(in crate::domain::rules) known_exploited: bool,
}

impl Actuals {
    /// Reads each field once. A comparison finds its own by its place among them.
    pub(in crate::domain::rules) fn of(fields: &[String], facts: &Facts<'_>) -> Self {
        let values: Vec<_> = fields.iter().map(|field| facts.value(field)).collect();
        Self {
            shown: values.iter().map(|value| value.as_ref().map(shown)).collect(),
            values: values.iter().map(|value| Actual::of(value.as_ref())).collect(),
            known_exploited: facts.is_known_exploited(),
        }
    }

    pub(super) fn shown(&self, place: usize) -> Option<String> {
        self.shown.get(place).cloned().flatten()
    }

    pub(super) fn at(&self, place: usize) -> &Actual {
        self.values.get(place).unwrap_or(&Actual::Missing)
    }
}
