//! From a delivery to a command, strictly: either everything is understood or the input is a permanent fault with a reason.
//! Both `CloudEvents` modes are read, structured and binary. Nothing here decides anything: see [`crate::domain::lifecycle`].

use std::collections::BTreeMap;

use super::digest;
use super::json::{self, Fault};
use super::message::Properties;
use super::reason::Reason;
use crate::domain::command::Command;
use crate::domain::dates::Timestamp;
use crate::domain::history::EventRef;
use crate::domain::ids::{Digest, ExceptionId};
use crate::domain::json::Json;

mod data;
mod envelope;
pub mod label;
mod mode;

#[cfg(test)]
pub(in crate::contract) use data::table;
use mode::Mode;

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest `id` and `source`, in characters.
pub(super) const ATTRIBUTE_CHARS_MAX: usize = 256;
/// The source of an input whose own, or whose id, cannot be read.
pub const UNREADABLE: &str = "urn:reprieve:unreadable";

/// The type of a submission.
pub const SUBMITTED: &str = "exception.submitted.v1";
/// The type of a decision.
pub const DECISION: &str = "exception.decision.v1";
/// The types that are built.
pub const BUILT: [&str; 2] = [SUBMITTED, DECISION];
/// The types that the contract names and nobody reads yet.
pub const NOT_BUILT: [&str; 8] = [
    "exception.amended.v1",
    "exception.withdrawn.v1",
    "exception.info_provided.v1",
    "ticket.updated.v1",
    "ticket.closed.v1",
    "ticket.deferral_applied.v1",
    "ticket.deferral_rejected.v1",
    "reviewer.availability_changed.v1",
];

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

impl<'a> Message<'a> {
    /// A message as the broker's side and the store's side have it.
    pub fn of(properties: &'a Properties, body: &'a [u8]) -> Self {
        Self {
            content_type: properties.content_type.as_deref(),
            content_encoding: properties.content_encoding.as_deref(),
            headers: &properties.headers,
            body,
        }
    }
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
    /// When it happened, as its publisher says.
    pub time: Option<Timestamp>,
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
        time: seen.time,
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
    time: Option<Timestamp>,
    data: Option<Json>,
}

fn read(message: &Message<'_>, seen: &mut Sighted) -> Result<Content, Fault> {
    envelope::see_trace(message.headers, seen);
    let mode = mode::of(message);
    let attributes = if mode == Ok(Mode::Binary) { mode::attributes(message.headers) } else { Ok(Json::Null) };
    if let Ok(attributes @ Json::Object(_)) = &attributes {
        envelope::see(attributes, seen);
    }
    if message.body.len() > BODY_BYTES_MAX {
        return Err(Fault::new(
            Reason::TooLarge,
            format!("the body has {} bytes, more than {BODY_BYTES_MAX}", message.body.len()),
        ));
    }
    let (mode, attributes) = (mode?, attributes?);
    let document = json::read(message.body)?;
    let duplicate = document.duplicate.clone();
    let has_nul = document.has_nul;
    let opened = match mode {
        Mode::Structured => envelope::open(message.body, document, seen),
        Mode::Binary => envelope::body_as_data(message.body, document, seen).map(|data| (attributes, Some(data))),
    };
    if let Some(name) = duplicate {
        return Err(Fault::new(Reason::DuplicateKey, format!("the name {name:?} stands twice in one object")));
    }
    let (envelope, data) = opened?;
    envelope::check(&envelope, has_nul, data)
}

#[cfg(test)]
mod tests;
