//! Conservation: whatever comes in, in whatever state, ends in exactly one outcome, also when the worker is killed on the way.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::support::amqp::Client;
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::RULES;

/// Published at a time.
const CHUNK: usize = 500;
const SOON: Duration = Duration::from_secs(20);
/// The worker drains within its own deadline.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Nothing more comes when nothing came for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Where nothing may be left.
const QUEUES: [&str; 3] = ["exceptions.worker", "exceptions.worker.dead", "exceptions.unrouted"];

/// What somebody might lose or break, in SQL, and the line that has to differ then.
const TAMPERED: [(&str, &str); 6] = [
    (
        "DELETE FROM inbox WHERE key = (SELECT min(key::text)::uuid FROM inbox WHERE outcome = 'applied')",
        "events: applied",
    ),
    ("UPDATE inbox SET outcome = 'parked', code = NULL WHERE outcome = 'refused'", "events: others"),
    ("UPDATE failures SET body = body || '\\x20' WHERE reason = 'too_deep'", "failures with the bytes they came with"),
    ("UPDATE failures SET reason = 'schema' WHERE reason = 'too_deep'", "failures with another reason"),
    ("DELETE FROM exceptions WHERE status = 'denied'", "exceptions: denied"),
    ("INSERT INTO outbox (free_at, created_at, body) VALUES (now(), now(), '{}')", "left in outbox"),
];

/// Most of its time are the 15 s until the rows that the killed worker had in hand are free.
pub(crate) async fn three_thousand_events_balance_over_a_kill() {
    let stage = Stage::shared("conservation").await;
    let ledger = Ledger::new(3_000, 1);
    let books = play(&stage, &ledger, Duration::from_secs(60)).await;
    assert_eq!(differing(&books.lines), Vec::<&str>::new(), "expected and found differ");
    assert!(books.lines.len() >= 25 && books.time < Duration::from_secs(60), "{} lines", books.lines.len());
    // Books that cannot be wrong prove nothing.
    let mut connection = stage.connect().await;
    for (sql, line) in TAMPERED {
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        let lines = balance(&stage, &mut connection, &ledger, &books.outputs).await;
        assert!(differing(&lines).contains(&line), "{sql}: nobody notices");
        sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
    }
    let mut outputs = books.outputs;
    outputs.types.insert("notification.reviewer.v1".to_owned(), 1);
    let lines = balance(&stage, &mut connection, &ledger, &outputs).await;
    assert_eq!(differing(&lines), ["outgoing: notification.reviewer.v1", "outgoing: all"]);
}

fn differing(lines: &[Line]) -> Vec<&str> {
    lines.iter().filter(|line| line.expected != line.found).map(|line| line.name.as_str()).collect()
}

/// One line of the books.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) expected: usize,
    pub(crate) found: usize,
}

/// The books at the end.
pub(crate) struct Books {
    pub(crate) lines: Vec<Line>,
    /// From the first publish until rest.
    pub(crate) time: Duration,
    pub(crate) outputs: Outputs,
}

/// Publishes while a worker runs, kills it under load in the middle, starts it anew, and counts when all is done.
pub(crate) async fn play(stage: &Stage, ledger: &Ledger, time_max: Duration) -> Books {
    let setup: WorkerSetup = stage.worker().rules(RULES).env("RUST_LOG", "error");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(stage).await;
    let (end, ended) = oneshot::channel();
    let collector = collect(stage, &client, ended).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let begun = Instant::now();
    let middle = ledger.messages.len() / 2 / CHUNK * CHUNK;
    for messages in ledger.messages[..middle].chunks(CHUNK) {
        client.publish(messages).await;
    }
    worker.kill9();
    // What it had in hand comes back: it was in the middle of it.
    let in_hand = async || client.depth(QUEUES[0]).await.filter(|depth| *depth > 0);
    eventually("what the killed worker had in hand", SOON, in_hand).await;
    let worker = setup.start();
    for messages in ledger.messages[middle..].chunks(CHUNK) {
        client.publish(messages).await;
    }
    let mut connection = stage.connect().await;
    rest(&client, &mut connection, ledger, begun + time_max).await;
    let time = begun.elapsed();
    worker.sigterm();
    assert!(worker.wait_exit(STOP_MAX).await.success(), "SIGTERM drains");
    end.send(()).expect("the collector listens");
    let outputs = collector.await.expect("the collector counts");
    let lines = balance(stage, &mut connection, ledger, &outputs).await;
    Books { lines, time, outputs }
}

/// What is there, beside what has to be. The workers must have ended: then what they had not acknowledged is in the queues.
async fn balance(stage: &Stage, connection: &mut PgConnection, ledger: &Ledger, outputs: &Outputs) -> Vec<Line> {
    let client = Client::connect(stage).await;
    let mut lines = Vec::new();
    let mut line = |name: String, expected, found| lines.push(Line { name, expected, found });
    for queue in QUEUES {
        line(format!("left in {queue}"), 0, client.depth(queue).await.map_or(usize::MAX, |depth| depth as usize));
    }
    for table in ["outbox", "parked"] {
        line(format!("left in {table}"), 0, number(connection, &format!("SELECT count(*) FROM {table}")).await);
    }
    grouped(&mut line, "events", &ledger.outcomes, groups(connection, "outcome", "inbox").await);
    grouped(&mut line, "exceptions", &ledger.statuses, groups(connection, "status", "exceptions").await);
    grouped(&mut line, "outgoing", &ledger.outputs, outputs.types.clone());
    failures(&mut line, ledger, connection).await;
    line("outgoing whose copies differ".to_owned(), 0, outputs.torn);
    line("exceptions with a gap in their sequence".to_owned(), 0, outputs.gaps);
    lines
}

