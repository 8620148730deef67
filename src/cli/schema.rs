//! `reprieve schema`: the published schemas, and whether events are what the worker reads. Of inbound events the worker's own
//! decoder is the judge: it sees more than a schema can say, and what it accepts here it accepts there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use serde_json::value::RawValue;

use super::input::{self, Input};
use super::output::{self, Output, Paint, columns, tame};
use super::{Code, ExitError};
use crate::contract::inbound::{Message, decode};
use crate::contract::schema::{self, Direction, SCHEMAS};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the types of events, in and out, and the rules file
    List,
    /// Print the JSON Schema of a type, or of the rules file
    Show {
        /// The type, such as exception.submitted.v1, or rules
        #[arg(value_name = "TYPE")]
        event_type: String,
    },
    /// Check events for the worker: one, an array, or JSON lines; exit code 1 if one is not valid
    Validate {
        /// A file, or - for standard input
        file: PathBuf,
    },
}

pub(super) fn run(command: Command, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::List => {
            let rules = Listed { event_type: schema::RULES, direction: "file", id: schema::id(schema::RULES) };
            let all: Vec<_> = SCHEMAS.iter().map(Listed::of).chain([rules]).collect();
            output.list(&all, list)
        }
        Command::Show { event_type } => show(&event_type, output),
        Command::Validate { file } => validate(input::open(&file)?, output),
    }
}

/// One type.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(rename = "type")]
    event_type: &'static str,
    direction: &'static str,
    id: String,
}

impl Listed {
    fn of(schema: &schema::Schema) -> Self {
        let direction = match schema.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        };
        Self { event_type: schema.event_type, direction, id: schema::id(schema.event_type) }
    }
}

fn list(types: &[Listed], paint: Paint) -> String {
    let row = |listed: &Listed| [listed.event_type.to_owned(), listed.direction.to_owned(), listed.id.clone()];
    output::table(["TYPE", "DIRECTION", "SCHEMA"], types.iter().map(row), paint)
}

fn show(event_type: &str, output: &Output) -> Result<(), ExitError> {
    let text = match event_type {
        schema::RULES => Some(schema::RULES_TEXT),
        other => schema::find(other).map(|schema| schema.text),
    };
    let Some(text) = text else {
        let event_type = tame(event_type);
        let message = format!("no schema describes {event_type}; `reprieve schema list` names those there are");
        return Err(ExitError::new(Code::NotFound, message));
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| ExitError::failed(error.to_string()))?;
    output.object(&value, |_, _| text.trim_end().to_owned())
}

/// What is said of one event.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Judged {
    /// Where it begins, counted from 1.
    line: usize,
    result: &'static str,
    #[serde(rename = "type")]
    event_type: Option<String>,
    source: String,
    id: String,
    reason: Option<&'static str>,
    message: Option<String>,
}

const VALID: &str = "valid";
const INVALID: &str = "invalid";
const NOT_CHECKED: &str = "not_checked";

fn validate(input: Input, output: &Output) -> Result<(), ExitError> {
    let Input { name, mut reader } = input;
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|error| {
        ExitError::new(Code::Usage, format!("cannot read {name}: {error}; expected a text in UTF-8"))
    })?;
    let documents = split(&text).map_err(|error| {
        let message = format!("{name}: {error}; from there on nothing says where an event begins");
        ExitError::new(Code::Usage, message)
    })?;
    if documents.is_empty() {
        return Err(input::empty(&name));
    }
    let verdicts: Vec<Judged> = documents.into_iter().map(|(line, event)| judge(line, event)).collect();
    output.list(&verdicts, |verdicts, paint| table(&name, verdicts, paint))?;
    match verdicts.iter().filter(|verdict| verdict.result != VALID).count() {
        0 => Ok(()),
        bad => Err(ExitError::failed(not_valid(bad, verdicts.len()))),
    }
}

fn not_valid(bad: usize, all: usize) -> String {
    let (events, are) = (if all == 1 { "event" } else { "events" }, if bad == 1 { "is" } else { "are" });
    format!("{bad} of {all} {events} {are} not valid")
}

