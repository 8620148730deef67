//! Who may say what, and that what is turned away takes nobody's place.

use std::collections::BTreeMap;

use super::*;
use crate::contract::inbound::decode;

const BODY: &str = r#"{"specversion":"1.0","id":"d-1","source":"/reviews","type":"exception.decision.v1","data":{
    "decision_id":"D-1","exception_id":"EX-1","decision":"approve","reviewer":{"id":"dana"}}}"#;

fn trust() -> Trust {
    let mut trust = Trust::default();
    trust.allow("reviews", vec!["exception.decision.v1".to_owned(), "reviewer.*".to_owned()]).unwrap();
    trust.allow("ticketing", vec!["exception.submitted.v1".to_owned(), "ticket.*".to_owned()]).unwrap();
    trust
}

fn judged(user: Option<&str>, content_type: &str, body: &str) -> (Inbound, Inbound) {
    let headers = BTreeMap::new();
    let message =
        Message { content_type: Some(content_type), content_encoding: None, headers: &headers, body: body.as_bytes() };
    (decode(&message), trust().judge(decode(&message), user, &message))
}

fn reason(inbound: &Inbound) -> Option<Reason> {
    inbound.content.as_ref().err().map(|fault| fault.reason)
}

#[track_caller]
fn check(user: Option<&str>, body: &str, expected: Option<Reason>, keeps_its_key: bool) {
    let (plain, judged) = judged(user, "application/cloudevents+json", body);
    assert_eq!(reason(&judged), expected, "{user:?} {body}");
    assert_eq!(plain.key == judged.key, keeps_its_key, "{user:?} {body}");
    let claimed = |inbound: &Inbound| (inbound.source.clone(), inbound.id.clone(), inbound.event_type.clone());
    assert_eq!(claimed(&plain), claimed(&judged), "the report names what was claimed");
}

#[test]
fn the_user_and_the_type_decide() {
    let bad_data = BODY.replace("\"decision\":\"approve\"", "\"decision\":7");
    let no_type = BODY.replace("\"type\":\"exception.decision.v1\",", "");
    let two_types = BODY.replace("\"id\"", "\"type\":\"exception.submitted.v1\",\"id\"");
    let stranger = BODY.replace("exception.decision", "exception.nonsense");
    check(Some("reviews"), BODY, None, true);
    check(Some("reviews"), &bad_data, Some(Reason::Schema), true);
    check(Some("reviews"), "{", Some(Reason::BadJson), false);
    check(Some("reviews"), &no_type, Some(Reason::Schema), false);
    check(Some("reviews"), &two_types, Some(Reason::DuplicateKey), false);
    check(Some("reviews"), &stranger, Some(Reason::Unauthorized), false);
    check(Some("ticketing"), BODY, Some(Reason::Unauthorized), false);
    check(Some("ticketing"), &bad_data, Some(Reason::Unauthorized), false);
    check(Some("Reviews"), BODY, Some(Reason::Unauthenticated), false);
    check(Some(""), BODY, Some(Reason::Unauthenticated), false);
    for body in [BODY, &bad_data, "{", "", &no_type] {
        check(None, body, Some(Reason::Unauthenticated), false);
    }
}

#[test]
fn the_same_bytes_of_the_same_user_are_a_repeat_and_nothing_else_is() {
    let key = |user, content_type, body: &str| judged(user, content_type, body).1.key;
    let (structured, binary) = ("application/cloudevents+json", "application/json");
    let first = key(None, structured, BODY);
    assert_eq!(first, key(None, structured, BODY));
    let others = [
        key(Some(""), structured, BODY),
        key(Some("ticketing"), structured, BODY),
        key(Some("mallory"), structured, BODY),
        key(None, binary, BODY),
        key(None, structured, &format!("{BODY} ")),
    ];
    for (place, other) in others.iter().enumerate() {
        assert!(first != *other && !others[..place].contains(other), "{place}");
    }
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, name, expected) in [
        ("ticket.closed.v1", "ticket.closed.v1", true),
        ("ticket.closed.v1", "ticket.closed.v10", false),
        ("ticket.closed", "ticket.closed.v1", false),
        ("ticket.*", "ticket.closed.v1", true),
        ("ticket.*", "tickets", false),
        ("*", "anything", true),
        ("*.v1", "ticket.closed.v1", true),
        ("*.v1", "ticket.closed.v2", false),
        ("exception.*.v1", "exception.decision.v1", true),
        ("exception.*.v1", "exception.v1", false),
        ("*c*c*", "accb", true),
        ("*c*c*", "acb", false),
        ("a*a", "a", false),
        ("a*b*b", "ab", false),
        ("", "a", false),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_row_that_means_nothing_is_refused() {
    let refused = |user: &str, types: &[&str]| {
        Trust::default().allow(user, types.iter().map(ToString::to_string).collect()).unwrap_err()
    };
    assert!(refused("", &["*"]).contains("no user"));
    assert!(refused("a\nb", &["*"]).contains("no user"));
    assert!(refused("a", &[]).contains("at least one"));
    assert!(refused("a", &["ticket.*", "exception.decisions.v1"]).contains("\"exception.decisions.v1\" fits no type"));
}
