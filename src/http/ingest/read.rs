//! From a request to the messages in it, byte for byte. Looked at is only what makes something a `CloudEvent` at all: JSON, and
//! `specversion`, `id`, `source` and `type` as texts with something in them. Whether they are good ones is decided behind the door.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{BATCHED_EVENTS_MAX, Fault};
use crate::broker::{Handed, Properties};
use crate::contract::inbound::BODY_BYTES_MAX;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
const BINARY: &str = "application/json";
/// What every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// What is said to who sends a whole file.
const SEVERAL: &str =
    "it is more than one JSON document; send one, or a JSON array of them as application/cloudevents-batch+json";
/// Most attributes in headers, and most bytes of one: more do not come through a broker, and the longest that is read has 256 characters.
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// Where events stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The body is an envelope.
    Structured,
    /// The body is `data`, the headers hold the rest.
    Binary,
    /// The body is an array of envelopes.
    Batched,
}

/// The mode, from content type and encoding.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Fault> {
    let unsupported = |detail: String| Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    let encoding = single(headers, &header::CONTENT_ENCODING)?.unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(unsupported(format!(
            "content encoding {encoding:?}: nothing is decompressed, send the plain body"
        )));
    }
    let content_type = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(unsupported(format!("charset {value:?}: only utf-8 is read")));
        }
    }
    match essence.as_str() {
        STRUCTURED => Ok(Mode::Structured),
        BATCHED => Ok(Mode::Batched),
        BINARY => Ok(Mode::Binary),
        _ => Err(unsupported(format!(
            "content type {content_type:?}: expected {STRUCTURED}, {BATCHED}, or {BINARY} with ce-* headers"
        ))),
    }
}

/// The messages. Either all of them are events, or none is handed in.
pub(super) fn messages(mode: Mode, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Handed>, Fault> {
    match mode {
        Mode::Structured => {
            check(body).map_err(|why| bad(format!("the body is no CloudEvent: {why}")))?;
            let content_type = single(headers, &header::CONTENT_TYPE)?.map(str::to_owned);
            Ok(vec![handed(content_type, BTreeMap::new(), body)])
        }
        Mode::Binary => {
            let content_type = single(headers, &header::CONTENT_TYPE)?.map(str::to_owned);
            Ok(vec![handed(content_type, attributes(headers)?, body)])
        }
        Mode::Batched => batch(body),
    }
}

fn batch(body: &[u8]) -> Result<Vec<Handed>, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let elements = reader.deserialize_seq(Elements).and_then(|elements| reader.end().map(|()| elements));
    let (elements, count) =
        elements.map_err(|error| bad(format!("the body is no batch: {}", told(&error, "array"))))?;
    if count > BATCHED_EVENTS_MAX {
        let detail = format!("the batch has {count} events: send at most {BATCHED_EVENTS_MAX} at a time");
        return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    if elements.is_empty() {
        return Err(bad("the batch is empty: send at least one event".to_owned()));
    }
    let read = elements.into_iter().enumerate().map(|(index, element)| {
        let body = element.get().as_bytes();
        if body.len() > BODY_BYTES_MAX {
            let detail =
                format!("[{index}] of the batch has {} bytes: one event may have {BODY_BYTES_MAX}", body.len());
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        check(body).map_err(|why| bad(format!("[{index}] of the batch is no CloudEvent: {why}")))?;
        Ok(handed(Some(STRUCTURED.to_owned()), BTreeMap::new(), body))
    });
    read.collect()
}

fn handed(content_type: Option<String>, headers: BTreeMap<String, String>, body: &[u8]) -> Handed {
    let properties = Properties { content_type, content_encoding: None, user_id: None, headers };
    Handed { properties, body: body.to_vec() }
}

fn bad(detail: String) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, detail)
}

/// The elements of an array, each as it is written, and how many there are. More than are taken are counted only.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < BATCHED_EVENTS_MAX
            && let Some(element) = elements.next_element()?
        {
            kept.push(element);
        }
        let mut count = kept.len();
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((kept, count))
    }
}

/// Whether bytes are an envelope at all.
fn check(body: &[u8]) -> Result<(), String> {
    let members = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(body);
    let members =
        members.map_err(|error| if are_several(body) { SEVERAL.to_owned() } else { told(&error, "object") })?;
    for name in REQUIRED {
        let text = members.get(name).and_then(|value| serde_json::from_str::<Cow<'_, str>>(value.get()).ok());
        if text.is_none_or(|text| text.is_empty()) {
            return Err(format!("{name} is missing, or no text with something in it"));
        }
    }
    Ok(())
}

/// Whether bytes are documents one after the other, as in a file of JSON lines.
fn are_several(body: &[u8]) -> bool {
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    matches!((documents.next(), documents.next()), (Some(Ok(_)), Some(Ok(_))))
}

/// What is wrong, without the content.
fn told(error: &serde_json::Error, expected: &str) -> String {
    let (line, column) = (error.line(), error.column());
    if error.is_data() {
        format!("it is no JSON {expected} in UTF-8, seen at line {line} column {column}")
    } else {
        format!("it is no JSON: {error}")
    }
}

/// The headers that hold attributes, decoded, and the trace context.
fn attributes(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Fault> {
    let mut found = BTreeMap::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with("ce-")) {
        let value = only(headers, name)?;
        let text = decoded(value).map_err(|why| bad(format!("the header {name} {why}")))?;
        found.insert(name.as_str().to_owned(), text);
    }
    let is_long = |(name, text): (&String, &String)| name.len().max(text.len()) > ATTRIBUTE_BYTES_MAX;
    if found.len() > ATTRIBUTES_MAX || found.iter().any(is_long) {
        let detail =
            format!("an event may have {ATTRIBUTES_MAX} headers ce-*, each of at most {ATTRIBUTE_BYTES_MAX} bytes");
        return Err(Fault::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
    }
    for name in REQUIRED {
        if found.get(&format!("ce-{name}")).is_none_or(String::is_empty) {
            let detail =
                format!("the request is no CloudEvent in binary mode: the header ce-{name} is missing or empty");
            return Err(bad(detail));
        }
    }
    if let Some(trace) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
        found.insert("traceparent".to_owned(), trace.to_owned());
    }
    Ok(found)
}

/// An attribute as the HTTP binding writes it (section 3.1.3.2): perhaps in quotes, and percent-encoded UTF-8.
fn decoded(value: &HeaderValue) -> Result<String, &'static str> {
    let text = value.to_str().map_err(|_| "holds more than printable ASCII: percent-encode it")?.trim();
    let text = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => unescaped(quoted),
        None => text.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(left.next()), digit(left.next()));
            let code = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            bytes.push(code.ok_or("holds a % without two hexadecimal digits: a % itself is written %25")?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "is no UTF-8 once its percent-encoding is undone")?;
    // No store keeps it in a text.
    if text.contains('\0') { Err("holds the character U+0000") } else { Ok(text) }
}

/// What stands between quotes, where a backslash takes the next character as it is.
fn unescaped(quoted: &str) -> String {
    let mut chars = quoted.chars();
    let mut text = String::with_capacity(quoted.len());
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// The text of a header that may stand there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let text = only(headers, name)?.to_str().map_err(|_| bad(format!("the header {name} is no printable ASCII")))?;
    Ok(Some(text.trim()))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a HeaderValue, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(bad(format!("the header {name} stands there twice"))),
    }
}
