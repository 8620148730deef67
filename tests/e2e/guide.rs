//! The programs of `docs/integration.md`, run as they stand there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic;

mod bridges;
mod http;
mod shown;

pub(crate) use bridges::{
    a_bridge_says_what_it_lacks_at_the_broker, each_bridge_sends_each_notification_once,
    no_message_and_no_answer_stops_a_bridge,
};
pub(crate) use http::the_program_without_a_broker_misses_nothing;
pub(crate) use shown::{every_command_in_the_documents_exists, shown_programs_are_the_files};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SOON: Duration = Duration::from_secs(30);
/// The worker's output for the ticketing system.
const TICKETS: &str = "exceptions.out.tickets";

/// Each program asks for an exception of its own ticket, and defers that ticket when it is approved: once, although everything it is told
/// comes twice and the first time in the wrong order.
pub(crate) async fn the_programs_submit_and_defer_once() {
    let programs = [("rust", rust()), ("python", python("integration/python/tickets.py")), ("shell", shell())];
    node_syntax(&["tickets.mjs", "tickets-amqp.mjs", "tickets-http.mjs"]).await;
    let corner = Corner::new("guide_programs").await;
    let worker = corner.setup.start();
    let channel = corner.channel().await;
    let tap = tap(&channel).await;
    for (name, program) in &programs {
        std::fs::write(corner.book(name), book(name).to_string()).unwrap();
        for _ in 0..2 {
            let because = "Vendor patch is due in January.";
            let said = corner.run(program, name, &["submit", name, "2037-01-31", "zoe@example.com", because]).await;
            assert!(said.contains("confirmed"), "{said}");
        }
        for time in ["first", "second"] {
            a_good_submission(&channel, &tap, name, time).await;
        }
    }
    let names: Vec<&str> = programs.iter().map(|(name, _)| *name).collect();
    corner.approve(&names).await;
    let mut told = told(&channel, TICKETS, 3 * programs.len()).await;
    for (name, program) in &programs {
        let events = told.remove(*name).unwrap();
        assert_eq!(events.len(), 3, "two statuses and a deferral");
        for event in events.iter().rev().chain(&events) {
            send(&channel, TICKETS, event).await;
        }
        let said = corner.run(program, name, &["follow", "6"]).await;
        assert_eq!(said.lines().count(), 6, "{name}: {said}");
        for (outcome, count) in [("applied ", 2), ("overtaken ", 1), ("repeated ", 3)] {
            assert_eq!(said.matches(outcome).count(), count, "{name}: {said}");
        }
        let book: Value = serde_json::from_slice(&std::fs::read(corner.book(name)).unwrap()).unwrap();
        let ticket = &book["tickets"][name];
        assert_eq!(ticket["due_date"], "2037-01-31", "{name}: {book}");
        assert_eq!(ticket["exceptions"][format!("EX-{name}-2037-01-31")], "approved/in_force", "{name}: {book}");
        assert!(get(&channel, TICKETS).await.is_none(), "{name} has acknowledged all");
    }
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
}

/// Without a command that they know: how they are used, and 2.
pub(crate) async fn programs_say_how_they_are_used() {
    let shell = shell();
    let programs = [rust(), python("integration/python/tickets.py"), shell, node("tickets-http.mjs")];
    for program in &programs {
        for arguments in [&[][..], &["submit"], &["help"], &["follow", "1", "2"]] {
            let output = command(program, Path::new(ROOT)).args(arguments).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{program:?} {arguments:?}: {said}");
            assert!(said.contains("follow [COUNT]") && said.lines().count() == 2, "{program:?} {arguments:?}: {said}");
        }
    }
}

/// The arguments of a program are seen by everybody on the machine.
pub(crate) async fn the_shell_shows_its_password_to_nobody() {
    let corner = Corner::new("guide_shell").await;
    std::fs::write(corner.book("shell"), book("shell").to_string()).unwrap();
    let mut program = command(&shell(), corner.stage.folder());
    program.arg("follow").env("AMQP_URL", corner.stage.amqp_url()).env("TICKETS", corner.book("shell"));
    program.process_group(0);
    let mut child = program.spawn().unwrap();
    let arguments = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
        lines.filter(|line| line.starts_with("amqp-consume\0")).collect::<Vec<_>>()
    };
    let seen = eventually("amqp-consume", SOON, async || Some(arguments()).filter(|seen| !seen.is_empty())).await;
    let password = corner.stage.amqp_url();
    let password = password.split([':', '@']).nth(2).unwrap();
    assert!(!seen.iter().any(|line| line.contains(&format!(":{password}@"))), "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("--password")), "{seen:?}");
    child.kill().await.unwrap();
}

/// A virtual host and a database with the names that the guide uses.
struct Corner {
    stage: Stage,
    setup: WorkerSetup,
}

impl Corner {
    async fn new(name: &str) -> Self {
        let stage = Stage::shared(name).await.with_own_vhost().await;
        let setup = stage.worker().without("REPRIEVE_AMQP__PREFIX").rules(traffic::RULES);
        setup.cli_ok(&["migrate", "up"]).await;
        setup.cli_ok(&["topology", "apply"]).await;
        Self { stage, setup }
    }

    fn book(&self, name: &str) -> PathBuf {
        self.stage.folder().join(format!("{name}.json"))
    }

