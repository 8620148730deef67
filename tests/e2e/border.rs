//! What failed is found, mended and let in again; what ends the process is set aside; what the broker gave up on comes home.

use std::time::Duration;

use serde_json::{Value, json};

use crate::books;
use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::proxy::Direction::ToServer;
use crate::support::proxy::Proxy;
use crate::support::proxy::trigger::Trigger;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{decide, envelope, submission, submit};

const SOON: Duration = Duration::from_secs(20);

async fn failures(setup: &WorkerSetup, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["failures", "list", "-o", "json"], arguments].concat();
    let list: Value = serde_json::from_str(&setup.cli_ok(&arguments).await).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Waits until a failure is in a state, and returns it.
async fn failure_is(setup: &WorkerSetup, id: &str, state: &str) -> Value {
    eventually("the failure's state", SOON, async || {
        let found = setup.cli_ok(&["failures", "show", id, "-o", "json"]).await;
        let failure: Value = serde_json::from_str(&found).unwrap();
        (failure["state"] == state).then_some(failure)
    })
    .await
}

async fn status(setup: &WorkerSetup, exception: &str) -> Option<String> {
    let output = setup.cli(&["exceptions", "show", exception, "-o", "json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(shown["status"].as_str()?.to_owned())
}

/// A submission that no reader understands, mended by hand; the decisions that waited for it are applied with it.
pub(crate) async fn a_failure_is_mended_and_let_in_again() {
    let stage = Stage::shared("mended").await;
    let setup = crate::crashes::prepare(&stage).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let good = envelope("s-1", "exception.submitted.v1", &submission("1", "high"));
    let mut bad = good.clone();
    bad["data"]["requested_due_date"] = json!("2037-02-30");
    let mut events = client.events().await;
    client.publish(&[Message::structured(&bad), decide("1", "approve", "alice")]).await;
    events.until(SOON, |seen| seen.len() == 1).await;
    let listed = failures(&setup, &["--reason", "bad_time"]).await;
    let [failure] = listed.as_slice() else { panic!("one failure: {listed:?}") };
    let id = failure["failure_id"].as_str().unwrap();

    // Tried again as it is, it fails again: once more attempted, and not announced once more.
    setup.cli_ok(&["failures", "retry", id]).await;
    let again = eventually("another attempt", SOON, async || {
        let failure = failure_is(&setup, id, "open").await;
        (failure["attempts"] == 1).then_some(failure)
    })
    .await;
    assert_eq!(again["reason"], "bad_time");
    assert_eq!(events.settle(Duration::from_millis(300)).await.len(), 1, "announced once");

    let file = stage.folder().join("mended.json");
    std::fs::write(&file, good.to_string()).unwrap();
    let edit = ["failures", "edit", id, "--body", file.to_str().unwrap()];
    setup.cli_ok(&edit).await;
    events.until(SOON, |seen| seen.len() == 8).await;
    setup.cli(&edit).await;
    assert_eq!(status(&setup, "EX-1").await.as_deref(), Some("approved"));
    assert_eq!(failures(&setup, &[]).await, Vec::<Value>::new(), "nothing is open");
    let mended = failures(&setup, &["--state", "resolved"]).await;
    assert_eq!((mended.len(), mended[0]["edited_from"].as_str()), (1, Some(id)));
    let old = failure_is(&setup, id, "discarded").await;
    assert_eq!(old["body_base64"], failure["body_base64"], "the old bytes stay");

    // The original bytes, and the mended ones, are known now.
    client.publish(&[Message::structured(&bad), Message::structured(&good)]).await;
    assert_eq!(events.settle(Duration::from_millis(500)).await.len(), 8, "nothing is doubled");
    books::at_rest(&stage, 2, SOON).await;
    let outcomes: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT outcome FROM inbox").fetch_all(&mut stage.connect().await).await.unwrap();
    assert_eq!(outcomes, ["applied"]);
    crate::crashes::end(&[worker]).await;
}

/// An orphan is not let wait a second time; with its submission there, it is applied.
pub(crate) async fn an_orphan_is_let_in_when_its_submission_is_there() {
    let stage = Stage::shared("orphans").await;
    let setup = crate::crashes::prepare(&stage).await.env("REPRIEVE_PARKING__TTL", "1s");
    let client = Client::connect(&stage).await;
    let workers = [setup.start(), setup.start()];
    for worker in &workers {
        worker.wait_ready(SOON).await;
    }
    let mut events = client.events().await;
    client.publish(&[decide("1", "deny", "alice")]).await;
    events.until(SOON, |seen| seen.len() == 1).await;
    let id = failures(&setup, &["--reason", "orphaned"]).await[0]["failure_id"].as_str().unwrap().to_owned();
    setup.cli_ok(&["failures", "retry", &id]).await;
    eventually("another attempt", SOON, async || {
        (failure_is(&setup, &id, "open").await["attempts"] == 1).then_some(())
    })
    .await;
    client.publish(&[submit("1", "high")]).await;
    events.until(SOON, |seen| seen.len() == 5).await;
    setup.cli_ok(&["failures", "retry", "--reason", "orphaned", "--yes"]).await;
    failure_is(&setup, &id, "resolved").await;
    assert_eq!(status(&setup, "EX-1").await.as_deref(), Some("denied"));
    setup.cli_ok(&["failures", "retry", &id]).await;
    assert_eq!(events.settle(Duration::from_millis(1_500)).await.len(), 7, "the second click does nothing");
    crate::crashes::end(&workers).await;
}

/// One message ends whatever process takes it into a turn: it becomes a failure, its neighbours do not.
pub(crate) async fn a_message_that_ends_the_process_is_set_aside() {
    let stage = Stage::shared("crash_loop").await;
    let setup = crate::crashes::prepare(&stage).await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let through = setup.clone().database_url(&proxy.url(&stage.database_url()));
    let client = Client::connect(&stage).await;
    let killer = submit("killer", "high");
    // As the turn asks for the ticket: not as the body has it, so that setting the message aside is no such turn.
    let mut pattern = 10_u32.to_be_bytes().to_vec();
    pattern.extend(b"SEC-killer");
    let mut neighbours: Vec<_> = (0..20).map(|number| submit(&number.to_string(), "low")).collect();
    neighbours.insert(10, killer);
    client.publish(&neighbours).await;
    let mut deaths = 0;
    let worker = loop {
        let worker = through.start();
        let mut killed = proxy.on(ToServer, &pattern, Trigger::before(worker.killer()));
        let ended = eventually("the end of the process, or of the message", Duration::from_secs(60), async || {
            if worker.exited().is_some() {
                return Some(true);
            }
            let failed = "SELECT count(*) FROM failures WHERE reason = 'crash_loop'";
            let failed: i64 = sqlx::query_scalar(failed).fetch_one(&mut stage.connect().await).await.unwrap();
            (failed == 1).then_some(false)
        })
        .await;
        assert_eq!(killed.has_fired(), ended, "it ends by its message alone");
        proxy.disarm();
        if !ended {
            break worker;
        }
        deaths += 1;
        assert!(deaths < 8, "it is found at last");
    };
    assert!(deaths >= 3, "one death blames nobody: {deaths}");
    books::at_rest(&stage, neighbours.len(), SOON).await;
    let listed = failures(&setup, &[]).await;
    assert_eq!(listed.len(), 1, "no neighbour is blamed: {listed:?}");
    assert_eq!(
        (listed[0]["event_id"].as_str(), listed[0]["exception_id"].as_str()),
        (Some("s-killer"), Some("EX-killer"))
    );
    // What killed is mended (here: the trigger is gone), and the message let in.
    setup.cli_ok(&["failures", "retry", listed[0]["failure_id"].as_str().unwrap()]).await;
    eventually("the exception", SOON, async || status(&setup, "EX-killer").await).await;
    let notes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM attempts").fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(notes, 0, "no note is left");
    crate::crashes::end(&[worker]).await;
}

/// What the broker's delivery limit pushed out is applied like anything else, and a copy of what was applied vanishes.
pub(crate) async fn what_the_broker_gave_up_on_comes_home() {
    let stage = Stage::shared("given_up").await;
    let setup = crate::crashes::prepare(&stage).await;
    let client = Client::connect(&stage).await;
    client.publish(&[submit("1", "high")]).await;
    // Twenty deliveries without an outcome, as by as many outages.
    let channel = client.channel().await;
    let queue = stage.object("exceptions.worker");
    let mut rejected = 0;
    eventually("the delivery limit", SOON, async || {
        let options = lapin::options::BasicGetOptions::default();
        if let Some(message) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
            message.reject(lapin::options::BasicRejectOptions { requeue: true }).await.unwrap();
            rejected += 1;
        }
        (client.depth("exceptions.worker.dead").await == Some(1)).then_some(())
    })
    .await;
    assert!(rejected > 20, "{rejected}");
    let mut events = client.events().await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    events.until(SOON, |seen| seen.len() == 4).await;
    client.publish_to(&stage.object("exceptions.dlx"), &[submit("1", "high"), submit("2", "high")]).await;
    events.until(SOON, |seen| seen.len() == 8).await;
    books::at_rest(&stage, 2, SOON).await;
    assert_eq!(events.settle(Duration::from_millis(300)).await.len(), 8);
    assert_eq!(failures(&setup, &["--state", "all"]).await, Vec::<Value>::new());
    crate::crashes::end(&[worker]).await;
}
