//! Under load: clients that send again what was not answered, and a worker that ends at any moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::{Row, SqliteConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{SOON, data, end, folder, hand_in_at, open, setup};
use crate::books;
use crate::traffic::{End, Traffic};

/// Clients at a time.
const CLIENTS: usize = 4;
/// Events in one request.
const TOGETHER: usize = 5;
/// Kills in the ordinary run; `REPRIEVE_KILLS` asks for more.
const KILLS: usize = 12;
/// Longest life of a worker after it is ready, before it is killed.
const LIFE_MS_MAX: u64 = 250;

/// Killed at random moments, over and over: every client repeats what was not answered and nothing else. In the end everything is there
/// once, and every output stands once in the log.
pub(crate) async fn killed_under_load_nothing_answered_is_lost() {
    let kills = std::env::var("REPRIEVE_KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"));
    let folder = folder("killed");
    let setup = setup(&folder).env("RUST_LOG", "error");
    let load = Load::begin();
    for _ in 0..kills {
        let worker = setup.start();
        load.address.send_replace(Some(worker.address()));
        worker.wait_ready(SOON).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..LIFE_MS_MAX))).await;
        worker.kill9();
    }
    let worker = setup.start();
    load.address.send_replace(Some(worker.address()));
    let traffic = load.finish().await;
    end(&worker).await;
    println!("{kills} kills, {} events of {} exceptions", traffic.events, traffic.ends.len());
    balance(&data(&folder), &traffic).await;
}

/// What is being handed in when the word to stop comes is answered or was not taken; the next start takes the rest.
pub(crate) async fn sigterm_drains_what_was_handed_in() {
    let folder = folder("sigterm");
    let setup = setup(&folder);
    let load = Load::begin();
    for _ in 0..3 {
        let worker = setup.start();
        load.address.send_replace(Some(worker.address()));
        worker.wait_ready(SOON).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        end(&worker).await;
        assert!(worker.output().contains("drained"), "{}", worker.output());
    }
    let worker = setup.start();
    load.address.send_replace(Some(worker.address()));
    let traffic = load.finish().await;
    end(&worker).await;
    balance(&data(&folder), &traffic).await;
}

/// Clients that go on until they are told to finish.
struct Load {
    address: watch::Sender<Option<SocketAddr>>,
    finish: Arc<AtomicBool>,
    clients: JoinSet<Traffic>,
}

impl Load {
    fn begin() -> Self {
        let (address, at) = watch::channel(None);
        let finish = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(send(client, at.clone(), Arc::clone(&finish)));
        }
        Self { address, finish, clients }
    }

    async fn finish(mut self) -> Traffic {
        self.finish.store(true, Ordering::Relaxed);
        let mut all = Traffic::default();
        while let Some(sent) = self.clients.join_next().await {
            let sent = sent.expect("a client ends well");
            all.events += sent.events;
            all.ends.extend(sent.ends);
        }
        all
    }
}

/// One client: eight exceptions after eight, each request until it is answered.
async fn send(client: usize, at: watch::Receiver<Option<SocketAddr>>, finish: Arc<AtomicBool>) -> Traffic {
    let mut sent = Traffic::default();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0.. {
        let traffic = Traffic::mixed(&format!("c{client}r{round}n"), 8);
        let bodies: Vec<String> =
            traffic.messages.iter().map(|message| String::from_utf8(message.body.clone()).unwrap()).collect();
        for request in bodies.chunks(TOGETHER) {
            let request: Vec<&str> = request.iter().map(String::as_str).collect();
            for outcome in answered(&at, &request).await {
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
        sent.events += traffic.events;
        sent.ends.extend(traffic.ends);
        if finish.load(Ordering::Relaxed) {
            break;
        }
    }
    assert_eq!(outcomes.get("failed"), None, "{outcomes:?}");
    sent
}

async fn answered(at: &watch::Receiver<Option<SocketAddr>>, request: &[&str]) -> Vec<String> {
    loop {
        let address = *at.borrow();
        if let Some(address) = address
            && let Some(outcomes) = hand_in_at(address, request).await
        {
            return outcomes;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// States, histories and outputs are those that the traffic comes to, and nothing stands there twice.
async fn balance(file: &Path, traffic: &Traffic) {
    let mut connection = open(file).await;
    stand(&mut connection, traffic).await;
    let bodies: Vec<String> =
        sqlx::query_scalar("SELECT body FROM log ORDER BY id").fetch_all(&mut connection).await.unwrap();
    let events: Vec<Value> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let distinct: std::collections::BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(distinct.len(), events.len(), "every output stands in the log once");
    books::outputs(&events, traffic);
}

/// Everything but the outputs.
pub(super) async fn stand(connection: &mut SqliteConnection, traffic: &Traffic) {
    for (table, expected) in [("inbox", traffic.events), ("parked", 0), ("outbox", 0), ("failures", 0), ("attempts", 0)]
    {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(usize::try_from(found).unwrap(), expected, "{table}");
    }
    let sql = "SELECT id, status, enforcement, revision, sequence, entries FROM exceptions";
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await.unwrap();
    assert_eq!(rows.len(), traffic.ends.len(), "one row for each submission");
    for row in rows {
        let id: String = row.get(0);
        let End { status, enforcement, revision, events, .. } = traffic.ends[&id];
        let found: (String, String, i32, i32) = (row.get(1), row.get(2), row.get(3), row.get(4));
        assert_eq!(found, (status.to_owned(), enforcement.to_owned(), revision, events), "{id}");
    }
    let sql = "SELECT count(*) FROM exceptions x WHERE x.entries <> (SELECT count(*) FROM history WHERE exception_key = x.key)";
    let torn: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(torn, 0, "histories with another length than their exception says");
    let intact: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(intact, "ok");
}
