//! The peer: what a team would write in an afternoon. 16 handlers; each takes one message, opens a transaction, locks the
//! exception's row, decides with the same plan, writes the same tables, commits, publishes with confirms, clears the outbox,
//! acknowledges. No batches, no overlap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reprieve::broker::{Delivery, Properties};
use reprieve::contract::outbound::Voice;
use reprieve::domain::dates::{Timestamp, to_microseconds};
use reprieve::domain::exception::Exception;
use reprieve::domain::history::Chain;
use reprieve::domain::ids::{ExceptionId, TicketId};
use reprieve::domain::rules::RuleSet;
use reprieve::domain::ticket::Ticket;
use reprieve::store::document::{self, Beside};
use reprieve::store::{Changes, Seen, Snapshot};
use reprieve::worker::input::{Input, wanted};
use reprieve::worker::plan::{Settled, Terms, plan};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

const HANDLERS: u16 = 16;

pub(crate) async fn run(amqp_url: String, database_url: String, prefix: String) {
    let options: PgConnectOptions = database_url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(HANDLERS.into()).connect_with(options).await.unwrap();
    let rules = Arc::new(RuleSet::parse(super::RULES).unwrap());
    let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(HANDLERS, BasicQosOptions::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let queue = format!("{prefix}exceptions.worker");
    let consumer = channel.basic_consume(
        queue.as_str().into(),
        "peer".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let exchange = format!("{prefix}exceptions.events");
    let deliveries = consumer.await.unwrap();
    let (pool, rules, channel, exchange) = (&pool, &rules, &channel, exchange.as_str());
    deliveries
        .for_each_concurrent(usize::from(HANDLERS), |delivery| async move {
            let delivery = delivery.unwrap();
            let content_type = delivery.properties.content_type().as_ref().map(ToString::to_string);
            let properties = Properties { content_type, ..Properties::default() };
            let outgoing =
                handle(pool, rules, Delivery { properties, body: delivery.data, earlier_deliveries: 0 }).await;
            publish(channel, exchange, &outgoing).await;
            let ids: Vec<i64> = outgoing.iter().map(|(id, _)| *id).collect();
            sqlx::query("DELETE FROM outbox WHERE id = ANY($1)").bind(ids).execute(pool).await.unwrap();
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await.unwrap();
        })
        .await;
}

async fn publish(channel: &Channel, exchange: &str, outgoing: &[(i64, String)]) {
    let confirms = join_all(outgoing.iter().map(async |(_, body)| {
        let envelope: serde_json::Value = serde_json::from_str(body).unwrap();
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/cloudevents+json".into());
        let key = envelope["type"].as_str().unwrap();
        channel
            .basic_publish(exchange.into(), key.into(), BasicPublishOptions::default(), body.as_bytes(), properties)
            .await
            .unwrap()
            .await
    }));
    for confirm in confirms.await {
        assert!(confirm.unwrap().is_ack());
    }
}

/// One message in one transaction.
async fn handle(pool: &PgPool, rules: &RuleSet, delivery: Delivery) -> Vec<(i64, String)> {
    let inputs = [Input::of(delivery, None)];
    let mut transaction = pool.begin().await.unwrap();
    let snapshot = read(&mut transaction, &inputs).await;
    let now: Timestamp = to_microseconds(chrono::Utc::now());
    let terms = Terms {
        rules,
        voice: Voice { source: "urn:reprieve", link: "", now },
        held: true,
        parking_ttl: Duration::from_hours(24),
        parking_max: 100_000,
        store_rule_set: false,
        parked_blamed: None,
    };
    let changes = plan(&inputs, &Settled::default(), &terms, snapshot);
    let outgoing = write(&mut transaction, &changes).await;
    transaction.commit().await.unwrap();
    outgoing
}

async fn read(connection: &mut PgConnection, inputs: &[Input]) -> Snapshot {
    let wanted = wanted(inputs);
    let mut snapshot = Snapshot { database_time: chrono::Utc::now(), ..Snapshot::default() };
    for key in wanted.events.keys() {
        let sql = "SELECT digest FROM inbox WHERE key = $1";
        if let Some(row) =
            sqlx::query(sql).bind(Uuid::from_bytes(key.0)).fetch_optional(&mut *connection).await.unwrap()
        {
            let digest = reprieve::domain::ids::Digest(row.get::<Uuid, _>(0).into_bytes());
            snapshot.seen.insert(*key, Seen { digest, failed: false, conflicts: std::collections::BTreeSet::new() });
        }
    }
    let sql =
        "SELECT id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = $1 FOR UPDATE";
    for id in &wanted.exceptions {
        if let Some(row) = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut *connection).await.unwrap() {
            let exception = exception(&row);
            snapshot.exceptions.insert(id.clone(), exception);
        }
    }
    let mut tickets = wanted.tickets;
    tickets.extend(snapshot.exceptions.values().map(|exception| exception.ticket_id.clone()));
    let sql = "SELECT earliest_due_date, approved, last_event_at FROM tickets WHERE id = $1 FOR UPDATE";
    for id in tickets {
        if let Some(row) = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut *connection).await.unwrap() {
            let approved = u32::try_from(row.get::<i32, _>(1)).unwrap();
            let ticket = Ticket { id: id.clone(), earliest_due_date: row.get(0), approved, last_event_at: row.get(2) };
            snapshot.tickets.insert(id, ticket);
        }
    }
    snapshot
}

