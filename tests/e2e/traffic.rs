//! Traffic with a known end: every exception's last state and number of events, by the table of transitions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::amqp::Message;

/// Rules with one level of one reviewer, and one rule with a quorum of two. Two levels are left to the cases that keep an
/// order: here events are redelivered in any, and a vote for a level that has not begun is refused.
pub(crate) const RULES: &str = r#"
apiVersion: reprieve/v1
version: "e2e"
settings: { triage: [lead@example.com] }
rules:
  - name: two-of-two
    match: { ticket.severity: critical }
    levels: [{ reviewers: { users: [alice@example.com, bob@example.com] }, quorum: 2 }]
fallback:
  levels: [{ reviewers: { users: [alice@example.com] } }]
"#;

/// How one exception ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: &'static str,
    pub(crate) enforcement: &'static str,
    pub(crate) revision: i32,
    /// Events about it, `event.rejected` not counted.
    pub(crate) events: i32,
    /// Refusals that name it.
    pub(crate) refused: usize,
}

/// Messages, and what they come to.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) messages: Vec<Message>,
    /// Distinct (source, id).
    pub(crate) events: usize,
    pub(crate) ends: BTreeMap<String, End>,
}

pub(crate) fn envelope(id: &str, event_type: &str, data: &Value) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "urn:test", "type": event_type, "data": data })
}

pub(crate) fn submission(name: &str, severity: &str) -> Value {
    json!({
        "exception_id": format!("EX-{name}"),
        "ticket": { "id": format!("SEC-{name}"), "title": "OpenSSL", "severity": severity, "current_due_date": "2036-12-05" },
        "requester": { "id": "zoe@example.com", "team": "payments" },
        "reason": "fix_unavailable", "justification": "Vendor patch is due in January.", "requested_due_date": "2037-01-31",
    })
}

pub(crate) fn decision(name: &str, word: &str, reviewer: &str) -> Value {
    json!({
        "decision_id": format!("D-{name}-{word}-{reviewer}"), "exception_id": format!("EX-{name}"), "decision": word,
        "reviewer": { "id": format!("{reviewer}@example.com") }, "comment": "seen",
    })
}

pub(crate) fn submit(name: &str, severity: &str) -> Message {
    Message::structured(&envelope(&format!("s-{name}"), "exception.submitted.v1", &submission(name, severity)))
}

pub(crate) fn decide(name: &str, word: &str, reviewer: &str) -> Message {
    let id = format!("d-{name}-{word}-{reviewer}");
    Message::structured(&envelope(&id, "exception.decision.v1", &decision(name, word, reviewer)))
}

impl Traffic {
    /// `count` exceptions of all four kinds; every third message of the second half twice, every eighth submission after its decision.
    pub(crate) fn mixed(prefix: &str, count: usize) -> Self {
        let mut traffic = Self::default();
        for number in 0..count {
            traffic.exception(&format!("{prefix}{number:05}"), number);
        }
        traffic.events = traffic.messages.len();
        // Not from the first half: there a lost message must not be made good by its copy.
        let twice: Vec<_> = traffic.messages.iter().skip(traffic.events / 2).step_by(3).cloned().collect();
        traffic.messages.extend(twice);
        traffic
    }

    fn exception(&mut self, name: &str, number: usize) {
        let end =
            |status, enforcement, revision, events, refused| End { status, enforcement, revision, events, refused };
        let (mut messages, end) = match number % 4 {
            0 => (vec![submit(name, "high"), decide(name, "approve", "alice")], end("approved", "in_force", 2, 7, 0)),
            1 => (
                vec![submit(name, "critical"), decide(name, "approve", "alice"), decide(name, "approve", "bob")],
                end("approved", "in_force", 3, 9, 0),
            ),
            2 => (vec![submit(name, "low"), decide(name, "deny", "alice")], end("denied", "none", 2, 6, 0)),
            _ => (vec![submit(name, "low"), decide(name, "approve", "zoe")], end("requested", "none", 1, 4, 1)),
        };
        if number.is_multiple_of(8) {
            messages.swap(0, 1);
        }
        self.messages.extend(messages);
        self.ends.insert(format!("EX-{name}"), end);
    }
}
