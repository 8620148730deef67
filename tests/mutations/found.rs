//! What the mutations and the fuzz targets found, kept as they found it.

use super::contract::inbound::decode;
use super::contract::reason::Reason;
use super::properties::{Input, check};

fn envelope(data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"e-1","source":"s","type":"exception.decision.v1","data":{data}}}"#)
}

#[track_caller]
fn ends(input: &Input, reason: Reason) {
    assert_eq!(check(input, decode), Ok(Some(reason)), "{}", String::from_utf8_lossy(&input.body));
}

#[test]
fn what_was_found_stays_found() {
    // It was told as `schema`, since that it is no object was seen first.
    ends(&Input::new("application/cloudevents+json", r#"[{"a":1,"a":2}]"#), Reason::DuplicateKey);
    ends(&Input::new("application/json", r#"[{"a":1,"a":2}]"#), Reason::DuplicateKey);
    // Their messages repeated the control characters of the input, U+0000 too, which no database stores as text.
    ends(&Input::new("application/json; charset=a\0\nb", "{}"), Reason::BadProperties);
    let long = format!(r#"{{"a\n\u0007":"{}"}}"#, "x".repeat(5_000));
    ends(&Input::new("application/cloudevents+json", envelope(&long)), Reason::Schema);
    // One of the two was taken, without a word about the other.
    let mut torn = Input::new(
        "application/json",
        r#"{"decision_id":"D","exception_id":"E","decision":"deny","reviewer":{"id":"d"}}"#,
    );
    for (name, text) in [("specversion", "1.0"), ("id", "1"), ("source", "s"), ("type", "exception.decision.v1")] {
        torn.headers.insert(format!("ce-{name}"), text.to_owned());
    }
    assert_eq!(check(&torn, decode), Ok(None));
    torn.headers.insert("cloudEvents:id".to_owned(), "2".to_owned());
    ends(&torn, Reason::BadProperties);
}
