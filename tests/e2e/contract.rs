//! The contract from outside: names, fields and exit codes as integrators rely on them, driven through the built binary,
//! the broker and HTTP alone.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::amqp::{Client, Event, Message};
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{decide, decision, envelope, submission, submit};

const SOON: Duration = Duration::from_secs(20);

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "7"
settings: { triage: [lead@example.com], reasons: [fix_unavailable] }
rules:
  - name: two-levels
    match: { ticket.severity: critical }
    levels:
      - { reviewers: { users: [dana@example.com] } }
      - { reviewers: { users: [alice@example.com, bob@example.com] }, quorum: 2 }
  - name: nobody
    match: { ticket.severity: info }
    reviewers: none
fallback:
  require: [justification]
  levels: [{ reviewers: { users: [alice@example.com] } }]
"#;

async fn stage(name: &str) -> (Stage, WorkerSetup, Client) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    (stage, setup, client)
}

async fn ready(setup: &WorkerSetup) -> Worker {
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    worker
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.routing_key.as_str()).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn check_keys(value: &Value, expected: &str) {
    assert_eq!(keys(value), expected.split_whitespace().collect(), "{value}");
}

const ABOUT: &str = "exception_id ticket_id revision ";
const SUMMARY: &str = "ticket_title severity requester team reason original_due_date current_due_date requested_due_date approved_due_date";

fn check_shape(event: &Value) {
    check_keys(
        event,
        "specversion id source type subject time datacontenttype dataschema correlationid causationid sequence sequencetype data",
    );
    let data = &event["data"];
    let fields = match event["type"].as_str().unwrap() {
        "exception.status_changed.v1" => {
            check_keys(&data["summary"], SUMMARY);
            check_keys(&data["actor"], "id kind");
            "from_status to_status from_enforcement to_enforcement ended_reason cause actor comment at summary"
        }
        "exception.assigned.v1" => {
            check_keys(&data["summary"], SUMMARY);
            check_keys(&data["explanation"], "rules_version rules_hash rule truncated tried levels");
            "level reviewers quorum unassigned rule rules_version rules_hash explanation review_due_at summary"
        }
        "exception.vote_recorded.v1" => "level reviewer approved_due_date votes votes_needed level_complete at",
        "notification.reviewer.v1" => {
            check_keys(&data["recipient"], "id level");
            "kind recipient ticket_title requester reason current_due_date requested_due_date severity extension_days \
             previous_exceptions review_due_at rule batch_id link"
        }
        "notification.requester.v1" => {
            check_keys(&data["recipient"], "id");
            "kind recipient status approved_due_date decided_by comment ticket_title current_due_date requested_due_date link"
        }
        "ticket.deferral_requested.v1" => {
            check_keys(&data["approved_by"][0], "id level at");
            "expected_due_date new_due_date requested_due_date original_due_date extension_days cumulative_extension_days \
             reason approved_by lock_scope"
        }
        other => panic!("an event of type {other}"),
    };
    check_keys(data, &format!("{ABOUT}{fields}"));
}

pub(crate) async fn a_request_goes_through_two_levels() {
    let (stage, setup, client) = stage("two_levels").await;
    let setup = setup.env("REPRIEVE_LINKS__EXCEPTION", "https://vm.example.com/x/{exception_id}");
    let worker = ready(&setup).await;
    let mut events = client.events().await;
    client.publish(&[submit("1", "critical")]).await;
    events.until(SOON, |seen| seen.len() == 4).await;
    client.publish(&[decide("1", "approve", "dana")]).await;
    events.until(SOON, |seen| seen.len() == 8).await;
    client.publish(&[decide("1", "approve", "alice")]).await;
    events.until(SOON, |seen| seen.len() == 9).await;
    client.publish(&[decide("1", "approve", "bob")]).await;
    let seen = events.until(SOON, |seen| seen.len() == 12).await;
    assert_eq!(
        types(seen),
        [
            "exception.status_changed.v1",
            "exception.assigned.v1",
            "notification.reviewer.v1",
            "notification.requester.v1",
            "exception.vote_recorded.v1",
            "exception.assigned.v1",
            "notification.reviewer.v1",
            "notification.reviewer.v1",
            "exception.vote_recorded.v1",
            "exception.status_changed.v1",
            "ticket.deferral_requested.v1",
            "notification.requester.v1",
        ]
    );
    for (place, event) in seen.iter().enumerate() {
        let event = event.json();
        check_shape(&event);
        let (sequence, kind) = (format!("{:010}", place + 1), event["type"].as_str().unwrap());
        assert_eq!(event["sequence"], sequence.as_str());
        let name = format!("urn:reprieve:EX-1/{sequence}/{kind}");
        assert_eq!(event["id"], uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string());
        let subject = if kind.starts_with("ticket.") { "SEC-1" } else { "EX-1" };
        assert_eq!((event["subject"].as_str(), event["correlationid"].as_str()), (Some(subject), Some("EX-1")));
    }
    let deferral = seen[10].json()["data"].clone();
    let dates = ["expected_due_date", "new_due_date", "extension_days", "lock_scope"].map(|key| deferral[key].clone());
    assert_eq!(dates, [json!("2036-12-05"), json!("2037-01-31"), json!(57), json!(true)]);
    assert_eq!(deferral["approved_by"].as_array().unwrap().len(), 3);
    assert_eq!(seen[2].json()["data"]["link"], "https://vm.example.com/x/EX-1");
    assert_eq!(seen[2].json()["data"].get("comment"), None, "reviewers are told no comments");
    shown(&setup, &worker).await;
    drop(stage);
}

