//! From a delivery to a command, strictly: either everything is understood or the input is a permanent fault with a reason.
//! Both `CloudEvents` modes are read, structured and binary. Nothing here decides anything: see [`crate::domain::lifecycle`].

mod headers;

use std::collections::BTreeMap;

use super::digest;
use super::fields::Fields;
use super::json::{self, Document, Fault};
use super::reason::Reason;
use crate::domain::command::{Command, Decision, Submission, Verdict};
use crate::domain::dates::parse_time;
use crate::domain::exception::Request;
use crate::domain::fields::SUBMISSION;
use crate::domain::history::EventRef;
use crate::domain::ids::{DecisionId, Digest, ExceptionId, TicketId, UserId};
use crate::domain::json::Json;

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest `id` and `source`, in characters.
const ATTRIBUTE_CHARS_MAX: usize = 256;
/// The source of an input whose own, or whose id, cannot be read.
pub const UNREADABLE: &str = "urn:reprieve:unreadable";

/// The type of a submission.
pub const SUBMITTED: &str = "exception.submitted.v1";
/// The type of a decision.
pub const DECISION: &str = "exception.decision.v1";

/// A message as the decoder needs it; what the broker calls things stays outside.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The MIME type.
    pub content_type: Option<&'a str>,
    /// The encoding, which must be none.
    pub content_encoding: Option<&'a str>,
    /// Text headers.
    pub headers: &'a BTreeMap<String, String>,
    /// The bytes.
    pub body: &'a [u8],
}

/// One input, as far as it could be read. Whatever it is, it has an identity and a digest.
#[derive(Debug)]
pub struct Inbound {
    /// `source`, or [`UNREADABLE`].
    pub source: String,
    /// `id`, or the SHA-256 of body and content type.
    pub id: String,
    /// `type`, where it could be read.
    pub event_type: Option<String>,
    /// The trace context it came with.
    pub traceparent: Option<String>,
    /// The key of (source, id).
    pub key: Digest,
    /// The digest of type and data.
    pub digest: Digest,
    /// The exception it names, where that could be read.
    pub exception_id: Option<ExceptionId>,
    /// What it asks for, or why it can never be processed.
    pub content: Result<Content, Fault>,
}

/// An event that was understood.
#[derive(Debug)]
pub struct Content {
    /// What it asks for.
    pub command: Command,
    /// Its `data`, byte for byte.
    pub data: String,
}

impl Inbound {
    /// How the history names it.
    pub fn event_ref(&self) -> EventRef {
        EventRef {
            source: self.source.clone(),
            id: self.id.clone(),
            event_type: self.event_type.clone().unwrap_or_default(),
        }
    }
}

/// Reads a message. Never fails: a fault is a result like any other.
pub fn decode(message: &Message<'_>) -> Inbound {
    let mut seen = Sighted::default();
    let content = read(message, &mut seen);
    let event_type = seen.event_type.as_deref().unwrap_or_default();
    let sha = match (&seen.data, content.as_ref().err().map(|fault| fault.reason)) {
        (Some(data), reason) if reason != Some(Reason::DuplicateKey) => digest::of_content(event_type, data),
        _ => digest::of_text(event_type, message.body),
    };
    let (source, id) = match (seen.source, seen.id) {
        (Some(source), Some(id)) => (source, id),
        _ => (UNREADABLE.to_owned(), digest::of_unreadable(message.body, message.content_type.unwrap_or_default())),
    };
    Inbound {
        key: digest::event_key(&source, &id),
        digest: Digest::of_sha256(&sha),
        exception_id: seen.data.as_ref().and_then(|data| ExceptionId::parse(data.text_at("exception_id")?).ok()),
        source,
        id,
        event_type: seen.event_type,
        traceparent: seen.traceparent,
        content,
    }
}

/// What was read of an input before it turned out whether it can be processed.
#[derive(Default)]
struct Sighted {
    source: Option<String>,
    id: Option<String>,
    event_type: Option<String>,
    traceparent: Option<String>,
    data: Option<Json>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Structured,
    Binary,
}

fn read(message: &Message<'_>, seen: &mut Sighted) -> Result<Content, Fault> {
    let mode = mode(message);
    if mode == Ok(Mode::Binary) {
        see_headers(message.headers, seen);
    }
    if message.body.len() > BODY_BYTES_MAX {
        return Err(Fault::new(
            Reason::TooLarge,
            format!("the body has {} bytes, more than {BODY_BYTES_MAX}", message.body.len()),
        ));
    }
    let mode = mode?;
    if mode == Mode::Binary
        && let Some(name) = headers::contradiction(message.headers)
    {
        return Err(Fault::new(Reason::BadProperties, format!("two headers contradict each other about {name:?}")));
    }
    let document = json::read(message.body)?;
    let duplicate = document.duplicate.clone();
    let has_nul = document.has_nul;
    let opened = match mode {
        Mode::Structured => open_envelope(message.body, document, seen),
        Mode::Binary => open_binary(message, document, seen),
    };
    if let Some(name) = duplicate {
        return Err(Fault::new(Reason::DuplicateKey, format!("the name {name:?} stands twice in one object")));
    }
    let (envelope, data) = opened?;
    check_envelope(&envelope, mode, has_nul, seen, data)
}

