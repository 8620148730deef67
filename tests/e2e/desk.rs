//! The operator's desk from outside: failures found, understood and marked by the built binary and over HTTP. What is asserted
//! of a retry is the mark: what the worker makes of it belongs to the worker's own cases.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{RULES, decide, envelope, submission, submit};

const SOON: Duration = Duration::from_secs(20);
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

async fn stage(name: &str) -> (Stage, WorkerSetup, Client, Worker) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    (stage, setup, client, worker)
}

async fn counted(stage: &Stage, what: &'static str, expected: i64) {
    let found = async || {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {what}"));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        (count == expected).then_some(())
    };
    eventually(what, SOON, found).await;
}

async fn stopped(worker: Worker) {
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
}

/// Two of one kind, and one each of two others, in this order.
fn bad() -> Vec<Message> {
    let lacking =
        |id: &str| Message::structured(&envelope(id, "exception.decision.v1", &json!({ "exception_id": "EX-1" })));
    let raw = Message::raw("exception.submitted.v1", "{ not json").content_type("application/cloudevents+json");
    let unknown = Message::structured(&envelope("f-4", "exception.nonsense.v1", &json!({})));
    vec![lacking("f-1"), lacking("f-2"), raw, unknown]
}

async fn fail(stage: &Stage, client: &Client) {
    for (place, message) in (1..).zip(bad()) {
        // One after the other, so that they have an order.
        client.publish(&[message]).await;
        counted(stage, "failures", place).await;
    }
}

async fn json_of(setup: &WorkerSetup, arguments: &[&str]) -> Value {
    serde_json::from_str(&setup.cli_ok(&[arguments, &["-o", "json"]].concat()).await).unwrap()
}

