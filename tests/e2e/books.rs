//! The books: what came in, what the database holds and what went out must balance, whatever happened in between. Knows
//! the contract and the tables; uses none of the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::traffic::Traffic;

/// A durable queue that keeps everything the worker publishes, also over a crash of the broker.
const OBSERVER: &str = "observer";

/// Binds the observer. Call it before anything is published.
pub(crate) async fn observe(stage: &Stage) {
    let channel = Client::connect(stage).await.channel().await;
    let (queue, exchange) = (stage.object(OBSERVER), stage.object("exceptions.events"));
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let (queue, exchange) = (queue.as_str(), exchange.as_str());
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
}

/// Everything that was published, in order, copies and all.
pub(crate) async fn published(stage: &Stage) -> Vec<Value> {
    let channel = Client::connect(stage).await.channel().await;
    let queue = stage.object(OBSERVER);
    let mut events = Vec::new();
    while let Some(message) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap() {
        message.delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        let event: Value = serde_json::from_slice(&message.delivery.data).unwrap();
        let properties = &message.delivery.properties;
        assert_eq!(properties.message_id().as_ref().map(ToString::to_string), event["id"].as_str().map(str::to_owned));
        assert_eq!(message.delivery.routing_key.as_str(), event["type"].as_str().unwrap());
        crate::support::schemas::check(&event);
        events.push(event);
    }
    events
}