/// The command line and the API print the same object.
async fn shown(setup: &WorkerSetup, worker: &Worker) {
    let printed: Value =
        serde_json::from_str(&setup.cli_ok(&["exceptions", "show", "EX-1", "-o", "json"]).await).unwrap();
    let answered = worker.get("/api/v1/exceptions/EX-1").await.unwrap();
    assert_eq!((answered.status, serde_json::from_str::<Value>(&answered.body).unwrap()), (200, printed.clone()));
    check_keys(
        &printed,
        "exception_id ticket_id ticket_title severity status enforcement ended_reason cause revision level levels unassigned \
         info_needed reviewers quorum votes requester team reason original_due_date current_due_date requested_due_date \
         approved_due_date rule rules_version rules_hash review_due_at previous_exception_id batch_id created_at updated_at \
         request explanation history",
    );
    assert_eq!(printed["request"], submission("1", "critical"));
    assert_eq!((printed["status"].as_str(), printed["revision"].as_i64()), (Some("approved"), Some(4)));
    let history = printed["history"].as_array().unwrap();
    assert_eq!(history.len(), 4);
    check_keys(&history[0], "seq at kind actor event outcome code revision hash previous_hash");
    assert_eq!(history[1]["previous_hash"], history[0]["hash"]);
}

pub(crate) async fn nobody_to_review_goes_to_triage() {
    let (_stage, setup, client) = stage("triage").await;
    let _worker = ready(&setup).await;
    let mut events = client.events().await;
    client.publish(&[submit("1", "info")]).await;
    let seen = events.until(SOON, |seen| seen.len() == 4).await;
    let assigned = seen[1].json()["data"].clone();
    assert_eq!((&assigned["unassigned"], &assigned["reviewers"]), (&json!(true), &json!(["lead@example.com"])));
    assert_eq!(seen[2].json()["data"]["kind"], "unassigned");
}

/// One input after the other; of each the answer, and the next good event is processed.
pub(crate) async fn what_cannot_be_processed_is_stored_and_announced() {
    let (stage, setup, client) = stage("rejected").await;
    let _worker = ready(&setup).await;
    let mut events = client.events_matching("event.rejected.#").await;
    let schema = envelope("f-1", "exception.decision.v1", &json!({ "exception_id": "EX-1" }));
    let raw = |body: &[u8]| Message::raw("exception.submitted.v1", body).content_type("application/cloudevents+json");
    let inputs = [
        (raw(b"{ not json"), "bad_json"),
        (raw(&[0xff, 0xfe]), "bad_encoding"),
        (raw("[".repeat(100_000).as_bytes()), "too_deep"),
        (raw(" ".repeat(300_000).as_bytes()), "too_large"),
        (raw(b"{}").content_type("text/plain"), "bad_properties"),
        (raw(b"{}").content_encoding("gzip"), "bad_properties"),
        (Message::structured(&schema), "schema"),
        (Message::structured(&envelope("f-2", "exception.nonsense.v1", &json!({}))), "unknown_type"),
    ];
    for (place, (message, reason)) in inputs.iter().enumerate() {
        client.publish(&[message.clone(), message.clone()]).await;
        let seen = events.until(SOON, |seen| seen.len() > place).await;
        let event = seen[place].json();
        assert_eq!(
            (event["data"]["kind"].as_str(), event["data"]["code"].as_str()),
            (Some("failed"), Some(*reason)),
            "{event}"
        );
        check_keys(&event["data"], &format!("{ABOUT}event_id event_source event_type kind code message failure_id"));
        let sql = "SELECT body FROM failures WHERE id = $1::uuid";
        let id = event["data"]["failure_id"].as_str().unwrap().to_owned();
        let body: Vec<u8> = sqlx::query_scalar(sql).bind(id).fetch_one(&mut stage.connect().await).await.unwrap();
        assert_eq!(body, message.body, "the raw bytes are kept");
    }
    client.publish(&[submit("1", "low"), decide("1", "deny", "alice")]).await;
    crate::books::at_rest(&stage, inputs.len() + 2, SOON).await;
    assert_eq!(events.settle(Duration::from_millis(300)).await.len(), inputs.len(), "one answer each, also sent twice");
}

