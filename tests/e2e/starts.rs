//! What a worker refuses to start with, or says when it starts: each on the real binary, and by `config check --connect` beforehand.

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use sqlx::{ConnectOptions as _, raw_sql};

use crate::embedded;
use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{RULES, submit};

use embedded::SOON;

/// The newest migration of a later version.
const LATER: &str = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 0)";
const INCOMPATIBLE: &str = "UPDATE schema_compatibility SET oldest_compatible = 9999";
const OLDER: &str = "DELETE FROM _sqlx_migrations WHERE version = 5";
const FOREIGN: &str = "UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 4";

/// Runs a command to its end; all it said, and its exit code. A worker that starts all the same would never end.
async fn said(setup: &WorkerSetup, arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::time::timeout(SOON, setup.cli(arguments)).await;
    let output = output.unwrap_or_else(|_| panic!("reprieve {}: it does not end", arguments.join(" ")));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// The start ends with 6, the check with 1, and both give the reason and the remedy.
pub(crate) async fn refused(setup: &WorkerSetup, why: &str) {
    let (code, text) = said(setup, &["run"]).await;
    assert!(code == Some(6) && text.contains(why), "run: expected 6 and {why:?}, got {code:?}: {text}");
    let (code, text) = said(setup, &["config", "check", "--connect"]).await;
    assert!(code == Some(1) && text.contains(why), "check: expected 1 and {why:?}, got {code:?}: {text}");
}

/// Missing, older, of other content, newer.
pub(crate) async fn a_schema_that_does_not_fit_is_refused() {
    let stage = Stage::shared("schema_start").await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["topology", "apply"]).await;
    let change = async |sql: &'static str| raw_sql(sql).execute(&mut stage.connect().await).await.unwrap();
    refused(&setup, "the database has no schema: run `reprieve migrate up`").await;
    setup.cli_ok(&["migrate", "up"]).await;
    change(LATER).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    embedded::end(&worker).await;
    setup.cli_ok(&["config", "check", "--connect"]).await;
    change(INCOMPATIBLE).await;
    refused(&setup, "the database's schema needs migration 9999, this program knows").await;
    change(OLDER).await;
    refused(&setup, "migration 5 is missing: run `reprieve migrate up`").await;
    change(FOREIGN).await;
    refused(&setup, "migration 4 of the database is not the one of this program").await;
}

/// The worker migrates its own file, so what is missing is no fault; another program's file is left alone.
pub(crate) async fn a_data_file_that_does_not_fit_is_refused() {
    let folder = embedded::folder("start");
    let setup = embedded::setup(&folder);
    setup.cli_ok(&["migrate", "up"]).await;
    let change = async |sql: &'static str| {
        let mut connection = embedded::open(&embedded::data(&folder)).await;
        raw_sql(sql).execute(&mut connection).await.unwrap();
    };
    change(INCOMPATIBLE).await;
    refused(&setup, "the database's schema needs migration 9999, this program knows").await;
    change(FOREIGN).await;
    refused(&setup, "migration 4 of the database is not the one of this program").await;

    let file = folder.join("theirs.db");
    let theirs = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection = theirs.connect().await.unwrap();
    raw_sql("CREATE TABLE theirs (id INTEGER)").execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let before = std::fs::read(&file).unwrap();
    let setup = setup.database_url(&format!("sqlite://{}", file.display()));
    refused(&setup, "holds tables of another program: name a file of its own").await;
    assert_eq!(std::fs::read(&file).unwrap(), before, "it is theirs, byte for byte");
}

/// Other arguments, another type: whoever may declare is told what differs, whoever may not that nobody has looked.
pub(crate) async fn a_topology_that_differs_is_told() {
    let stage = Stage::shared("differs").await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    make_it_differ(&stage, &client.channel().await).await;
    let expected = [
        ("exchange", "exceptions.inbound", "'alternate-exchange'"),
        ("exchange", "exceptions.dlx", "'type'"),
        ("queue", "exceptions.worker", "'x-dead-letter-exchange'"),
        ("queue", "exceptions.out.notifications", "'x-max-length'"),
        ("queue", "exceptions.out.tickets", "'x-queue-type'"),
    ]
    .map(|(noun, name, argument)| (format!("{noun} {}", stage.object(name)), argument));
    let names = |text: &str, what: &(String, &str)| {
        text.lines().any(|line| line.contains(&what.0) && line.contains(what.1) && line.contains("delete it"))
    };
    for command in [&["topology", "check"][..], &["config", "check", "--connect"]] {
        let (code, text) = said(&setup, command).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(expected.iter().all(|what| names(&text, what)), "{command:?}: {text}");
        assert_eq!(text.matches("inequivalent arg").count(), expected.len(), "{command:?}: {text}");
    }
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let told = async || expected.iter().all(|what| names(&worker.output(), what)).then_some(());
    eventually("what differs is told at the start", SOON, told).await;
    client.publish(&[submit("1", "low")]).await;
    crate::books::at_rest(&stage, 1, SOON).await;
    embedded::end(&worker).await;

    let servers = stage.servers();
    servers.rabbitmqctl(&["add_user", "looker", "secret-word"]).await;
    servers.rabbitmqctl(&["set_permissions", "-p", "/", "looker", "^$", ".*", ".*"]).await;
    let looker = setup.amqp_url(&stage.amqp_url().replacen("guest:guest", "looker:secret-word", 1));
    for command in [&["topology", "check"][..], &["config", "check", "--connect"]] {
        let (code, text) = said(&looker, command).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("were not compared") && text.contains("as a user that may declare"), "{text}");
        assert!(!text.contains("as it should be"), "nobody knows that: {text}");
    }
    let worker = looker.start();
    worker.wait_ready(SOON).await;
    let told = async || worker.output().contains("this user may not declare").then_some(());
    eventually("that nothing was compared is told", SOON, told).await;
    assert!(!worker.output().contains("is not as it should be"), "{}", worker.output());
    embedded::end(&worker).await;
}

/// Each as somebody may have declared it by hand.
async fn make_it_differ(stage: &Stage, channel: &Channel) {
    let word = |text: &str| AMQPValue::LongString(text.into());
    let quorum = [("x-queue-type", word("quorum"))];
    let table = |arguments: &[(&str, AMQPValue)]| {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        table
    };
    let safe = [
        ("x-delivery-limit", AMQPValue::LongInt(20)),
        ("x-dead-letter-strategy", word("at-least-once")),
        ("x-overflow", word("reject-publish")),
    ];
    let short = [("x-delivery-limit", AMQPValue::LongInt(1_000_000)), ("x-max-length", AMQPValue::LongInt(10))];
    for (name, arguments) in [
        ("exceptions.worker", [&quorum[..], &safe].concat()),
        ("exceptions.out.notifications", [&quorum[..], &short].concat()),
        ("exceptions.out.tickets", Vec::new()),
    ] {
        let name = stage.object(name);
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        let declared = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), table(&arguments));
        declared.await.unwrap();
    }
    for name in ["exceptions.inbound", "exceptions.dlx"] {
        let name = stage.object(name);
        channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared =
            channel.exchange_declare(name.as_str().into(), ExchangeKind::Topic, options, FieldTable::default());
        declared.await.unwrap();
    }
    for (queue, exchange, key) in [
        ("exceptions.worker", "exceptions.inbound", "exception.#"),
        ("exceptions.out.notifications", "exceptions.events", "notification.#"),
    ] {
        let (queue, exchange) = (stage.object(queue), stage.object(exchange));
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.as_str().into(), exchange.as_str().into(), key.into(), options, none).await.unwrap();
    }
}
