//! What a turn writes, each table with one statement, and skipped when there is nothing for it.

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::read::Keys;
use super::{TurnError, unreadable};
use crate::contract::message::Outgoing;
use crate::domain::dates::Timestamp;
use crate::domain::exception::Exception;
use crate::domain::history::Entry;
use crate::domain::ids::{ExceptionId, UserId};
use crate::store::document;
use crate::store::{Changes, EventKey, Failure, InboxRow, NewParked, Outcome};

const INSERT_EXCEPTIONS: &str = "INSERT INTO exceptions (id, ticket_id, status, enforcement, severity, requester, reviewers, \
    approvers, requested_due_date, approved_due_date, revision, sequence, entries, head, due_at, decided_at, created_at, updated_at, document) \
    SELECT id, ticket_id, status, enforcement, severity, requester, string_to_array(reviewers, ' '), string_to_array(approvers, ' '), \
    requested_due_date, approved_due_date, revision, sequence, entries, head, due_at, decided_at, created_at, updated_at, document \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::date[], \
    $10::date[], $11::integer[], $12::integer[], $13::integer[], $14::bytea[], $15::timestamptz[], $16::timestamptz[], \
    $17::timestamptz[], $18::timestamptz[], $19::text[]) \
    AS n (id, ticket_id, status, enforcement, severity, requester, reviewers, approvers, requested_due_date, approved_due_date, \
    revision, sequence, entries, head, due_at, decided_at, created_at, updated_at, document) \
    RETURNING id, key";
const UPDATE_EXCEPTIONS: &str = "UPDATE exceptions AS e SET status = n.status, enforcement = n.enforcement, severity = n.severity, \
    reviewers = string_to_array(n.reviewers, ' '), approvers = string_to_array(n.approvers, ' '), \
    requested_due_date = n.requested_due_date, approved_due_date = n.approved_due_date, revision = n.revision, sequence = n.sequence, \
    entries = n.entries, head = n.head, due_at = n.due_at, decided_at = n.decided_at, updated_at = n.updated_at, document = n.document \
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::date[], $9::integer[], \
    $10::integer[], $11::integer[], $12::bytea[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[], $16::text[]) \
    AS n (key, status, enforcement, severity, reviewers, approvers, requested_due_date, approved_due_date, revision, sequence, \
    entries, head, due_at, decided_at, updated_at, document) WHERE e.key = n.key";
const UPSERT_TICKETS: &str = "INSERT INTO tickets (id, earliest_due_date, approved, last_event_at) \
    SELECT id, earliest_due_date, approved, last_event_at \
    FROM unnest($1::text[], $2::date[], $3::integer[], $4::timestamptz[]) AS n (id, earliest_due_date, approved, last_event_at) \
    ON CONFLICT (id) DO UPDATE SET earliest_due_date = excluded.earliest_due_date, approved = excluded.approved, \
    last_event_at = excluded.last_event_at";
const INSERT_HISTORY: &str = "INSERT INTO history (exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, \
    outcome, code, revision, body, hash) \
    SELECT exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash \
    FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], \
    $10::text[], $11::text[], $12::integer[], $13::text[], $14::bytea[]) \
    AS n (exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash)";
const INSERT_INBOX: &str = "INSERT INTO inbox (key, ring, digest, outcome, code) SELECT key, $2, digest, outcome, code \
    FROM unnest($1::uuid[], $3::uuid[], $4::text[], $5::text[]) AS n (key, digest, outcome, code)";
const UPDATE_INBOX: &str = "UPDATE inbox AS i SET outcome = n.outcome, code = n.code \
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (key, outcome, code) WHERE i.key = n.key";
const INSERT_OUTBOX: &str = "INSERT INTO outbox (free_at, created_at, body) \
    SELECT now() + make_interval(secs => $2), now(), n.body FROM unnest($1::text[]) WITH ORDINALITY AS n (body, place) ORDER BY n.place \
    RETURNING id";
const DELETE_CONFIRMED: &str = "DELETE FROM outbox WHERE id = ANY($1)";
/// Tried again after 2, 4, 8, 16, then every 30 seconds: never further ahead than a term that counts.
const POSTPONE_UNROUTABLE: &str = "UPDATE outbox SET unroutable = true, attempts = attempts + 1, \
    free_at = now() + make_interval(secs => least(30, power(2, least(attempts + 1, 5)))) WHERE id = ANY($1)";
const INSERT_PARKED: &str = "INSERT INTO parked (exception_id, event_key, parked_at, expires_at, properties, body) \
    SELECT exception_id, event_key, parked_at, expires_at, properties, body \
    FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bytea[]) \
    WITH ORDINALITY AS n (exception_id, event_key, parked_at, expires_at, properties, body, place) ORDER BY n.place";