/// The codes that the queue can show at once; the order of the guards is the domain's own test.
pub(crate) async fn refusals_are_answered_once_and_change_nothing() {
    let (stage, setup, client) = stage("refusals").await;
    let _worker = ready(&setup).await;
    let mut all = client.events().await;
    client.publish(&[submit("1", "low")]).await;
    all.until(SOON, |seen| seen.len() == 4).await;
    let changed = |change: fn(&mut Value)| {
        let mut data = submission("2", "low");
        change(&mut data);
        data
    };
    let other = |name: &str, change: fn(&mut Value)| {
        let mut data = submission(name, "low");
        change(&mut data);
        data
    };
    let denial = |comment: &str| {
        let mut data = decision("1", "deny", "alice");
        data["comment"] = json!(comment);
        data
    };
    let dated = |date: &str| {
        let mut data = decision("1", "approve", "alice");
        data["approved_due_date"] = json!(date);
        data
    };
    let (submitted, decided) = ("exception.submitted.v1", "exception.decision.v1");
    let inputs = [
        (submitted, other("1", |data| data["ticket"]["title"] = json!("other")), "exception_exists"),
        (submitted, changed(|data| data["reason"] = json!("whim")), "unknown_reason"),
        (submitted, changed(|data| data["requested_due_date"] = json!("2036-12-05")), "date_not_after_current"),
        (
            submitted,
            changed(|data| {
                data["ticket"]["current_due_date"] = json!("2020-01-01");
                data["requested_due_date"] = json!("2020-02-01");
            }),
            "date_in_past",
        ),
        (submitted, changed(|data| data["ticket"]["id"] = json!("SEC-1")), "open_request_exists"),
        (submitted, changed(|data| data["justification"] = json!("  ")), "field_required"),
        (decided, decision("1", "approve", "ZOE"), "self_approval"),
        (decided, decision("1", "approve", "mallory"), "not_assigned"),
        (decided, denial(""), "comment_required"),
        (decided, dated("2036-12-05"), "date_not_after_current"),
        (decided, dated("9999-12-31"), "date_over_limit"),
    ];
    for (place, (event_type, data, code)) in inputs.iter().enumerate() {
        let message = Message::structured(&envelope(&format!("r-{place}"), event_type, data));
        client.publish(&[message.clone(), message]).await;
        let event = all.until(SOON, |seen| seen.len() == 5 + place).await[4 + place].json();
        assert_eq!(
            (event["data"]["kind"].as_str(), event["data"]["code"].as_str()),
            (Some("refused"), Some(*code)),
            "{event}"
        );
        assert_eq!((&event["data"]["failure_id"], event.get("sequence")), (&Value::Null, None));
    }
    client.publish(&[decide("1", "deny", "alice"), decide("1", "approve", "alice")]).await;
    let seen = all.until(SOON, |seen| seen.len() == 4 + inputs.len() + 3).await;
    assert_eq!(seen.last().unwrap().json()["data"]["code"], "already_final");
    crate::books::at_rest(&stage, inputs.len() + 3, SOON).await;
}