    async fn channel(&self) -> Channel {
        let connection = Connection::connect(&self.stage.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel
    }

    /// Runs a program to its end, on its own ticket file.
    async fn run(&self, program: &[String], name: &str, arguments: &[&str]) -> String {
        let mut command = command(program, self.stage.folder());
        command.args(arguments).env("AMQP_URL", self.stage.amqp_url()).env("TICKETS", self.book(name));
        done(command).await
    }

    /// The one reviewer says yes to each.
    async fn approve(&self, names: &[&str]) {
        let events = self.stage.folder().join("decisions.jsonl");
        let decisions = names.iter().map(|name| format!("{}\n", decision(name)));
        std::fs::write(&events, decisions.collect::<String>()).unwrap();
        self.setup.cli_ok(&["events", "publish", events.to_str().unwrap()]).await;
    }
}

fn decision(name: &str) -> Value {
    let data = json!({
        "decision_id": "D-1", "exception_id": format!("EX-{name}-2037-01-31"), "decision": "approve",
        "reviewer": { "id": "alice@example.com" },
    });
    traffic::envelope(&format!("d-{name}"), "exception.decision.v1", &data)
}

/// The ticketing system's file, with one ticket named like the program.
fn book(name: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(ROOT).join("examples/integration/tickets.json")).unwrap();
    let mut book: Value = serde_json::from_str(&text).unwrap();
    book["tickets"] = json!({ name: book["tickets"]["SEC-812"] });
    book
}

/// A queue that gets a copy of each submission.
async fn tap(channel: &Channel) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let (name, key) = (queue.name().clone(), "exception.submitted.#".into());
    let bound = channel.queue_bind(
        name.clone(),
        "exceptions.inbound".into(),
        key,
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    name.to_string()
}

/// What the guide asks of publishers.
async fn a_good_submission(channel: &Channel, tap: &str, name: &str, time: &str) {
    let (properties, body) = get(channel, tap).await.unwrap_or_else(|| panic!("{name}: no {time} submission"));
    let envelope: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(*properties.delivery_mode(), Some(2), "{name}: persistent");
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.content_type()).as_deref(), Some("application/cloudevents+json"), "{name}");
    // `reprieve events publish`, which the shell uses, sets none; the worker does not look at it.
    let id = text(properties.message_id());
    assert!(id.is_none() && name == "shell" || id.as_deref() == envelope["id"].as_str(), "{name}: {id:?}");
    assert_eq!(text(properties.user_id()).as_deref(), Some("guest"), "{name}");
    assert_eq!(envelope["id"], format!("EX-{name}-2037-01-31/submitted"), "the same both times");
}

async fn get(channel: &Channel, queue: &str) -> Option<(BasicProperties, Vec<u8>)> {
    let message = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()?;
    message.delivery.ack(BasicAckOptions::default()).await.unwrap();
    Some((message.delivery.properties, message.delivery.data))
}

async fn send(channel: &Channel, queue: &str, (properties, body): &(BasicProperties, Vec<u8>)) {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties.clone()).await;
    assert!(sent.unwrap().await.unwrap().is_ack(), "{queue}");
}

/// Takes `count` messages out of a queue of the worker's: by ticket, in order, which that of their arrival need not be.
async fn told(channel: &Channel, queue: &str, count: usize) -> BTreeMap<String, Vec<(BasicProperties, Vec<u8>)>> {
    let mut told: BTreeMap<String, BTreeMap<String, _>> = BTreeMap::new();
    for number in 0..count {
        let what = format!("message {number} in {queue}");
        let message = eventually(&what, SOON, async || get(channel, queue).await).await;
        let envelope: Value = serde_json::from_slice(&message.1).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of_ticket = told.entry(text(&envelope["data"]["ticket_id"])).or_default();
        of_ticket.insert(text(&envelope["sequence"]), message);
    }
    told.into_iter().map(|(ticket, messages)| (ticket, messages.into_values().collect())).collect()
}

/// A program in a folder of the case's, with `reprieve` on its path.
fn command(program: &[String], folder: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_reprieve")).parent().unwrap().display().to_string();
    let path = format!("{built}:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).current_dir(folder).env("PATH", path).env("NO_COLOR", "1").kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    command
}

async fn done(mut command: Command) -> String {
    let output = tokio::time::timeout(SOON, command.output()).await.expect("the program ends");
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{said}{complained}");
    // `reprieve events publish` tells people, not pipes.
    format!("{said}{complained}")
}

/// The example as cargo builds it with the tests.
fn rust() -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_reprieve")).with_file_name("examples").join("tickets");
    let source = Path::new(ROOT).join("examples/integration/rust/tickets.rs");
    let age = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let built = age(&program) >= age(&source);
    assert!(built, "{} is missing or old: cargo build --example tickets", program.display());
    vec![program.display().to_string()]
}

/// The first Python that has pika: the system's own may stand behind another one.
fn python(example: &str) -> Vec<String> {
    let has_pika = |python: &&str| works(python, &["-c", "import pika"]);
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_pika);
    let python =
        found.expect("no Python with pika. On Debian or Ubuntu: apt-get install --no-install-recommends python3-pika");
    vec![python.to_owned(), "-B".to_owned(), format!("{ROOT}/examples/{example}")]
}

fn shell() -> Vec<String> {
    need("amqp-consume", "amqp-tools");
    need("jq", "jq");
    vec!["bash".to_owned(), format!("{ROOT}/examples/integration/shell/tickets.sh")]
}

fn node(example: &str) -> Vec<String> {
    need("node", "nodejs");
    vec!["node".to_owned(), format!("{ROOT}/examples/integration/node/{example}")]
}

/// Debian has no amqplib: the program that needs it is read, not run.
async fn node_syntax(examples: &[&str]) {
    for example in examples {
        let program = [&node(example)[..1], &["--check".to_owned(), node(example)[1].clone()]].concat();
        done(command(&program, Path::new(ROOT))).await;
    }
}

fn need(tool: &str, package: &str) {
    let found = works(tool, &["--version"]) || works(tool, &["--help"]);
    assert!(found, "{tool} is missing. On Debian or Ubuntu: apt-get install --no-install-recommends {package}");
}

fn works(tool: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success())
}
