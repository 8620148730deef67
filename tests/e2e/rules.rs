//! `reprieve rules` from outside: what a stored exception was routed by, also after the file has changed, and what another
//! file would route differently.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{decide, envelope, submission};

const SOON: Duration = Duration::from_secs(20);

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "old"
settings: { triage: [lead@example.com] }
rules:
  - name: once-more
    match: { previous_exceptions: { gte: 5 } }
    reviewers: none
  - name: high
    match: { ticket.severity: high, requester.team: [payments, platform] }
    levels: [{ reviewers: { users: [alice@example.com, zoe@example.com] } }]
fallback:
  levels: [{ reviewers: { users: [alice@example.com] } }]
"#;

/// The same people, under another name; and nothing is high any more.
fn new_rules() -> String {
    RULES.replacen("\"old\"", "\"new\"", 1).replacen("ticket.severity: high", "ticket.severity: critical", 1)
}

/// A stage on which `names` were submitted, each with its severity and its ticket, and approved before the next one came.
async fn stage(name: &str, requests: &[(&str, &str, &str)]) -> (Stage, WorkerSetup) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    for (name, severity, ticket) in requests {
        let mut event = envelope(&format!("s-{name}"), "exception.submitted.v1", &submission(name, severity));
        event["data"]["ticket"]["id"] = json!(ticket);
        let messages = [Message::structured(&event), decide(name, "approve", "alice")];
        client.publish(&messages).await;
        let id = format!("EX-{name}");
        eventually("the approval", SOON, async || {
            let shown = setup.cli(&["exceptions", "show", &id, "-o", "json"]).await;
            let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
            (shown["status"] == "approved").then_some(())
        })
        .await;
    }
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
    (stage, setup)
}

async fn json_of(setup: &WorkerSetup, arguments: &[&str]) -> Value {
    serde_json::from_str(&setup.cli_ok(&[arguments, &["-o", "json"]].concat()).await).unwrap()
}

