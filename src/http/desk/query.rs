//! The part of the path behind the question mark, strictly: a parameter that is not known, or stands there twice, is told
//! instead of being left out, or the answer would be to another question.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::http::Uri;

use crate::store::desk::{Filter, Limit};
use crate::store::lookups::Selection;

/// Parameters by name.
#[derive(Debug)]
pub(in crate::http) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads the parameters, of which each has to be known.
    pub(in crate::http) fn read(uri: &Uri, known: &[&str]) -> Result<Self, String> {
        Self::read_several(uri, known, &[])
    }

    /// The same; of the `several` each may stand there several times, which is as one with commas.
    pub(in crate::http) fn read_several(uri: &Uri, known: &[&str], several: &[&str]) -> Result<Self, String> {
        let mut values = BTreeMap::<String, String>::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(format!("parameter {name:?} is not known here: expected {expected}"));
            }
            match values.get_mut(name.as_ref()) {
                Some(before) if several.contains(&name.as_ref()) => *before = format!("{before},{value}"),
                Some(_) => return Err(format!("parameter {name:?} stands there twice")),
                None => drop(values.insert(name.to_string(), value.into_owned())),
            }
        }
        Ok(Self(values))
    }

    /// Which failures are meant: the open ones, unless it says otherwise.
    pub(super) fn filter(&self) -> Result<Filter, String> {
        let mut filter = Filter::open();
        let now = chrono::Utc::now();
        for (name, value) in &self.0 {
            filter.set(name, value, now).map_err(|error| told(name, &error))?;
        }
        Ok(filter)
    }

    /// Which exceptions are meant: all, unless it says otherwise.
    pub(in crate::http) fn selection(&self) -> Result<Selection, String> {
        let mut selection = Selection::default();
        let now = chrono::Utc::now();
        for (name, value) in &self.0 {
            selection.set(name, value, now).map_err(|error| told(name, &error))?;
        }
        Ok(selection)
    }

    /// How many items.
    pub(in crate::http) fn limit(&self) -> Result<Limit, String> {
        Ok(self.parsed("limit")?.unwrap_or(Limit::DEFAULT))
    }

    /// A value that has a text form of its own.
    pub(in crate::http) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, String> {
        self.0.get(name).map(|text| text.parse().map_err(|error| told(name, &error))).transpose()
    }
}

fn told(name: &str, error: &impl Display) -> String {
    format!("parameter {name}: {error}")
}
