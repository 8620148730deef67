//! The table `[trust]`: the one setting whose keys are the operator's own names. A variable could not hold them, and a flag would
//! be read as one of many: it stands in the file, or nowhere.

use toml::de::DeValue;

use super::error::{Fault, Origin};
use crate::contract::trust::Trust;

/// The name of the table.
pub(super) const TRUST: &str = "trust";

/// What to say to a variable or a flag.
pub(super) const ONLY_IN_FILE: &str =
    "is a table of users and can only stand in the configuration file: write it there as [trust]";

/// A row of the table as it was found: what the user may publish, or what is wrong with it.
pub(super) struct TrustRow {
    pub(super) user: String,
    pub(super) types: Result<Vec<String>, String>,
    pub(super) origin: Origin,
}

impl TrustRow {
    pub(super) fn new(user: &str, value: &DeValue<'_>, origin: Origin) -> Self {
        Self { user: user.to_owned(), types: types(value), origin }
    }

    /// The row that stands for a table without any.
    pub(super) fn none(origin: Origin) -> Self {
        Self { user: String::new(), types: Ok(Vec::new()), origin }
    }
}

fn types(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let written = "write it like [\"exception.decision.v1\", \"reviewer.*\"]";
    match value {
        DeValue::Array(items) => {
            let text = |item: &DeValue<'_>| match item {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!("expected types as texts, found a {}; {written}", other.type_str())),
            };
            items.iter().map(|item| text(item.get_ref())).collect()
        }
        DeValue::Table(_) => {
            Err(format!("expected a list of types, {written}; a user with a dot in its name is put in quotes"))
        }
        other => Err(format!("expected a list of types, found a {}; {written}", other.type_str())),
    }
}

/// The table, if there is one. An empty one is a fault: it would turn away everything, or mean nothing, and nobody could tell.
pub(super) fn read(rows: Vec<TrustRow>, faults: &mut Vec<Fault>) -> Option<Trust> {
    if rows.is_empty() {
        return None;
    }
    let mut trust = Trust::default();
    for TrustRow { user, types, origin } in rows {
        let (key, allowed) = if user.is_empty() {
            (TRUST.to_owned(), Err("names nobody: add a user with the types it may publish, or remove it".to_owned()))
        } else {
            (format!("{TRUST}.{user}"), types.and_then(|types| trust.allow(&user, types)))
        };
        if let Err(message) = allowed {
            faults.push(Fault { key, origin, message });
        }
    }
    Some(trust)
}
