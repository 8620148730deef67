//! How fast, side by side: the release binary against a worker as a team would write it in an afternoon, one transaction per
//! message with 16 handlers, of the same logic (the same decoder, the same plan, the same tables, the same outputs).
//!
//! A third run has no servers: the same traffic is handed in over HTTP to the worker on embedded parts.
//!
//! `cargo bench` starts private servers, fills the queue, starts the one or the other, and takes the time until every
//! output has arrived. Rounds alternate; ratios are of one round, since absolute times drift.
//!
//! `REPRIEVE_BENCH_EVENTS` (default 10000) and `REPRIEVE_BENCH_ROUNDS` (default 3) change the amount.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on says why by panicking"
)]

mod peer;
#[path = "../../tests/e2e"]
#[allow(dead_code, unused_macros, reason = "the harness of the end-to-end tests, of which a part is needed")]
mod e2e {
    pub(crate) mod support;
}
pub(crate) use e2e::support;

use std::time::{Duration, Instant};

use serde_json::json;

use support::amqp::{Client, Message};
use support::stage::Stage;

/// Longer than any round may take here.
const ROUND_MAX: Duration = Duration::from_mins(10);
/// The default mailboxes, and what a submission with one reviewer and its approval put into each: of their seven outputs two
/// status changes and the deferral, and three notifications; nobody is bound to `exception.assigned`.
const MAILBOXES: [&str; 2] = ["exceptions.out.tickets", "exceptions.out.notifications"];
const EACH: u32 = 3;

pub(crate) const RULES: &str = "
apiVersion: reprieve/v1
version: bench
settings: { triage: [lead@example.com] }
fallback: { levels: [{ reviewers: { users: [alice@example.com] } }] }
";

fn main() {
    // `cargo test --benches` runs this too: nothing to test here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(bench());
    support::watchdog::end();
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

async fn bench() {
    let events = setting("REPRIEVE_BENCH_EVENTS", 10_000) / 2 * 2;
    let rounds = setting("REPRIEVE_BENCH_ROUNDS", 3);
    let (mut ratios, mut embedded_ratios) = (Vec::new(), Vec::new());
    println!("{events} events a run: half submissions with one reviewer (4 outputs), half final approvals (3 outputs)");
    for round in 1..=rounds {
        let ours = run(&format!("ours{round}"), events, Kind::Reprieve).await;
        let theirs = run(&format!("peer{round}"), events, Kind::Peer).await;
        let embedded = embedded(&format!("embedded{round}"), events).await;
        let [ours, theirs, embedded] = [ours, theirs, embedded].map(|time| rate(events, time));
        ratios.push(ours / theirs);
        embedded_ratios.push(embedded / ours);
        println!(
            "round {round}: reprieve {ours:.0} events/s, one transaction per message {theirs:.0} events/s, ratio {:.2}; \
             embedded {embedded:.0} events/s, ratio {:.2}",
            ours / theirs,
            embedded / ours
        );
    }
    spread("reprieve / one transaction per message", ratios);
    spread("embedded / with servers", embedded_ratios);
}

fn spread(name: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).unwrap();
    println!("{name}: min {:.2}, median {median:.2}, max {:.2}", ratios.first().unwrap(), ratios.last().unwrap());
}

/// Clients that hand in over HTTP at a time, and events in one of their requests.
const CLIENTS: usize = 4;
const TOGETHER: usize = 250;

/// Hands in the same traffic over HTTP, in waves, until all is answered: then every outcome is committed, and every output is in the log.
async fn embedded(name: &str, events: usize) -> Duration {
    let folder = support::watchdog::root().join(name);
    std::fs::create_dir(&folder).unwrap();
    let setup = support::worker::WorkerSetup::new(&folder)
        .rules(RULES)
        .env("RUST_LOG", "warn")
        .database_url(&format!("sqlite://{}", folder.join("reprieve.db").display()))
        .amqp_url("embedded:");
    let worker = setup.start();
    worker.wait_ready(Duration::from_secs(20)).await;
    let address = worker.address();
    let messages = traffic(events);
    let requests: Vec<String> = messages
        .chunks(TOGETHER)
        .map(|chunk| {
            let bodies = chunk.iter().map(|message| std::str::from_utf8(&message.body).unwrap());
            format!("[{}]", bodies.collect::<Vec<_>>().join(","))
        })
        .collect();
    let begun = Instant::now();
    futures_util::StreamExt::for_each_concurrent(futures_util::stream::iter(requests), CLIENTS, async |request| {
        let content_type = "application/cloudevents-batch+json";
        let answer = support::http::post(address, "/api/v1/events", content_type, request.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    })
    .await;
    let time = begun.elapsed();
    println!(
        "  embedded: worker CPU {:.0} us/event, peak memory {} MB",
        cpu_us(worker.pid()) / rate(events, Duration::from_secs(1)),
        memory_mb(worker.pid())
    );
    worker.sigterm();
    worker.wait_exit(Duration::from_secs(25)).await;
    time
}

fn rate(events: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(events).unwrap()) / time.as_secs_f64()
}

