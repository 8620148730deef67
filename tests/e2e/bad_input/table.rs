//! The table of what may come in and what becomes of it: one row per kind of input, as data. The worker is driven by it, the
//! schemas are compared with it, `docs/bad-input.md` is made from it.

mod data;
mod document;
mod properties;
mod story;

use std::fmt;

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::amqp::Message;

pub(crate) const SUBMITTED: &str = "exception.submitted.v1";
pub(crate) const DECISION: &str = "exception.decision.v1";
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
const SOURCE: &str = "urn:bad-input";

/// What becomes of each message of a row, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// Applied without effect.
    Repeated,
    Failed(&'static str),
    Refused(&'static str),
    /// Parked, and applied once what it waits for has come.
    Parked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Applied => f.write_str("applied"),
            Outcome::Repeated => f.write_str("no effect"),
            Outcome::Failed(reason) => write!(f, "failed `{reason}`"),
            Outcome::Refused(code) => write!(f, "refused `{code}`"),
            Outcome::Parked => f.write_str("waits, then applied"),
        }
    }
}

/// One message, and the (source, id) it is to be known by.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) message: Message,
    pub(crate) source: String,
    pub(crate) id: String,
}

/// One row.
pub(crate) struct Case {
    pub(crate) section: &'static str,
    /// For a person.
    pub(crate) input: String,
    /// What has to have happened.
    pub(crate) before: Vec<Message>,
    pub(crate) inputs: Vec<Input>,
    /// What a parked input waits for.
    pub(crate) after: Vec<Message>,
    pub(crate) outcome: Outcome,
}

/// All rows.
pub(crate) fn cases() -> Vec<Case> {
    let mut table = Table::default();
    document::add(&mut table);
    properties::add(&mut table);
    data::add(&mut table);
    story::add(&mut table);
    table.cases
}

/// The table while it is being written; every event has ids of its own.
#[derive(Default)]
struct Table {
    section: &'static str,
    number: usize,
    cases: Vec<Case>,
}

impl Table {
    fn row(&mut self, input: impl Into<String>, outcome: Outcome, inputs: Vec<Input>) -> &mut Case {
        self.cases.push(Case {
            section: self.section,
            input: input.into(),
            before: Vec::new(),
            inputs,
            after: Vec::new(),
            outcome,
        });
        self.cases.last_mut().unwrap()
    }

    /// A submission nothing is wrong with.
    fn submission(&mut self) -> Value {
        self.number += 1;
        let number = self.number;
        envelope(
            &format!("b-{number}"),
            SUBMITTED,
            json!({
                "exception_id": format!("EX-{number}"),
                "ticket": { "id": format!("SEC-{number}"), "title": "OpenSSL", "severity": "low", "current_due_date": "2036-12-05" },
                "requester": { "id": "zoe@example.com" }, "reason": "fix_unavailable", "requested_due_date": "2037-01-31",
            }),
        )
    }

    /// A decision nothing is wrong with, and the submission it is about.
    fn decision(&mut self) -> (Value, Value) {
        let submission = self.submission();
        self.number += 1;
        let number = self.number;
        let decision = envelope(
            &format!("b-{number}"),
            DECISION,
            json!({
                "decision_id": format!("D-{number}"), "exception_id": submission["data"]["exception_id"],
                "decision": "deny", "reviewer": { "id": "alice@example.com" }, "comment": "no",
            }),
        );
        (submission, decision)
    }

    /// Submissions, each changed in one way.
    fn submissions(&mut self, input: &str, outcome: Outcome, changes: &[(&str, Value)]) {
        let inputs = changes.iter().map(|(path, value)| structured(&set(self.submission(), path, value))).collect();
        self.row(input, outcome, inputs);
    }

    /// Decisions, each changed in one way. Their submissions come before them.
    fn decisions(&mut self, input: &str, outcome: Outcome, changes: &[(&str, Value)]) {
        let (mut before, mut inputs) = (Vec::new(), Vec::new());
        for (path, value) in changes {
            let (submission, decision) = self.decision();
            before.push(structured(&submission).message);
            inputs.push(structured(&set(decision, path, value)));
        }
        self.row(input, outcome, inputs).before = before;
    }

    /// Bodies made of the text of a good submission, of which neither source nor id can be read.
    fn unreadable<B: Into<Vec<u8>>>(&mut self, input: &str, reason: &'static str, change: impl Fn(&str) -> Vec<B>) {
        let bodies = change(&self.submission().to_string());
        let inputs = bodies.into_iter().map(|body| unreadable(Message::raw(SUBMITTED, body).content_type(STRUCTURED)));
        self.row(input, Outcome::Failed(reason), inputs.collect());
    }

    /// Bodies made of the text of a good submission, whose source and id can be read.
    fn text(&mut self, input: &str, outcome: Outcome, changes: &[&dyn Fn(&str) -> String]) {
        let mut inputs = Vec::new();
        for change in changes {
            let good = self.submission();
            let body = change(&good.to_string());
            let message = Message::raw(SUBMITTED, body).content_type(STRUCTURED);
            inputs.push(Input { message, ..structured(&good) });
        }
        self.row(input, outcome, inputs);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is made on the spot, as an argument of json! would be")]
fn envelope(id: &str, event_type: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": SOURCE, "type": event_type, "data": data })
}

/// The envelope as a message. Its routing key is that of its kind whatever its type says, so that it arrives.
fn structured(envelope: &Value) -> Input {
    let message = Message::raw(SUBMITTED, envelope.to_string()).content_type(STRUCTURED);
    let text = |name: &str| envelope[name].as_str().unwrap_or_default().to_owned();
    Input { message, source: text("source"), id: text("id") }
}

/// A message that is known by its bytes.
fn unreadable(message: Message) -> Input {
    let content_type = message.properties.content_type().as_ref().map(ToString::to_string).unwrap_or_default();
    let sha: [u8; 32] = Sha256::new().chain_update(&message.body).chain_update(content_type).finalize().into();
    let id = sha.iter().map(|byte| format!("{byte:02x}")).collect();
    Input { message, source: "urn:reprieve:unreadable".to_owned(), id }
}

/// `data` as the body, the attributes as headers.
fn binary(envelope: &Value, prefix: &str) -> Input {
    let mut message = Message::raw(SUBMITTED, envelope["data"].to_string()).content_type("application/json");
    for (name, value) in envelope.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
        message = message.header(&format!("{prefix}{name}"), text(value.as_str().unwrap()));
    }
    Input { message, ..structured(envelope) }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Sets the value at a dotted path, from the envelope. `REMOVE` takes it away.
fn set(mut envelope: Value, path: &str, value: &Value) -> Value {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut object = &mut envelope;
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        if object[part].is_null() {
            object[part] = json!({});
        }
        object = &mut object[part];
    }
    if *value == json!(REMOVE) {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value.clone();
    }
    envelope
}

/// In place of a value: the member is not there at all.
const REMOVE: &str = "(missing)";
