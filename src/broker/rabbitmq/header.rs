//! What stands outside the body of an outgoing event: its AMQP properties, headers and routing key, read from the envelope
//! without copying it. Not a decoder: the envelope was written by this program.

use std::borrow::Cow;

use chrono::DateTime;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString, ShortStringError};
use serde::Deserialize;

/// Events that somebody has to get: if no queue takes one, it must not be lost.
const MANDATORY: [&str; 2] = ["notification.", "ticket."];
/// AMQP's mark for "write it to disk".
pub(super) const PERSISTENT: u8 = 2;
/// The MIME type of an envelope in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// The attributes of an envelope that are shown outside of it.
#[derive(Debug, Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    correlationid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

/// An envelope that cannot be published, now or ever.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("it is no envelope: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("its id, type or correlation id is too long: {0}")]
    TooLong(#[from] ShortStringError),
}

impl<'a> Header<'a> {
    /// Reads an envelope.
    pub(super) fn read(envelope: &'a str) -> Result<Self, HeaderError> {
        Ok(serde_json::from_str(envelope)?)
    }

    /// The event's type is its routing key.
    pub(super) fn routing_key(&self) -> Result<ShortString, HeaderError> {
        Ok(ShortString::try_new(self.kind.as_ref())?)
    }

    /// Whether the broker has to say so when no queue takes it.
    pub(super) fn mandatory(&self) -> bool {
        MANDATORY.iter().any(|prefix| self.kind.starts_with(prefix))
    }

    /// The properties of the message, with the headers.
    pub(super) fn properties(&self) -> Result<BasicProperties, HeaderError> {
        let mut properties = BasicProperties::default()
            .with_content_type(STRUCTURED.into())
            .with_delivery_mode(PERSISTENT)
            .with_app_id("reprieve".into())
            .with_message_id(ShortString::try_new(self.id.as_ref())?)
            .with_type(self.routing_key()?)
            .with_headers(self.headers());
        if let Some(seconds) = self.time.as_deref().and_then(unix_seconds) {
            properties = properties.with_timestamp(seconds);
        }
        if let Some(id) = &self.correlationid {
            properties = properties.with_correlation_id(ShortString::try_new(id.as_ref())?);
        }
        Ok(properties)
    }

    fn headers(&self) -> FieldTable {
        let mut table = FieldTable::default();
        let pairs = [
            ("ce-id", Some(&self.id)),
            ("ce-type", Some(&self.kind)),
            ("ce-source", Some(&self.source)),
            ("ce-subject", self.subject.as_ref()),
            ("traceparent", self.traceparent.as_ref()),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                table.insert(name.into(), AMQPValue::LongString(value.as_ref().into()));
            }
        }
        table
    }
}

fn unix_seconds(time: &str) -> Option<u64> {
    u64::try_from(DateTime::parse_from_rfc3339(time).ok()?.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = r#"{"specversion":"1.0","id":"a1","type":"ticket.deferral_requested.v1","source":"urn:reprieve",
        "subject":"SEC-\"8","time":"2026-11-24T09:00:00+01:00","correlationid":"EX-1","traceparent":"00-1-2-01",
        "data":{"id":"other"}}"#;

    #[test]
    fn properties_and_headers_are_copied_from_the_envelope() {
        let header = Header::read(ENVELOPE).expect("an envelope");
        let properties = header.properties().expect("short enough");
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(text(properties.message_id()), "a1");
        assert_eq!(text(properties.kind()), "ticket.deferral_requested.v1");
        assert_eq!(text(properties.app_id()), "reprieve");
        assert_eq!(text(properties.content_type()), "application/cloudevents+json");
        assert_eq!(text(properties.correlation_id()), "EX-1");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(*properties.timestamp(), Some(1_795_507_200));
        let headers = properties.headers().clone().expect("headers");
        let named = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(named("ce-id"), "a1");
        assert_eq!(named("ce-type"), "ticket.deferral_requested.v1");
        assert_eq!(named("ce-source"), "urn:reprieve");
        assert_eq!(named("ce-subject"), "SEC-\"8");
        assert_eq!(named("traceparent"), "00-1-2-01");
        assert_eq!(headers.inner().len(), 5);
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let header = Header::read(r#"{"id":"1","type":"event.rejected.v1","source":"s"}"#).expect("an envelope");
        let properties = header.properties().expect("short enough");
        assert_eq!(*properties.timestamp(), None);
        assert_eq!(*properties.correlation_id(), None);
        assert_eq!(properties.headers().as_ref().map(|table| table.inner().len()), Some(3));
    }

    #[test]
    fn only_notifications_and_ticket_events_are_mandatory() {
        #[track_caller]
        fn check(kind: &str, expected: bool) {
            let envelope = format!(r#"{{"id":"1","type":"{kind}","source":"s"}}"#);
            assert_eq!(Header::read(&envelope).expect("an envelope").mandatory(), expected);
        }
        check("notification.reviewer.v1", true);
        check("ticket.deferral_reversed.v1", true);
        check("exception.status_changed.v1", false);
        check("event.rejected.v1", false);
        check("tickets.x", false);
    }

    #[test]
    fn what_cannot_be_published_is_an_error() {
        assert!(Header::read("[]").is_err());
        assert!(Header::read(r#"{"id":1}"#).is_err());
        let long = format!(r#"{{"id":"{}","type":"t","source":"s"}}"#, "x".repeat(256));
        assert!(Header::read(&long).expect("an envelope").properties().is_err());
    }
}
