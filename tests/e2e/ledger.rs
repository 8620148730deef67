//! Much traffic with everything in it that senders get wrong, and the books it has to end with: each event's one outcome,
//! each failure's bytes, each type's number of outputs. Worked out here from the contract; uses none of the product's code.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::amqp::Message;
use crate::traffic::{decision, envelope, submission};

/// Of what is published, in hundredths.
const COPIES: usize = 30;
const BAD: usize = 10;
/// A copy comes at most so many messages after the event it repeats.
const COPY_DISTANCE_MAX: usize = 2_000;
/// Exceptions that are under way at the same time.
const WAVE: usize = 100;
/// One in so many bad events is too large: each has a quarter of a megabyte.
const LARGE_EVERY: usize = 1_000;

const SUBMITTED: &str = "exception.submitted.v1";
const DECISION: &str = "exception.decision.v1";

/// Messages in their order, and what they come to.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    /// Distinct (source, id) by outcome, as the inbox words it.
    pub(crate) outcomes: BTreeMap<&'static str, usize>,
    /// Distinct events that go out, by type.
    pub(crate) outputs: BTreeMap<&'static str, usize>,
    /// The failures' bodies, by SHA-256, each with its reason.
    pub(crate) failures: HashMap<[u8; 32], &'static str>,
    /// Exceptions by status.
    pub(crate) statuses: BTreeMap<&'static str, usize>,
}

impl Ledger {
    /// So many messages, 30 of 100 copies of earlier ones and 10 of 100 bad. The same seed, the same messages.
    pub(crate) fn new(published: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut ledger = Self::default();
        let distinct = published * (100 - COPIES) / 100;
        let bad = published * BAD / 100 * (100 - COPIES) / 100;
        let mut healthy = Vec::with_capacity(distinct);
        let mut number = 0;
        while healthy.len() < distinct - bad {
            let numbers: Vec<usize> = (number..number + WAVE).collect();
            let mut lives: Vec<_> = numbers.into_iter().map(|number| ledger.life(number).into_iter()).collect();
            // Each takes its next step when all have taken the one before.
            while lives.iter().any(|life| life.len() > 0) {
                healthy.extend(lives.iter_mut().filter_map(Iterator::next));
            }
            number += WAVE;
        }
        let every = healthy.len() / bad.max(1);
        let mut originals = Vec::with_capacity(published);
        for (at, message) in healthy.into_iter().enumerate() {
            originals.push((hostile(message, at), true));
            if at % every.max(1) == 0 && at / every.max(1) < bad {
                originals.extend(ledger.bad(at / every.max(1)).into_iter().map(|message| (message, false)));
            }
        }
        let copies = published.saturating_sub(originals.len());
        let copied: Vec<_> = (0..copies).map(|_| rng.usize(..originals.len())).collect();
        let copies = copied.iter().map(|at| {
            let (message, healthy) = &originals[*at];
            let copy = if *healthy && rng.bool() { respelled(message) } else { message.clone() };
            (at + rng.usize(..COPY_DISTANCE_MAX), copy)
        });
        let copies: Vec<_> = copies.collect();
        let mut placed: Vec<_> = originals.into_iter().map(|(message, _)| message).enumerate().chain(copies).collect();
        // Stable: a copy that shares its place with an original comes after it.
        placed.sort_by_key(|(place, _)| *place);
        ledger.messages = placed.into_iter().map(|(_, message)| message).collect();
        ledger
    }

    /// Distinct (source, id).
    pub(crate) fn distinct(&self) -> usize {
        self.outcomes.values().sum()
    }

    fn count(&mut self, outcome: &'static str, outputs: &[(&'static str, usize)]) {
        *self.outcomes.entry(outcome).or_default() += 1;
        for (name, count) in outputs {
            *self.outputs.entry(name).or_default() += count;
        }
    }

    fn submitted(&mut self, reviewers: usize) {
        let told = [
            ("exception.status_changed.v1", 1),
            ("exception.assigned.v1", 1),
            ("notification.reviewer.v1", reviewers),
            ("notification.requester.v1", 1),
        ];
        self.count("applied", &told);
    }

    fn decided(&mut self, approved: bool) {
        let told = [
            ("exception.status_changed.v1", 1),
            ("notification.requester.v1", 1),
            ("ticket.deferral_requested.v1", usize::from(approved)),
        ];
        self.count("applied", &told);
    }

    fn refused(&mut self) {
        self.count("refused", &[("event.rejected.v1", 1)]);
    }

    /// The events of one exception, in the order of their sending. What they come to does not depend on it.
    fn life(&mut self, number: usize) -> Vec<Message> {
        let name = format!("L{number:06}");
        let name = name.as_str();
        let submit = |severity| event(&format!("s-{name}"), SUBMITTED, &submission(name, severity));
        let decide =
            |word, reviewer| event(&format!("d-{name}-{word}-{reviewer}"), DECISION, &decision(name, word, reviewer));
        let kind = number % 8;
        let (severity, reviewers) = if kind == 1 { ("critical", 2) } else { ("high", 1) };
        if kind == 7 {
            self.refused();
            let mut data = submission(name, severity);
            data["requested_due_date"] = json!("2036-12-05");
            return vec![event(&format!("s-{name}"), SUBMITTED, &data)];
        }
        self.submitted(reviewers);
        let status = match kind {
            2 => "denied",
            3 => "requested",
            _ => "approved",
        };
        *self.statuses.entry(status).or_default() += 1;
        match kind {
            1 => self.count("applied", &[("exception.vote_recorded.v1", 1)]),
            3 | 5 | 6 => self.refused(),
            _ => {}
        }
        if kind != 3 {
            self.decided(kind != 2);
        }
        match kind {
            1 => vec![submit(severity), decide("approve", "alice"), decide("approve", "bob")],
            2 => vec![submit(severity), decide("deny", "alice")],
            3 => vec![submit(severity), decide("approve", "zoe")],
            4 => vec![decide("approve", "alice"), submit(severity)],
            5 => {
                let mut data = decision(name, "approve", "alice");
                data["decision_id"] = json!(format!("D-{name}-again"));
                vec![submit(severity), decide("approve", "alice"), event(&format!("d-{name}-again"), DECISION, &data)]
            }
            6 => {
                let mut data = submission(name, severity);
                data["justification"] = json!("Something else.");
                let other = event(&format!("s-{name}-other"), SUBMITTED, &data);
                vec![submit(severity), other, decide("approve", "alice")]
            }
            _ => vec![submit(severity), decide("approve", "alice")],
        }
    }

    /// One bad event of many kinds; two messages where it takes two.
    fn bad(&mut self, number: usize) -> Vec<Message> {
        let (messages, reason) = if number % LARGE_EVERY == LARGE_EVERY - 1 {
            (vec![sent(format!("{}{}", " ".repeat(256 * 1024), good(number)))], "too_large")
        } else {
            bad(number)
        };
        let again = messages.len() - 1;
        self.count("failed", &[("event.rejected.v1", 1 + again)]);
        for (message, reason) in messages.iter().zip([reason, "id_conflict"]) {
            let known = self.failures.insert(Sha256::digest(&message.body).into(), reason);
            assert!(known.is_none(), "each bad event has bytes of its own");
        }
        messages
    }
}

