//! A database that takes no more: a full disk under a data file, and a Postgres that only reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::raw_sql;

use super::DISK;
use super::transcript::Transcript;
use crate::embedded::{folder, mounted, submission};
use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{RULES, submit};

const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn the_database_has_no_room() {
    let mut told = Transcript::new(DISK, &[]);
    a_full_disk(&mut told).await;
    a_server_that_only_reads(&mut told).await;
    told.end();
}

/// The program where the worker is: `SQLite` follows the link to another process's root, and would miss the disk.
fn within(folder: &Path, pid: u32) -> PathBuf {
    let (script, program) = (folder.join("within"), env!("CARGO_BIN_EXE_reprieve"));
    let enter = format!("nsenter --target {pid} --user --mount --preserve-credentials");
    let at = folder.display();
    let text = format!("#!/bin/sh\nexec {enter} sh -c 'cd {at} && exec {program} \"$@\"' sh \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script
}

/// Hands in submissions until the disk is full, then makes room.
async fn a_full_disk(told: &mut Transcript) {
    let folder = folder("drill");
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let at = disk.display();
    let mount = format!("mount -t tmpfs -o size=16m tmpfs {at} && head -c 11000000 /dev/zero > {at}/ballast");
    let file = disk.join("reprieve.db");
    let setup = mounted(&folder, &mount).database_url(&format!("sqlite://{}", file.display()));
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    // The disk is in the worker's own namespace: it is reached through the worker.
    let inside = Path::new("/proc").join(worker.pid().to_string()).join("root").join(disk.strip_prefix("/").unwrap());
    let beside = WorkerSetup::new(&folder)
        .rules(RULES)
        .amqp_url("embedded:")
        .database_url(&format!("sqlite://{}", file.display()))
        .env("REPRIEVE_HTTP_LISTEN", &worker.address().to_string())
        .program(&within(&folder, worker.pid()));
    told.call(&inside.display().to_string(), "/var/lib/reprieve");
    told.call(&at.to_string(), "/var/lib/reprieve");
    told.call(&worker.address().to_string(), "localhost:8080");
    let events = folder.join("events.jsonl");
    let write = |from: usize, count: usize| {
        let lines: String = (from..from + count).map(|number| submission(&format!("F{number:05}")) + "\n").collect();
        std::fs::write(&events, lines).unwrap();
    };
    let mut number = 0;
    while worker.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
        assert!(number < 40_000, "the disk is never full");
        write(number, 500);
        number += 500;
        beside.cli(&["events", "publish", "events.jsonl"]).await;
    }

    told.say("### The disk under a data file is full\n\nWith an embedded database. The log says what is missing, and the probe takes the worker out:");
    // Which of its statements meets it first is chance.
    told.call("no answer to COMMIT that says what became of it: ", "");
    let end = told.log(&worker, 0, "make room on the disk").await;
    told.probe(&worker, 503, "database").await;
    told.say(
        "Nobody is told that an event was taken which is not stored. Whoever hands one in learns that it was not:",
    );
    write(number, 1);
    told.run(&beside, "events publish events.jsonl", 5).await;
    told.say("Make room; the worker needs no restart:");
    std::fs::remove_file(inside.join("ballast")).unwrap();
    told.typed("$ rm /var/lib/reprieve/ballast");
    told.log(&worker, end, "consumption goes on").await;
    told.probe(&worker, 200, "ready").await;
    told.say("The same file is handed in again, and the history is whole:");
    told.run(&beside, "events publish events.jsonl", 0).await;
    let checked = beside.cli_ok(&["audit", "verify"]).await;
    assert!(checked.contains("every chain is whole"), "{checked}");
    told.typed("$ reprieve audit verify\n… exceptions with … entries checked: every chain is whole");
    crate::embedded::end(&worker).await;
}

async fn a_server_that_only_reads(told: &mut Transcript) {
    let stage = Stage::shared("drill_disk").await;
    let at = format!("drill_disk at 127.0.0.1:{}", stage.servers().postgres.port());
    told.call(&at, "reprieve at db.example.com:5432");
    let setup = stage.worker().rules(RULES).env("REPRIEVE_RETRY__WAIT_MAX", "2s");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let client = Client::connect(&stage).await;
    client.publish(&[submit("1", "low")]).await;
    crate::books::at_rest(&stage, 1, SOON).await;
    // Its own session may write whatever the default says.
    let mut root = stage.connect().await;
    let set = |value: &str| {
        format!(
            "ALTER DATABASE drill_disk SET default_transaction_read_only = {value}; SELECT pg_terminate_backend(pid) \
             FROM pg_stat_activity WHERE datname = 'drill_disk' AND pid <> pg_backend_pid()"
        )
    };
    raw_sql(sqlx::AssertSqlSafe(set("on"))).execute(&mut root).await.unwrap();
    client.publish(&[submit("2", "low"), submit("3", "low")]).await;

    told.say(
        "### A Postgres that only reads\n\nAs after a failover to a replica, or when somebody protects a server whose disk is nearly \
         full (`ALTER DATABASE reprieve SET default_transaction_read_only = on`). The log says so; a lost session may be told first:",
    );
    // Which of its statements meets it first is chance.
    told.call("cannot execute UPDATE", "cannot execute INSERT");
    let end = told.log(&worker, 0, "read-only transaction").await;
    told.probe(&worker, 503, "database").await;
    told.say(
        "Reading goes on, so the commands that look still answer, and no event is blamed; what waits is in the queue:",
    );
    told.run(&setup, "failures groups", 0).await;
    told.say("Let it write again, or point DATABASE_URL at the server that does:");
    raw_sql(sqlx::AssertSqlSafe(set("off"))).execute(&mut root).await.unwrap();
    told.typed("$ psql -c 'ALTER DATABASE reprieve RESET default_transaction_read_only'");
    let back = async || worker.output().get(end..)?.contains("consumption goes on").then_some(());
    eventually("that it goes on", SOON, back).await;
    told.probe(&worker, 200, "ready").await;
    crate::books::at_rest(&stage, 3, SOON).await;
    told.say("What waited has been taken, once:");
    told.run(&setup, "audit verify", 0).await;
    crate::crashes::end(&[worker]).await;
}
