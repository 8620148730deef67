//! The two `CloudEvents` modes: which one a message is in, and the envelope that headers make up in binary mode.

use std::collections::BTreeMap;

use super::Message;
use crate::contract::json::Fault;
use crate::contract::reason::Reason;
use crate::domain::json::Json;

/// Where the attributes of an event stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The body is the envelope.
    Structured,
    /// The body is `data`, the headers hold the rest.
    Binary,
}

/// Content encodings that change nothing. Some client libraries put the charset there.
const PLAIN: [&str; 3] = ["", "identity", "utf-8"];

/// The mode, from content type and encoding.
pub(super) fn of(message: &Message<'_>) -> Result<Mode, Fault> {
    let encoding = message.content_encoding.unwrap_or_default();
    if !PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(encoding)) {
        return Err(bad(format!("content encoding {encoding:?}: nothing is decompressed, send the plain body")));
    }
    let content_type = message.content_type.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(bad(format!("charset {value:?}: only utf-8 is read")));
        }
    }
    match essence.as_str() {
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/json" => Ok(Mode::Binary),
        _ => Err(bad(format!(
            "content type {content_type:?}: expected application/cloudevents+json, or application/json with ce-* headers"
        ))),
    }
}

/// The envelope that headers make up. An attribute may stand there in both spellings, but only with one value.
pub(super) fn attributes(headers: &BTreeMap<String, String>) -> Result<Json, Fault> {
    let mut found = BTreeMap::new();
    for (name, value) in headers.iter().filter_map(|(header, value)| Some((attribute(header)?, value))) {
        if found.get(&name).is_some_and(|other| other != value) {
            return Err(bad(format!("the headers give {name:?} twice, with two values")));
        }
        found.insert(name, value.clone());
    }
    Ok(Json::Object(found.into_iter().map(|(name, value)| (name, Json::Text(value))).collect()))
}

/// The attribute a header stands for: `ce-*` as over HTTP, `cloudEvents:*` as in the AMQP binding.
fn attribute(header: &str) -> Option<String> {
    let lower = header.to_ascii_lowercase();
    let name = lower.strip_prefix("ce-").or_else(|| lower.strip_prefix("cloudevents:"))?;
    Some(name.to_owned())
}

fn bad(message: String) -> Fault {
    Fault::new(Reason::BadProperties, message)
}
