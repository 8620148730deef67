//! The rules file changes while the worker runs: by writing, by SIGHUP, by a swapped link. What is assigned stays as it is, a bad
//! file changes nothing, and `/metrics` says what is in force. And `least_loaded` over a real database.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{Row as _, raw_sql};

use crate::crashes::end;
use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{decide, submit};

const SOON: Duration = Duration::from_secs(20);
/// A changed file counts at its second look, which is never sooner than this after the change.
const LOOK_EVERY: Duration = Duration::from_secs(2);

fn rules(version: &str, reviewer: &str) -> String {
    format!(
        "apiVersion: reprieve/v1\nversion: \"{version}\"\nsettings: {{ triage: [lead@example.com] }}\n\
         fallback:\n  levels: [{{ reviewers: {{ users: [{reviewer}@example.com] }}, pick: hash }}]\n"
    )
}

async fn prepare(name: &str) -> (Stage, WorkerSetup, Client) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker();
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

async fn metrics(worker: &Worker) -> String {
    let answer = worker.get("/metrics").await.unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

async fn wait_for(worker: &Worker, row: &str, deadline: Duration) {
    eventually(row, deadline, async || metrics(worker).await.lines().any(|line| line.starts_with(row)).then_some(()))
        .await;
}

async fn in_force(worker: &Worker, version: &str, deadline: Duration) {
    wait_for(worker, &format!("reprieve_rules_info{{version=\"{version}\","), deadline).await;
}

/// What the database says about an exception, once it is there.
async fn assigned(stage: &Stage, name: &str) -> String {
    let sql = "SELECT concat_ws(' ', document::json->'assignment'->>'rules_version', array_to_string(reviewers, ',')) \
               FROM exceptions WHERE id = $1";
    eventually(&format!("EX-{name} is assigned"), SOON, async || {
        let id = format!("EX-{name}");
        sqlx::query_scalar(sql).bind(id).fetch_optional(&mut stage.connect().await).await.unwrap()
    })
    .await
}

pub(crate) async fn a_changed_file_is_in_force_and_what_is_assigned_stays() {
    let (stage, setup, client) = prepare("reload").await;
    let setup = setup.rules(&rules("1", "alice"));
    let worker = started(&setup).await;
    in_force(&worker, "1", SOON).await;
    client.publish(&[submit("1", "low")]).await;
    assert_eq!(assigned(&stage, "1").await, "1 alice@example.com");

    let setup = setup.rules(&rules("2", "bob"));
    in_force(&worker, "2", SOON).await;
    client.publish(&[submit("2", "low")]).await;
    assert_eq!(assigned(&stage, "2").await, "2 bob@example.com");
    assert_eq!(assigned(&stage, "1").await, "1 alice@example.com");

    // Asked for it is in force at once: sooner than any two looks.
    let setup = setup.rules(&rules("3", "chen"));
    let written = Instant::now();
    worker.sighup();
    in_force(&worker, "3", LOOK_EVERY.saturating_sub(written.elapsed())).await;
    client
        .publish(&[decide("2", "approve", "chen"), decide("2", "approve", "bob"), decide("1", "approve", "alice")])
        .await;
    crate::books::at_rest(&stage, 5, SOON).await;
    let sql =
        "SELECT string_agg(id || ' ' || status, ', ' ORDER BY id), (SELECT count(*) FROM rule_sets) FROM exceptions";
    let row = raw_sql(sql).fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "EX-1 approved, EX-2 approved");
    assert_eq!(row.get::<i64, _>(1), 2, "those by which something was assigned");
    let output = worker.output();
    assert!(output.contains("starts with rules 1 (") && output.contains("rules 3 ("), "{output}");
    end(&[worker]).await;
    drop(setup);
}

