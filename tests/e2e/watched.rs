//! What somebody at three in the morning has: numbers that agree with what happened, a trace that goes through, a log that can be read
//! by machines and shown to anybody, and commands that say what is wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::embedded;
use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{RULES, decide, decision, envelope, submission, submit};

pub(crate) mod refused;

const SOON: Duration = Duration::from_secs(20);

async fn prepare(name: &str) -> (Stage, WorkerSetup, Client) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    (stage, setup, client)
}

async fn started(setup: &WorkerSetup) -> Worker {
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    worker
}

/// Every series with its value.
async fn numbers(worker: &Worker) -> BTreeMap<String, f64> {
    let answer = worker.get("/metrics").await.unwrap();
    assert_eq!(answer.status, 200);
    let series = answer.body.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Waits until all of these series have these values.
async fn agree(worker: &Worker, expected: &[(&str, f64)]) {
    let mut differences = Vec::new();
    let asked = async || {
        let found = numbers(worker).await;
        let value = |name: &str| found.get(&format!("reprieve_{name}")).copied();
        differences = expected
            .iter()
            .filter(|(name, wanted)| value(name) != Some(*wanted))
            .map(|(name, wanted)| format!("{name}: expected {wanted}, found {:?}", value(name)))
            .collect();
        differences.is_empty().then_some(())
    };
    let asked = tokio::time::timeout(SOON, eventually("the numbers", SOON * 2, asked)).await;
    assert!(asked.is_ok(), "{differences:#?}");
}

#[expect(clippy::too_many_lines, reason = "one row for each number")]
pub(crate) async fn the_numbers_agree_with_what_happened() {
    let (stage, setup, client) = prepare("numbers").await;
    let proxy = Proxy::before(stage.servers().postgres.port()).await;
    let worker = started(&setup.database_url(&proxy.url(&stage.database_url()))).await;
    let aged = |id: &str, time: chrono::DateTime<chrono::Utc>| {
        let mut event = envelope(id, "exception.submitted.v1", &submission(id, "low"));
        event["time"] = json!(time.to_rfc3339());
        Message::structured(&event)
    };
    let now = chrono::Utc::now();
    client
        .publish(&[
            decide("1", "deny", "alice"),
            decide("9", "deny", "alice"),
            submit("1", "low"),
            submit("1", "low"),
            submit("2", "low"),
            decide("2", "approve", "zoe"),
            aged("old", now - chrono::Duration::seconds(100)),
            aged("ancient", now - chrono::Duration::days(400)),
            Message::raw("exception.submitted.v1", "no JSON").content_type("application/cloudevents+json"),
            Message::structured(&envelope("x", "exception.nonsense.v1", &json!({}))),
        ])
        .await;
    agree(
        &worker,
        &[
            ("events_received_total{type=\"exception.submitted.v1\"}", 5.0),
            ("events_received_total{type=\"exception.decision.v1\"}", 3.0),
            // What nobody can read has no type, and what nobody knows is not repeated.
            ("events_received_total{type=\"other\"}", 2.0),
            // A parked event counts again at its end.
            ("outcomes_total{outcome=\"parked\",code=\"\"}", 2.0),
            ("outcomes_total{outcome=\"applied\",code=\"\"}", 5.0),
            ("outcomes_total{outcome=\"repeated\",code=\"\"}", 1.0),
            ("outcomes_total{outcome=\"refused\",code=\"self_approval\"}", 1.0),
            ("outcomes_total{outcome=\"failed\",code=\"bad_json\"}", 1.0),
            ("outcomes_total{outcome=\"failed\",code=\"unknown_type\"}", 1.0),
            ("published_total{outcome=\"unroutable\"}", 0.0),
            ("published_total{outcome=\"retried\"}", 0.0),
            ("event_age_seconds_count", 1.0),
            ("event_age_seconds_bucket{le=\"60\"}", 0.0),
            ("event_age_seconds_bucket{le=\"300\"}", 1.0),
            ("batch_size_sum", 10.0),
            ("outbox_pending", 0.0),
            ("outbox_oldest_age_seconds", 0.0),
            ("failures_open{reason=\"bad_json\"}", 1.0),
            ("failures_open{reason=\"unknown_type\"}", 1.0),
            ("failures_open{reason=\"orphaned\"}", 0.0),
            ("parked", 1.0),
            ("connection_up{peer=\"broker_consume\"}", 1.0),
            ("connection_up{peer=\"broker_publish\"}", 1.0),
            ("connection_up{peer=\"database\"}", 1.0),
            ("timers_overdue", 0.0),
            ("clock_skew_seconds", 0.0),
        ],
    )
    .await;
    let found = numbers(&worker).await;
    assert!(found["reprieve_published_total{outcome=\"confirmed\"}"] >= 10.0, "{found:?}");
    assert!(found["reprieve_commit_seconds_count"] >= 1.0);
    let statuses = async || {
        let found = numbers(&worker).await;
        let of = |status: &str| found.get(&format!("reprieve_exceptions{{status=\"{status}\"}}")).copied();
        (of("denied") == Some(1.0) && of("requested") == Some(3.0) && of("approved") == Some(0.0)).then_some(())
    };
    eventually("exceptions by status", SOON, statuses).await;

    // The database says nothing any more: the answer comes all the same, and says so.
    proxy.freeze();
    let absent = async || {
        let begun = Instant::now();
        let found = numbers(&worker).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "a scrape takes {:?}", begun.elapsed());
        let is_absent = !found.contains_key("reprieve_outbox_pending") && !found.contains_key("reprieve_parked");
        (is_absent && found["reprieve_connection_up{peer=\"database\"}"] == 0.0).then_some(())
    };
    eventually("what is not known is absent", Duration::from_secs(40), absent).await;
    proxy.heal();
    agree(&worker, &[("outbox_pending", 0.0), ("connection_up{peer=\"database\"}", 1.0)]).await;
}

