//! What people see of it: the first command, the commands beside it, and a second worker on the same file.

use std::path::Path;

use super::{SOON, end, folder, hand_in, says, setup, submission};
use crate::support::worker::WorkerSetup;

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
    says(&worker, "in another shell, try").await;
    assert!(worker.output().contains("nothing of it had a second effect"), "{}", worker.output());
    // The commands that it tells people to try.
    let said = worker.output();
    let mut tried = 0;
    for line in said.lines().filter_map(|line| line.trim().split_once(" --config ")) {
        let arguments: Vec<&str> = std::iter::once("--config").chain(line.1.split_whitespace()).collect();
        if arguments.ends_with(&["tail"]) || arguments.iter().any(|argument| argument.starts_with("examples/")) {
            continue;
        }
        setup.cli_ok(&arguments).await;
        tried += 1;
    }
    assert!(tried >= 3, "{said}");
    let settings = format!("{kept}/reprieve.toml");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/events.jsonl");
    let published = setup.cli_ok(&["--config", &settings, "events", "publish", examples]).await;
    assert!(published.contains('9'), "{published}");
    let tail = ["--config", &settings, "events", "tail", "--after", "0", "--count", "3", "-o", "jsonl"];
    let tailed = setup.cli_ok(&tail).await;
    assert_eq!(tailed.lines().count(), 3, "{tailed}");
    end(&worker).await;
    assert!(worker.output().contains("Everything is kept"), "{}", worker.output());
    assert!(Path::new(kept).join("reprieve.db").exists());
}

/// The second says who has the file, and ends; the first is not disturbed.
pub(crate) async fn two_on_one_folder() {
    let folder = folder("two");
    let setup = setup(&folder);
    let first = setup.start();
    first.wait_ready(SOON).await;
    let second = setup.clone().env("REPRIEVE_HTTP_LISTEN", "127.0.0.1:0").cli(&["run"]).await;
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