/// The mode, from content type and encoding.
fn mode(message: &Message<'_>) -> Result<Mode, Fault> {
    let bad = |text: String| Err(Fault::new(Reason::BadProperties, text));
    if let Some(encoding) = message.content_encoding.filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity")) {
        return bad(format!("content encoding {encoding:?}: nothing is decompressed, send the plain body"));
    }
    let content_type = message.content_type.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return bad(format!("charset {value}: only utf-8 is read"));
        }
    }
    match essence.as_str() {
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/json" => Ok(Mode::Binary),
        _ => bad(format!(
            "content type {content_type:?}: expected application/cloudevents+json, or application/json with ce-* headers"
        )),
    }
}

/// The text of `data` and its value.
struct Data {
    text: String,
    value: Json,
}

fn open_envelope(body: &[u8], document: Document, seen: &mut Sighted) -> Result<(Json, Option<Data>), Fault> {
    let no_object = || Fault::new(Reason::NoObject, "the body is no JSON object");
    let Json::Object(members) = document.value else { return Err(no_object()) };
    let (mut data, mut rest) = (None, Vec::with_capacity(members.len()));
    for ((name, value), (_, range)) in members.into_iter().zip(document.members) {
        if name == "data" {
            let text = String::from_utf8_lossy(body.get(range).unwrap_or_default()).into_owned();
            seen.data = Some(value.clone());
            data = Some(Data { text, value });
        } else {
            rest.push((name, value));
        }
    }
    // An attribute that stands twice says nothing. Counted in one pass: a sender may send tens of thousands of names.
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (name, _) in &rest {
        *counts.entry(name.clone()).or_default() += 1;
    }
    rest.retain(|(name, _)| counts.get(name) == Some(&1));
    let envelope = Json::Object(rest);
    see_envelope(&envelope, seen);
    Ok((envelope, data))
}

fn open_binary(message: &Message<'_>, document: Document, seen: &mut Sighted) -> Result<(Json, Option<Data>), Fault> {
    if !matches!(document.value, Json::Object(_)) {
        return Err(Fault::new(Reason::NoObject, "the body is no JSON object"));
    }
    seen.data = Some(document.value.clone());
    let text = String::from_utf8_lossy(message.body).trim().to_owned();
    Ok((headers::attributes(message.headers), Some(Data { text, value: document.value })))
}

fn see_headers(headers: &BTreeMap<String, String>, seen: &mut Sighted) {
    see_envelope(&headers::attributes(headers), seen);
    seen.traceparent =
        seen.traceparent.take().or_else(|| headers.get("traceparent").cloned()).filter(|t| is_traceparent(t));
}

fn see_envelope(envelope: &Json, seen: &mut Sighted) {
    let readable =
        |name| envelope.text_at(name).filter(|text| attribute_fault(name, text).is_none()).map(str::to_owned);
    seen.source = readable("source");
    seen.id = readable("id");
    seen.event_type = envelope
        .text_at("type")
        .filter(|t| t.len() <= ATTRIBUTE_CHARS_MAX && !t.chars().any(char::is_control))
        .map(str::to_owned);
    seen.traceparent = envelope.text_at("traceparent").filter(|t| is_traceparent(t)).map(str::to_owned);
}