/// The events with the line each begins in: the items of one array, or the documents one after the other.
pub(super) fn split(text: &str) -> Result<Vec<(usize, &str)>, serde_json::Error> {
    let raw: Vec<&RawValue> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)?
    } else {
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>()?
    };
    let (mut from, mut line) = (0, 1);
    let found = raw.into_iter().map(|raw| {
        // Each is a part of the text: its address says where it stands.
        let at = raw.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text.get(from..at).unwrap_or_default().matches('\n').count();
        from = at;
        (line, raw.get())
    });
    Ok(found.collect())
}

fn judge(line: usize, event: &str) -> Judged {
    let inbound = decode(&Message {
        content_type: Some("application/cloudevents+json"),
        content_encoding: None,
        headers: &BTreeMap::new(),
        body: event.as_bytes(),
    });
    let ours = inbound.event_type.as_deref().and_then(schema::find).filter(|it| it.direction == Direction::Outbound);
    let (result, reason, message) = match (ours, &inbound.content) {
        (Some(schema), _) => {
            let hint = "is what the worker publishes; check it with a validator of your own against";
            let message = format!("{0} {hint} `reprieve schema show {0}`", schema.event_type);
            (NOT_CHECKED, None, Some(message))
        }
        (None, Ok(_)) => (VALID, None, None),
        (None, Err(fault)) => (INVALID, Some(fault.reason.word()), Some(fault.message.clone())),
    };
    Judged { line, result, event_type: inbound.event_type, source: inbound.source, id: inbound.id, reason, message }
}

fn table(file: &str, verdicts: &[Judged], paint: Paint) -> String {
    let row = |verdict: &Judged| {
        let says = match (verdict.reason, &verdict.message) {
            (Some(reason), Some(message)) => paint.bad(format!("{reason}: {}", tame(message))),
            (None, Some(message)) => paint.dim(message),
            (_, None) => paint.good(VALID),
        };
        vec![format!("{file}:{}", verdict.line), tame(&verdict.id).into_owned(), says]
    };
    columns(&verdicts.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"exception.decision.v1","data":{"decision_id":"D","exception_id":"E","decision":"deny","reviewer":{"id":"a"}}}"#;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, Option<&str>)]) {
        let found: Vec<_> = split(text).unwrap().into_iter().map(|(line, event)| judge(line, event)).collect();
        let found: Vec<_> = found.iter().map(|it| (it.line, it.result, it.reason)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(not_valid(1, 1), "1 of 1 event is not valid");
        assert_eq!(not_valid(1, 3), "1 of 3 events is not valid");
        assert_eq!(not_valid(2, 3), "2 of 3 events are not valid");
    }

    #[test]
    fn each_event_is_judged_where_it_stands() {
        let bad = GOOD.replacen("deny", "maybe", 1);
        check(GOOD, &[(1, VALID, None)]);
        check(&format!("\n{GOOD}\n\n{bad}\n"), &[(2, VALID, None), (4, INVALID, Some("schema"))]);
        check(
            &format!("[\n{GOOD},{bad}\n, {GOOD}]"),
            &[(2, VALID, None), (2, INVALID, Some("schema")), (3, VALID, None)],
        );
        check(&GOOD.replace(',', ",\n"), &[(1, VALID, None)]);
        check("42 \"x\"", &[(1, INVALID, Some("schema")), (1, INVALID, Some("schema"))]);
        check(&GOOD.replacen("\"D\"", "\"\\ud800\"", 1), &[(1, INVALID, Some("bad_encoding"))]);
        check(&GOOD.replacen("\"id\":\"a\"", "\"id\":\"a\",\"id\":\"b\"", 1), &[(1, INVALID, Some("duplicate_key"))]);
        check(&GOOD.replacen("exception.decision", "event.rejected", 1), &[(1, NOT_CHECKED, None)]);
        assert!(split("{} {").is_err());
    }
}