fn event(id: &str, event_type: &str, data: &Value) -> Message {
    Message::structured(&envelope(id, event_type, data))
}

fn sent(body: impl Into<Vec<u8>>) -> Message {
    Message::raw(SUBMITTED, body).content_type("application/cloudevents+json")
}

/// A decision as it would be good, about an exception of its own.
fn good(number: usize) -> String {
    let name = format!("B{number:06}");
    envelope(&format!("b-{name}"), DECISION, &decision(&name, "approve", "alice")).to_string()
}

/// The kinds of bad events, with the reason of each. All carry their number, so that no two are the same.
fn bad(number: usize) -> (Vec<Message>, &'static str) {
    let good = good(number);
    let but = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        vec![sent(good.replacen(from, to, 1))]
    };
    let nested = format!(r#""decision":{}0{}"#, "[".repeat(40), "]".repeat(40));
    match number % 20 {
        0 => (vec![sent(&good.as_bytes()[..good.len() - 1 - number % 50])], "bad_json"),
        1 => (vec![sent(format!("{good}{good}"))], "bad_json"),
        2 => (vec![sent(format!("[{good}]"))], "schema"),
        3 => (vec![sent([good.as_bytes(), b"\xff"].concat())], "bad_encoding"),
        4 => (vec![sent(good.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())], "bad_encoding"),
        5 => (but("approve\"", "\\ud800\""), "bad_encoding"),
        6 => (but("\"decision\":", "\"deci\\u0073ion\":1,\"decision\":"), "duplicate_key"),
        7 => (but("\"seen\"", "\"se\\u0000en\""), "bad_text"),
        8 => (but("\"exception_id\":\"EX-", "\"exception_id\":\"EX\u{202e}-"), "bad_text"),
        9 => (but("\"decision\":\"approve\"", &nested), "too_deep"),
        10 => (but(DECISION, "exception.nonsense.v1"), "unknown_type"),
        11 => (but(DECISION, "exception.decision.v2"), "unsupported_version"),
        12 => (but("\"1.0\"", "\"0.3\""), "unsupported_version"),
        13 => (but("\"comment\":\"seen\"", "\"approved_due_date\":\"2036-02-30\""), "bad_time"),
        14 => (but("\"decision\":\"approve\"", "\"decision\":7"), "schema"),
        15 => (but("\"data\":", "\"data_base64\":\"e30=\",\"data\":"), "schema"),
        16 => (vec![sent(good).content_type("text/plain")], "bad_properties"),
        17 => (vec![sent(good).content_encoding("gzip")], "bad_properties"),
        18 => (vec![sent(good).content_type("application/json; charset=a\0b")], "bad_properties"),
        _ => {
            // Whichever comes second is in conflict: `conservation` takes either reason for either.
            let other = good.replacen("\"seen\"", "\"another\"", 1).replacen(DECISION, "exception.nonsense.v1", 1);
            (vec![sent(good.replacen(DECISION, "exception.nonsense.v1", 1)), sent(other)], "unknown_type")
        }
    }
}

/// One in fifty with headers as only a hostile publisher has them. They change nothing.
fn hostile(message: Message, number: usize) -> Message {
    if !number.is_multiple_of(50) {
        return message;
    }
    let mut nested = AMQPValue::Void;
    for _ in 0..30 {
        let mut table = FieldTable::default();
        table.insert("x".into(), nested);
        nested = AMQPValue::FieldTable(table);
    }
    message
        .header("nested", nested)
        .header("x-delivery-count", AMQPValue::LongLongInt(17))
        .header("x-death", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongInt(1)])))
}

/// The same event in another layout: a repeat like any other.
fn respelled(message: &Message) -> Message {
    let event: Value = serde_json::from_slice(&message.body).expect("a healthy event");
    Message { body: serde_json::to_vec_pretty(&event).expect("a value can be written"), ..message.clone() }
}