/// Whether it can be a W3C trace context, of this version or a later one: hexadecimal fields, not shorter than version 00 has
/// them. It is passed on as it is, or not at all.
fn is_traceparent(text: &str) -> bool {
    text.len() <= 128 && text.len() >= 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn attribute_fault(name: &str, text: &str) -> Option<Fault> {
    if text.chars().any(char::is_control) {
        return Some(Fault::new(Reason::BadText, format!("{name} contains a control character")));
    }
    let fits = (1..=ATTRIBUTE_CHARS_MAX).contains(&text.chars().count());
    (!fits).then(|| Fault::new(Reason::Schema, format!("{name}: expected 1 to {ATTRIBUTE_CHARS_MAX} characters")))
}

fn check_envelope(
    envelope: &Json,
    mode: Mode,
    has_nul: bool,
    seen: &Sighted,
    data: Option<Data>,
) -> Result<Content, Fault> {
    let version = envelope.text_at("specversion");
    if version != Some("1.0") {
        let found = version.map_or("missing".to_owned(), |version| format!("{version:?}"));
        return Err(Fault::new(Reason::UnsupportedVersion, format!("specversion is {found}: expected \"1.0\"")));
    }
    let event_type = match envelope.at("type") {
        Some(Json::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    if let Some(text) = event_type {
        check_type(text)?;
    }
    let empty = Json::Object(Vec::new());
    let (text, value) = data.map_or((String::new(), None), |data| (data.text, Some(data.value)));
    let mut fields = Fields::new(value.as_ref().unwrap_or(&empty));
    if has_nul {
        fields.note(Reason::BadText, "contains the character U+0000".to_owned());
    }
    if event_type.is_none() {
        fields.note(Reason::Schema, "type is missing or no string".to_owned());
    }
    for name in ["id", "source"] {
        match envelope.at(name) {
            Some(Json::Text(text)) => {
                if let Some(fault) = attribute_fault(name, text) {
                    fields.note(fault.reason, fault.message);
                }
            }
            _ => fields.note(Reason::Schema, format!("{name} is missing or no string")),
        }
    }
    if let Some(time) = envelope.at("time")
        && !matches!(time, Json::Text(text) if parse_time(text).is_some())
    {
        fields.note(Reason::BadTime, "time: expected a time with offset as in 2026-11-24T09:00:00Z".to_owned());
    }
    if mode == Mode::Structured && envelope.get("data_base64").is_some() {
        fields.note(Reason::Schema, "data_base64 is not read: send data as JSON".to_owned());
    }
    let kind = value.as_ref().map_or("missing", Json::kind);
    if !matches!(value, Some(Json::Object(_))) {
        fields.note(Reason::Schema, format!("data is {kind}: expected an object"));
    }
    let command = match seen.event_type.as_deref() {
        Some(SUBMITTED) => submission(&mut fields, value.as_ref()),
        Some(DECISION) => decision(&mut fields),
        _ => None,
    };
    match (fields.worst(), command) {
        (None, Some(command)) => Ok(Content { command, data: text }),
        (Some(fault), _) => Err(fault),
        (None, None) => Err(Fault::new(Reason::Schema, "the event could not be read")),
    }
}

/// A type is its name and its major version; a name that is known with another version is told apart from a stranger.
fn check_type(text: &str) -> Result<(), Fault> {
    if [SUBMITTED, DECISION].contains(&text) {
        return Ok(());
    }
    let known = |name: &str| [SUBMITTED, DECISION].iter().any(|t| t.strip_suffix(".v1") == Some(name));
    match text.rsplit_once(".v") {
        Some((name, version)) if known(name) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => {
            Err(Fault::new(Reason::UnsupportedVersion, format!("major version {version} of {name}: only 1 is known")))
        }
        _ => Err(Fault::new(
            Reason::UnknownType,
            format!("type {text:?} is not known: expected {SUBMITTED} or {DECISION}"),
        )),
    }
}

fn submission(fields: &mut Fields<'_>, data: Option<&Json>) -> Option<Command> {
    for field in &SUBMISSION {
        fields.check(field);
    }
    let data = data?;
    let date = |path| data.text_at(path).and_then(crate::domain::dates::parse_date);
    let text = |path| data.text_at(path).map(str::to_owned);
    let current_due_date = date("ticket.current_due_date")?;
    let request = Request {
        ticket_title: text("ticket.title")?,
        severity: text("ticket.severity")?.to_ascii_lowercase(),
        requester: UserId::parse(data.text_at("requester.id")?).ok()?,
        team: text("requester.team"),
        reason: text("reason")?.to_ascii_lowercase(),
        original_due_date: date("ticket.original_due_date").unwrap_or(current_due_date),
        current_due_date,
        requested_due_date: date("requested_due_date")?,
        previous_exception_id: data.text_at("previous_exception_id").and_then(|id| ExceptionId::parse(id).ok()),
        batch_id: text("batch_id"),
    };
    Some(Command::Submit(Box::new(Submission {
        exception_id: ExceptionId::parse(data.text_at("exception_id")?).ok()?,
        ticket_id: TicketId::parse(data.text_at("ticket.id")?).ok()?,
        request,
        data: data.clone(),
    })))
}

fn decision(fields: &mut Fields<'_>) -> Option<Command> {
    let decision_id = fields.required_id("decision_id", DecisionId::parse);
    let exception_id = fields.required_id("exception_id", ExceptionId::parse);
    let reviewer = match fields.required("reviewer") {
        Some(Json::Object(_)) => fields.required_id("reviewer.id", UserId::parse),
        Some(other) => {
            fields.note(Reason::Schema, format!("data.reviewer: expected an object, found {}", other.kind()));
            None
        }
        None => None,
    };
    let verdict = fields.required("decision").and_then(|value| fields.word("decision", value)).and_then(|word| {
        let verdict = Verdict::parse(&word);
        if verdict.is_none() {
            fields.note(Reason::Schema, format!("data.decision: {word:?} is not known here; expected approve or deny"));
        }
        verdict
    });
    let approved_due_date = fields.optional_date("approved_due_date");
    let comment = fields.optional_text("comment").map(str::to_owned);
    let expected_revision = fields.optional_count("expected_revision");
    fields.optional_text("reassign_to");
    fields.optional_time("decided_at");
    Some(Command::Decide(Decision {
        decision_id: decision_id?,
        exception_id: exception_id?,
        verdict: verdict?,
        reviewer: reviewer?,
        approved_due_date,
        comment,
        expected_revision,
    }))
}

#[cfg(test)]
mod tests;
