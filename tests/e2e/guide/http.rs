//! The program over HTTP, at a worker without servers.

use serde_json::Value;

use super::{SOON, book, command, decision, done, node};
use crate::embedded::{end, folder, hand_in, setup};

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
