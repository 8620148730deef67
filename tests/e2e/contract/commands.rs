//! What scripts and orchestrators rely on: exit codes, probes, and the rights that are enough.

use super::{RULES, SOON, check_keys, ready, stage};
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{envelope, submission, submit};

pub(crate) async fn exit_codes_are_as_written() {
    let stage = Stage::shared("exit_codes").await;
    let setup = stage.worker().rules(RULES);
    let code = async |setup: &WorkerSetup, arguments: &[&str]| setup.cli(arguments).await.status.code();
    assert_eq!(code(&setup, &["migrate", "status"]).await, Some(1), "migrations are missing");
    assert_eq!(code(&setup, &["topology", "check"]).await, Some(1), "objects are missing");
    assert_eq!(code(&setup, &["fly"]).await, Some(2));
    let nowhere = WorkerSetup::new(stage.folder());
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
