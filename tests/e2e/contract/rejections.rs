//! What has no effect, and how it is answered: failures, refusals, repeats, orphans.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ABOUT, SOON, check_keys, ready, stage};
use crate::support::amqp::Message;
use crate::traffic::{decide, decision, envelope, submission, submit};

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
