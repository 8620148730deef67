//! The settings for people: each with its value and where that came from, and a whole file with all defaults. Secrets are shown as
//! [`HIDDEN`], whether they are good or not; of an address that is the password.

use std::fmt::Write as _;

use super::address::masked;
use super::error::{ConfigError, Fault, Origin};
use super::keys::{self, Form, KEYS, Key};
use super::layers::{self, Sources};
use super::trust::TRUST;

/// What stands for a secret.
pub const HIDDEN: &str = "***";

/// How the one table of the operator's own names looks.
const TRUST_EXAMPLE: &str = "\
# [trust]
# ticketing = [\"exception.submitted.v1\", \"ticket.*\"]
# reviews = [\"exception.decision.v1\"]
";

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted name.
    pub key: String,
    /// Its value; `None` where nothing is set and there is no default.
    pub value: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

/// All settings in the order of the table, and what is wrong with their names. Values are not judged here:
/// [`super::Config::load`] does.
pub fn settings(sources: &Sources) -> Result<(Vec<Setting>, Vec<Fault>), ConfigError> {
    let gathered = layers::gather(sources)?;
    let mut shown = Vec::with_capacity(KEYS.len());
    for key in KEYS.iter().filter(|key| key.name != TRUST) {
        let default = || (key.default.map(str::to_owned), Origin::Default);
        let (value, origin) = gathered.found.get(key.name).map_or_else(default, |found| {
            let value = match (&key.form, key.name) {
                (Form::Secret, "database.url" | "amqp.url") => masked(&found.text),
                (Form::Secret, _) => HIDDEN.to_owned(),
                _ => found.text.clone(),
            };
            (Some(value), found.origin.clone())
        });
        shown.push(Setting { key: key.name.to_owned(), value, origin });
    }
    if gathered.trust.is_empty() {
        shown.push(Setting { key: TRUST.to_owned(), value: None, origin: Origin::Default });
    }
    for row in gathered.trust {
        let value = Some(row.types.map_or_else(|fault| fault, |types| types.join(", ")));
        shown.push(Setting { key: format!("{TRUST}.{}", row.user), value, origin: row.origin });
    }
    Ok((shown, gathered.faults))
}

/// A complete file with all defaults. What has none stands in comments.
pub fn example() -> String {
    let mut text = "# reprieve.toml: every setting with its default. A flag (--set KEY=VALUE) or the variable in brackets comes before\n\
                    # what stands here. `reprieve config check` says what is wrong with a file, `config show` what is in force.\n"
        .to_owned();
    // Keys without a section have to stand before the first section.
    for key in KEYS.iter().filter(|key| !key.name.contains('.') && key.name != TRUST) {
        row(&mut text, key.name, key);
    }
    let mut section = "";
    for key in KEYS {
        let Some((name, rest)) = key.name.split_once('.') else { continue };
        if name != section {
            section = name;
            writeln!(text, "\n[{section}]").expect("a String takes everything");
        }
        row(&mut text, rest, key);
    }
    let trust = keys::find(TRUST).map_or("", |key| key.doc);
    write!(text, "\n# {trust}; without it anybody may publish anything\n{TRUST_EXAMPLE}")
        .expect("a String takes everything");
    text
}

fn row(text: &mut String, name: &str, key: &Key) {
    let value = match (key.default, &key.form) {
        (Some(value), Form::Switch | Form::Number(..)) => format!("{name} = {value}"),
        (Some(value), _) => format!("{name} = {value:?}"),
        (None, Form::Secret) => format!("# {name} = \"...\"    # or {name}_file = \"FILE\""),
        (None, _) => format!("# {name} = \"...\""),
    };
    writeln!(text, "# {} [{}]{}\n{value}", key.doc, key.variable, bounds(&key.form))
        .expect("a String takes everything");
}

fn bounds(form: &Form) -> String {
    match form {
        Form::Number(min, max) => format!(" {min} to {max}"),
        Form::Span(min, max) => {
            format!(" {} to {}", humantime::format_duration(*min), humantime::format_duration(*max))
        }
        Form::Offset(max) => format!(" at most {} either way", humantime::format_duration(*max)),
        Form::Word(words) => format!(" {}", words.join(" | ")),
        Form::Text | Form::Secret | Form::Switch | Form::Table => String::new(),
    }
}
