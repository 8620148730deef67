//! `reprieve audit` as a person uses it: exit codes, what is printed, and the file of an export.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use sqlx::raw_sql;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::embedded::{SOON, data, end, folder, hand_in, open, setup, submission};
use crate::support::eventually;
use crate::support::worker::{Worker, WorkerSetup};

/// A command that has to end so; what it printed, and what it complained.
async fn ends(setup: &WorkerSetup, line: &str, code: i32) -> (String, String) {
    let output = setup.cli(&line.split_whitespace().collect::<Vec<_>>()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line}\n{said}{complained}");
    (said, complained)
}

pub(crate) async fn the_history_is_checked_beside_the_worker_and_against_an_export() {
    let folder = folder("audit");
    let setup = setup(&folder);
    ends(&setup, "audit verify", 5).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    assert!(ends(&setup, "audit verify", 0).await.0.contains("0 exceptions with 0 entries"));
    let names: Vec<String> = ["A", "B", "C"].map(submission).to_vec();
    hand_in(&worker, &names.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    assert!(
        ends(&setup, "audit verify", 0).await.0.contains("3 exceptions with 3 entries checked: every chain is whole")
    );

    assert!(ends(&setup, "audit export heads.jsonl", 0).await.0.contains("3 heads written to heads.jsonl"));
    let written = std::fs::read_to_string(folder.join("heads.jsonl")).unwrap();
    let (printed, _) = ends(&setup, "audit export -", 0).await;
    let heads =
        |text: &str| text.lines().filter(|line| line.contains("exception_id")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((heads(&written).len(), heads(&written)), (3, heads(&printed)));
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
    ends(&setup, "audit export nowhere/heads.jsonl", 1).await;
    ends(&setup, "audit export .", 2).await;

    let cut: String = written.split_inclusive('\n').take(3).collect();
    std::fs::write(folder.join("cut.jsonl"), cut).unwrap();
    let (_, complained) = ends(&setup, "audit verify --against cut.jsonl", 2).await;
    assert!(complained.contains("line 4: the file ends before its last line: it is cut"), "{complained}");
    ends(&setup, "audit verify --against gone.jsonl", 2).await;
    let same = ends(&setup, "audit verify --against heads.jsonl", 0).await.0;
    assert!(same.contains("3 exported heads compared: every chain is whole"), "{same}");
    end(&worker).await;

    let mut hand = open(&data(&folder)).await;
    let tamper = "DROP TRIGGER history_append_only; DROP TRIGGER history_never_emptied;
        UPDATE history SET body = replace(body, '2037', '2038') WHERE exception_key = 1;
        DELETE FROM history WHERE exception_key = 3; DELETE FROM exceptions WHERE key = 3";
    raw_sql(tamper).execute(&mut hand).await.unwrap();
    let (said, complained) = ends(&setup, "audit verify --against heads.jsonl -o json", 1).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["checked_exceptions"], &report["checked_entries"]), (&2.into(), &2.into()));
    assert_eq!((&report["compared_heads"], &report["more_findings"]), (&3.into(), &0.into()));
    let findings = report["findings"].as_array().unwrap();
    let told: Vec<_> = findings.iter().map(|it| (it["exception_id"].as_str().unwrap(), &it["entry"])).collect();
    assert_eq!(told, [("EX-A", &Value::from(1)), ("EX-C", &Value::Null)]);
    assert!(findings[0]["problem"].as_str().unwrap().starts_with("edited or moved:"), "{said}");
    assert!(findings[1]["problem"].as_str().unwrap().starts_with("vanished:"), "{said}");
    assert!(complained.contains("2 findings"), "{complained}");
}

/// A worker that has seen these.
async fn with(setup: &WorkerSetup, names: &[&str]) -> Worker {
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    for name in names {
        hand_in(&worker, &[&submission(name)]).await.unwrap();
    }
    worker
}

fn scratch_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".heads.jsonl.")).collect()
}

pub(crate) async fn what_stands_under_the_name_of_an_export_is_kept() {
    let folder = folder("audit-names");
    let setup = setup(&folder);
    let worker = with(&setup, &[]).await;
    ends(&setup, "audit export none.jsonl", 0).await;
    let (_, complained) = ends(&setup, "audit verify --against none.jsonl", 0).await;
    assert!(complained.contains("none.jsonl names no exception"), "{complained}");
    hand_in(&worker, &[&submission("A")]).await.unwrap();

    std::fs::create_dir(folder.join("kept")).unwrap();
    std::fs::write(folder.join("kept/heads.jsonl"), "old").unwrap();
    symlink("kept/heads.jsonl", folder.join("link.jsonl")).unwrap();
    ends(&setup, "audit export link.jsonl", 0).await;
    assert!(folder.join("link.jsonl").is_symlink());
    assert!(std::fs::read_to_string(folder.join("kept/heads.jsonl")).unwrap().contains("EX-A"));
    symlink("nowhere", folder.join("lost.jsonl")).unwrap();
    let (_, complained) = ends(&setup, "audit export lost.jsonl", 2).await;
    assert!(complained.contains("lost.jsonl is a link that leads nowhere"), "{complained}");

    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = tokio::process::Command::new("cat").arg(&pipe).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let reader = tokio::spawn(reader.unwrap().wait_with_output());
    let (said, complained) = ends(&setup, "audit export pipe", 0).await;
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(), "{said}{complained}");
    let read = tokio::time::timeout(SOON, reader).await.expect("all of it").unwrap().unwrap().stdout;
    assert!(String::from_utf8(read).unwrap().contains("EX-A"));
    assert!(said.is_empty() && complained.contains("1 heads, SHA-256"), "{said}{complained}");

    // It would be read twice.
    let verified = tokio::time::timeout(SOON, ends(&setup, "audit verify --against pipe", 2)).await;
    let (_, complained) = verified.expect("an answer");
    assert!(complained.contains("pipe is no regular file"), "{complained}");
    end(&worker).await;
}

