//! Looking things up from outside: lists, histories, tickets and figures, by the built binary in each of its formats and over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{RULES, decide, submit};

const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn exceptions_are_looked_up_in_each_format() {
    let stage = Stage::shared("look_ups").await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    client.publish(&[submit("1", "low"), submit("2", "critical"), submit("3", "high")]).await;
    client.publish(&[decide("1", "approve", "alice"), decide("3", "deny", "alice")]).await;
    let done = async || {
        let count = "SELECT count(*) FROM exceptions WHERE decided_at IS NOT NULL";
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut stage.connect().await).await.unwrap();
        (count == 2).then_some(())
    };
    eventually("two decisions", SOON, done).await;
    lists(&setup).await;
    one_by_one(&setup).await;
    over_http(&setup, &worker).await;
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
}

async fn lists(setup: &WorkerSetup) {
    let list = json_of(setup, &["exceptions", "list"]).await;
    assert_eq!(ids(&list), ["EX-3", "EX-2", "EX-1"]);
    let two = json_of(setup, &["exceptions", "list", "--limit", "2"]).await;
    let cursor = two["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&json_of(setup, &["exceptions", "list", "--cursor", cursor]).await), ["EX-1"]);
    let lines = setup.cli_ok(&["exceptions", "list", "-o", "jsonl"]).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&Value::from(lines), &list["items"]);
    let table = setup.cli_ok(&["exceptions", "list", "--status", "requested,denied", "--severity", "critical"]).await;
    assert!(
        table.contains("EX-2") && table.contains("requested") && table.contains("2036-12-05 > 2037-01-31"),
        "{table}"
    );
    assert_eq!((table.lines().count(), table.contains('\x1b')), (2, false), "{table}");
    assert_eq!(setup.cli_ok(&["exceptions", "list", "--q", "zzz"]).await.trim(), "no exceptions");
    for (arguments, found) in [
        (&["--reviewer", "bob@example.com"][..], vec!["EX-2"]),
        (&["--enforcement", "in_force", "--requester", "zoe@example.com"], vec!["EX-1"]),
        (&["--ticket", "SEC-3"], vec!["EX-3"]),
        (&["--due-before", "2037-01-01"], vec!["EX-3", "EX-2"]),
        (&["--expiring-within", "30d"], vec![]),
        (&["--status", "denied", "--status", "approved", "-q", "EX-"], vec!["EX-3", "EX-1"]),
    ] {
        let list = json_of(setup, &[&["exceptions", "list"], arguments].concat()).await;
        assert_eq!(ids(&list), found, "{arguments:?}");
    }
    for arguments in [&["--status", "open"][..], &["--due-before", "soon"], &["--limit", "501"], &["--cursor", "x"]] {
        let output = setup.cli(&[&["exceptions", "list"], arguments].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(arguments[0]), "{said}");
    }
}

async fn one_by_one(setup: &WorkerSetup) {
    let list = json_of(setup, &["exceptions", "list", "-q", "EX-1"]).await;
    let detail = json_of(setup, &["exceptions", "show", "EX-1"]).await;
    assert_eq!(json_of(setup, &["exceptions", "history", "EX-1"]).await, detail["history"]);
    assert_eq!(setup.cli_ok(&["exceptions", "history", "EX-1", "-o", "jsonl"]).await.lines().count(), 2);
    assert!(setup.cli_ok(&["exceptions", "history", "EX-1"]).await.contains("submitted"));

    let ticket = json_of(setup, &["tickets", "show", "SEC-1"]).await;
    assert_eq!((&ticket["current_due_date"], &ticket["exceptions"][0]), (&json!("2037-01-31"), &list["items"][0]));
    assert!(setup.cli_ok(&["tickets", "show", "SEC-1"]).await.starts_with("SEC-1  runs until 2037-01-31\n"));
    assert_eq!(setup.cli(&["tickets", "show", "SEC-9"]).await.status.code(), Some(4));

    let mut stats = json_of(setup, &["stats"]).await;
    stats["outbox"] = Value::Null; // what is confirmed is deleted a moment later
    let expected = json!({
        "open": 1, "unassigned": 0, "oldest_open_days": 0, "decided_30d": 2, "approval_rate": 0.5, "median_days_to_decision": 0.0,
        "in_force": 1, "expiring_30d": 0, "parked": 0, "failures_open": 0, "outbox": null,
    });
    assert_eq!(stats, expected);
    assert!(setup.cli_ok(&["stats"]).await.starts_with("open             1  oldest 0 d\n"));
}

async fn over_http(setup: &WorkerSetup, worker: &Worker) {
    for (path, arguments) in [
        (
            "exceptions?status=denied&status=approved&q=EX-",
            &["exceptions", "list", "--status", "denied,approved", "-q", "EX-"][..],
        ),
        ("tickets/SEC-1", &["tickets", "show", "SEC-1"]),
    ] {
        let answer = worker.get(&format!("/api/v1/{path}")).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), json_of(setup, arguments).await, "{path}");
    }
    assert_eq!(worker.get("/api/v1/exceptions?status=open").await.unwrap().status, 400);
}

async fn json_of(setup: &WorkerSetup, arguments: &[&str]) -> Value {
    serde_json::from_str(&setup.cli_ok(&[arguments, &["-o", "json"]].concat()).await).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["exception_id"].as_str().unwrap().to_owned()).collect()
}
