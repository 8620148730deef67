//! Between the embedded parts and others: a batch over HTTP that is more than a turn, and the data file with a real broker.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::query_scalar;

use super::load::stand;
use super::{SOON, data, end, folder, open, setup, submission};
use crate::books;
use crate::crashes::queues_are_registered;
use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::support::{eventually, http};
use crate::traffic::{self, RULES, Traffic};

/// However many turns it takes, and whatever becomes of each: the answers stand as the events stood.
pub(crate) async fn a_batch_is_answered_in_its_order() {
    let folder = folder("order");
    let setup = setup(&folder).env("REPRIEVE_WORKER__BATCH_MAX", "3");
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let decision = |id: &str, of: &str, who: &str| {
        let data = traffic::decision(of, "deny", who);
        traffic::envelope(id, "exception.decision.v1", &data).to_string()
    };
    let (mut events, mut expected) = (Vec::new(), Vec::new());
    for round in 0..8 {
        let (name, unknown) = (format!("O{round}"), format!("u-{round}"));
        let told = [
            (submission(&name), format!("s-{name}"), "applied", Value::Null),
            (
                traffic::envelope(&unknown, "exception.unknown.v1", &json!({})).to_string(),
                unknown.clone(),
                "failed",
                json!("unknown_type"),
            ),
            (submission(&name), format!("s-{name}"), "repeated", Value::Null),
            (decision(&format!("r-{round}"), &name, "mallory"), format!("r-{round}"), "refused", json!("not_assigned")),
            (
                decision(&format!("p-{round}"), &format!("never-{round}"), "alice"),
                format!("p-{round}"),
                "parked",
                Value::Null,
            ),
        ];
        for (event, id, outcome, code) in told {
            events.push(event);
            expected.push(json!({ "source": "urn:test", "id": id, "outcome": outcome, "code": code }));
        }
    }
    let body = format!("[{}]", events.join(","));
    let content_type = "application/cloudevents-batch+json";
    let answer = http::post(worker.address(), "/api/v1/events", content_type, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answers: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answers, expected);
    end(&worker).await;
}

/// `sqlite://` with `amqp://`: submissions in, outputs out, over a kill.
pub(crate) async fn the_data_file_works_with_a_real_broker() {
    let stage = Stage::shared("file_and_broker").await;
    let file = data(stage.folder());
    let setup = stage.worker().rules(RULES).database_url(&format!("sqlite://{}", file.display()));
    setup.cli_ok(&["topology", "apply"]).await;
    books::observe(&stage).await;
    queues_are_registered().await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let traffic = Traffic::mixed("f", 200);
    let client = Client::connect(&stage).await;
    let begun = async || {
        let count: i64 = query_scalar("SELECT count(*) FROM inbox").fetch_one(&mut open(&file).await).await.ok()?;
        (count > 0).then_some(())
    };
    tokio::join!(client.publish(&traffic.messages), async {
        eventually("it has begun", SOON, begun).await;
        worker.kill9();
    });
    let worker = setup.start();
    let at_rest = async || {
        let sql = "SELECT (SELECT count(*) FROM inbox) - (SELECT count(*) FROM parked) - (SELECT count(*) FROM outbox)";
        let settled: i64 = query_scalar(sql).fetch_one(&mut open(&file).await).await.ok()?;
        let queued = client.depth("exceptions.worker").await?;
        (usize::try_from(settled).ok()? == traffic.events && queued == 0).then_some(())
    };
    eventually("everything is settled and published", Duration::from_mins(1), at_rest).await;
    end(&worker).await;
    stand(&mut open(&file).await, &traffic).await;
    let told: i64 = query_scalar("SELECT count(*) FROM log").fetch_one(&mut open(&file).await).await.unwrap();
    assert_eq!(told, 0, "what goes to a broker is not in the log");
    books::outputs(&books::published(&stage).await, &traffic);
}
