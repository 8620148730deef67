//! What people see of it: the first command, the commands beside it, and a second worker on the same file.

use std::path::Path;

use super::{SOON, end, folder, hand_in, says, setup, submission};
use crate::support::worker::{Worker, WorkerSetup};

/// What `reprieve dev` shows a newcomer: a day's requests, each with what the worker made of it. Started again on the same folder, also
/// after a crash, it goes on from there and does nothing twice.
pub(crate) async fn the_first_command_shows_a_day() {
    let folder = folder("dev");
    let kept = folder.join("kept");
    let kept = kept.to_str().unwrap();
    let setup =
        WorkerSetup::new(&folder).without("RUST_LOG").env("DATABASE_URL", "postgres://nobody@localhost:1/never");
    let worker = setup.start_with(&["dev", "--data", kept]);
    says(&worker, "in another shell, try").await;
    let said = worker.output();
    for text in [
        "zoe asks",
        "exception.status_changed ",
        "ticket.deferral_requested ",
        "refused: self_approval",
        "parked",
        "repeated",
        "event.rejected ",
        "max_extension",
    ] {
        assert!(said.contains(text), "{text} is missing: {said}");
    }
    assert!(!said.contains('\x1b'), "no colors where nobody reads");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    worker.kill9();

    let worker = setup.start_with(&["dev", "--data", kept]);
    says(&worker, "nothing of it had a second effect").await;
    says(&worker, "Ctrl-C ends it").await;
    let said = worker.output();
    // What it tells people to try: here, where variables of the shell lead elsewhere, those have to go first.
    assert!(said.contains("  unset DATABASE_URL REPRIEVE_RULES\n"), "{said}");
    let shell = setup.clone().without("DATABASE_URL").without("REPRIEVE_RULES");
    let settings = format!("{kept}/dev.toml");
    let told = said.split_once("  unset ").unwrap().1.lines().skip(1).take_while(|line| line.starts_with("  "));
    let lines: Vec<&str> = told.map(str::trim).filter(|line| *line != "r events tail").collect();
    assert_eq!(lines.len(), 7, "{said}");
    // As it is pasted, but that the first failure ends it.
    let script = format!("set -e\nunset DATABASE_URL REPRIEVE_RULES\n{}", lines.join("\n"));
    let pasted = std::process::Command::new("bash").args(["-O", "expand_aliases", "-c", &script]).output().unwrap();
    assert!(pasted.status.success(), "{script}: {}", String::from_utf8_lossy(&pasted.stderr));
    let pasted = String::from_utf8_lossy(&pasted.stdout);
    assert!(
        pasted.contains("SEVERITY") && pasted.contains("known-exploited") && pasted.contains("in force"),
        "{pasted}"
    );
    let tail = ["--config", &settings, "events", "tail", "--after", "0", "--count", "3", "-o", "jsonl"];
    let tailed = shell.cli_ok(&tail).await;
    assert_eq!(tailed.lines().count(), 3, "{tailed}");
    end(&worker).await;
    assert!(worker.output().contains("Everything is kept"), "{}", worker.output());
    assert_eq!(worker.output().matches("refused: self_approval").count(), 0, "a repeat is not told as news");
    assert!(Path::new(kept).join("reprieve.db").exists());
}

/// The second says who has the file, and ends; the first is not disturbed.
pub(crate) async fn two_on_one_folder() {
    let folder = folder("two");
    let setup = setup(&folder);
    let first = setup.start();
    first.wait_ready(SOON).await;
    // On the same address too: whose file it is matters more.
    let second = setup.clone().env("REPRIEVE_HTTP_LISTEN", &first.address().to_string()).cli(&["run"]).await;
    let complained = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{complained}");
    assert!(complained.contains("reprieve.db") && complained.contains(&first.pid().to_string()), "{complained}");
    assert_eq!(hand_in(&first, &[&submission("A")]).await.unwrap(), ["applied"]);
    end(&first).await;
    let third = setup.start();
    third.wait_ready(SOON).await;
    assert_eq!(hand_in(&third, &[&submission("A")]).await.unwrap(), ["repeated"], "the lock went with the process");
    end(&third).await;
}

