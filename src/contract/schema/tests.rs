use std::path::Path;

use super::*;

/// Says that the file is to be written, not compared.
const BLESS: &str = "REPRIEVE_BLESS";

#[test]
fn the_files_say_what_the_program_does() {
    let made: Vec<_> = inbound::all().into_iter().chain(crate::contract::outbound::schemas::all()).collect();
    let listed: Vec<_> = SCHEMAS.iter().map(|schema| schema.event_type).collect();
    assert_eq!(made.iter().map(|(event_type, _)| *event_type).collect::<Vec<_>>(), listed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let rules = (RULES, crate::domain::rules::schema::schema(&id(RULES)));
    for (event_type, schema) in made.into_iter().chain([rules]) {
        let (file, text) = (folder.join(format!("{event_type}.json")), format!("{schema:#}\n"));
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(found == text, "schemas/{event_type}.json is not current: {BLESS}=1 cargo test --lib schema renews it");
    }
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, SCHEMAS.len() + 1, "a schema of nothing");
}

#[test]
fn a_schemas_id_is_the_dataschema_of_its_events() {
    for schema in &SCHEMAS {
        let id = format!("\"$id\": \"{}\"", id(schema.event_type));
        assert!(schema.text.contains(&id), "{}", schema.event_type);
        assert_eq!(find(schema.event_type).map(|found| found.event_type), Some(schema.event_type));
    }
    assert!(find("exception.nonsense.v1").is_none());
}

/// What any field might be given, well-meant or not.
fn values() -> Vec<serde_json::Value> {
    use serde_json::json;
    let texts = [
        "",
        " ",
        "x",
        "low",
        "LOW",
        "approve",
        "Deny",
        "revoke",
        "fix unavailable",
        "zoe@example.com",
        " Zoe@x ",
        "a/b",
        "é",
        "a\nb",
        "a\u{200b}",
        "\u{202e}",
        "\0",
        "0.42",
        "1e3",
        "-1",
        ".5",
        "2036-02-29",
        "2037-02-29",
        "2036-2-3",
        "10000-01-01",
        "2026-11-24T09:00:00Z",
        "2026-11-24T09:00:00",
        "2026-11-24T09:00:60Z",
        "2016-12-31T23:59:60Z",
        "2026-11-24 09:00:00Z",
        "2026-11-24T09:00:00+0100",
        "2026-11-24t09:00:00.5z",
    ];
    let long = |n| "x".repeat(n);
    let mut values: Vec<_> = texts.iter().map(|text| json!(text)).collect();
    values.extend([128, 129, 4096, 4097, 16_384, 16_385].map(|n| json!(long(n))));
    values.extend([json!(null), json!(true), json!(0), json!(7), json!(-1), json!(0.5), json!(4_294_967_296_u64)]);
    values.extend([json!([]), json!(["x"]), json!([7]), json!([null]), json!(vec!["x"; 1000]), json!(vec!["x"; 1001])]);
    values.extend([json!({}), json!({ "x": 1 }), json!([{}]), json!([{ "id": "x", "n": null }]), json!([{ "id": 7 }])]);
    values.extend([
        json!({ "x": [long(4097)] }),
        json!({ "\0": 1 }),
        json!({ "a": { "b": ["\0"] } }),
        json!([[long(4096)]]),
    ]);
    values
}

/// Each field of each table with each value: what the decoder accepts is valid, what it refuses is not.
#[test]
fn the_schemas_accept_what_the_decoder_accepts() {
    use crate::contract::inbound::{Message, decode, table};
    for (event_type, schema) in inbound::all() {
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        let good = good(event_type);
        let paths = table(event_type).unwrap().iter().map(|field| format!("/data/{}", field.path.replace('.', "/")));
        let others = ["/id", "/source", "/time", "/specversion", "/data", "/data_base64", "/other", "/data/other"];
        let mut accepted = 0;
        for path in paths.chain(others.map(str::to_owned)) {
            for value in values() {
                let mut event = good.clone();
                let (parent, name) = path.rsplit_once('/').unwrap();
                event.pointer_mut(parent).unwrap()[name] = value;
                let text = event.to_string();
                let message = Message {
                    content_type: Some("application/cloudevents+json"),
                    content_encoding: None,
                    headers: &std::collections::BTreeMap::new(),
                    body: text.as_bytes(),
                };
                let content = decode(&message).content;
                accepted += usize::from(content.is_ok());
                let shown: String = text.chars().take(600).collect();
                assert_eq!(validator.is_valid(&event), content.is_ok(), "{path}: {content:?}\n{shown}");
            }
        }
        assert!(accepted > 200, "{accepted}");
    }
}

fn good(event_type: &str) -> serde_json::Value {
    use serde_json::json;
    let data = if event_type == crate::contract::inbound::SUBMITTED {
        json!({
            "exception_id": "EX-1", "reason": "other", "requested_due_date": "2037-01-31", "requester": { "id": "zoe" },
            "ticket": { "id": "SEC-1", "title": "x", "severity": "low", "current_due_date": "2036-12-05", "asset": {} },
        })
    } else {
        json!({ "decision_id": "D-1", "exception_id": "EX-1", "decision": "deny", "reviewer": { "id": "dana" } })
    };
    json!({ "specversion": "1.0", "id": "1", "source": "s", "type": event_type, "data": data })
}
