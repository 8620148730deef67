use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(body: &[u8], reason: Reason) {
    assert_eq!(read(body).expect_err("no document").reason, reason, "{}", String::from_utf8_lossy(body));
}

#[test]
fn each_fault_has_its_reason() {
    for body in [
        "",
        " ",
        "{",
        "{}{}",
        "{} x",
        "{\"a\":01}",
        "{\"a\":1.}",
        "[1,]",
        "{\"a\":1,}",
        "nul",
        "\"a\nb\"",
        "\"\\x\"",
        "\"\\u12\"",
        "+1",
    ] {
        check(body.as_bytes(), Reason::BadJson);
    }
    for body in [
        &b"\xff\xfe{\0}\0"[..],
        b"{\0}\0",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xc3",
        b"\"\\ud800\"",
        b"\"\\udc00x\"",
        b"\"\\ud800\\ud800\"",
    ] {
        check(body, Reason::BadEncoding);
    }
    check("[".repeat(100_000).as_bytes(), Reason::TooDeep);
    check("{\"a\":".repeat(33).as_bytes(), Reason::TooDeep);
    assert!(read(format!("{}{}", "[".repeat(32), "]".repeat(32)).as_bytes()).is_ok());
}

#[test]
fn brackets_in_strings_are_text() {
    assert!(read(format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100)).as_bytes()).is_ok());
}

#[test]
fn duplicates_are_seen_through_escapes_and_at_any_depth() {
    assert_eq!(read(br#"{"a":1,"b":[{"id":1,"\u0069d":2}]}"#).unwrap().duplicate.as_deref(), Some("id"));
    assert_eq!(read(br#"{"a":{"x":1},"b":{"x":1}}"#).unwrap().duplicate, None);
}

#[test]
fn members_keep_their_text() {
    let body = br#" { "id" : "1" , "data" : { "n": 1.50 } } "#;
    let document = read(body).unwrap();
    let (name, range) = &document.members[1];
    assert_eq!((name.as_str(), &body[range.clone()]), ("data", &br#"{ "n": 1.50 }"#[..]));
    assert_eq!(document.value.at("data.n"), Some(&Json::Number("1.50".into())));
}

#[test]
fn pairs_of_surrogates_are_one_character() {
    assert_eq!(read(br#""\ud83d\ude00""#).unwrap().value, Json::Text("😀".into()));
    assert!(read(br#""\u0000""#).unwrap().has_nul);
}

fn same(ours: &Json, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Json::Null, serde_json::Value::Null) => true,
        (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Json::Number(a), serde_json::Value::Number(b)) => a.parse::<f64>().ok() == b.as_f64(),
        (Json::Text(a), serde_json::Value::String(b)) => a == b,
        (Json::List(a), serde_json::Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_reads_the_language_that_serde_json_reads(text in r#"([\[\]{}:,"\\u0-9a-f .eE+-]|true|null|\\u00e9|"a"|[ -~é]){0,40}"#) {
        let ours = read(text.as_bytes());
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(value) => prop_assert!(ours.is_ok_and(|d| d.duplicate.is_some() || same(&d.value, &value)), "{text}"),
            // 1e999 is a number of JSON's that no float holds.
            Err(e) if e.to_string().contains("number out of range") => {}
            Err(_) => prop_assert!(ours.is_err(), "{text}"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&body));
    }
}
