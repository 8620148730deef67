//! `reprieve audit` as a person uses it: exit codes, what is printed, and the file of an export.

use serde_json::Value;
use sqlx::raw_sql;

use crate::embedded::{SOON, data, end, folder, hand_in, open, setup, submission};
use crate::support::worker::WorkerSetup;

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
