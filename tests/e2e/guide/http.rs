//! Everything over HTTP, at a worker without servers.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{ROOT, SOON, book, command, decision, done, need, node};
use crate::embedded::{end, folder, hand_in, setup};
use crate::traffic;

/// Every `curl` of the guide and of the README, with the address as the only change.
pub(crate) async fn the_commands_over_http_are_taken() {
    need("curl", "curl");
    let folder = folder("curl");
    let worker = setup(&folder).start();
    worker.wait_ready(SOON).await;
    let (submission, decision) = (traffic::submission("curl", "high"), traffic::decision("curl", "approve", "alice"));
    let event = traffic::envelope("42", "exception.submitted.v1", &submission);
    let batch = Value::from(vec![event.clone(), traffic::envelope("44", "exception.decision.v1", &decision)]);
    std::fs::copy(Path::new(ROOT).join("examples/events.jsonl"), folder.join("events.jsonl")).unwrap();
    for (name, content) in [("event.json", event), ("data.json", decision), ("events.json", batch)] {
        std::fs::write(folder.join(name), content.to_string()).unwrap();
    }
    let address = worker.address().to_string();
    let (mut posted, mut followed) = (Vec::new(), 0);
    for document in ["README.md", "docs/integration.md"] {
        for line in curls(document) {
            let here = line.replace("127.0.0.1:8080", &address).replace("localhost:8080", &address);
            if line.contains("json") {
                posted.push(answer(&here, &folder).await);
            } else {
                // Lasts as long as somebody reads. From now on: something has to happen while it does.
                let first = async {
                    let (event, ()) = tokio::join!(first_event(&here, &folder), happenings(&worker, &line));
                    event
                };
                let event = tokio::time::timeout(SOON, first).await.unwrap_or_else(|_| panic!("{here}: no event"));
                assert_eq!(event["specversion"], "1.0", "{here}");
                followed += 1;
            }
        }
    }
    let outcomes: Vec<&str> = posted
        .iter()
        .flat_map(|answer| answer.as_array().unwrap())
        .map(|one| one["outcome"].as_str().unwrap())
        .collect();
    // README: the first of the examples. Guide: a submission; its decision; both again, the decision under another id.
    assert_eq!(outcomes, ["applied", "applied", "applied", "repeated", "applied"], "{posted:?}");
    assert_eq!(followed, 3);
    end(&worker).await;
}

/// The `curl` commands of a document about events; a command may go over several lines.
fn curls(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).unwrap().replace("\\\n", " ");
    let is_curl = |line: &str| line.starts_with("curl ") || line.contains(" | curl ");
    let lines = text.lines().map(str::trim).filter(|line| is_curl(line) && line.contains("/api/v1/events"));
    lines.map(str::to_owned).collect()
}

fn shell(line: &str, folder: &Path) -> Command {
    let mut shell = command(&["bash".to_owned(), "-c".to_owned(), line.to_owned()], folder);
    shell.env("TOKEN", "");
    shell
}

async fn answer(line: &str, folder: &Path) -> Value {
    let said = done(shell(line, folder)).await;
    let start = said.find('[').unwrap_or_else(|| panic!("{line}: {said}"));
    // A `curl` without -s also shows its progress, after the answer.
    let answer = serde_json::Deserializer::from_str(&said[start..]).into_iter().next();
    answer.expect("it begins here").unwrap_or_else(|error| panic!("{line}: {error}: {said}"))
}

async fn first_event(line: &str, folder: &Path) -> Value {
    // In place of the shell, so that its end is that of `curl`.
    let mut child =
        shell(&format!("exec {line}"), folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(said) = lines.next_line().await.unwrap() {
        if let Some(event) = said.strip_prefix("data:") {
            child.kill().await.unwrap();
            return serde_json::from_str(event).unwrap();
        }
    }
    panic!("{line}: ended without an event")
}

/// Three submissions, some time apart, so that whoever connects meanwhile hears of one.
async fn happenings(worker: &crate::support::worker::Worker, line: &str) {
    for number in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let name = format!("{}-{number}", line.len());
        let event = traffic::envelope(&name, "exception.submitted.v1", &traffic::submission(&name, "high"));
        hand_in(worker, &[&event.to_string()]).await.unwrap();
    }
}

/// Node without any package: it submits, follows from where it was, and defers once, also when it begins the stream anew.
pub(crate) async fn the_program_without_a_broker_misses_nothing() {
    let folder = folder("node");
    let worker = setup(&folder).start();
    worker.wait_ready(SOON).await;
    let (program, file) = (node("tickets-http.mjs"), folder.join("tickets.json"));
    std::fs::write(&file, book("node").to_string()).unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = command(&program, &folder);
        command.args(arguments).env("REPRIEVE_URL", format!("http://{}", worker.address())).env("TICKETS", &file);
        done(command).await
    };
    let submit = ["submit", "node", "2037-01-31", "zoe@example.com", "Vendor patch is due in January."];
    assert!(run(&submit).await.starts_with("applied"));
    assert!(run(&submit).await.starts_with("repeated"));
    assert_eq!(run(&["follow", "1"]).await, "applied exception.status_changed.v1\n");
    assert_eq!(hand_in(&worker, &[&decision("node").to_string()]).await.unwrap(), ["applied"]);
    let rest = "applied exception.status_changed.v1\napplied ticket.deferral_requested.v1\n";
    assert_eq!(run(&["follow", "2"]).await, rest);
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap();
    let mut told = read();
    assert_eq!(told["tickets"]["node"]["due_date"], "2037-01-31");
    told["position"] = 0.into();
    std::fs::write(&file, told.to_string()).unwrap();
    let again = run(&["follow", "3"]).await;
    assert_eq!(again.matches("repeated").count(), 3, "{again}");
    assert_eq!(read()["tickets"], told["tickets"]);
    end(&worker).await;
}