/// Without servers: what a transaction wrote into the log is published.
pub(crate) async fn the_numbers_of_embedded_parts() {
    let folder = embedded::folder("numbers");
    let worker = started(&embedded::setup(&folder)).await;
    let (one, two) = (embedded::submission("1"), embedded::submission("2"));
    assert_eq!(embedded::hand_in(&worker, &[&one, &two, &one]).await.unwrap(), ["applied", "applied", "repeated"]);
    // Each submission: its status, an assignment, a notification to each of two people.
    agree(
        &worker,
        &[
            ("outcomes_total{outcome=\"applied\",code=\"\"}", 2.0),
            ("outcomes_total{outcome=\"repeated\",code=\"\"}", 1.0),
            ("published_total{outcome=\"confirmed\"}", 8.0),
            ("outbox_pending", 0.0),
            ("exceptions{status=\"requested\"}", 2.0),
            ("connection_up{peer=\"broker_publish\"}", 1.0),
        ],
    )
    .await;
    embedded::end(&worker).await;
}

pub(crate) async fn a_trace_goes_through_to_every_output() {
    let (_stage, setup, client) = prepare("trace").await;
    let mut events = client.events().await;
    let _worker = started(&setup).await;
    let trace = |digit: &str| format!("00-{}-{}-01", digit.repeat(32), digit.repeat(16));
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut submitted = envelope("s-1", "exception.submitted.v1", &submission("1", "high"));
    submitted["traceparent"] = json!(trace("a"));
    let mut refused = envelope("d-2", "exception.decision.v1", &decision("1", "deny", "alice"));
    refused["traceparent"] = json!(trace("c"));
    refused["data"]["decision_id"] = json!("D-2");
    client
        .publish(&[
            // Before its submission; what carries it knows the trace.
            decide("1", "approve", "alice").header("traceparent", text(&trace("b"))),
            // The attribute is the author's own, and comes first.
            Message::structured(&submitted).header("traceparent", text(&trace("f"))),
            Message::structured(&refused),
            Message::raw("exception.submitted.v1", "{").header("traceparent", text(&trace("d"))),
        ])
        .await;
    let seen = events.until(SOON, |seen| seen.iter().filter(|e| e.routing_key.contains("rejected")).count() == 2).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in seen {
        let envelope = event.json();
        assert_eq!(envelope["traceparent"].as_str(), event.trace.as_deref(), "{envelope}");
        let caused_by = match envelope["causationid"].as_str().unwrap() {
            "s-1" => trace("a"),
            "d-1-approve-alice" => trace("b"),
            "d-2" => trace("c"),
            _ => trace("d"),
        };
        assert_eq!(event.trace.as_deref(), Some(caused_by.as_str()), "{envelope}");
        *counts.entry(caused_by).or_default() += 1;
    }
    assert_eq!(counts.len(), 4, "each of the four has caused something: {counts:?}");
    assert!(counts[&trace("b")] >= 3, "what was released from parking goes on with its own: {counts:?}");
}