/// Waits until nothing is left to do: the inbox knows every event, nothing is parked, the outbox and the queues are empty.
pub(crate) async fn at_rest(stage: &Stage, events: usize, deadline: Duration) {
    let ends = tokio::time::Instant::now() + deadline;
    loop {
        let (inbox, parked, outbox) = counts(stage).await.unwrap_or_default();
        let client = Client::connect(stage).await;
        let queued =
            client.depth("exceptions.worker").await.unwrap() + client.depth("exceptions.worker.dead").await.unwrap();
        if inbox == events && parked == 0 && outbox == 0 && queued == 0 {
            return;
        }
        let state = format!("inbox {inbox} of {events}, parked {parked}, outbox {outbox}, queued {queued}");
        assert!(tokio::time::Instant::now() < ends, "not at rest within {} s: {state}", deadline.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn counts(stage: &Stage) -> Option<(usize, usize, usize)> {
    let sql = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM parked), (SELECT count(*) FROM outbox)";
    let row = sqlx::query(sql).fetch_one(&mut stage.connect().await).await.ok()?;
    let number = |at: usize| usize::try_from(row.get::<i64, _>(at)).unwrap();
    Some((number(0), number(1), number(2)))
}

/// Everything balances: states, history chains, outputs. The workers must have ended, so that nothing is unacknowledged.
pub(crate) async fn balance(stage: &Stage, traffic: &Traffic) {
    let client = Client::connect(stage).await;
    for queue in ["exceptions.worker", "exceptions.worker.dead", "exceptions.unrouted"] {
        assert_eq!(client.depth(queue).await, Some(0), "{queue}");
    }
    let mut connection = stage.connect().await;
    let failures: i64 = sqlx::query_scalar("SELECT count(*) FROM failures").fetch_one(&mut connection).await.unwrap();
    assert_eq!(failures, 0, "no healthy event is among the failures");
    states(stage, traffic).await;
    open_assignments(stage).await;
    tallies(stage).await;
    histories(stage).await;
    outputs(&published(stage).await, traffic);
}

async fn states(stage: &Stage, traffic: &Traffic) {
    let sql = "SELECT id, status, enforcement, revision, sequence FROM exceptions ORDER BY id";
    let rows = sqlx::query(sql).fetch_all(&mut stage.connect().await).await.unwrap();
    assert_eq!(rows.len(), traffic.ends.len(), "one row for each submission");
    for row in rows {
        let id: String = row.get(0);
        let end = traffic.ends[&id];
        let found: (String, String, i32, i32) = (row.get(1), row.get(2), row.get(3), row.get(4));
        assert_eq!(found, (end.status.to_owned(), end.enforcement.to_owned(), end.revision, end.events), "{id}");
    }
}

/// Each reviewer's count is that of the open requests, and nobody is missing.
pub(crate) async fn open_assignments(stage: &Stage) {
    let sql = "SELECT count(*) FROM reviewers AS r FULL JOIN (SELECT u.id, count(*) AS open FROM exceptions AS x \
               CROSS JOIN LATERAL unnest(x.reviewers) AS u (id) WHERE x.status IN ('requested', 'under_review') \
               GROUP BY u.id) AS counted USING (id) WHERE coalesce(r.open_assignments, 0) <> coalesce(counted.open, 0)";
    let wrong: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(wrong, 0, "counts that are not those of the open requests");
}

/// Each tally is what the migration would count now.
async fn tallies(stage: &Stage) {
    let migration = include_str!("../../migrations/postgres/0017_lookups.sql");
    let (_, statement) = migration.split_once("INSERT INTO tallies (kind, day, part, count)\n").unwrap();
    let counted = statement.split_once(';').unwrap().0;
    let sql = format!(
        "SELECT count(*) FROM tallies AS t FULL JOIN ({counted}) AS c (kind, day, part, count) USING (kind, day, part) \
         WHERE coalesce(t.count, 0) <> coalesce(c.count, 0)"
    );
    let wrong: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(wrong, 0, "tallies that are not those of the exceptions");
}

/// Recomputes every chain from the stored fields, by the form ARCHITECTURE.md gives.
async fn histories(stage: &Stage) {
    let sql = "SELECT e.id, e.entries, e.head, h.entry, \
        (extract(epoch FROM h.at) * 1000000)::bigint::text, h.kind, h.actor, h.actor_kind, coalesce(h.source, ''), \
        coalesce(h.event_id, ''), coalesce(h.event_type, ''), h.outcome, coalesce(h.code, ''), h.revision::text, h.body, h.hash \
        FROM exceptions e JOIN history h ON h.exception_key = e.key ORDER BY e.key, h.entry";
    let rows = sqlx::query(sql).fetch_all(&mut stage.connect().await).await.unwrap();
    let mut ends: BTreeMap<String, (i32, Vec<u8>)> = BTreeMap::new();
    for row in &rows {
        let (id, entry): (String, i32) = (row.get(0), row.get(3));
        let (last, previous) = ends.get(&id).cloned().unwrap_or((0, vec![0; 32]));
        assert_eq!(entry, last + 1, "{id}: entries without gap");
        let mut sha = Sha256::new().chain_update(&previous);
        for field in [id.clone(), entry.to_string()].into_iter().chain((4..15).map(|at| row.get::<String, _>(at))) {
            sha.update((field.len() as u64).to_be_bytes());
            sha.update(field);
        }
        let hash: Vec<u8> = row.get("hash");
        assert_eq!(sha.finalize().to_vec(), hash, "{id}: entry {entry}");
        ends.insert(id, (entry, hash));
    }
    for row in &rows {
        let (id, entries, head): (String, i32, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(ends[&id], (entries, head), "{id}: the row keeps the end of the chain");
    }
}

/// Every expected output, no other, every copy the same; `sequence` is 1..n.
pub(crate) fn outputs(events: &[Value], traffic: &Traffic) {
    let mut by_id: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        let first = by_id.entry(event["id"].as_str().unwrap()).or_insert(event);
        assert_eq!(*first, event, "every copy is the same");
    }
    let mut sequences: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    let mut deferrals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rejected: BTreeMap<&str, usize> = BTreeMap::new();
    for event in by_id.values() {
        let exception = event["data"]["exception_id"].as_str().unwrap();
        match event["sequence"].as_str() {
            Some(number) => assert!(sequences.entry(exception).or_default().insert(number.parse().unwrap())),
            None => *rejected.entry(exception).or_default() += 1,
        }
        *deferrals.entry(exception).or_default() += usize::from(event["type"] == "ticket.deferral_requested.v1");
    }
    for (id, end) in &traffic.ends {
        let id = id.as_str();
        let expected: BTreeSet<i32> = (1..=end.events).collect();
        assert_eq!(sequences.remove(id), Some(expected), "{id}");
        assert_eq!(deferrals[id], usize::from(end.status == "approved"), "{id}");
        assert_eq!(rejected.get(id).copied().unwrap_or_default(), end.refused, "{id}");
    }
    assert!(sequences.is_empty(), "events of nobody: {sequences:?}");
}