/// Repeats of the event, of the natural key under a new event id, and the same keys with other content.
pub(crate) async fn repeats_have_no_effect_and_conflicts_are_told() {
    let (stage, setup, client) = stage("repeats").await;
    let _worker = ready(&setup).await;
    let mut all = client.events().await;
    let denied = decision("1", "deny", "alice");
    let again = |id: &str, event_type: &str, data: &Value| Message::structured(&envelope(id, event_type, data));
    client.publish(&[submit("1", "low"), submit("1", "low")]).await;
    client.publish(&[again("s-new", "exception.submitted.v1", &submission("1", "low"))]).await;
    client.publish(&[decide("1", "deny", "alice"), decide("1", "deny", "alice")]).await;
    client.publish(&[again("d-new", "exception.decision.v1", &denied)]).await;
    all.until(SOON, |seen| seen.len() == 6).await;
    let mut otherwise = denied.clone();
    otherwise["comment"] = json!("on second thought");
    client.publish(&[again("d-other", "exception.decision.v1", &otherwise)]).await;
    let event = all.until(SOON, |seen| seen.len() == 7).await[6].json();
    assert_eq!(event["data"]["code"], "decision_exists");
    let conflict = again("s-1", "exception.submitted.v1", &submission("9", "low"));
    client.publish(&[conflict.clone(), conflict]).await;
    let event = all.until(SOON, |seen| seen.len() == 8).await[7].json();
    assert_eq!((event["data"]["kind"].as_str(), event["data"]["code"].as_str()), (Some("failed"), Some("id_conflict")));
    crate::books::at_rest(&stage, 5, SOON).await;
    assert_eq!(all.settle(Duration::from_millis(300)).await.len(), 8);
}

pub(crate) async fn both_modes_and_mistyped_routing_keys_are_read() {
    let (stage, setup, client) = stage("modes").await;
    let _worker = ready(&setup).await;
    let text = |text: &str| lapin::types::AMQPValue::LongString(text.into());
    let body = submission("1", "low").to_string();
    let mut binary = Message::raw("exception.submitted.v1", body).content_type("application/json");
    for (name, value) in
        [("specversion", "1.0"), ("id", "b-1"), ("source", "urn:test"), ("type", "exception.submitted.v1")]
    {
        binary = binary.header(&format!("cloudEvents:{name}"), text(value));
    }
    let mut lost = decide("1", "deny", "alice");
    "exeption.decision.v1".clone_into(&mut lost.routing_key);
    client.publish(&[binary, lost]).await;
    crate::books::at_rest(&stage, 2, SOON).await;
    let shown: Value =
        serde_json::from_str(&setup.cli_ok(&["exceptions", "show", "EX-1", "-o", "json"]).await).unwrap();
    assert_eq!(shown["status"], "denied");
}

pub(crate) async fn an_orphan_becomes_a_failure() {
    let (_stage, setup, client) = stage("orphan").await;
    let _worker = ready(&setup.env("REPRIEVE_PARKING__TTL", "1s")).await;
    let mut events = client.events().await;
    client.publish(&[decide("1", "deny", "alice")]).await;
    let event = events.until(SOON, |seen| !seen.is_empty()).await[0].json();
    assert_eq!(
        (event["data"]["code"].as_str(), event["data"]["exception_id"].as_str()),
        (Some("orphaned"), Some("EX-1"))
    );
}