fn grouped(
    line: &mut impl FnMut(String, usize, usize),
    what: &str,
    expected: &BTreeMap<&'static str, usize>,
    found: BTreeMap<String, usize>,
) {
    let mut found = found;
    let total = (expected.values().sum(), found.values().sum());
    for (name, count) in expected {
        line(format!("{what}: {name}"), *count, found.remove(*name).unwrap_or_default());
    }
    line(format!("{what}: others"), 0, found.values().sum());
    line(format!("{what}: all"), total.0, total.1);
}

/// Every failure has the bytes it came with, for the reason that was expected, and no healthy event is among them.
async fn failures(line: &mut impl FnMut(String, usize, usize), ledger: &Ledger, connection: &mut PgConnection) {
    let rows =
        sqlx::query("SELECT body, reason FROM failures").fetch_all(connection).await.expect("the table is there");
    let (mut healthy, mut other, mut found) = (0, 0, HashMap::new());
    for row in &rows {
        let hash: [u8; 32] = Sha256::digest(row.get::<Vec<u8>, _>(0)).into();
        let reason: String = row.get(1);
        match ledger.failures.get(&hash) {
            None => healthy += 1,
            // Of two that are in conflict the one that comes second is told so, whichever it is.
            Some(expected) => {
                let pair = ["id_conflict", "unknown_type"];
                other += usize::from(reason != *expected && !(pair.contains(expected) && pair.contains(&&*reason)));
                *found.entry(hash).or_insert(0) += 1;
            }
        }
    }
    line("failures with the bytes they came with".to_owned(), ledger.failures.len(), found.len());
    line("failures: all".to_owned(), ledger.failures.len(), rows.len());
    line("failures of healthy events".to_owned(), 0, healthy);
    line("failures with another reason".to_owned(), 0, other);
}

async fn rest(client: &Client, connection: &mut PgConnection, ledger: &Ledger, ends: Instant) {
    loop {
        let inbox = number(connection, "SELECT count(*) FROM inbox").await;
        let left = number(connection, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM parked)").await;
        let queued = client.depth(QUEUES[0]).await.unwrap_or(u32::MAX);
        if inbox >= ledger.distinct() && left == 0 && queued == 0 {
            return;
        }
        let (at, of) = (Instant::now(), ledger.distinct());
        assert!(at < ends, "not at rest: {inbox} of {of} events, {left} in outbox and parked, {queued} queued");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn number(connection: &mut PgConnection, sql: &str) -> usize {
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await.expect("a count");
    usize::try_from(count).expect("a count")
}

async fn groups(connection: &mut PgConnection, column: &str, table: &str) -> BTreeMap<String, usize> {
    let sql = format!("SELECT {column}, count(*) FROM {table} GROUP BY 1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await.expect("the table is there");
    rows.iter().map(|row| (row.get(0), usize::try_from(row.get::<i64, _>(1)).expect("a count"))).collect()
}

/// What came out.
#[derive(Default)]
pub(crate) struct Outputs {
    types: BTreeMap<String, usize>,
    /// Outgoing events that came a second time, which is allowed.
    pub(crate) copies: usize,
    torn: usize,
    gaps: usize,
}

/// Counts everything the worker publishes from now on, each id once, until after the end it has been quiet.
async fn collect(stage: &Stage, client: &Client, mut ended: oneshot::Receiver<()>) -> JoinHandle<Outputs> {
    let channel = client.channel().await;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("an exclusive queue");
    let name = queue.name().clone();
    let exchange = stage.object("exceptions.events");
    let (binding, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.clone(), exchange.as_str().into(), "#".into(), binding, arguments).await.expect("bound");
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await.expect("ours");
    tokio::spawn(async move {
        let _open = channel;
        let mut outputs = Outputs::default();
        let mut bodies: HashMap<String, [u8; 32]> = HashMap::new();
        let mut sequences: HashMap<String, (usize, usize)> = HashMap::new();
        let mut quiet = Duration::MAX;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(quiet, consumer.next()) => next,
                _ = &mut ended, if quiet == Duration::MAX => {
                    quiet = QUIET;
                    continue;
                }
            };
            let Ok(Some(delivery)) = next else { break };
            let delivery = delivery.expect("the connection is open");
            let event: Value = serde_json::from_slice(&delivery.data).expect("the worker publishes JSON");
            let hash: [u8; 32] = Sha256::digest(&delivery.data).into();
            let id = event["id"].as_str().expect("an id").to_owned();
            if let Some(first) = bodies.insert(id, hash) {
                outputs.copies += 1;
                outputs.torn += usize::from(first != hash);
                continue;
            }
            *outputs.types.entry(delivery.routing_key.to_string()).or_default() += 1;
            if let Some(sequence) = event["sequence"].as_str() {
                let about = event["data"]["exception_id"].as_str().expect("about an exception").to_owned();
                let (count, last) = sequences.entry(about).or_default();
                *count += 1;
                *last = sequence.parse::<usize>().expect("a number").max(*last);
            }
        }
        outputs.gaps = sequences.values().filter(|(count, last)| count != last).count();
        outputs
    })
}