async fn code(setup: &WorkerSetup, arguments: &[&str]) -> (i32, String) {
    let output = setup.cli(arguments).await;
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn written(stage: &Stage, name: &str, text: &str) -> String {
    let file = stage.folder().join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

pub(crate) async fn an_exception_is_explained_by_the_rules_it_was_made_under() {
    let requests = [("1", "high", "SEC-1"), ("2", "high", "SEC-1"), ("3", "low", "SEC-3")];
    let (stage, setup) = stage("rules_explain", &requests).await;
    let explained = json_of(&setup, &["rules", "explain", "EX-1"]).await;
    assert_eq!((&explained["rule"], &explained["rules_version"]), (&json!("high"), &json!("old")));
    assert_eq!((&explained["today"], &explained["notes"]), (&Value::Null, &json!([])));
    let stored = json_of(&setup, &["exceptions", "show", "EX-1"]).await["explanation"].clone();
    assert_eq!(explained["levels"], stored["levels"], "who was asked, and the requester who was not");
    assert_eq!(explained["rules_hash"], stored["rules_hash"]);

    // What was approved of the ticket before, not what has been approved by now.
    for (id, previous) in [("EX-1", 0), ("EX-2", 1), ("EX-3", 0)] {
        let explained = json_of(&setup, &["rules", "explain", id]).await;
        assert_eq!(explained["derived"]["previous_exceptions"], previous, "{id}");
        assert_eq!(explained["tried"][0]["conditions"][0]["actual"], previous.to_string(), "{id}");
    }

    let setup = setup.rules(&new_rules());
    let later = json_of(&setup, &["rules", "explain", "EX-1"]).await;
    assert_eq!((&later["rule"], &later["rules_version"]), (&json!("high"), &json!("old")));
    assert_eq!((&later["tried"], &later["today"]["rule"]), (&explained["tried"], &json!("fallback")));
    let page = setup.cli_ok(&["rules", "explain", "EX-1"]).await;
    for part in ["✗ once-more", "✓ high", "found payments", "zoe@example.com (the requester", "today: rule fallback"]
    {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    let same = setup.cli_ok(&["rules", "explain", "EX-3"]).await;
    assert!(!same.contains("today"), "{same}");

    // Without the file of today, and without the file of then.
    let setup = setup.env("REPRIEVE_RULES", "gone.yaml");
    let page = setup.cli_ok(&["rules", "explain", "EX-1"]).await;
    assert!(page.contains("✓ high") && page.contains("today nothing can be said"), "{page}");
    sqlx::query("DELETE FROM rule_sets").execute(&mut stage.connect().await).await.unwrap();
    let page = setup.cli_ok(&["rules", "explain", "EX-1"]).await;
    assert!(page.contains("✓ high") && page.contains("the rules file of then is not stored"), "{page}");

    assert_eq!(code(&setup, &["rules", "explain", "EX-9"]).await.0, 4);
    assert_eq!(code(&setup, &["rules", "explain", "no id"]).await.0, 2);
    assert_eq!(code(&setup, &["rules", "explain"]).await.0, 2);
    let away = setup.database_url("postgres://postgres@127.0.0.1:1/postgres");
    assert_eq!(code(&away, &["rules", "explain", "EX-1"]).await.0, 5);
}

pub(crate) async fn another_file_is_compared_by_what_was_submitted() {
    let requests = [("1", "high", "SEC-1"), ("2", "high", "SEC-1"), ("3", "low", "SEC-3")];
    let (stage, setup) = stage("rules_diff", &requests).await;
    let (old, new) = (written(&stage, "old.yaml", RULES), written(&stage, "new.yaml", &new_rules()));
    let diff = json_of(&setup, &["rules", "diff", &old, &new]).await;
    assert_eq!((&diff["looked_at"], &diff["different"], &diff["complete"]), (&json!(3), &json!(2), &json!(true)));
    assert_eq!(diff["moves"], json!([{ "old": "high", "new": "fallback", "count": 2 }]));
    assert_eq!((&diff["items"][0]["exception_id"], &diff["items"][0]["changed"]), (&json!("EX-2"), &json!(["rule"])));
    let newest = json_of(&setup, &["rules", "diff", &old, &new, "--max", "1"]).await;
    assert_eq!((&newest["looked_at"], &newest["complete"]), (&json!(1), &json!(false)));
    let none = json_of(&setup, &["rules", "diff", &old, &new, "--last", "0s"]).await;
    assert_eq!((&none["looked_at"], &none["different"]), (&json!(0), &json!(0)));

    // Only the second one had a predecessor: the past of each is its own.
    let stricter = written(&stage, "stricter.yaml", &RULES.replacen("gte: 5", "gte: 1", 1));
    let diff = json_of(&setup, &["rules", "diff", &old, &stricter]).await;
    assert_eq!(diff["moves"], json!([{ "old": "high", "new": "once-more", "count": 1 }]));
    assert_eq!(diff["items"][0]["exception_id"], "EX-2");

    let page = setup.cli_ok(&["rules", "diff", &old, &new]).await;
    assert!(page.starts_with("2 of 3 requests would be routed differently\n"), "{page}");
    assert_eq!(code(&setup, &["rules", "diff", &old, &new, "--exit-code"]).await.0, 1);
    assert_eq!(code(&setup, &["rules", "diff", &old, &old, "--exit-code"]).await.0, 0);
    let broken = written(&stage, "broken.yaml", &RULES.replacen("fallback", "fall_back", 1));
    let (status, said) = code(&setup, &["rules", "diff", &old, &broken]).await;
    assert!(status == 3 && said.contains("broken.yaml:") && said.contains("did you mean fallback?"), "{said}");
    let away = setup.database_url("postgres://postgres@127.0.0.1:1/postgres");
    assert_eq!(code(&away, &["rules", "diff", &old, &new]).await.0, 5);
}

/// Everything that needs no server.
pub(crate) async fn files_are_checked_without_a_server() {
    let stage = Stage::shared("rules_files").await;
    let setup = WorkerSetup::new(stage.folder()).rules(RULES);
    let broken = written(&stage, "broken.yaml", &RULES.replacen("ticket.severity", "ticket.sevrity", 1));
    assert_eq!(json_of(&setup, &["rules", "check"]).await["ok"], true);
    let (status, said) = code(&setup, &["rules", "check", &broken]).await;
    assert_eq!((status, said.contains("has 1 error")), (3, true), "{said}");
    let shown = setup.cli(&["rules", "check", &broken, "-o", "json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let error = &shown["errors"][0];
    assert_eq!((&shown["ok"], &error["line"], &error["column"]), (&json!(false), &json!(10), &json!(14)), "{shown}");
    assert_eq!((&error["file"], &error["suggestion"]), (&json!(broken), &json!("ticket.severity")));
    let shown = setup.cli(&["rules", "check", "gone.yaml", "-o", "json"]).await;
    assert_eq!(shown.status.code(), Some(3));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["ok"], &shown["errors"][0]["line"]), (&json!(false), &json!(0)), "{shown}");

    let full = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules-full.yaml");
    setup.cli_ok(&["rules", "test", full, "--coverage"]).await;
    let text = std::fs::read_to_string(full).unwrap();
    let failing =
        written(&stage, "failing.yaml", &text.replacen("expect: { rule: hopeless", "expect: { rule: trivial", 1));
    assert_eq!(code(&setup, &["rules", "test", &failing]).await.0, 1);
    assert_eq!(code(&setup, &["rules", "test", &broken]).await.0, 3);
    assert_eq!(code(&setup, &["rules", "test", "gone.yaml"]).await.0, 3);
    // Standard input is empty here.
    assert_eq!(code(&setup, &["rules", "check", "-"]).await.0, 3);

    let data = submission("1", "high");
    let event = written(&stage, "event.json", &envelope("1", "exception.submitted.v1", &data).to_string());
    let data = written(&stage, "data.json", &data.to_string());
    for file in [&event, &data] {
        let explained = json_of(&setup, &["rules", "explain", "--event", file]).await;
        assert_eq!((&explained["rule"], &explained["status"]), (&json!("high"), &Value::Null));
    }
    let explained = json_of(&setup, &["rules", "explain", "--event", &event, "--previous-exceptions", "5"]).await;
    assert_eq!(explained["rule"], "once-more");
    let decision = envelope("1", "exception.decision.v1", &json!({}));
    for unusable in [decision.to_string(), "{".to_owned(), "{\"ticket\":{}}".to_owned()] {
        let file = written(&stage, "unusable.json", &unusable);
        assert_eq!(code(&setup, &["rules", "explain", "--event", &file]).await.0, 2, "{unusable}");
    }
    assert_eq!(code(&setup, &["rules", "explain", "--event", &event, "--rules", &broken]).await.0, 3);
    assert_eq!(code(&setup, &["rules", "explain", "EX-1", "--event", &event]).await.0, 2);

    let old = written(&stage, "old.yaml", RULES);
    let new = written(&stage, "new.yaml", &new_rules());
    let events = format!("{}\n{decision}\n", std::fs::read_to_string(&event).unwrap());
    let events = written(&stage, "events.jsonl", &events);
    let diff = json_of(&setup, &["rules", "diff", &old, &new, "--events", &events]).await;
    assert_eq!((&diff["looked_at"], &diff["different"], &diff["skipped"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(code(&setup, &["rules", "diff", &old, &new, "--events", "gone.jsonl"]).await.0, 2);
    let schema = json_of(&setup, &["schema", "show", "rules"]).await;
    assert_eq!(schema["$id"], "urn:reprieve:schema:rules:1.0");
    assert!(setup.cli_ok(&["schema", "list"]).await.contains("rules  "), "it is listed");
}
