use super::*;
use crate::domain::command::Command;

const DATA: &str = r#"{"exception_id":"EX-1","ticket":{"id":"SEC-1","title":"OpenSSL","severity":"High","current_due_date":"2026-12-05","kev":false,"epss":"0.42","cvss":8.1,"asset":{"service":"payments-api"},"tags":["pci"]},"requester":{"id":" Zoe@Example.com "},"reason":"Fix_Unavailable","requested_due_date":"2027-01-31","custom":{"x":1},"new_field":[1]}"#;
const VOTE: &str = r#"{"decision_id":"D-1","exception_id":"EX-1","decision":"Approve","reviewer":{"id":"dana@example.com"},"approved_due_date":"2027-01-15","comment":null,"expected_revision":null,"decided_at":"2026-11-24T09:00:00Z"}"#;

fn envelope(event_type: &str, data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"e-1","source":"ticketing","type":"{event_type}","data":{data}}}"#)
}

fn decode_as(content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> Inbound {
    let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    decode(&Message { content_type: Some(content_type), content_encoding: None, headers: &headers, body })
}

fn structured(body: &str) -> Inbound {
    decode_as("application/cloudevents+json; charset=UTF-8", &[], body.as_bytes())
}

#[track_caller]
fn check(body: &str, reason: Reason) {
    let fault = structured(body).content.expect_err(body);
    assert_eq!(fault.reason, reason, "{body}: {}", fault.message);
}

#[test]
fn a_submission_is_read_whole() {
    let inbound = structured(&envelope(SUBMITTED, DATA));
    let content = inbound.content.unwrap();
    let Command::Submit(submission) = content.command else { panic!("a submission") };
    assert_eq!(submission.request.requester.as_str(), "zoe@example.com");
    assert_eq!((submission.request.severity.as_str(), submission.request.reason.as_str()), ("high", "fix_unavailable"));
    assert_eq!(submission.request.original_due_date, submission.request.current_due_date, "the default");
    assert_eq!(content.data, DATA, "the bytes are kept, unknown fields and all");
    assert_eq!((inbound.source.as_str(), inbound.id.as_str()), ("ticketing", "e-1"));
}

#[test]
fn both_modes_and_both_header_forms_are_the_same_content() {
    let one = structured(&envelope(DECISION, VOTE));
    for prefix in ["ce-", "cloudEvents:", "CE-"] {
        let names = ["specversion", "id", "source", "type"].map(|name| format!("{prefix}{name}"));
        let values = ["1.0", "e-1", "ticketing", DECISION];
        let headers: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
        let two = decode_as("application/json", &headers, VOTE.as_bytes());
        assert!(two.content.is_ok(), "{:?}", two.content);
        assert_eq!((one.key, one.digest), (two.key, two.digest));
    }
}

#[test]
fn layout_order_time_and_subject_are_not_content() {
    let one = structured(&envelope(DECISION, r#"{"a":1,"b":[2]}"#));
    let two = structured(
        r#"{"id":"e-1","time":"2026-11-24T09:00:00Z","subject":"x","source":"ticketing","specversion":"1.0","type":"exception.decision.v1","data": { "b" : [ 2 ] , "a" : 1 } }"#,
    );
    assert_eq!(one.digest, two.digest);
    assert_ne!(one.digest, structured(&envelope(DECISION, r#"{"a":1.0,"b":[2]}"#)).digest, "numbers as written");
}

#[test]
fn what_is_wrong_with_the_envelope_has_its_reason() {
    let good = envelope(DECISION, VOTE);
    check("", Reason::BadJson);
    check("[]", Reason::NoObject);
    check("[1,{}]", Reason::NoObject);
    check(&format!("{good}x"), Reason::BadJson);
    check(&format!("{good}{good}"), Reason::BadJson);
    check(&good.replacen("\"1.0\"", "\"1.1\"", 1), Reason::UnsupportedVersion);
    check(&good.replacen("\"specversion\":\"1.0\",", "", 1), Reason::UnsupportedVersion);
    check(&good.replacen(DECISION, "exception.decision.v2", 1), Reason::UnsupportedVersion);
    check(&good.replacen(DECISION, "exception.nonsense.v1", 1), Reason::UnknownType);
    check(&good.replacen(DECISION, "ticket.closed.v1", 1), Reason::UnknownType);
    check(&good.replacen("\"id\":\"e-1\"", "\"id\":\"e\\n1\"", 1), Reason::BadText);
    check(&good.replacen("\"id\":\"e-1\"", "\"id\":\"\"", 1), Reason::Schema);
    check(&good.replacen("\"id\":\"e-1\"", "\"id\":1", 1), Reason::Schema);
    check(&good.replacen("\"source\":\"ticketing\",", "", 1), Reason::Schema);
    check(&good.replacen("\"data\":", "\"time\":\"2026-11-24T09:00:00\",\"data\":", 1), Reason::BadTime);
    check(&good.replacen("\"data\":", "\"data_base64\":\"e30=\",\"data\":", 1), Reason::Schema);
    check(&good.replacen("\"id\":\"e-1\"", "\"id\":\"e-1\",\"\\u0069d\":\"e-2\"", 1), Reason::DuplicateKey);
    check(&envelope(DECISION, "[]"), Reason::Schema);
    check(&envelope(DECISION, "\"x\""), Reason::Schema);
}

#[test]
fn each_required_field_is_required_in_its_form() {
    let table: [(&str, &str, &str, &[&str]); 2] = [
        (
            SUBMITTED,
            DATA,
            "ticket",
            &[
                "exception_id",
                "ticket",
                "ticket.id",
                "ticket.title",
                "ticket.severity",
                "ticket.current_due_date",
                "requester",
                "requester.id",
                "reason",
                "requested_due_date",
            ],
        ),
        (DECISION, VOTE, "reviewer", &["decision_id", "exception_id", "decision", "reviewer", "reviewer.id"]),
    ];
    for (event_type, data, _, paths) in table {
        for path in paths {
            for replacement in [
                None,
                Some(serde_json::Value::Null),
                Some(serde_json::json!(7)),
                Some(serde_json::json!([["x"]])),
                Some(serde_json::json!(["EX-1"])),
            ] {
                let mut value: serde_json::Value = serde_json::from_str(data).unwrap();
                let (parent, name) = path.rsplit_once('.').map_or(("", *path), |(p, n)| (p, n));
                let pointer = if parent.is_empty() { String::new() } else { format!("/{parent}") };
                let object = value.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
                match &replacement {
                    None => drop(object.remove(name)),
                    Some(other) => drop(object.insert(name.to_owned(), other.clone())),
                }
                check(&envelope(event_type, &value.to_string()), Reason::Schema);
            }
        }
    }
}

#[test]
fn wrong_values_have_their_reason() {
    for (from, to, reason) in [
        ("\"EX-1\"", "\"EX/1\"", Reason::Schema),
        ("\"EX-1\"", "\"EX\\u200b1\"", Reason::BadText),
        ("\"OpenSSL\"", "\"a\\u0000b\"", Reason::BadText),
        ("\"2026-12-05\"", "\"2026-02-30\"", Reason::BadTime),
        ("\"2027-01-31\"", "\"10000-01-01\"", Reason::BadTime),
        ("\"High\"", "\"urgent\"", Reason::Schema),
        ("\"High\"", "\"hi\\u202egh\"", Reason::BadText),
        ("\"kev\":false", "\"kev\":\"no\"", Reason::Schema),
        ("\"0.42\"", "\"0,42\"", Reason::Schema),
        ("8.1", "true", Reason::Schema),
        ("[\"pci\"]", "\"pci\"", Reason::Schema),
        ("{\"service\":\"payments-api\"}", "[\"payments-api\"]", Reason::Schema),
        ("{\"x\":1}", "{\"x\":1,\"x\":2}", Reason::DuplicateKey),
    ] {
        assert!(DATA.contains(from), "{from}");
        check(&envelope(SUBMITTED, &DATA.replacen(from, to, 1)), reason);
    }
    for (from, to, reason) in [
        ("\"Approve\"", "\"revoke\"", Reason::Schema),
        ("\"comment\"", "\"reassign_to\":\"a b\",\"comment\"", Reason::Schema),
        ("\"comment\"", "\"reassign_to\":\"a\\u200bb\",\"comment\"", Reason::BadText),
        ("\"2026-11-24T09:00:00Z\"", "\"2026-11-24T09:00:00\"", Reason::BadTime),
        ("\"expected_revision\":null", "\"expected_revision\":-1", Reason::Schema),
        ("\"expected_revision\":null", "\"expected_revision\":\"1\"", Reason::Schema),
        ("\"comment\":null", "\"comment\":{}", Reason::Schema),
    ] {
        check(&envelope(DECISION, &VOTE.replacen(from, to, 1)), reason);
    }
}

#[test]
fn of_several_faults_the_first_in_rank_is_named() {
    let both = DATA.replacen("\"2026-12-05\"", "\"2026-02-30\"", 1).replacen("\"High\"", "\"urgent\"", 1);
    check(&envelope(SUBMITTED, &both), Reason::BadTime);
    let three = both.replacen("\"OpenSSL\"", "\"\\u0000\"", 1);
    check(&envelope(SUBMITTED, &three), Reason::BadText);
    check(&envelope("x.v1", &three), Reason::UnknownType);
}

#[test]
fn lengths_are_bounded() {
    let long = |n: usize| DATA.replacen("\"OpenSSL\"", &format!("\"{}\"", "x".repeat(n)), 1);
    assert!(structured(&envelope(SUBMITTED, &long(4096))).content.is_ok());
    check(&envelope(SUBMITTED, &long(4097)), Reason::Schema);
    let justified =
        |n: usize| DATA.replacen("\"custom\"", &format!("\"justification\":\"{}\",\"custom\"", "x".repeat(n)), 1);
    assert!(structured(&envelope(SUBMITTED, &justified(16 * 1024))).content.is_ok());
    check(&envelope(SUBMITTED, &justified(16 * 1024 + 1)), Reason::Schema);
    check(&" ".repeat(BODY_BYTES_MAX + 1), Reason::TooLarge);
    let many = DATA.replacen("[1]", &format!("[{}1]", "1,".repeat(1_000)), 1);
    check(&envelope(SUBMITTED, &many), Reason::Schema);
}

#[test]
fn properties_are_looked_at_first_but_for_the_size() {
    for (content_type, body) in [
        ("text/plain", "{}"),
        ("", "{}"),
        ("application/json; charset=latin1", "{}"),
        ("application/cloudevents-batch+json", "[]"),
    ] {
        assert_eq!(
            decode_as(content_type, &[], body.as_bytes()).content.unwrap_err().reason,
            Reason::BadProperties,
            "{content_type}"
        );
    }
    let headers = BTreeMap::new();
    let gzip = Message {
        content_type: Some("application/json"),
        content_encoding: Some("gzip"),
        headers: &headers,
        body: b"{}",
    };
    assert_eq!(decode(&gzip).content.unwrap_err().reason, Reason::BadProperties);
    assert_eq!(
        decode_as("text/plain", &[], &vec![b' '; BODY_BYTES_MAX + 1]).content.unwrap_err().reason,
        Reason::TooLarge
    );
}

#[test]
fn every_input_has_an_identity() {
    let broken = structured("{\"id\":\"e-1\",");
    assert_eq!(broken.source, UNREADABLE);
    assert_eq!(broken.key, structured("{\"id\":\"e-1\",").key, "the same bytes again are a repeat");
    assert_ne!(broken.key, structured("{\"id\":\"e-1\", ").key);
    let binary = decode_as("application/json", &[("ce-id", "e-9"), ("ce-source", "s")], b"{broken");
    assert_eq!((binary.source.as_str(), binary.id.as_str()), ("s", "e-9"), "headers are readable when the body is not");
    let schema = structured(&envelope(DECISION, "{}"));
    assert_eq!((schema.source.as_str(), schema.id.as_str()), ("ticketing", "e-1"));
}

#[test]
fn truncated_anywhere_it_is_bad_json_or_bad_encoding() {
    let body = envelope(SUBMITTED, &DATA.replacen("OpenSSL", "Öl 😀", 1));
    for length in 0..body.len() {
        let inbound = decode_as("application/cloudevents+json", &[], &body.as_bytes()[..length]);
        let split = std::str::from_utf8(&body.as_bytes()[..length]).is_err();
        let expected = if split { Reason::BadEncoding } else { Reason::BadJson };
        assert_eq!(inbound.content.unwrap_err().reason, expected, "{length}");
    }
}

#[test]
fn tens_of_thousands_of_attributes_are_read_in_no_time() {
    let names: String = (0..25_000).map(|n| format!("\"{n:05x}\":0,")).collect();
    let body = format!(
        r#"{{"specversion":"1.0",{names}"id":"e-1","source":"s","type":"exception.submitted.v1","data":{{}}}}"#
    );
    // Compared each with each they take half a minute.
    assert_eq!(structured(&body).content.expect_err("data is empty").reason, Reason::Schema);
}

#[test]
fn a_message_repeats_only_a_part_of_a_long_input() {
    let fault = structured(&envelope(&"x".repeat(100_000), "{}")).content.unwrap_err();
    assert_eq!(fault.reason, Reason::UnknownType);
    assert!(fault.message.chars().count() <= 301, "{}", fault.message.len());
}
