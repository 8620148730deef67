//! The envelope: its attributes, and where `data` stands in it. What is in `data` is [`super::data`]'s business.

use std::collections::BTreeMap;

use super::data::{Data, command};
use super::{ATTRIBUTE_CHARS_MAX, BUILT, Content, NOT_BUILT, Sighted};
use crate::contract::fields::Fields;
use crate::contract::json::{Document, Fault};
use crate::contract::reason::Reason;
use crate::domain::dates::parse_time;
use crate::domain::ids::is_hidden;
use crate::domain::json::Json;

/// Splits a body in structured mode into the envelope and `data`.
pub(super) fn open(body: &[u8], document: Document, seen: &mut Sighted) -> Result<(Json, Option<Data>), Fault> {
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
    see(&envelope, seen);
    Ok((envelope, data))
}

/// The body in binary mode.
pub(super) fn body_as_data(body: &[u8], document: Document, seen: &mut Sighted) -> Result<Data, Fault> {
    if !matches!(document.value, Json::Object(_)) {
        return Err(no_object());
    }
    seen.data = Some(document.value.clone());
    let text = String::from_utf8_lossy(body).trim().to_owned();
    Ok(Data { text, value: document.value })
}

fn no_object() -> Fault {
    Fault::new(Reason::NoObject, "the body is no JSON object")
}

/// Notes what can be read of the attributes, whatever is wrong with the rest.
pub(super) fn see(envelope: &Json, seen: &mut Sighted) {
    let readable =
        |name| envelope.text_at(name).filter(|text| attribute_fault(name, text).is_none()).map(str::to_owned);
    seen.source = readable("source");
    seen.id = readable("id");
    seen.event_type = envelope
        .text_at("type")
        .filter(|t| t.len() <= ATTRIBUTE_CHARS_MAX && !t.chars().any(is_hidden))
        .map(str::to_owned);
    seen.time = envelope.text_at("time").and_then(parse_time);
    if let Some(trace) = envelope.text_at("traceparent").filter(|t| is_traceparent(t)) {
        seen.traceparent = Some(trace.to_owned());
    }
}

/// Notes the header `traceparent`, in either mode: what carries a message may know its trace although its author does not. An
/// attribute of this name, read later, takes its place.
pub(super) fn see_trace(headers: &BTreeMap<String, String>, seen: &mut Sighted) {
    seen.traceparent = headers.get("traceparent").filter(|t| is_traceparent(t)).cloned();
}

/// Whether it can be a W3C trace context, of this version or a later one: hexadecimal fields, not shorter than version 00 has
/// them. It is passed on as it is, or not at all.
fn is_traceparent(text: &str) -> bool {
    text.len() <= 128 && text.len() >= 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn attribute_fault(name: &str, text: &str) -> Option<Fault> {
    if text.chars().any(is_hidden) {
        let message = format!("{name} contains a control, bidirectional or zero-width character");
        return Some(Fault::new(Reason::BadText, message));
    }
    let fits = (1..=ATTRIBUTE_CHARS_MAX).contains(&text.chars().count());
    (!fits).then(|| Fault::new(Reason::Schema, format!("{name}: expected 1 to {ATTRIBUTE_CHARS_MAX} characters")))
}

/// Checks the attributes, then what the type says about `data`.
pub(super) fn check(envelope: &Json, has_nul: bool, data: Option<Data>) -> Result<Content, Fault> {
    let version = envelope.text_at("specversion");
    if version != Some("1.0") {
        let found = version.map_or("missing".to_owned(), |version| format!("{version:?}"));
        return Err(Fault::new(Reason::UnsupportedVersion, format!("specversion is {found}: expected \"1.0\"")));
    }
    let event_type = envelope.text_at("type");
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
    check_attributes(envelope, &mut fields);
    let kind = value.as_ref().map_or("missing", Json::kind);
    if !matches!(value, Some(Json::Object(_))) {
        fields.note(Reason::Schema, format!("data is {kind}: expected an object"));
    }
    let command = event_type.and_then(|event_type| command(event_type, &mut fields));
    match (fields.worst(), command) {
        (None, Some(command)) => Ok(Content { command, data: text }),
        (Some(fault), _) => Err(fault),
        (None, None) => Err(Fault::new(Reason::Schema, "the event could not be read")),
    }
}

fn check_attributes(envelope: &Json, fields: &mut Fields<'_>) {
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
    if envelope.get("data_base64").is_some() {
        fields.note(Reason::Schema, "data_base64 is not read: send data as JSON".to_owned());
    }
}

/// A type is its name and its major version; a name that is known with another version is told apart from a stranger.
fn check_type(text: &str) -> Result<(), Fault> {
    if BUILT.contains(&text) {
        return Ok(());
    }
    let expected = BUILT.join(" or ");
    if NOT_BUILT.contains(&text) {
        let message = format!("type {text} is not built yet: expected {expected}");
        return Err(Fault::new(Reason::UnknownType, message));
    }
    let known = |name: &str| BUILT.iter().chain(&NOT_BUILT).any(|t| t.strip_suffix(".v1") == Some(name));
    match text.rsplit_once(".v") {
        Some((name, version)) if known(name) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => {
            Err(Fault::new(Reason::UnsupportedVersion, format!("major version {version} of {name}: only 1 is known")))
        }
        _ => Err(Fault::new(Reason::UnknownType, format!("type {text:?} is not known: expected {expected}"))),
    }
}