const DELETE_PARKED: &str = "DELETE FROM parked WHERE id = ANY($1)";
const INSERT_FAILURES: &str = "INSERT INTO failures (id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, \
    exception_id, received_at, properties, body) \
    SELECT id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, received_at, properties, body \
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], \
    $11::timestamptz[], $12::text[], $13::bytea[]) \
    AS n (id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, received_at, properties, body) \
    ON CONFLICT DO NOTHING";
const INSERT_RULE_SET: &str = "INSERT INTO rule_sets (hash, version, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const RING_EPOCH: &str = "SELECT epoch FROM inbox_rings WHERE ring = $1";
const SET_RING_EPOCH: &str = "UPDATE inbox_rings SET epoch = $2 WHERE ring = $1";
const TRUNCATE_RING: [&str; 4] = ["TRUNCATE inbox_0", "TRUNCATE inbox_1", "TRUNCATE inbox_2", "TRUNCATE inbox_3"];

/// The statements of this file, by name: a test prepares each and looks at its plan.
pub(super) const STATEMENTS: [(&str, &str); 15] = [
    ("insert exceptions", INSERT_EXCEPTIONS),
    ("update exceptions", UPDATE_EXCEPTIONS),
    ("upsert tickets", UPSERT_TICKETS),
    ("insert history", INSERT_HISTORY),
    ("insert inbox", INSERT_INBOX),
    ("update inbox", UPDATE_INBOX),
    ("insert outbox", INSERT_OUTBOX),
    ("delete confirmed", DELETE_CONFIRMED),
    ("postpone unroutable", POSTPONE_UNROUTABLE),
    ("insert parked", INSERT_PARKED),
    ("delete parked", DELETE_PARKED),
    ("insert failures", INSERT_FAILURES),
    ("insert rule set", INSERT_RULE_SET),
    ("ring epoch", RING_EPOCH),
    ("set ring epoch", SET_RING_EPOCH),
];

/// Days an inbox ring takes; four of them keep at least 45 days, the product needs 30.
const RING_DAYS: i64 = 15;
/// How long a row that this instance publishes itself stays with it (`worker::publish::HOLD`).
const HOLD_SECONDS: f64 = 15.0;

/// The epoch of the inbox at this time. One that is entered for the first time empties what its ring held 60 days ago.
pub(super) async fn enter_ring(
    connection: &mut PgConnection,
    now: Timestamp,
    known: Option<i64>,
) -> Result<i64, TurnError> {
    let epoch = now.timestamp().div_euclid(86_400).div_euclid(RING_DAYS);
    if known == Some(epoch) {
        return Ok(epoch);
    }
    let ring = ring(epoch);
    let held: i64 = sqlx::query_scalar(RING_EPOCH).bind(ring).fetch_one(&mut *connection).await?;
    if held < epoch {
        let truncate = usize::try_from(ring).ok().and_then(|ring| TRUNCATE_RING.get(ring)).copied();
        sqlx::raw_sql(truncate.unwrap_or_default()).execute(&mut *connection).await?;
        sqlx::query(SET_RING_EPOCH).bind(ring).bind(epoch).execute(connection).await?;
    }
    Ok(epoch)
}

fn ring(epoch: i64) -> i16 {
    i16::try_from(epoch.rem_euclid(4)).unwrap_or_default()
}

/// Writes all changes; returns the new outgoing events with their ids, in their order.
pub(super) async fn changes(
    connection: &mut PgConnection,
    changes: &Changes,
    mut keys: Keys,
    epoch: i64,
) -> Result<Vec<Outgoing>, TurnError> {
    write_exceptions(connection, &changes.exceptions, &mut keys).await?;
    write_tickets(connection, changes).await?;
    write_history(connection, &changes.history, &keys).await?;
    write_inbox(connection, &changes.inbox, ring(epoch)).await?;
    update_inbox(connection, &changes.ended).await?;
    write_set_aside(connection, changes).await?;
    if let Some(rules) = &changes.rule_set {
        let query = sqlx::query(INSERT_RULE_SET).bind(&rules.hash).bind(&rules.version).bind(&rules.body);
        query.execute(&mut *connection).await?;
    }
    if !changes.confirmed.is_empty() {
        sqlx::query(DELETE_CONFIRMED).bind(&changes.confirmed).execute(&mut *connection).await?;
    }
    if !changes.unroutable.is_empty() {
        sqlx::query(POSTPONE_UNROUTABLE).bind(&changes.unroutable).execute(&mut *connection).await?;
    }
    write_outbox(connection, changes).await
}