pub(crate) async fn an_export_that_is_ended_leaves_nothing() {
    let folder = folder("audit-ended");
    let setup = setup(&folder);
    end(&with(&setup, &["A"]).await).await;
    // Whoever wants to read has to wait.
    let options = SqliteConnectOptions::new().filename(data(&folder)).pragma("locking_mode", "EXCLUSIVE");
    let mut alone = SqliteConnection::connect_with(&options).await.unwrap();
    raw_sql("BEGIN EXCLUSIVE; UPDATE exceptions SET key = key").execute(&mut alone).await.unwrap();
    for signal in [Worker::sigint, Worker::sigterm, Worker::sighup] {
        let export = setup.start_with(&["audit", "export", "heads.jsonl"]);
        let begun = async || (!scratch_files(&folder).is_empty()).then_some(());
        eventually("a scratch file", SOON, begun).await;
        signal(&export);
        let status = export.wait_exit(SOON).await;
        assert_eq!(scratch_files(&folder), [""; 0], "{status}: {}", export.output());
        assert_eq!(status.code(), Some(1), "{}", export.output());
        assert!(export.output().contains("heads.jsonl was not written"), "{}", export.output());
        assert!(!folder.join("heads.jsonl").exists());
    }
}

pub(crate) async fn a_row_that_cannot_be_read_is_no_outage() {
    let folder = folder("audit-damaged");
    let setup = setup(&folder);
    let worker = with(&setup, &["A", "B", "C"]).await;
    let mut hand = open(&data(&folder)).await;
    for (name, how, remedy) in [
        ("EX-A", "document = '{}'", "restore the row from a backup"),
        ("EX-A", "document = CAST(x'ff' AS TEXT)", "restore the row from a backup"),
        ("EX-B", r#"document = '{"v":99}'"#, "run the newer program"),
    ] {
        let sql = format!("UPDATE exceptions SET {how} WHERE id = '{name}'");
        raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut hand).await.unwrap();
        let answer = worker.get(&format!("/api/v1/exceptions/{name}")).await.unwrap();
        assert_eq!(answer.status, 500, "{how}: {}", answer.body);
        assert!(answer.body.contains(name) && answer.body.contains(remedy), "{how}: {}", answer.body);
        for command in ["show", "history"] {
            let (_, complained) = ends(&setup, &format!("exceptions {command} {name}"), 1).await;
            assert!(complained.contains(name) && complained.contains(remedy), "{how}: {complained}");
        }
    }
    raw_sql("UPDATE exceptions SET document = '{}' WHERE id = 'EX-A'").execute(&mut hand).await.unwrap();
    let answer = worker.get("/api/v1/exceptions?q=EX-A").await.unwrap();
    assert!(answer.status == 500 && answer.body.contains("the stored exception EX-A"), "{}", answer.body);
    ends(&setup, "exceptions list -q EX-A", 1).await;
    assert_eq!(worker.get("/api/v1/exceptions/EX-C").await.unwrap().status, 200);
    end(&worker).await;
}

pub(crate) async fn a_long_history_is_shown_from_its_end() {
    const LONG: &str = "\
        INSERT INTO history (exception_key, entry, at, kind, actor, actor_kind, outcome, code, revision, body, hash)
        WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 2300)
        SELECT 1, i, i, 'approve', 'zoe@example.com', 'user', 'refused', 'not_a_reviewer', 1,
          CASE i % 50 WHEN 0 THEN printf('%.*c', 240000, 'x') ELSE '' END, randomblob(32) FROM n;
        UPDATE exceptions SET entries = 2300 WHERE key = 1";
    let folder = folder("audit-long");
    let setup = setup(&folder);
    let worker = with(&setup, &["A"]).await;
    raw_sql(LONG).execute(&mut open(&data(&folder)).await).await.unwrap();
    let json = async |line: &str| serde_json::from_str::<Value>(&ends(&setup, line, 0).await.0).unwrap();
    let all = json("exceptions history EX-A -o json").await;
    let all = all.as_array().unwrap();
    let numbers: Vec<u64> = all.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=2_300).collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0]["hash"] == pair[1]["previous_hash"]));
    assert_eq!(all[0]["previous_hash"], "0".repeat(64));

    let detail = json("exceptions show EX-A -o json").await;
    assert_eq!(detail["history"].as_array().unwrap().as_slice(), &all[1_300..]);
    assert_eq!(detail["request"]["exception_id"], "EX-A");
    let answer = worker.get("/api/v1/exceptions/EX-A").await.unwrap();
    assert!(answer.status == 200 && answer.body.len() < 1_000_000, "{}: {} bytes", answer.status, answer.body.len());
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), detail);
    let (table, _) = ends(&setup, "exceptions show EX-A", 0).await;
    assert!(table.contains("1300 earlier entries: `reprieve exceptions history EX-A`"), "{table:.2000}");
    end(&worker).await;
}