/// Part of everything that must not be logged.
const PLANTED: &str = "planted-hunter2";

pub(crate) async fn a_noisy_run_can_be_read_and_shown() {
    let (stage, setup, client) = prepare("noisy").await;
    let broker = Proxy::before(stage.servers().broker.port()).await;
    let database = Proxy::before(stage.servers().postgres.port()).await;
    let setup = setup
        .amqp_url(&broker.url(&stage.amqp_url()))
        .database_url(&database.url(&stage.database_url()))
        .env("REPRIEVE_HTTP__TOKEN", &format!("token-{PLANTED}"))
        .env("REPRIEVE_RETRY__WAIT_MAX", "1s");
    let worker = started(&setup).await;
    let planted = |mut event: Value| {
        event["data"]["comment"] = json!(format!("{PLANTED}\n{{\"level\":\"ERROR\"}} ${{jndi:ldap://x}}"));
        event["data"]["justification"] = json!(PLANTED);
        event
    };
    let of = |id: &str, kind: &str, data: &Value| Message::structured(&planted(envelope(id, kind, data)));
    let mut forged = planted(envelope("forged\nid", "exception.decision.v1", &json!({})));
    forged["source"] = json!("urn:\u{202e}x");
    let noise = [
        of("n-1", "exception.submitted.v1", &submission("n1", "low")),
        of("n-2", "exception.decision.v1", &decision("n1", "approve", "zoe")),
        of("n-3", "exception.decision.v1", &json!({ "exception_id": PLANTED })),
        of("n-4", "exception.nonsense.v1", &json!({})),
        Message::structured(&forged),
        Message::raw("exception.submitted.v1", format!("{{\"{PLANTED}\": ")),
        Message::raw("exception.decision.v1", format!("\u{1b}[2J{PLANTED}"))
            .header("x-note", AMQPValue::LongString(PLANTED.into())),
    ];
    client.publish(&noise).await;
    crate::books::at_rest(&stage, noise.len(), SOON).await;
    database.cut();
    broker.cut();
    database.freeze();
    client.publish(&[of("n-5", "exception.submitted.v1", &submission("n5", "low"))]).await;
    let paused = async || worker.output().contains("consumption pauses").then_some(());
    eventually("the outage is told", Duration::from_secs(40), paused).await;
    database.heal();
    crate::books::at_rest(&stage, noise.len() + 1, Duration::from_mins(1)).await;
    worker.get("/api/v1/exceptions/EX-1").await.unwrap();
    worker.sigterm();
    assert!(worker.wait_exit(Duration::from_secs(25)).await.success());

    let log = worker.output();
    assert!(!log.contains(PLANTED) && !log.contains("jndi"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON, {error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let of_event = |id: &str| lines.iter().filter(|line| line["event.id"] == id).count();
    assert_eq!((of_event("n-2"), of_event("n-3"), of_event("n-4")), (1, 1, 1), "each is told once: {log}");
    assert_eq!((of_event("n-1"), of_event("n-5")), (0, 0), "what went well is not told: {log}");
    let said = |text: &str| lines.iter().filter(|line| line["message"].as_str().unwrap().contains(text)).count();
    assert_eq!(said("failed: "), 5, "{log}");
    assert_eq!((said("starts with rules"), said("answer on"), said("drained: ")), (1, 1, 1), "{log}");
    assert!(said("consumption pauses") >= 1 && said("the database is back") >= 1, "{log}");
}

pub(crate) async fn the_configuration_is_checked_and_shown() {
    let (stage, setup, client) = prepare("configuration").await;
    let run = async |setup: &WorkerSetup, arguments: &[&str]| {
        let output = setup.cli(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&setup, &["config", "check", "--connect"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    for told in [
        "PostgreSQL ",
        "fsync is on",
        "clock is 0.0 s",
        "schema is the one",
        "has the rights",
        "every exchange and queue",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    // All faults at once, each with key, place and remedy.
    let file = stage.folder().join("bad.toml");
    std::fs::write(&file, "source = 'x'\n[amqp]\nprefetsh = 1\n[outbox]\nmax = 0\n").unwrap();
    let bad = ["--config", file.to_str().unwrap(), "config", "check", "-o", "json"];
    let (code, out, _) = run(&setup, &bad).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, told["ok"].as_bool(), told["errors"].as_array().unwrap().len()),
        (Some(3), Some(false), 2),
        "{out}"
    );
    assert!(told["errors"][0]["message"].as_str().unwrap().contains("did you mean amqp.prefetch?"), "{out}");
    assert_eq!(told["errors"][1]["origin"], json!({ "from": "file", "file": file.display().to_string(), "line": 5 }));
    let nothing = WorkerSetup::new(stage.folder());
    let (code, out, _) = run(&nothing, &["config", "check"]).await;
    assert!(code == Some(3) && out.contains("DATABASE_URL") && out.contains("AMQP_URL"), "{out}");
    let (code, out, _) = run(&setup.clone().rules("version: ["), &["config", "check"]).await;
    assert!(code == Some(3) && out.contains("reprieve rules check"), "{out}");
    setup.clone().rules(RULES);
    let away = setup.clone().database_url("postgres://u:planted-hunter2@127.0.0.1:1/d");
    let (code, out, err) = run(&away, &["config", "check", "--connect"]).await;
    assert!(
        code == Some(5)
            && out.contains("the database d at 127.0.0.1:1: ")
            && !format!("{out}{err}").contains("hunter2"),
        "{out}"
    );
    assert_eq!(run(&away, &["config", "check"]).await.0, Some(0), "nobody was asked");

    let shown = setup.clone().env("REPRIEVE_HTTP__TOKEN", "planted-hunter2");
    let out = shown.cli_ok(&["config", "show", "-o", "json", "--set", "worker.batch_max=7"]).await;
    let rows: Value = serde_json::from_str(&out).unwrap();
    let row = |key: &str| rows["items"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert!(!out.contains("hunter2"), "{out}");
    assert_eq!(row("database.url")["origin"], json!({ "from": "environment", "variable": "DATABASE_URL" }));
    let value = |key: &str| row(key)["value"].as_str().unwrap().to_owned();
    assert_eq!([value("database.url"), value("http.token")], [stage.database_url(), "***".to_owned()]);
    assert_eq!(value("amqp.url"), stage.amqp_url().replacen("guest:guest", "guest:***", 1));
    assert_eq!(row("worker.batch_max")["origin"]["from"], "flag");
    assert_eq!(row("parking.ttl"), json!({ "key": "parking.ttl", "value": "24h", "origin": { "from": "default" } }));
    let example = stage.folder().join("example.toml");
    std::fs::write(&example, setup.cli_ok(&["config", "example"]).await).unwrap();
    setup.cli_ok(&["--config", example.to_str().unwrap(), "config", "check"]).await;

    // What a worker would trip over on the servers.
    let sql = "REVOKE ALL ON outbox FROM public; DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::raw_sql(sql).execute(&mut stage.connect().await).await.unwrap();
    let queue = stage.object("exceptions.out.tickets");
    let channel = client.channel().await;
    channel.queue_delete(queue.as_str().into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    let (code, out, _) = run(&setup, &["config", "check", "--connect"]).await;
    assert!(code == Some(1) && out.contains("reprieve migrate up") && out.contains("reprieve topology apply"), "{out}");
    let (code, out, _) = run(&setup, &["run"]).await;
    assert!(code == Some(6) && out.is_empty(), "an older schema is refused: {out}");
}

pub(crate) async fn health_is_asked_of_the_running_worker() {
    let (stage, setup, _client) = prepare("health").await;
    let proxy = Proxy::before(stage.servers().broker.port()).await;
    let worker = started(&setup.clone().amqp_url(&proxy.url(&stage.amqp_url()))).await;
    let asks = setup.clone().env("REPRIEVE_HTTP_LISTEN", &worker.address().to_string());
    let health = async |arguments: &[&str]| {
        let begun = Instant::now();
        let output = asks.cli(arguments).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(health(&["health"]).await.0, Some(0));
    assert_eq!(
        health(&["health", "--ready", "-o", "json"]).await,
        (Some(0), "{\"ok\":true,\"status\":\"ready\",\"missing\":[]}\n".to_owned())
    );
    proxy.refuse();
    proxy.cut();
    let is_missing = async || {
        let (code, said) = health(&["health", "--ready"]).await;
        (code == Some(1) && said.contains("missing: broker_consume")).then_some(())
    };
    eventually("the broker is missing", SOON, is_missing).await;
    assert_eq!(health(&["health"]).await.0, Some(0), "it lives");
    worker.sigstop();
    let (code, said) = health(&["health"]).await;
    assert!(code == Some(5) && said.contains("no answer within 3 s"), "{said}");
    worker.sigcont();
    worker.kill9();
    let (code, said) = health(&["health"]).await;
    assert!(code == Some(5) && said.contains("no worker answers"), "{said}");
}

pub(crate) async fn the_start_says_what_does_not_fit() {
    let (stage, setup, client) = prepare("start").await;
    let worker = started(&setup.clone().env("REPRIEVE_CLOCK__OFFSET", "-1h")).await;
    let told = async || worker.output().contains("s behind the database's: dates are judged by it").then_some(());
    eventually("the clock is told", SOON, told).await;
    let ahead = setup.clone().env("REPRIEVE_CLOCK__OFFSET", "1h");
    let checked = ahead.cli_ok(&["config", "check", "--connect"]).await;
    assert!(checked.contains("s ahead of the database's: dates would be judged by it; mend"), "{checked}");
    let skew = numbers(&worker).await["reprieve_clock_skew_seconds"];
    assert!((-3_600.5..-3_590.0).contains(&skew), "{skew}");
    drop(worker);
    let channel = client.channel().await;
    for queue in ["exceptions.out.tickets", "exceptions.worker"] {
        let name = stage.object(queue);
        channel.queue_delete(name.as_str().into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    }
    let worker = setup.start();
    let (one, two) = (stage.object("exceptions.worker"), stage.object("exceptions.out.tickets"));
    let lacks = format!("the broker lacks queue {one}, queue {two}: run `reprieve topology apply`");
    eventually("what is missing is told at once", SOON, async || worker.output().contains(&lacks).then_some(())).await;
    assert!(worker.get("/readyz").await.unwrap().body.contains("broker_consume"));
    setup.cli_ok(&["topology", "apply"]).await;
    worker.wait_ready(Duration::from_secs(40)).await;
    assert_eq!(worker.output().matches("the broker lacks").count(), 1);
}
