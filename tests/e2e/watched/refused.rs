//! What the probes, the numbers and the log say while a server says no: the truth, the cause with its remedy, and each once.

use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

use super::{SOON, numbers, prepare, started};
use crate::books;
use crate::support::eventually;
use crate::support::process::free_port;
use crate::support::proxy::Proxy;
use crate::support::stage::Stage;
use crate::support::worker::Worker;
use crate::traffic::submit;

const DRAINED: Duration = Duration::from_secs(60);

fn count(worker: &Worker, text: &str) -> usize {
    worker.output().matches(text).count()
}

/// For some seconds, over several attempts, nobody is told that it can publish.
async fn stays_unready(worker: &Worker) {
    for sample in 0..20 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let ready = worker.get("/readyz").await.unwrap();
        assert_eq!((sample, ready.status), (sample, 503), "{}", ready.body);
        assert!(ready.body.contains("broker_publish"), "{}", ready.body);
        assert!((numbers(worker).await["reprieve_connection_up{peer=\"broker_publish\"}"]).abs() < 0.1, "{sample}");
    }
}

async fn told(worker: &Worker, text: &str) {
    eventually(text, SOON, async || worker.output().contains(text).then_some(())).await;
}

pub(crate) async fn a_publisher_without_the_right_is_not_ready() {
    let (stage, setup, client) = prepare("right").await;
    let servers = stage.servers();
    servers.rabbitmqctl(&["add_user", "mute", "mute"]).await;
    servers.rabbitmqctl(&["set_permissions", "mute", "^$", "^$", ".*"]).await;
    let setup =
        setup.amqp_url(&stage.amqp_url().replacen("guest:guest", "mute:mute", 1)).env("REPRIEVE_RETRY__WAIT_MAX", "2s");
    let worker = started(&setup).await;
    client.publish(&[submit("1", "low")]).await;
    told(&worker, "ACCESS_REFUSED").await;
    stays_unready(&worker).await;
    let asks = setup.clone().env("REPRIEVE_HTTP_LISTEN", &worker.address().to_string());
    let said = String::from_utf8(asks.cli(&["health", "--ready"]).await.stdout).unwrap();
    assert!(said.contains("config check --connect`, then `reprieve outbox status`"), "{said}");
    let log = worker.output();
    for part in [&stage.object("exceptions.events"), "'mute'", "grant the user the right: `reprieve topology print`"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!((count(&worker, "lost the connection to publish"), count(&worker, "is unknown")), (1, 1), "{log}");
    // The connection comes and goes; that it is there says nothing.
    assert_eq!(count(&worker, "connected to publish"), 1, "{log}");
    servers.rabbitmqctl(&["set_permissions", "mute", "^$", ".*", ".*"]).await;
    worker.wait_ready(DRAINED).await;
    books::at_rest(&stage, 1, DRAINED).await;
    told(&worker, "can publish again").await;

    // An exchange that goes away under the worker, too.
    let exchange = stage.object("exceptions.events");
    let channel = client.channel().await;
    channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    client.publish(&[submit("2", "low")]).await;
    told(&worker, "NOT_FOUND").await;
    stays_unready(&worker).await;
    setup.clone().amqp_url(&stage.amqp_url()).cli_ok(&["topology", "apply"]).await;
    worker.wait_ready(DRAINED).await;
    books::at_rest(&stage, 2, DRAINED).await;
}

pub(crate) async fn output_that_no_queue_takes_is_told_once() {
    let (stage, setup, client) = prepare("nowhere").await;
    let channel = client.channel().await;
    let queue = stage.object("exceptions.out.notifications");
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let worker = started(&setup).await;
    client.publish(&[submit("1", "low"), submit("2", "low")]).await;
    told(&worker, "finds no queue").await;
    client.publish(&[submit("3", "low")]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = worker.output();
    assert_eq!(count(&worker, "finds no queue: it stays in the outbox and is tried again; see"), 1, "{log}");
    assert!(log.contains("`notification."), "{log}");
    setup.cli_ok(&["topology", "apply"]).await;
    books::at_rest(&stage, 3, DRAINED).await;
    told(&worker, "no output is without a queue any more").await;
    assert_eq!(count(&worker, "finds no queue"), 1, "{}", worker.output());
}

pub(crate) async fn a_server_that_stays_away_is_told_once() {
    let stage = Stage::shared("away").await;
    let setup = stage.worker().env("REPRIEVE_RETRY__WAIT_MAX", "1s");
    setup.cli_ok(&["migrate", "up"]).await;
    let place = format!("the database away at 127.0.0.1:{}: ", stage.servers().postgres.port());

    // At the start.
    let url = stage.database_url().replacen("postgres@", "nobody:planted-hunter2@", 1);
    let worker = setup.clone().database_url(&url).start();
    told(&worker, "SQLSTATE 28000").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let log = worker.output();
    assert_eq!(count(&worker, "SQLSTATE 28000"), 1, "{log}");
    assert!(log.contains(&place) && log.contains("; create the role"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    worker.kill9();

    let shown = String::from_utf8(setup.clone().database_url(&url).cli(&["outbox", "status"]).await.stderr).unwrap();
    assert!(shown.contains(&place) && !shown.contains("did not") && !shown.contains("migrate status"), "{shown}");

    // The broker, to both connections.
    let worker = setup.clone().amqp_url(&format!("amqp://127.0.0.1:{}", free_port())).start();
    told(&worker, "cannot publish yet").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let log = worker.output();
    assert_eq!((count(&worker, "cannot consume yet"), count(&worker, "cannot publish yet")), (1, 1), "{log}");
}

/// The long waits of an outage end with it.
pub(crate) async fn what_breaks_right_after_an_outage_is_tried_again_at_once() {
    let (stage, setup, client) = prepare("after").await;
    let proxy = Proxy::before(stage.servers().broker.port()).await;
    let worker = started(&setup.clone().amqp_url(&proxy.url(&stage.amqp_url()))).await;
    proxy.refuse();
    proxy.cut();
    // Until the next wait is one of 6 s to 12 s.
    tokio::time::sleep(Duration::from_secs(16)).await;
    proxy.heal();
    worker.wait_ready(DRAINED).await;
    let queue = stage.object("exceptions.worker");
    let channel = client.channel().await;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    told(&worker, "lost the connection to consume: RabbitMQ refused").await;
    setup.cli_ok(&["topology", "apply"]).await;
    let mended = Instant::now();
    worker.wait_ready(DRAINED).await;
    assert!(mended.elapsed() < Duration::from_secs(4), "{:?}: {}", mended.elapsed(), worker.output());
}