async fn write_exceptions(connection: &mut PgConnection, all: &[Exception], keys: &mut Keys) -> Result<(), TurnError> {
    let (known, new): (Vec<&Exception>, Vec<&Exception>) = all.iter().partition(|e| keys.contains_key(&e.id));
    if !known.is_empty() {
        let known_keys: Vec<i64> = known.iter().filter_map(|e| keys.get(&e.id).copied()).collect();
        let query = sqlx::query(UPDATE_EXCEPTIONS)
            .bind(known_keys)
            .bind(each(&known, |e| word(&e.status)))
            .bind(each(&known, |e| word(&e.enforcement)))
            .bind(each(&known, |e| e.request.severity.clone()))
            .bind(each(&known, reviewers))
            .bind(each(&known, approvers))
            .bind(each(&known, |e| e.request.requested_due_date))
            .bind(each(&known, |e| e.approved_due_date))
            .bind(each(&known, |e| integer(e.revision)))
            .bind(each(&known, |e| integer(e.sequence)))
            .bind(each(&known, |e| integer(e.chain.entries)))
            .bind(each(&known, |e| e.chain.head.to_vec()))
            .bind(each(&known, |e| e.due_at()))
            .bind(each(&known, |e| e.decided_at))
            .bind(each(&known, |e| e.updated_at))
            .bind(each(&known, |e| document::write(e)));
        query.execute(&mut *connection).await?;
    }
    if new.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(INSERT_EXCEPTIONS)
        .bind(each(&new, |e| e.id.to_string()))
        .bind(each(&new, |e| e.ticket_id.to_string()))
        .bind(each(&new, |e| word(&e.status)))
        .bind(each(&new, |e| word(&e.enforcement)))
        .bind(each(&new, |e| e.request.severity.clone()))
        .bind(each(&new, |e| e.request.requester.to_string()))
        .bind(each(&new, reviewers))
        .bind(each(&new, approvers))
        .bind(each(&new, |e| e.request.requested_due_date))
        .bind(each(&new, |e| e.approved_due_date))
        .bind(each(&new, |e| integer(e.revision)))
        .bind(each(&new, |e| integer(e.sequence)))
        .bind(each(&new, |e| integer(e.chain.entries)))
        .bind(each(&new, |e| e.chain.head.to_vec()))
        .bind(each(&new, |e| e.due_at()))
        .bind(each(&new, |e| e.decided_at))
        .bind(each(&new, |e| e.created_at))
        .bind(each(&new, |e| e.updated_at))
        .bind(each(&new, |e| document::write(e)));
    for row in query.fetch_all(connection).await? {
        let id: &str = row.try_get("id")?;
        keys.insert(ExceptionId::parse(id).map_err(|error| unreadable(id, error))?, row.try_get("key")?);
    }
    Ok(())
}

async fn write_tickets(connection: &mut PgConnection, changes: &Changes) -> Result<(), TurnError> {
    let tickets: Vec<_> = changes.tickets.iter().collect();
    if tickets.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(UPSERT_TICKETS)
        .bind(each(&tickets, |t| t.id.to_string()))
        .bind(each(&tickets, |t| t.earliest_due_date))
        .bind(each(&tickets, |t| integer(t.approved)))
        .bind(each(&tickets, |t| t.last_event_at));
    query.execute(connection).await?;
    Ok(())
}

async fn write_history(connection: &mut PgConnection, entries: &[Entry], keys: &Keys) -> Result<(), TurnError> {
    let entries: Vec<&Entry> = entries.iter().collect();
    if entries.is_empty() {
        return Ok(());
    }
    let key = |entry: &&Entry| {
        keys.get(&entry.exception_id).copied().ok_or_else(|| unreadable(entry.exception_id.as_str(), "no row"))
    };
    let event = |pick: fn(&crate::domain::history::EventRef) -> &String| {
        each(&entries, |e| e.happening.event.as_ref().map(pick).cloned())
    };
    let query = sqlx::query(INSERT_HISTORY)
        .bind(entries.iter().map(key).collect::<Result<Vec<i64>, _>>()?)
        .bind(each(&entries, |e| integer(e.number)))
        .bind(each(&entries, |e| e.happening.at))
        .bind(each(&entries, |e| e.happening.kind))
        .bind(each(&entries, |e| e.happening.actor.id.clone()))
        .bind(each(&entries, |e| e.happening.actor.kind.word()))
        .bind(event(|event| &event.source))
        .bind(event(|event| &event.id))
        .bind(event(|event| &event.event_type))
        .bind(each(&entries, |e| e.happening.outcome.word()))
        .bind(each(&entries, |e| e.happening.code))
        .bind(each(&entries, |e| integer(e.happening.revision)))
        .bind(each(&entries, |e| e.happening.body.clone()))
        .bind(each(&entries, |e| e.hash.to_vec()));
    query.execute(connection).await?;
    Ok(())
}