#[derive(Clone, Copy)]
enum Kind {
    Reprieve,
    Peer,
}

/// Fills the queue, starts a worker, and waits until every output has arrived.
async fn run(name: &str, events: usize, kind: Kind) -> Duration {
    let stage = Stage::own(name).await;
    let setup = stage.worker().rules(RULES).env("RUST_LOG", "warn");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    for messages in traffic(events).chunks(500) {
        client.publish(messages).await;
    }
    let begun = Instant::now();
    match kind {
        Kind::Reprieve => {
            let worker = setup.start();
            let time = until_done(&client, events, begun).await;
            println!(
                "  worker CPU {:.0} us/event, peak memory {} MB",
                cpu_us(worker.pid()) / rate(events, Duration::from_secs(1)),
                memory_mb(worker.pid())
            );
            worker.sigterm();
            worker.wait_exit(Duration::from_secs(25)).await;
            time
        }
        Kind::Peer => {
            let peer = tokio::spawn(peer::run(stage.amqp_url(), stage.database_url(), stage.prefix()));
            let time = until_done(&client, events, begun).await;
            peer.abort();
            time
        }
    }
}

async fn until_done(client: &Client, events: usize, begun: Instant) -> Duration {
    let wanted = u32::try_from(events / 2).unwrap() * EACH;
    loop {
        let mut arrived = true;
        for mailbox in MAILBOXES {
            arrived &= client.depth(mailbox).await.unwrap() >= wanted;
        }
        if arrived {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < ROUND_MAX, "not done in {} s", ROUND_MAX.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submissions in waves of 250, each followed by its approvals, 0.9 kB a submission.
fn traffic(events: usize) -> Vec<Message> {
    let mut messages = Vec::with_capacity(events);
    let numbers: Vec<usize> = (0..events / 2).collect();
    for wave in numbers.chunks(250) {
        messages.extend(wave.iter().map(|number| submission(*number)));
        messages.extend(wave.iter().map(|number| approval(*number)));
    }
    messages
}

fn envelope(id: &str, event_type: &str, data: &serde_json::Value) -> Message {
    Message::structured(
        &json!({ "specversion": "1.0", "id": id, "source": "urn:bench", "type": event_type, "data": data }),
    )
}

fn submission(number: usize) -> Message {
    let data = json!({
        "exception_id": format!("EX-{number:07}"),
        "ticket": {
            "id": format!("SEC-{number:07}"), "title": "OpenSSL 3.0 on payments-api", "url": format!("https://tickets.example.com/SEC-{number:07}"),
            "severity": "high", "original_due_date": "2036-12-05", "current_due_date": "2036-12-05", "assignee": "zoe@example.com",
            "business_unit": "payments", "environment": "prod", "cves": ["CVE-2026-1234"], "kev": false, "epss": "0.42", "cvss": "8.1",
            "asset": { "id": "payments-api", "service": "payments-api", "criticality": "high", "internet_facing": true }, "tags": ["pci"],
        },
        "requester": { "id": "zoe@example.com", "name": "Zoe", "team": "payments", "manager": "dana@example.com" },
        "reason": "fix_unavailable", "justification": "Vendor patch is due in January.",
        "compensating_controls": ["WAF rule 812"], "requested_due_date": "2037-01-31",
    });
    envelope(&format!("s-{number}"), "exception.submitted.v1", &data)
}

fn approval(number: usize) -> Message {
    let data = json!({
        "decision_id": format!("D-{number}"), "exception_id": format!("EX-{number:07}"), "decision": "approve",
        "reviewer": { "id": "alice@example.com" }, "comment": "Until the vendor ships.",
    });
    envelope(&format!("d-{number}"), "exception.decision.v1", &data)
}

/// User and system time of a process so far; the kernel counts hundredths of a second.
fn cpu_us(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) * 10_000.0
}

fn memory_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