fn exception(row: &sqlx::postgres::PgRow) -> Exception {
    let number = |at: usize| u32::try_from(row.get::<i32, _>(at)).unwrap();
    let beside = Beside {
        id: ExceptionId::parse(row.get(0)).unwrap(),
        ticket_id: TicketId::parse(row.get(1)).unwrap(),
        revision: number(2),
        sequence: number(3),
        chain: Chain { entries: number(4), head: row.get::<Vec<u8>, _>(5).try_into().unwrap() },
    };
    document::read(row.get(6), beside).unwrap()
}

async fn write(connection: &mut PgConnection, changes: &Changes) -> Vec<(i64, String)> {
    let mut keys = BTreeMap::new();
    for exception in &changes.exceptions {
        keys.insert(exception.id.clone(), write_exception(connection, exception).await);
    }
    for row in &changes.inbox {
        let sql = "INSERT INTO inbox (key, ring, digest, outcome) VALUES ($1, 0, $2, 'applied')";
        sqlx::query(sql)
            .bind(Uuid::from_bytes(row.key.0))
            .bind(Uuid::from_bytes(row.digest.0))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    for ticket in &changes.tickets {
        let sql = "INSERT INTO tickets (id, earliest_due_date, approved) VALUES ($1, $2, $3) \
            ON CONFLICT (id) DO UPDATE SET earliest_due_date = $2, approved = $3";
        let query = sqlx::query(sql).bind(ticket.id.as_str()).bind(ticket.earliest_due_date);
        query.bind(i32::try_from(ticket.approved).unwrap()).execute(&mut *connection).await.unwrap();
    }
    for entry in &changes.history {
        let sql = "INSERT INTO history (exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, revision, body, hash) \
            VALUES ($1, $2, $3, $4, $5, 'user', $6, $7, $8, 'applied', $9, $10, $11)";
        let (happening, event) = (&entry.happening, entry.happening.event.as_ref().unwrap());
        let query = sqlx::query(sql)
            .bind(keys[&entry.exception_id])
            .bind(i32::try_from(entry.number).unwrap())
            .bind(happening.at);
        let query = query
            .bind(happening.kind)
            .bind(&happening.actor.id)
            .bind(&event.source)
            .bind(&event.id)
            .bind(&event.event_type);
        let query =
            query.bind(i32::try_from(happening.revision).unwrap()).bind(&happening.body).bind(entry.hash.to_vec());
        query.execute(&mut *connection).await.unwrap();
    }
    let mut outgoing = Vec::new();
    for body in &changes.outbox {
        let sql =
            "INSERT INTO outbox (free_at, created_at, body) VALUES (now() + interval '15 s', now(), $1) RETURNING id";
        let id = sqlx::query_scalar(sql).bind(body).fetch_one(&mut *connection).await.unwrap();
        outgoing.push((id, body.clone()));
    }
    outgoing
}

async fn write_exception(connection: &mut PgConnection, exception: &Exception) -> i64 {
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let sql = "INSERT INTO exceptions (id, ticket_id, status, enforcement, severity, requester, reviewers, approvers, requested_due_date, \
        approved_due_date, revision, sequence, entries, head, decided_at, created_at, updated_at, document) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
        ON CONFLICT (id) DO UPDATE SET status = $3, enforcement = $4, reviewers = $7, approvers = $8, approved_due_date = $10, revision = $11, \
        sequence = $12, entries = $13, head = $14, decided_at = $15, updated_at = $17, document = $18 RETURNING key";
    let people =
        |ids: Vec<&reprieve::domain::ids::UserId>| ids.into_iter().map(ToString::to_string).collect::<Vec<String>>();
    let reviewers = if exception.is_open() { exception.level.reviewers.iter().collect() } else { Vec::new() };
    let number = |value: u32| i32::try_from(value).unwrap();
    sqlx::query_scalar(sql)
        .bind(exception.id.as_str())
        .bind(exception.ticket_id.as_str())
        .bind(word(serde_json::to_value(exception.status).unwrap()))
        .bind(word(serde_json::to_value(exception.enforcement).unwrap()))
        .bind(&exception.request.severity)
        .bind(exception.request.requester.as_str())
        .bind(people(reviewers))
        .bind(people(exception.votes.iter().map(|vote| &vote.reviewer).collect()))
        .bind(exception.request.requested_due_date)
        .bind(exception.approved_due_date)
        .bind(number(exception.revision))
        .bind(number(exception.sequence))
        .bind(number(exception.chain.entries))
        .bind(exception.chain.head.to_vec())
        .bind(exception.decided_at)
        .bind(exception.created_at)
        .bind(exception.updated_at)
        .bind(document::write(exception).unwrap())
        .fetch_one(connection)
        .await
        .unwrap()
}
