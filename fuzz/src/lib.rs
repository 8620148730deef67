//! What each fuzz target does with its bytes. The sources under test are compiled in, not linked: fuzzing the pure rooms
//! needs neither sqlx nor lapin, and builds in a minute. That they import nothing else, `tests/house.rs` holds.

#[allow(dead_code, unused_imports)]
#[path = "../../src"]
mod sources {
    pub mod contract;
    pub mod domain;
    pub mod broker {
        pub mod rabbitmq {
            mod frames;

            /// The stream as it comes out of the cleaner when it comes in these pieces.
            pub fn cleaned<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
                let (mut cleaner, mut output) = (frames::Cleaner::default(), Vec::new());
                pieces.into_iter().for_each(|piece| cleaner.push(piece, &mut output));
                output
            }
        }
    }
}
#[path = "../../tests/mutations"]
mod mutations {
    pub mod oracle;
    pub mod properties;
}

mod frames;
mod rules;

pub use frames::frames;
pub use rules::rules;
pub(crate) use sources::{contract, domain};

use contract::inbound::{BODY_BYTES_MAX, DECISION, SUBMITTED, decode};
use mutations::properties::{Input, check};

fn held(input: &Input) {
    if let Err(what) = check(input, decode) {
        panic!("{what}\n{input:?}\n{}", String::from_utf8_lossy(&input.body));
    }
}

/// The bytes are a body in structured mode.
pub fn envelope(bytes: &[u8]) {
    held(&Input::new("application/cloudevents+json", bytes));
}

/// The bytes are a submission's `data` in a valid envelope.
pub fn submitted(bytes: &[u8]) {
    within(SUBMITTED, bytes);
}

/// The bytes are a decision's `data` in a valid envelope.
pub fn decision(bytes: &[u8]) {
    within(DECISION, bytes);
}

fn within(event_type: &str, data: &[u8]) {
    let head = format!(r#"{{"specversion":"1.0","id":"e-1","source":"s","type":"{event_type}","data":"#);
    let body = [head.as_bytes(), data, b"}"].concat();
    held(&Input::new("application/cloudevents+json", body));
}

/// Lines: content type, content encoding, headers as `name=value` up to an empty line; the rest is the body.
pub fn headers(bytes: &[u8]) {
    let (head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('\n');
    let text = |line: Option<&str>| line.filter(|line| !line.is_empty()).map(str::to_owned);
    let mut input = Input { content_type: text(lines.next()), content_encoding: text(lines.next()), ..Input::default() };
    // What the broker's side hands on is bounded: see `rabbitmq/incoming.rs`.
    for line in lines.take(64) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.len() <= 255 && value.len() <= 1_024 {
            input.headers.insert(name.to_owned(), value.to_owned());
        }
    }
    input.body = body.get(..BODY_BYTES_MAX + 1).unwrap_or(body).to_vec();
    held(&input);
}
