//! The servers, the worker's process and the proxy in front of the two protocols.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection as Amqp, ConnectionProperties, ExchangeKind};
use sqlx::{Connection, PgConnection};

use crate::support::amqp::{Client, Message};
use crate::support::proxy::Direction::{ToClient, ToServer};
use crate::support::proxy::trigger::{Then, Trigger};
use crate::support::proxy::{Proxy, patterns};
use crate::support::stage::Stage;

const SOON: Duration = Duration::from_secs(10);

/// A durable queue behind a durable topic exchange, both named as the product names them.
async fn declare(stage: &Stage, client: &Client, exchange: &str, queue: &str) {
    let (exchange, queue) = (stage.object(exchange), stage.object(queue));
    let channel = client.channel().await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (exchange, queue) = (exchange.as_str(), queue.as_str());
    let none = FieldTable::default;
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none()).await.unwrap();
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), none()).await.unwrap();
    channel.queue_bind(queue.into(), exchange.into(), "#".into(), QueueBindOptions::default(), none()).await.unwrap();
}

async fn note(stage: &Stage, text: &'static str) {
    let mut connection = stage.connect().await;
    sqlx::query("CREATE TABLE IF NOT EXISTS note (body text)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO note VALUES ($1)").bind(text).execute(&mut connection).await.unwrap();
}

async fn notes(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar("SELECT body FROM note ORDER BY body").fetch_all(&mut stage.connect().await).await.unwrap()
}

pub(crate) async fn both_servers_serve_a_stage() {
    let stage = Stage::shared("both_servers_serve_a_stage").await;
    note(&stage, "here").await;
    assert_eq!(notes(&stage).await, ["here"]);
    let client = Client::connect(&stage).await;
    declare(&stage, &client, "exceptions.events", "seen").await;
    let mut events = client.events().await;
    let message = Message::structured(&serde_json::json!({"type": "exception.submitted.v1"}));
    client.publish_to(&stage.object("exceptions.events"), &[message.clone(), message]).await;
    let seen = events.until(SOON, |seen| seen.len() == 2).await;
    assert_eq!(seen[0].routing_key, "exception.submitted.v1");
    assert_eq!(seen[1].json()["type"], "exception.submitted.v1");
    assert_eq!((client.depth("seen").await, client.depth("absent").await), (Some(2), None));
}

pub(crate) async fn a_crash_of_the_database_keeps_what_was_committed() {
    let stage = Stage::own("a_crash_of_the_database").await;
    note(&stage, "kept").await;
    let server = &stage.servers().postgres;
    server.kill9();
    assert!(!server.answers().await);
    server.start().await;
    assert_eq!(notes(&stage).await, ["kept"]);
    server.stop().await;
    server.start().await;
    assert_eq!(notes(&stage).await, ["kept"]);
}

pub(crate) async fn a_crash_of_the_broker_keeps_what_was_confirmed() {
    let stage = Stage::own("a_crash_of_the_broker").await;
    let client = Client::connect(&stage).await;
    declare(&stage, &client, "exceptions.inbound", "kept").await;
    client.publish(&[Message::raw("exception.a", "1"), Message::raw("exception.b", "2")]).await;
    let server = &stage.servers().broker;
    server.kill9();
    assert!(!server.answers().await);
    server.start().await;
    assert_eq!(Client::connect(&stage).await.depth("kept").await, Some(2));
    server.stop().await;
    server.start().await;
    assert_eq!(Client::connect(&stage).await.depth("kept").await, Some(2));
}

pub(crate) async fn a_frozen_server_does_not_answer() {
    let stage = Stage::own("a_frozen_server").await;
    for server in [&stage.servers().postgres, &stage.servers().broker] {
        server.sigstop();
        assert!(!server.answers().await);
        server.sigcont();
        assert!(server.answers().await);
    }
}

/// The worst moment of all: the database has committed and the client does not know.
pub(crate) async fn a_trigger_stands_between_commit_and_its_answer() {
    let stage = Stage::shared("a_trigger_stands_between_commit").await;
    note(&stage, "first").await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let mut through = PgConnection::connect(&proxy.url(&stage.database_url())).await.unwrap();
    let begun = proxy.on(ToServer, patterns::SQL_BEGIN, Trigger::before(|| {}));
    let sent = proxy.on(ToServer, patterns::SQL_COMMIT, Trigger::after(|| {}));
    let answered = proxy.on(ToClient, patterns::SQL_COMMIT, Trigger::before(|| {}).then(Then::Cut));
    let mut transaction = through.begin().await.unwrap();
    sqlx::query("INSERT INTO note VALUES ('second')").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.expect_err("the answer to COMMIT is lost");
    begun.wait(SOON).await;
    sent.wait(SOON).await;
    answered.wait(SOON).await;
    assert_eq!(notes(&stage).await, ["first", "second"]);
}

pub(crate) async fn a_trigger_finds_deliveries_and_acks() {
    let stage = Stage::shared("a_trigger_finds_deliveries").await;
    let client = Client::connect(&stage).await;
    declare(&stage, &client, "exceptions.inbound", "work").await;
    let proxy = Proxy::before(stage.servers().broker.port()).await;
    let delivered = proxy.on(ToClient, patterns::AMQP_DELIVER, Trigger::before(|| {}).nth(2));
    let acked = Trigger::after(|| {}).nth(2).with_rest(patterns::AMQP_ACK_REST).then(Then::Cut);
    let acked = proxy.on(ToServer, patterns::AMQP_ACK, acked);
    let through = Amqp::connect(&proxy.url(&stage.amqp_url()), ConnectionProperties::default()).await.unwrap();
    let channel = through.create_channel().await.unwrap();
    let (queue, options) = (stage.object("work"), BasicConsumeOptions::default());
    let mut consumer =
        channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await.unwrap();
    client.publish(&["1", "2", "3"].map(|body| Message::raw("exception.a", body))).await;
    for _ in 0..3 {
        let delivery = consumer.next().await.unwrap().unwrap();
        channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await.ok();
    }
    delivered.wait(SOON).await;
    acked.wait(SOON).await;
    let left = async || client.depth("work").await.filter(|left| *left == 1);
    crate::support::eventually("the third message, back in the queue", SOON, left).await;
}

pub(crate) async fn a_worker_process_is_started_frozen_and_killed() {
    let stage = Stage::shared("a_worker_process").await;
    let setup = stage.worker().program(Path::new("/bin/sh")).env("GREETING", "hello");
    assert_eq!(setup.cli_ok(&["-c", "echo $GREETING $REPRIEVE_AMQP__PREFIX"]).await, "hello a_worker_process.\n");
    assert_eq!(setup.cli(&["-c", "exit 6"]).await.status.code(), Some(6));
    let worker = setup.start_with(&["-c", "echo up; exec sleep 60"]);
    crate::support::eventually("its output", SOON, async || worker.output().contains("up").then_some(())).await;
    worker.sigstop();
    worker.sigterm();
    assert!(worker.exited().is_none(), "a frozen process does not take the signal");
    worker.sigcont();
    assert!(!worker.wait_exit(SOON).await.success());
    let second = setup.start_with(&["-c", "exec sleep 60"]);
    second.killer()();
    assert!(!second.wait_exit(SOON).await.success());
}
