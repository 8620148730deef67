//! What goes out, and what people are shown of it: names and fields of every event, in their order.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ABOUT, SOON, check_keys, ready, stage};
use crate::support::amqp::{Event, Message};
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{decide, submission, submit};

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

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.routing_key.as_str()).collect()
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
