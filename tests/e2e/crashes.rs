//! The worker killed at every step of its way, with a second instance beside it; then the servers. Each ends with balanced
//! books.

use std::time::Duration;

use crate::books;
use crate::support::amqp::Client;
use crate::support::proxy::Direction::{ToClient, ToServer};
use crate::support::proxy::trigger::{Then, Trigger};
use crate::support::proxy::{Direction, Proxy, patterns};
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{RULES, Traffic, decide, submit};

/// Everything drains by itself within this time after the last fault.
const DRAINED: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// A stage with schema, topology and the observer.
pub(crate) async fn prepare(stage: &Stage) -> WorkerSetup {
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    books::observe(stage).await;
    setup
}

/// `RabbitMQ` 3.10 writes its registry of quorum queues down half a second after the last declaration. A broker killed before
/// that comes back without the queue's log: whatever is routed to it is never confirmed.
pub(crate) async fn queues_are_registered() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Drains: the workers end by themselves on SIGTERM, with exit code 0.
pub(crate) async fn end(workers: &[Worker]) {
    for worker in workers {
        worker.sigterm();
    }
    for worker in workers {
        let status = worker.wait_exit(Duration::from_secs(25)).await;
        assert!(status.success(), "SIGTERM drains and exits 0: {status}");
    }
}

/// On which connection the crash is placed.
#[derive(Clone, Copy)]
enum Line {
    Broker,
    Database,
}

/// Kills the first of two workers where the pattern passes for the `nth` time, starts it anew, and balances. On the database's
/// line the count begins inside the first turn that writes an event: idle turns commit too, and a crash in one proves nothing.
async fn killed_at(
    name: &str,
    line: Line,
    direction: Direction,
    pattern: &[u8],
    nth: usize,
    place: fn(Trigger) -> Trigger,
) {
    let stage = Stage::shared(name).await;
    let setup = prepare(&stage).await;
    let (proxy, through) = match line {
        Line::Broker => {
            let proxy = Proxy::before(stage.servers().broker.port()).await;
            let through = setup.clone().amqp_url(&proxy.url(&stage.amqp_url()));
            (proxy, through)
        }
        Line::Database => {
            let proxy = Proxy::before(stage.servers().postgres.port()).await;
            let through = setup.clone().database_url(&proxy.url(&stage.database_url()));
            (proxy, through)
        }
    };
    let traffic = Traffic::mixed(name, 60);
    let client = Client::connect(&stage).await;
    let victim = through.start();
    victim.wait_ready(SOON).await;
    let (first, second) = traffic.messages.split_at(traffic.messages.len() / 2);
    let kill = place(Trigger::before(victim.killer())).nth(nth);
    let fired = match line {
        Line::Broker => {
            let fired = proxy.on(direction, pattern, kill);
            client.publish(first).await;
            fired
        }
        Line::Database => {
            let writing = proxy.on(ToServer, b"INSERT INTO inbox", Trigger::before(|| ()).then(Then::Withhold));
            client.publish(first).await;
            writing.wait(SOON).await;
            let fired = proxy.on(direction, pattern, kill);
            proxy.heal();
            fired
        }
    };
    fired.wait(SOON).await;
    proxy.disarm();
    let workers = [through.start(), setup.start()];
    client.publish(second).await;
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&workers).await;
    books::balance(&stage, &traffic).await;
}

pub(crate) async fn killed_after_receive() {
    killed_at("killed_after_receive", Line::Broker, ToClient, patterns::AMQP_DELIVER, 20, |t| t).await;
}

pub(crate) async fn killed_inside_the_transaction() {
    killed_at("killed_inside_transaction", Line::Database, ToServer, patterns::SQL_COMMIT, 1, |t| t.then(Then::Cut))
        .await;
}

pub(crate) async fn killed_after_commit_was_sent() {
    killed_at("killed_after_commit_sent", Line::Database, ToServer, patterns::SQL_COMMIT, 1, |t| t).await;
}

pub(crate) async fn killed_after_commit() {
    killed_at("killed_after_commit", Line::Database, ToClient, patterns::SQL_COMMIT, 1, |t| t).await;
}

pub(crate) async fn killed_after_ack() {
    killed_at("killed_after_ack", Line::Broker, ToServer, patterns::AMQP_ACK, 2, |t| t).await;
}

pub(crate) async fn killed_after_publish() {
    killed_at("killed_after_publish", Line::Broker, ToServer, patterns::AMQP_PUBLISH, 30, |t| t).await;
}