async fn code(setup: &WorkerSetup, arguments: &[&str]) -> (i32, String) {
    let output = setup.cli(arguments).await;
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn state(setup: &WorkerSetup, id: &str) -> String {
    json_of(setup, &["failures", "show", id]).await["state"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["failure_id"].as_str().unwrap().to_owned()).collect()
}

pub(crate) async fn failures_are_found_understood_and_marked() {
    let (stage, setup, client, worker) = stage("desk_marks").await;
    fail(&stage, &client).await;
    stopped(worker).await;

    let list = json_of(&setup, &["failures", "list"]).await;
    let ids = ids(&list);
    let [unknown, raw, second, first] = ids.as_slice() else { panic!("{list}") };
    assert_eq!((list["items"][0]["reason"].as_str(), &list["next_cursor"]), (Some("unknown_type"), &Value::Null));
    let keys: Vec<&String> = list["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 15, "{keys:?}");
    let page = json_of(&setup, &["failures", "list", "--limit", "3"]).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = json_of(&setup, &["failures", "list", "--limit", "3", "--cursor", cursor]).await;
    assert_eq!((self::ids(&page), self::ids(&rest)), (ids[..3].to_vec(), ids[3..].to_vec()));
    assert_eq!(setup.cli_ok(&["failures", "list", "-o", "jsonl"]).await.lines().count(), 4);
    let groups = json_of(&setup, &["failures", "groups"]).await;
    assert_eq!((groups["items"].as_array().unwrap().len(), &groups["items"][0]["count"]), (3, &json!(2)));
    assert_eq!(groups["items"][0]["example_failure_id"], *second);

    let shown = json_of(&setup, &["failures", "show", raw]).await;
    assert_eq!(BASE64_STANDARD.decode(shown["body_base64"].as_str().unwrap()).unwrap(), b"{ not json");
    assert_eq!(setup.cli(&["failures", "show", raw, "--raw"]).await.stdout, b"{ not json");
    let page = setup.cli_ok(&["failures", "show", first]).await;
    for part in ["reason", "remedy", "\"exception_id\": \"EX-1\"", &format!("reprieve failures retry {first}")] {
        assert!(page.contains(part), "{part} in\n{page}");
    }

    let marked = json_of(&setup, &["failures", "discard", unknown]).await;
    assert_eq!((&marked["changed"], &marked["already"]), (&json!(1), &json!(0)));
    let marked = json_of(&setup, &["failures", "discard", unknown]).await;
    assert_eq!((&marked["changed"], &marked["already"]), (&json!(0), &json!(1)), "a second click");
    assert_eq!(state(&setup, unknown).await, "discarded");

    let many = ["failures", "retry", "--reason", "schema", "--type", "exception.decision.v1", "--since", "1h"];
    let (status, said) = code(&setup, &many).await;
    assert!(status == 2 && said.contains("--yes"), "{said}");
    assert_eq!(code(&setup, &["failures", "retry", "--yes"]).await.0, 2, "nothing says which");
    let dry = json_of(&setup, &[&many[..], &["--dry-run"]].concat()).await;
    assert_eq!((&dry["changed"], &dry["dry_run"]), (&json!(2), &json!(true)));
    let dry = json_of(&setup, &["failures", "retry", first, "--dry-run"]).await;
    assert_eq!((&dry["changed"], &dry["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(state(&setup, first).await, "open", "nothing is changed by a dry run");
    for changed in [2, 0] {
        let marked = json_of(&setup, &[&many[..], &["--yes"]].concat()).await;
        assert_eq!(marked["changed"], changed);
        assert_eq!((state(&setup, first).await, state(&setup, second).await), ("retrying".into(), "retrying".into()));
    }
    assert_eq!(state(&setup, raw).await, "open", "it is of another kind");
    setup.cli_ok(&["failures", "retry", unknown]).await;
    assert_eq!(state(&setup, unknown).await, "retrying", "also what was discarded");

    assert_eq!(code(&setup, &["failures", "discard", first]).await.0, 6);
    assert_eq!(code(&setup, &["failures", "discard", raw, first]).await.0, 1);
    assert_eq!(code(&setup, &["failures", "retry", raw, NOBODY]).await.0, 1);
    assert_eq!(code(&setup, &["failures", "retry", NOBODY]).await.0, 4);
    assert_eq!(code(&setup, &["failures", "show", NOBODY]).await.0, 4);
    assert_eq!(code(&setup, &["failures", "show", "7"]).await.0, 2);
    assert_eq!(code(&setup, &["failures", "list", "--reason", "shcema"]).await.0, 2);
    assert_eq!(code(&setup, &["failures", "retry", first, "--all"]).await.0, 2, "either ids or filters");
    let away = setup.clone().database_url("postgres://postgres@127.0.0.1:1/postgres");
    for arguments in
        [&["failures", "list"][..], &["failures", "retry", first], &["parked", "list"], &["outbox", "status"]]
    {
        assert_eq!(code(&away, arguments).await.0, 5, "{arguments:?}");
    }
}

pub(crate) async fn an_edit_is_a_failure_of_its_own() {
    let (stage, setup, client, worker) = stage("desk_edits").await;
    fail(&stage, &client).await;
    stopped(worker).await;
    let ids = ids(&json_of(&setup, &["failures", "list"]).await);
    let [unknown, raw, ..] = ids.as_slice() else { panic!("{ids:?}") };
    let file = |name: &str, body: &str| {
        let path = stage.folder().join(name);
        std::fs::write(&path, body).unwrap();
        path.display().to_string()
    };
    let mended = envelope("s-1", "exception.submitted.v1", &submission("1", "low")).to_string();
    let good = file("good.json", &mended);
    let edit = async |id: &str, file: &str| code(&setup, &["failures", "edit", id, "--body", file]).await;

    let new = json_of(&setup, &["failures", "edit", raw, "--body", &good]).await;
    let id = new["failure_id"].as_str().unwrap();
    assert_eq!((&new["state"], &new["edited_from"]), (&json!("retrying"), &json!(raw)));
    assert_eq!((&new["event_id"], &new["exception_id"]), (&json!("s-1"), &json!("EX-1")));
    assert_eq!(BASE64_STANDARD.decode(new["body_base64"].as_str().unwrap()).unwrap(), mended.as_bytes());
    let old = json_of(&setup, &["failures", "show", raw]).await;
    assert_eq!(
        (&old["state"], &old["edited_to"], &old["reason"]),
        (&json!("discarded"), &json!(id), &json!("bad_json"))
    );
    assert_eq!(json_of(&setup, &["failures", "edit", raw, "--body", &good]).await, new, "a second click");
    counted(&stage, "failures", 5).await;

    let same = file("same.json", std::str::from_utf8(&bad()[3].body).unwrap());
    let (status, said) = edit(unknown, &same).await;
    assert!(
        status == 6 && said.contains(&format!("changes nothing: use `reprieve failures retry {unknown}`")),
        "{said}"
    );
    let (status, said) = edit(unknown, &good).await;
    assert!(status == 6 && said.contains(&format!("use `reprieve failures retry {id}`")), "{said}");
    let large = file("large.json", &" ".repeat(256 * 1024 + 1));
    assert_eq!(edit(unknown, &large).await.0, 6);
    let (status, said) = edit(id, &same).await;
    assert!(status == 6 && said.contains("is retrying"), "{said}");
    assert_eq!(edit(NOBODY, &same).await.0, 4);
    assert_eq!(edit(unknown, "no-such-file").await.0, 2);
    assert_eq!(state(&setup, unknown).await, "open", "what was refused changed nothing");
    counted(&stage, "failures", 5).await;
}

pub(crate) async fn what_waits_is_shown() {
    let (stage, setup, client, worker) = stage("desk_waits").await;
    assert_eq!(setup.cli_ok(&["parked", "list"]).await.trim(), "nothing is parked");
    let queue = stage.object("exceptions.out.notifications");
    let channel = client.channel().await;
    channel.queue_delete(queue.as_str().into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    client.publish(&[submit("1", "low"), decide("9", "deny", "alice")]).await;
    counted(&stage, "parked", 1).await;
    counted(&stage, "outbox WHERE unroutable", 2).await;
    counted(&stage, "outbox", 2).await;
    stopped(worker).await;
    let parked = json_of(&setup, &["parked", "list"]).await;
    let event = &parked["items"][0];
    assert_eq!((&event["event_id"], &event["exception_id"]), (&json!("d-9-deny-alice"), &json!("EX-9")));
    assert_eq!((&event["event_type"], &event["event_source"]), (&json!("exception.decision.v1"), &json!("urn:test")));
    assert!(event["expires_at"].as_str() > event["parked_at"].as_str());
    assert!(setup.cli_ok(&["parked", "list", "--exception", "EX-9"]).await.contains("d-9-deny-alice"));
    assert_eq!(json_of(&setup, &["parked", "list", "--exception", "EX-8"]).await["items"], json!([]));
    let outbox = json_of(&setup, &["outbox", "status"]).await;
    assert_eq!((&outbox["pending"], &outbox["unroutable"]), (&json!(2), &json!(2)));
    assert!(outbox["oldest_age_s"].is_u64(), "{outbox}");
    assert!(setup.cli_ok(&["outbox", "status"]).await.contains("no queue is bound"));
}

pub(crate) async fn the_api_shows_and_marks_the_same() {
    let (stage, setup, client, worker) = stage("desk_api").await;
    fail(&stage, &client).await;
    let get = async |path: &str| {
        let answer = worker.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let list = get("/api/v1/failures").await;
    assert_eq!(list, json_of(&setup, &["failures", "list"]).await);
    assert_eq!(get("/api/v1/failure-groups").await, json_of(&setup, &["failures", "groups"]).await);
    assert_eq!(get("/api/v1/parked").await, json_of(&setup, &["parked", "list"]).await);
    let id = ids(&list).remove(0);
    let path = format!("/api/v1/failures/{id}");
    assert_eq!(get(&path).await, json_of(&setup, &["failures", "show", &id]).await);
    for _ in ["once", "twice"] {
        let answer = worker.post(&format!("{path}/discard")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), get(&path).await);
        assert_eq!(state(&setup, &id).await, "discarded");
    }
    let logged = worker.output().matches(&format!("failure {id} was open and is marked over HTTP: discarded")).count();
    assert_eq!(logged, 1, "once, with what it was");
    assert_eq!(worker.post(&format!("/api/v1/failures/{NOBODY}/retry")).await.unwrap().status, 404);
    assert_eq!(worker.get("/api/v1/failures?colour=red").await.unwrap().status, 400);
}
