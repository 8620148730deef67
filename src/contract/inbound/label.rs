//! What is written on the outside of a message for the inbound exchange, read from it without judging it: that is the worker's, and
//! it looks at neither.

use std::borrow::Cow;

use serde::Deserialize;

use super::Message;
use super::mode::{self, Mode};
use crate::domain::json::Json;

/// Where an event without a readable type goes: bound to the worker's queue like any `exception.#`.
const UNREADABLE: &str = "exception.unreadable";
/// AMQP carries a routing key, and an id, in at most so many bytes.
const BYTES_MAX: usize = 255;

/// The outside of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The event's type, or `exception.unreadable`.
    pub routing_key: String,
    /// The event's id, where it can be read and is short enough.
    pub id: Option<String>,
}

impl Label {
    /// Of a message in either mode.
    pub fn of(message: &Message<'_>) -> Self {
        match mode::of(message) {
            Ok(Mode::Structured) => Self::of_envelope(message.body),
            Ok(Mode::Binary) => Self::of_headers(message),
            Err(_) => Self::new(None, None),
        }
    }

    /// Of an envelope.
    pub fn of_envelope(envelope: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Type<'a> {
            #[serde(borrow, rename = "type")]
            event_type: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Id<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        // Apart from each other: one that is missing does not take the other along.
        let event_type = serde_json::from_slice::<Type<'_>>(envelope).ok();
        let id = serde_json::from_slice::<Id<'_>>(envelope).ok();
        Self::new(event_type.map(|read| read.event_type.into_owned()), id.map(|read| read.id.into_owned()))
    }

    fn of_headers(message: &Message<'_>) -> Self {
        let Ok(Json::Object(attributes)) = mode::attributes(message.headers) else { return Self::new(None, None) };
        let text = |wanted: &str| {
            attributes.iter().find_map(|(name, value)| match value {
                Json::Text(text) if name == wanted => Some(text.clone()),
                _ => None,
            })
        };
        Self::new(text("type"), text("id"))
    }

    fn new(event_type: Option<String>, id: Option<String>) -> Self {
        let short = |text: &String| (1..=BYTES_MAX).contains(&text.len());
        Self { routing_key: event_type.filter(short).unwrap_or_else(|| UNREADABLE.to_owned()), id: id.filter(short) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn check(content_type: &str, headers: &[(&str, &str)], body: &str, routing_key: &str, id: Option<&str>) {
        let headers: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let message = Message {
            content_type: Some(content_type),
            content_encoding: None,
            headers: &headers,
            body: body.as_bytes(),
        };
        let expected = Label { routing_key: routing_key.to_owned(), id: id.map(str::to_owned) };
        assert_eq!(Label::of(&message), expected, "{content_type} {headers:?} {body}");
    }

    #[test]
    fn type_and_id_are_read_in_both_modes() {
        let structured = "application/cloudevents+json; charset=utf-8";
        check(structured, &[("ce-type", "b.v1")], r#"{"type":"a.v1","id":"1"}"#, "a.v1", Some("1"));
        check(structured, &[], r#"{"type":"a\u002eb"}"#, "a.b", None);
        check(structured, &[], r#"{"type":7,"id":"1"}"#, UNREADABLE, Some("1"));
        let binary = [("ce-type", "a.v1"), ("cloudEvents:id", "1")];
        check("application/json", &binary, r#"{"type":"b.v1","id":"2"}"#, "a.v1", Some("1"));
        check("application/json", &[("ce-type", "a.v1"), ("CE-TYPE", "b.v1")], "{}", UNREADABLE, None);
        check("text/plain", &binary, "{}", UNREADABLE, None);
    }

    #[test]
    fn what_amqp_does_not_carry_is_left_out() {
        let (fits, long) = ("x".repeat(255), "x".repeat(256));
        check("application/json", &[("ce-type", &fits), ("ce-id", &fits)], "{}", &fits, Some(&fits));
        check("application/json", &[("ce-type", &long), ("ce-id", &long)], "{}", UNREADABLE, None);
        check("application/json", &[("ce-type", ""), ("ce-id", "")], "{}", UNREADABLE, None);
    }
}