pub(crate) async fn a_bad_file_keeps_the_old_rules_and_says_so() {
    let (stage, setup, client) = prepare("reload_bad").await;
    let warned = rules("1", "alice").replace("pick: hash", "remind_after: 1d");
    let setup = setup.rules(&warned);
    let worker = started(&setup).await;
    let warnings = |text: &str| text.matches("remind_after is checked and kept").count();
    assert_eq!(warnings(&worker.output()), 1);
    wait_for(&worker, "reprieve_rules_reload_failed_total 0", SOON).await;

    let bad = rules("2", "bob").replace("lead@", "le ad@").replace("pick: hash", "pick: hush");
    let setup = setup.rules(&bad);
    wait_for(&worker, "reprieve_rules_reload_failed_total 1", SOON).await;
    tokio::time::sleep(3 * LOOK_EVERY).await;
    wait_for(&worker, "reprieve_rules_reload_failed_total 1", SOON).await;
    in_force(&worker, "1", SOON).await;
    let output = worker.output();
    for fault in ["rules.yaml:3:22: settings.triage[0]", "rules.yaml:5:61: fallback.levels[0].pick"] {
        assert_eq!(output.matches(fault).count(), 1, "{fault}\n{output}");
    }
    assert_eq!(worker.get("/readyz").await.unwrap().status, 200);
    client.publish(&[submit("1", "low")]).await;
    assert_eq!(assigned(&stage, "1").await, "1 alice@example.com");

    // Mended, with a warning again.
    let setup = setup.rules(&warned.replace("\"1\"", "\"2\""));
    in_force(&worker, "2", SOON).await;
    assert_eq!(warnings(&worker.output()), 2);
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
    assert!(worker.output().contains("drained"), "{}", worker.output());
    drop(setup);
}

/// As Kubernetes mounts a file: a link into a folder that is a link, which is replaced by a rename.
pub(crate) async fn a_swapped_link_is_a_changed_file() {
    let (stage, setup, client) = prepare("reload_link").await;
    let mount = stage.folder().join("mount");
    std::fs::create_dir(&mount).unwrap();
    swap(&mount, "..v1", &rules("1", "alice"));
    std::os::unix::fs::symlink("..data/rules.yaml", mount.join("rules.yaml")).unwrap();
    let worker = started(&setup.env("REPRIEVE_RULES", &mount.join("rules.yaml").display().to_string())).await;
    in_force(&worker, "1", SOON).await;
    swap(&mount, "..v2", &rules("2", "bob"));
    std::fs::remove_dir_all(mount.join("..v1")).unwrap();
    in_force(&worker, "2", SOON).await;
    client.publish(&[submit("1", "low")]).await;
    assert_eq!(assigned(&stage, "1").await, "2 bob@example.com");
    wait_for(&worker, "reprieve_rules_reload_failed_total 0", SOON).await;
    end(&[worker]).await;
}

fn swap(mount: &Path, folder: &str, text: &str) {
    std::fs::create_dir(mount.join(folder)).unwrap();
    std::fs::write(mount.join(folder).join("rules.yaml"), text).unwrap();
    std::os::unix::fs::symlink(folder, mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

pub(crate) async fn requests_are_spread_by_load() {
    let (stage, setup, client) = prepare("by_load").await;
    let text = rules("1", "alice").replace("alice@example.com", "alice@example.com, bob@example.com, chen@example.com");
    let text = text.replace("pick: hash", "pick: least_loaded");
    let setup = setup.rules(&text);
    let checked = setup.cli_ok(&["rules", "check"]).await;
    assert!(!checked.contains("least_loaded"), "nothing to warn about: {checked}");
    let worker = started(&setup).await;
    // Nine at once: some turn has several of them.
    let names: Vec<String> = (1..=9).map(|number| number.to_string()).collect();
    client.publish(&names.iter().map(|name| submit(name, "low")).collect::<Vec<_>>()).await;
    crate::books::at_rest(&stage, 9, SOON).await;
    assert_eq!(loads(&stage).await, "alice 3, bob 3, chen 3");

    // All that alice has is decided: the next three are hers, also of another process.
    let mut decisions = Vec::new();
    for name in &names {
        if assigned(&stage, name).await == "1 alice@example.com" {
            decisions.push(decide(name, "deny", "alice"));
        }
    }
    client.publish(&decisions).await;
    crate::books::at_rest(&stage, 12, SOON).await;
    assert_eq!(loads(&stage).await, "alice 0, bob 3, chen 3");
    end(&[worker]).await;
    let second = started(&setup).await;
    client.publish(&["10", "11", "12"].map(|name| submit(name, "low"))).await;
    crate::books::at_rest(&stage, 15, SOON).await;
    assert_eq!(loads(&stage).await, "alice 3, bob 3, chen 3");
    for name in ["10", "11", "12"] {
        assert_eq!(assigned(&stage, name).await, "1 alice@example.com");
    }
    end(&[second]).await;
}

/// The counts, which have to be those of the open requests.
async fn loads(stage: &Stage) -> String {
    let kept = "SELECT string_agg(split_part(id, '@', 1) || ' ' || open_assignments, ', ' ORDER BY id) FROM reviewers";
    crate::books::open_assignments(stage).await;
    sqlx::query_scalar(kept).fetch_one(&mut stage.connect().await).await.unwrap()
}