pub(crate) async fn an_unroutable_notification_waits_for_its_queue() {
    let (stage, setup, client) = stage("unroutable").await;
    let worker = ready(&setup).await;
    let channel = client.channel().await;
    let queue = stage.object("exceptions.out.notifications");
    channel.queue_delete(queue.as_str().into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    client.publish(&[submit("1", "low")]).await;
    let waiting = async || {
        let sql = "SELECT count(*) FROM outbox WHERE unroutable";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        (count == 2).then_some(())
    };
    crate::support::eventually("two notifications are unroutable", SOON, waiting).await;
    setup.cli_ok(&["topology", "apply"]).await;
    crate::books::at_rest(&stage, 1, Duration::from_mins(1)).await;
    assert_eq!(client.depth("exceptions.out.notifications").await, Some(2));
    drop(worker);
}

pub(crate) async fn exit_codes_are_as_written() {
    let stage = Stage::shared("exit_codes").await;
    let setup = stage.worker().rules(RULES);
    let code = async |setup: &WorkerSetup, arguments: &[&str]| setup.cli(arguments).await.status.code();
    assert_eq!(code(&setup, &["migrate", "status"]).await, Some(1), "migrations are missing");
    assert_eq!(code(&setup, &["topology", "check"]).await, Some(1), "objects are missing");
    assert_eq!(code(&setup, &["fly"]).await, Some(2));
    let nowhere = crate::support::worker::WorkerSetup::new(stage.folder());
    assert_eq!(code(&nowhere, &["topology", "print"]).await, Some(0), "printing needs no broker");
    assert_eq!(code(&nowhere, &["topology", "check"]).await, Some(3), "no AMQP_URL");
    assert_eq!(code(&setup, &["events", "publish", "no-such-file"]).await, Some(2));
    let written = |name: &str, text: &str| {
        let file = stage.folder().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let good = envelope("1", "exception.submitted.v1", &submission("1", "low")).to_string();
    let (good, empty) = (written("good.json", &good), written("empty.json", " \n"));
    let (bad, other) = (written("bad.json", "{} {"), written("other.json", "[{\"a\":1}]"));
    let folder = stage.folder().display().to_string();
    assert_eq!(code(&nowhere, &["schema", "validate", &good]).await, Some(0), "checking needs no server");
    assert_eq!(code(&nowhere, &["schema", "validate", &other]).await, Some(1), "no event");
    assert_eq!(code(&nowhere, &["schema", "validate", &bad]).await, Some(2), "no JSON");
    assert_eq!(code(&nowhere, &["schema", "show", "exception.nonsense.v1"]).await, Some(4));
    assert_eq!(code(&nowhere, &["schema", "show", "event.rejected.v1"]).await, Some(0));
    for unusable in [&empty, &folder, &other] {
        assert_eq!(
            code(&nowhere, &["events", "publish", unusable]).await,
            Some(2),
            "{unusable}: said before the broker is asked"
        );
    }
    assert_eq!(code(&setup, &["run"]).await, Some(6), "no schema");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    setup.cli_ok(&["topology", "check"]).await;
    assert_eq!(code(&setup, &["migrate", "status"]).await, Some(0));
    assert_eq!(code(&setup, &["exceptions", "show", "EX-0"]).await, Some(4));
    assert_eq!(code(&setup.clone().env("REPRIEVE_AMQP__PREFECH", "1"), &["migrate", "status"]).await, Some(3));
    assert_eq!(code(&setup.clone().rules("version: [").clone(), &["run"]).await, Some(3));
    let away = setup
        .clone()
        .database_url("postgres://postgres@127.0.0.1:1/postgres")
        .amqp_url("amqp://guest:guest@127.0.0.1:1/%2f");
    assert_eq!(code(&away, &["migrate", "status"]).await, Some(5));
    assert_eq!(code(&away, &["exceptions", "show", "EX-0"]).await, Some(5));
    assert_eq!(code(&away, &["topology", "check"]).await, Some(5));
    let sql = "CREATE DATABASE exit_codes_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    sqlx::query(sql).execute(&mut stage.connect().await).await.unwrap();
    let latin = setup.clone().rules(RULES).database_url(&stage.servers().database_url("exit_codes_latin1"));
    latin.cli_ok(&["migrate", "up"]).await;
    assert_eq!(code(&latin, &["run"]).await, Some(6), "a database that cannot hold every text");
    let sql = "UPDATE schema_compatibility SET oldest_compatible = 9999";
    sqlx::query(sql).execute(&mut stage.connect().await).await.unwrap();
    assert_eq!(code(&setup.rules(RULES), &["run"]).await, Some(6), "the schema says that it is incompatible");
}

pub(crate) async fn probes_tell_alive_from_ready() {
    let (_stage, setup, _client) = stage("probes").await;
    let nowhere = setup.clone().database_url("postgres://postgres@127.0.0.1:1/postgres").start();
    let alive = async || nowhere.get("/livez").await.ok().filter(|answer| answer.status == 200).map(|_| ());
    crate::support::eventually("it is alive", SOON, alive).await;
    assert_eq!(nowhere.get("/readyz").await.unwrap().status, 503);
    let worker = ready(&setup).await;
    let missing = worker.get("/api/v1/exceptions/EX-0").await.unwrap();
    check_keys(&serde_json::from_str(&missing.body).unwrap(), "type title status detail instance");
    assert_eq!(missing.status, 404);
}

/// The worker declares nothing: it runs as a user without the configure right.
pub(crate) async fn the_worker_needs_no_configure_right() {
    let (stage, setup, client) = stage("no_configure").await;
    let servers = stage.servers();
    servers.rabbitmqctl(&["add_user", "worker", "secret-word"]).await;
    servers.rabbitmqctl(&["set_permissions", "-p", "/", "worker", "^$", ".*", ".*"]).await;
    let url = stage.amqp_url().replacen("guest:guest", "worker:secret-word", 1);
    let worker = ready(&setup.amqp_url(&url)).await;
    client.publish(&[submit("1", "low")]).await;
    crate::books::at_rest(&stage, 1, SOON).await;
    assert!(!worker.output().contains("secret-word"));
}