pub(crate) async fn killed_after_confirm() {
    killed_at("killed_after_confirm", Line::Broker, ToClient, patterns::AMQP_ACK, 1, |t| t).await;
}

pub(crate) async fn the_reply_to_commit_is_lost() {
    let stage = Stage::shared("commit_reply_lost").await;
    let setup = prepare(&stage).await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let worker = setup.database_url(&proxy.url(&stage.database_url())).start();
    worker.wait_ready(SOON).await;
    let traffic = Traffic::mixed("lost", 40);
    let fired = proxy.on(ToClient, patterns::SQL_COMMIT, Trigger::before(|| ()).nth(2).then(Then::Cut));
    Client::connect(&stage).await.publish(&traffic.messages).await;
    fired.wait(SOON).await;
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&[worker]).await;
    books::balance(&stage, &traffic).await;
}

pub(crate) async fn the_broker_is_killed_under_load() {
    let stage = Stage::own("broker_killed").await;
    let setup = prepare(&stage).await;
    queues_are_registered().await;
    let workers = [setup.start(), setup.start()];
    for worker in &workers {
        worker.wait_ready(SOON).await;
    }
    let (one, two) = (Traffic::mixed("a", 400), Traffic::mixed("b", 400));
    Client::connect(&stage).await.publish(&one.messages).await;
    stage.servers().broker.kill9();
    stage.servers().broker.start().await;
    Client::connect(&stage).await.publish(&two.messages).await;
    both_balance(&stage, one, two, &workers).await;
}

pub(crate) async fn the_database_is_killed_under_load() {
    let stage = Stage::own("database_killed").await;
    let setup = prepare(&stage).await;
    let workers = [setup.start(), setup.start()];
    for worker in &workers {
        worker.wait_ready(SOON).await;
    }
    let (one, two) = (Traffic::mixed("a", 400), Traffic::mixed("b", 400));
    let client = Client::connect(&stage).await;
    client.publish(&one.messages).await;
    stage.servers().postgres.kill9();
    client.publish(&two.messages).await;
    stage.servers().postgres.start().await;
    both_balance(&stage, one, two, &workers).await;
}

/// Away for a minute each, with traffic before, meanwhile and after.
pub(crate) async fn each_server_is_away_for_a_minute() {
    let stage = Stage::own("away_for_a_minute").await;
    let setup = prepare(&stage).await;
    let workers = [setup.start(), setup.start()];
    for worker in &workers {
        worker.wait_ready(SOON).await;
    }
    let (one, two) = (Traffic::mixed("a", 200), Traffic::mixed("b", 200));
    let client = Client::connect(&stage).await;
    client.publish(&one.messages).await;
    stage.servers().postgres.stop().await;
    client.publish(&two.messages[..100]).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    stage.servers().postgres.start().await;
    stage.servers().broker.stop().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    stage.servers().broker.start().await;
    Client::connect(&stage).await.publish(&two.messages[100..]).await;
    both_balance(&stage, one, two, &workers).await;
}

async fn both_balance(stage: &Stage, one: Traffic, two: Traffic, workers: &[Worker]) {
    let mut both = one;
    both.events += two.events;
    both.ends.extend(two.ends);
    books::at_rest(stage, both.events, DRAINED).await;
    end(workers).await;
    books::balance(stage, &both).await;
}

/// A decision and its submission at the same instant in two instances: whoever comes first, nothing stays parked.
pub(crate) async fn a_decision_and_its_submission_at_the_same_instant() {
    let stage = Stage::shared("same_instant").await;
    let setup = prepare(&stage).await.env("REPRIEVE_AMQP__PREFETCH", "1");
    let workers = [setup.start(), setup.start()];
    for worker in &workers {
        worker.wait_ready(SOON).await;
    }
    let client = Client::connect(&stage).await;
    let mut traffic = Traffic::default();
    for number in 0..200 {
        let mut one = Traffic::mixed(&format!("i{number}-"), 1);
        let name = format!("i{number}-00000");
        let (early, late) = (decide(&name, "approve", "alice"), submit(&name, "high"));
        client.publish(&if number % 2 == 0 { [early, late] } else { [late, early] }).await;
        traffic.ends.append(&mut one.ends);
        traffic.events += 2;
    }
    books::at_rest(&stage, traffic.events, DRAINED).await;
    end(&workers).await;
    books::balance(&stage, &traffic).await;
}