/// A second `dev` on a folder leaves the first alone, also the file that leads commands to it; a temporary folder goes with its `dev`,
/// by whatever signal, and also when it cannot begin.
pub(crate) async fn a_folder_of_dev_is_its_own() {
    let folder = folder("own");
    let kept = folder.join("kept");
    let setup = WorkerSetup::new(&folder).env("TMPDIR", folder.to_str().unwrap());
    let first = setup.start_with(&["dev", "--no-demo", "--data", kept.to_str().unwrap()]);
    says(&first, "Waiting for events").await;
    let settings = std::fs::read_to_string(kept.join("dev.toml")).unwrap();
    let second = setup.cli(&["dev", "--data", kept.to_str().unwrap()]).await;
    assert_eq!(second.status.code(), Some(6), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(std::fs::read_to_string(kept.join("dev.toml")).unwrap(), settings);
    end(&first).await;

    let temporary = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("reprieve-dev-")).count()
    };
    let bad = setup.cli(&["dev", "--set", "amqp.prefetch=0"]).await;
    assert_eq!((bad.status.code(), temporary()), (Some(3), 0));
    // Ctrl-C, and a terminal that is closed.
    for end in [Worker::sigint, Worker::sighup] {
        let worker = setup.start_with(&["dev", "--no-demo"]);
        says(&worker, "Waiting for events").await;
        assert_eq!(temporary(), 1);
        end(&worker);
        assert!(worker.wait_exit(SOON).await.success(), "{}", worker.output());
        assert_eq!(temporary(), 0, "{}", worker.output());
    }
}

/// A file that is taken away, or has another put in its place, is not written to as if nothing had happened.
pub(crate) async fn a_file_that_vanishes_is_missed() {
    let folder = folder("vanished");
    let setup = setup(&folder);
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    assert_eq!(hand_in(&worker, &[&submission("A")]).await.unwrap(), ["applied"]);
    let (file, aside) = (super::data(&folder), folder.join("aside.db"));
    std::fs::rename(&file, &aside).unwrap();
    assert_eq!(hand_in(&worker, &[&submission("B")]).await, None, "nothing is answered");
    says(&worker, "there is no data file").await;
    std::fs::rename(&aside, &file).unwrap();
    let again = async || hand_in(&worker, &[&submission("B")]).await;
    let outcome = crate::support::eventually("work to go on", SOON, again).await;
    assert!(outcome == ["applied"] || outcome == ["repeated"], "{outcome:?}");
    end(&worker).await;
    for name in ["reprieve.db", "reprieve.db-wal", "reprieve.db-shm"] {
        std::fs::remove_file(folder.join(name)).ok();
    }
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    assert!(worker.output().contains("a new, empty one is begun"), "{}", worker.output());
    end(&worker).await;
}

/// Look-ups and marks are made in the file while the worker works in it.
pub(crate) async fn commands_work_beside_it() {
    let folder = folder("commands");
    let setup = setup(&folder);
    let missing = setup.cli(&["exceptions", "show", "EX-1"]).await;
    assert_eq!(missing.status.code(), Some(5), "{}", String::from_utf8_lossy(&missing.stderr));
    assert!(!super::data(&folder).exists(), "looking makes no file");
    setup.cli_ok(&["migrate", "up"]).await;
    assert!(setup.cli_ok(&["migrate", "status"]).await.contains("applied"));
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let unknown = r#"{"specversion":"1.0","id":"u","source":"urn:test","type":"exception.unknown.v1","data":{}}"#;
    assert_eq!(hand_in(&worker, &[&submission("A"), unknown]).await.unwrap(), ["applied", "failed"]);
    assert!(setup.cli_ok(&["exceptions", "show", "EX-A"]).await.contains("alice@example.com"));
    assert!(setup.cli_ok(&["rules", "explain", "EX-A"]).await.contains("fallback"));
    assert!(setup.cli_ok(&["parked", "list", "-o", "json"]).await.contains("\"items\":[]"));
    assert!(setup.cli_ok(&["outbox", "status", "-o", "json"]).await.contains("\"pending\":0"));
    let failures = setup.cli_ok(&["failures", "list", "-o", "jsonl"]).await;
    let failure: serde_json::Value = serde_json::from_str(&failures).unwrap();
    let id = failure["failure_id"].as_str().unwrap();
    setup.cli_ok(&["failures", "retry", id, "--yes"]).await;
    let again = async || {
        let shown = setup.cli_ok(&["failures", "show", id, "-o", "json"]).await;
        let failure: serde_json::Value = serde_json::from_str(&shown).unwrap();
        (failure["state"] == "open" && failure["attempts"] == 1).then_some(())
    };
    crate::support::eventually("that the worker tries it again", SOON, again).await;
    let topology = setup.cli(&["topology", "check"]).await;
    assert_eq!(topology.status.code(), Some(3), "{}", String::from_utf8_lossy(&topology.stderr));
    end(&worker).await;
}
