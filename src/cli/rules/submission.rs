//! Submissions from files: events as upstream sends them, or only their `data`. The worker's own decoder is the judge.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::contract::inbound::{Inbound, Message, SUBMITTED, decode};
use crate::contract::json::Fault;
use crate::domain::command::{Command, Submission};

/// What a document of a file is.
pub(super) enum Document {
    Submission(Box<Submission>),
    /// An event of another type, which no rule looks at.
    Other(String),
}

/// Reads one document. What has no `specversion` is taken for the data of a submission.
pub(super) fn read(text: &str) -> Result<Document, Fault> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let inbound = if members.contains_key("specversion") || members.is_empty() {
        structured(text)
    } else {
        structured(&format!(r#"{{"specversion":"1.0","id":"1","source":"file","type":"{SUBMITTED}","data":{text}}}"#))
    };
    let other = inbound.event_type.filter(|it| it != SUBMITTED);
    match (inbound.content.map(|content| content.command), other) {
        (Ok(Command::Submit(submission)), _) => Ok(Document::Submission(submission)),
        (_, Some(other)) => Ok(Document::Other(other)),
        (Ok(Command::Decide(_)), None) => Ok(Document::Other(String::new())),
        (Err(fault), None) => Err(fault),
    }
}

fn structured(text: &str) -> Inbound {
    decode(&Message {
        content_type: Some("application/cloudevents+json"),
        content_encoding: None,
        headers: &BTreeMap::new(),
        body: text.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"exception_id":"EX-1","ticket":{"id":"SEC-1","title":"x","severity":"HIGH","epss":0.420,
        "current_due_date":"2036-12-05"},"requester":{"id":"Zoe@Example.com"},"reason":"other","requested_due_date":"2037-01-31"}"#;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match read(text) {
            Ok(Document::Submission(submission)) => format!("by {}", submission.request.requester),
            Ok(Document::Other(other)) => format!("other {other}"),
            Err(fault) => format!("{}: {}", fault.reason.word(), fault.message),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn events_and_bare_data_are_read() {
        check(DATA, "by zoe@example.com");
        let event = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"{SUBMITTED}","data":{DATA}}}"#);
        check(&event, "by zoe@example.com");
        check(&event.replacen("submitted", "decision", 1), "other exception.decision.v1");
        check(&event.replacen("submitted", "nonsense", 1), "other exception.nonsense.v1");
    }

    #[test]
    fn what_is_no_submission_is_told() {
        check(
            &DATA.replacen("\"HIGH\"", "\"hihg\"", 1),
            "schema: data.ticket.severity: \"hihg\" is not known; expected one of critical, high, medium, low, info",
        );
        check(
            &DATA.replacen("\"EX-1\"", "\"EX-1\",\"exception_id\":\"EX-2\"", 1),
            "duplicate_key: the name \"exception_id\" stands twice in one object",
        );
        for text in ["42", "[]", "{}", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
