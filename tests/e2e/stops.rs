//! The worker told to stop, frozen, and beside a broker that blocks: what is in hand is settled, and the others go on.

use std::time::Duration;

use crate::books;
use crate::crashes::{end, prepare};
use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::proxy::Direction::ToServer;
use crate::support::proxy::trigger::Trigger;
use crate::support::proxy::{Proxy, patterns};
use crate::support::stage::Stage;
use crate::traffic::Traffic;

const DRAINED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn sigterm_under_load_drains_and_exits_0() {
    let stage = Stage::shared("sigterm").await;
    let setup = prepare(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let traffic = Traffic::mixed("t", 600);
    let client = Client::connect(&stage).await;
    let begun = async || {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM inbox").fetch_one(&mut stage.connect().await).await.unwrap();
        (count > 0).then_some(())
    };
    tokio::join!(client.publish(&traffic.messages), async {
        eventually("it has begun", SOON, begun).await;
        end(std::slice::from_ref(&worker)).await;
    });
    assert!(worker.exited().is_some());
    let second = setup.start();
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&[second]).await;
    books::balance(&stage, &traffic).await;
}

pub(crate) async fn a_second_sigterm_exits_at_once() {
    let stage = Stage::shared("second_sigterm").await;
    let setup = prepare(&stage).await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let worker = setup.database_url(&proxy.url(&stage.database_url())).start();
    worker.wait_ready(SOON).await;
    proxy.freeze();
    Client::connect(&stage).await.publish(&Traffic::mixed("s", 4).messages).await;
    worker.sigterm();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(worker.exited().is_none(), "the first waits for the database");
    worker.sigterm();
    worker.wait_exit(Duration::from_secs(2)).await;
}

/// Frozen inside its transaction, with the write lock held: the others go on within 12 s; thawed, it changes nothing twice.
pub(crate) async fn frozen_inside_its_transaction_it_holds_up_nobody_for_long() {
    let stage = Stage::shared("frozen").await;
    let setup = prepare(&stage).await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let frozen = setup.clone().database_url(&proxy.url(&stage.database_url())).start();
    frozen.wait_ready(SOON).await;
    let traffic = Traffic::mixed("z", 40);
    let fired = proxy.on(
        ToServer,
        patterns::SQL_COMMIT,
        Trigger::before(frozen.freezer()).nth(3).then(crate::support::proxy::trigger::Then::Withhold),
    );
    let client = Client::connect(&stage).await;
    let (first, second) = traffic.messages.split_at(traffic.messages.len() / 2);
    client.publish(first).await;
    fired.wait(SOON).await;
    let other = setup.start();
    other.wait_ready(Duration::from_secs(20)).await;
    client.publish(second).await;
    let changed = async || {
        let sql = "SELECT count(*) FROM inbox WHERE key IS NOT NULL";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        (count > 0).then_some(())
    };
    eventually("the other goes on", Duration::from_secs(12), changed).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    frozen.sigcont();
    proxy.heal();
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&[frozen, other]).await;
    books::balance(&stage, &traffic).await;
}

/// The broker takes no events (memory alarm): consumption and acks go on, the outbox grows, and drains afterwards.
pub(crate) async fn a_broker_that_blocks_publishers_gets_its_acks() {
    let stage = Stage::own("blocked").await;
    let setup = prepare(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let traffic = Traffic::mixed("m", 100);
    let client = Client::connect(&stage).await;
    // Apart from the worker's queues: it may arrive after all.
    let other = setup.clone().env("REPRIEVE_AMQP__PREFIX", "other.");
    other.cli_ok(&["topology", "apply"]).await;
    let event = crate::traffic::envelope("b-1", "exception.nonsense.v1", &serde_json::json!({}));
    std::fs::write(stage.folder().join("event.json"), event.to_string()).unwrap();
    // The consumer is slow enough that the alarm comes while there is work left: everything is queued before it starts.
    worker.sigstop();
    client.publish(&traffic.messages).await;
    stage.servers().rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
    worker.sigcont();
    let taken = async || {
        let sql = "SELECT count(*) FROM inbox";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        (usize::try_from(count).unwrap() == traffic.events).then_some(())
    };
    eventually("all is taken while publishing is blocked", Duration::from_secs(40), taken).await;
    let output = other.cli(&["events", "publish", "event.json"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains("no confirm within 5 s"), "{said}");
    assert!(said.contains("`rabbitmq-diagnostics alarms`"), "{said}");
    stage.servers().rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&[worker]).await;
    books::balance(&stage, &traffic).await;
}