async fn write_inbox(connection: &mut PgConnection, rows: &[InboxRow], ring: i16) -> Result<(), TurnError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&InboxRow> = rows.iter().collect();
    rows.sort_by_key(|row| row.key);
    let query = sqlx::query(INSERT_INBOX)
        .bind(each(&rows, |row| Uuid::from_bytes(row.key.0)))
        .bind(ring)
        .bind(each(&rows, |row| Uuid::from_bytes(row.digest.0)))
        .bind(each(&rows, |row| outcome(row.outcome).0))
        .bind(each(&rows, |row| outcome(row.outcome).1));
    query.execute(connection).await?;
    Ok(())
}

async fn update_inbox(connection: &mut PgConnection, ended: &[(EventKey, Outcome)]) -> Result<(), TurnError> {
    if ended.is_empty() {
        return Ok(());
    }
    let ended: Vec<&(EventKey, Outcome)> = ended.iter().collect();
    let query = sqlx::query(UPDATE_INBOX)
        .bind(each(&ended, |(key, _)| Uuid::from_bytes(key.0)))
        .bind(each(&ended, |(_, end)| outcome(*end).0))
        .bind(each(&ended, |(_, end)| outcome(*end).1));
    query.execute(connection).await?;
    Ok(())
}

/// Parked events and failures.
async fn write_set_aside(connection: &mut PgConnection, changes: &Changes) -> Result<(), TurnError> {
    if !changes.unpark.is_empty() {
        sqlx::query(DELETE_PARKED).bind(&changes.unpark).execute(&mut *connection).await?;
    }
    let parked: Vec<&NewParked> = changes.park.iter().collect();
    if !parked.is_empty() {
        let query = sqlx::query(INSERT_PARKED)
            .bind(each(&parked, |p| p.exception_id.to_string()))
            .bind(each(&parked, |p| Uuid::from_bytes(p.event_key.0)))
            .bind(each(&parked, |p| p.parked_at))
            .bind(each(&parked, |p| p.expires_at))
            .bind(each(&parked, |p| json(&p.properties)))
            .bind(each(&parked, |p| p.body.clone()));
        query.execute(&mut *connection).await?;
    }
    let failures: Vec<&Failure> = changes.failures.iter().collect();
    if failures.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(INSERT_FAILURES)
        .bind(each(&failures, |f| f.id))
        .bind(each(&failures, |f| Uuid::from_bytes(f.event_key.0)))
        .bind(each(&failures, |f| Uuid::from_bytes(f.digest.0)))
        .bind(each(&failures, |f| f.reason))
        .bind(each(&failures, |f| f.message.clone()))
        .bind(each(&failures, |f| f.fingerprint.clone()))
        .bind(each(&failures, |f| f.source.clone()))
        .bind(each(&failures, |f| f.event_id.clone()))
        .bind(each(&failures, |f| f.event_type.clone()))
        .bind(each(&failures, |f| f.exception_id.as_ref().map(ToString::to_string)))
        .bind(each(&failures, |f| f.received_at))
        .bind(each(&failures, |f| json(&f.properties)))
        .bind(each(&failures, |f| f.body.clone()));
    query.execute(connection).await?;
    Ok(())
}

async fn write_outbox(connection: &mut PgConnection, changes: &Changes) -> Result<Vec<Outgoing>, TurnError> {
    if changes.outbox.is_empty() {
        return Ok(Vec::new());
    }
    let hold = if changes.held { HOLD_SECONDS } else { 0.0 };
    let query = sqlx::query_scalar(INSERT_OUTBOX).bind(&changes.outbox).bind(hold);
    let mut ids: Vec<i64> = query.fetch_all(connection).await?;
    // Identity values are drawn in the order of insertion, whatever the order in which they are returned.
    ids.sort_unstable();
    Ok(ids.into_iter().zip(&changes.outbox).map(|(id, body)| Outgoing { id, body: body.clone() }).collect())
}

/// One column of an array statement.
fn each<T, V>(rows: &[&T], column: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(|row| column(row)).collect()
}

/// User ids hold no spaces, so a list of them travels as one text.
fn joined<'a>(users: impl Iterator<Item = &'a UserId>) -> String {
    users.map(UserId::as_str).collect::<Vec<_>>().join(" ")
}

/// Who may act; nobody once it is closed.
fn reviewers(exception: &Exception) -> String {
    joined(exception.level.reviewers.iter().filter(|_| exception.is_open()))
}

fn approvers(exception: &Exception) -> String {
    joined(exception.votes.iter().map(|vote| &vote.reviewer))
}

fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Applied | Outcome::Repeated => ("applied", None),
        Outcome::Refused(code) => ("refused", Some(code)),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Parked => ("parked", None),
    }
}

/// The word of a unit variant, as the contract writes it.
fn word(value: &impl serde::Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("words, texts and maps of text are always JSON")
}

fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
