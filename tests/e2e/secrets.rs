//! Planted secrets, in files and in variables, through whatever can go wrong: they show in nothing that is written, at no level.

use std::time::Duration;

use crate::support::eventually;
use crate::support::process::free_port;
use crate::support::stage::Stage;

const SOON: Duration = Duration::from_secs(20);
/// Part of every secret of these cases.
const PLANTED: &str = "planted-hunter2";

const COMMANDS: [&[&str]; 7] = [
    &["config", "check", "--connect"],
    &["outbox", "status"],
    &["migrate", "status"],
    &["migrate", "grants", "role", "--apply"],
    &["topology", "check"],
    &["events", "publish", "event.json"],
    &["exceptions", "show", "EX-1"],
];

#[track_caller]
fn shows_nothing(what: &str, text: &str) {
    let line = text.lines().find(|line| line.contains(PLANTED));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}

/// A secret in a file of the stage.
fn in_file(stage: &Stage, name: &str, secret: &str) -> String {
    let file = stage.folder().join(name);
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    file.display().to_string()
}

pub(crate) async fn no_secret_is_ever_written() {
    let stage = Stage::shared("secrets").await;
    std::fs::write(stage.folder().join("event.json"), "{}").unwrap();
    let setup = stage.worker().env("RUST_LOG", "trace").env("REPRIEVE_HTTP__TOKEN", &format!("token-{PLANTED}"));
    let unusable = [
        ("DATABASE_URL", "postgres://u:PLANTED@h:port/d"),
        ("DATABASE_URL", "postgres://u:PLANTED@/d?port=PLANTED"),
        ("DATABASE_URL", "postgres://u:PLANTED@127.0.0.1/d?sslmode=PLANTED"),
        ("DATABASE_URL", "postgres//u:PLANTED@h/d"),
        ("DATABASE_URL_FILE", "postgres://u:PLANTED@h/d"),
        ("AMQP_URL", "amqp://u:PLANTED@h:port/x"),
        ("AMQP_URL", "http://u:PLANTED@h"),
        ("AMQP_URL_FILE", "amqp://u:PLANTED@h"),
        ("REPRIEVE_HTTP__TOKEN", "PLANTED with a space"),
        ("REPRIEVE_TRUST", "PLANTED"),
    ];
    for (variable, value) in unusable {
        let setup = setup.clone().env(variable, &value.replace("PLANTED", PLANTED));
        let setup = match variable {
            "DATABASE_URL_FILE" => setup.without("DATABASE_URL"),
            "AMQP_URL_FILE" => setup.without("AMQP_URL"),
            _ => setup,
        };
        let output = setup.cli(&["run"]).await;
        assert_eq!(output.status.code(), Some(3), "{variable}={value}: {}", String::from_utf8_lossy(&output.stderr));
        shows_nothing(value, &String::from_utf8_lossy(&output.stderr));
        let output = setup.cli(&["config", "show"]).await;
        shows_nothing(value, &String::from_utf8_lossy(&output.stdout));
        shows_nothing(value, &String::from_utf8_lossy(&output.stderr));
    }

    // Nobody listens there; a parameter nobody knows is named by the driver, with its value.
    let nowhere = free_port();
    let database = format!("postgres://u:{PLANTED}@127.0.0.1:{nowhere}/d?passwort={PLANTED}&sslmode=disable");
    let away = setup
        .clone()
        .without("DATABASE_URL")
        .without("AMQP_URL")
        .without("REPRIEVE_HTTP__TOKEN")
        .env("DATABASE_URL_FILE", &in_file(&stage, "database", &database))
        .env("AMQP_URL_FILE", &in_file(&stage, "broker", &format!("amqp://u:{PLANTED}@127.0.0.1:{nowhere}")))
        .env("REPRIEVE_HTTP__TOKEN_FILE", &in_file(&stage, "token", PLANTED));
    let worker = away.start();
    let waits = async || worker.output().contains("trying again").then_some(());
    eventually("the worker waits for the database", SOON, waits).await;
    worker.get("/api/v1/exceptions/EX-1").await.unwrap();
    shows_nothing("a worker without servers", &worker.output());
    worker.kill9();
    for arguments in COMMANDS {
        let output = away.cli(arguments).await;
        assert!(!output.status.success());
        shows_nothing(arguments[0], &String::from_utf8_lossy(&output.stdout));
        shows_nothing(arguments[0], &String::from_utf8_lossy(&output.stderr));
    }
    let output = away.cli_ok(&["config", "show"]).await;
    shows_nothing("config show", &output);
    assert!(output.contains("postgres://u:***@127.0.0.1:") && output.contains("amqp://u:***@127.0.0.1:"), "{output}");

    // Both servers are there, and the broker refuses the password.
    setup.cli_ok(&["migrate", "up"]).await;
    let url = stage.amqp_url().replacen("guest:guest", &format!("guest:{PLANTED}"), 1);
    let worker = setup.clone().amqp_url(&url).start();
    let refused = async || worker.output().contains("check user and password in AMQP_URL").then_some(());
    eventually("the broker's refusal", SOON, refused).await;
    worker.sigterm();
    worker.wait_exit(SOON).await;
    shows_nothing("a worker with a wrong password", &worker.output());
}
