//! The second half of a turn: writes what was decided, one statement for each table, none for an empty one. Rows of new
//! exceptions and of the outbox get their numbers in the order in which they came. It decides nothing. The first half:
//! [`super::read`].

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{query, query_scalar};
use uuid::Uuid;

use super::read::uuid;
use super::{Fault, exceptions, marked, notes, reviewers};
use crate::contract::message::{Outgoing, Properties};
use crate::domain::history::Entry;
use crate::domain::ids::ExceptionId;
use crate::domain::ticket::Ticket;
use crate::store::rows::{self, storable};
use crate::store::{Changes, Failure, InboxRow, NewParked, Outcome, RuleSetRow};

const TICKETS: &str = "\
INSERT INTO tickets (id, earliest_due_date, approved, last_event_at)
SELECT t.id, t.earliest_due_date, t.approved, t.last_event_at
FROM UNNEST($1::text[], $2::date[], $3::bigint[], $4::timestamptz[]) AS t (id, earliest_due_date, approved, last_event_at)
ON CONFLICT ON CONSTRAINT tickets_pkey DO UPDATE
SET earliest_due_date = EXCLUDED.earliest_due_date, approved = EXCLUDED.approved, last_event_at = EXCLUDED.last_event_at";

const HISTORY: &str = "\
INSERT INTO history (
  exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash)
SELECT
  h.exception_key, h.entry, h.at, h.kind, h.actor, h.actor_kind, h.source, h.event_id, h.event_type, h.outcome, h.code,
  h.revision, h.body, h.hash
FROM UNNEST(
  $1::bigint[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
  $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bytea[]
) AS h (
  exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash)";

const INBOX: &str = "\
INSERT INTO inbox (key, ring, digest, outcome, code)
SELECT i.key, $5::smallint, i.digest, i.outcome, i.code
FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS i (key, digest, outcome, code)";

/// The key stands there twice, as in every statement that joins: whatever join is planned while the table is small, only
/// rows that are named are read when it is large.
const ENDED: &str = "\
UPDATE inbox SET digest = e.digest, outcome = e.outcome, code = e.code
FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS e (key, digest, outcome, code)
WHERE inbox.key = e.key AND inbox.key = ANY($1::uuid[])";

const OUTBOX: &str = "\
INSERT INTO outbox (free_at, created_at, body)
SELECT CASE WHEN $2::boolean THEN now() + interval '15 seconds' ELSE now() END, now(), o.body
FROM UNNEST($1::text[]) WITH ORDINALITY AS o (body, position)
ORDER BY o.position
RETURNING id";

const CONFIRMED: &str = "DELETE FROM outbox WHERE id = ANY($1::bigint[])";

/// The exponent is bounded too: a row may be tried for ever.
const UNROUTABLE: &str = "\
UPDATE outbox SET
  unroutable = true,
  attempts = least(attempts + 1, 32767),
  free_at = now() + least(power(2, least(attempts, 5)), 30) * interval '1 second'
WHERE id = ANY($1::bigint[])";

const PARK: &str = "\
INSERT INTO parked (exception_id, event_key, parked_at, expires_at, properties, body)
SELECT p.exception_id, p.event_key, p.parked_at, p.expires_at, p.properties, p.body
FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bytea[]) WITH ORDINALITY
  AS p (exception_id, event_key, parked_at, expires_at, properties, body, position)
ORDER BY p.position";

const UNPARK: &str = "DELETE FROM parked WHERE id = ANY($1::bigint[])";

/// A failure that was resolved by letting its event wait for its submission is open again if that never came.
const FAILURES: &str = "\
INSERT INTO failures (
  id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, received_at, properties,
  body, announced)
SELECT
  f.id, f.event_key, f.digest, f.reason, f.message, f.fingerprint, f.source, f.event_id, f.event_type, f.exception_id,
  f.received_at, f.properties, f.body, ARRAY[f.reason]
FROM UNNEST(
  $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::timestamptz[], $12::text[], $13::bytea[]
) AS f (
  id, event_key, digest, reason, message, fingerprint, source, event_id, event_type, exception_id, received_at, properties,
  body)
ON CONFLICT ON CONSTRAINT failures_once DO UPDATE SET
  state = 'open', reason = EXCLUDED.reason, message = EXCLUDED.message, fingerprint = EXCLUDED.fingerprint,
  outcome = NULL, code = NULL, attempts = failures.attempts + 1, announced = failures.announced || EXCLUDED.announced
WHERE failures.state = 'resolved'";

const RULE_SET: &str = "\
INSERT INTO rule_sets (hash, version, first_used_at, body) VALUES ($1::text, $2::text, now(), $3::text)
ON CONFLICT ON CONSTRAINT rule_sets_pkey DO NOTHING";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] =
    &[TICKETS, HISTORY, INBOX, ENDED, OUTBOX, CONFIRMED, UNROUTABLE, PARK, UNPARK, FAILURES, RULE_SET];

/// Writes everything; the outgoing rows of this turn, in order.
pub(super) async fn store(
    connection: &mut PgConnection,
    changes: &mut Changes,
    keys: &mut BTreeMap<ExceptionId, i64>,
    ring: i16,
) -> Result<Vec<Outgoing>, Fault> {
    exceptions::store(connection, &changes.exceptions, keys).await?;
    write_tickets(connection, &changes.tickets).await?;
    reviewers::write(connection, &changes.load).await?;
    write_history(connection, &changes.history, keys).await?;
    write_inbox(connection, &changes.inbox, ring).await?;
    write_ended(connection, &changes.ended).await?;
    write_ids(connection, CONFIRMED, &changes.confirmed).await?;
    write_ids(connection, UNROUTABLE, &changes.unroutable).await?;
    write_parked(connection, &changes.park).await?;
    write_ids(connection, UNPARK, &changes.unpark).await?;
    write_failures(connection, &changes.failures).await?;
    marked::write(connection, &changes.retried).await?;
    notes::write(connection, &changes.notes, &changes.noted).await?;
    write_outbox(connection, std::mem::take(&mut changes.outbox), changes.held).await
}

/// Keeps a rules file.
pub(super) async fn keep_rule_set(connection: &mut PgConnection, rules: &RuleSetRow) -> Result<(), Fault> {
    query(RULE_SET).bind(&rules.hash).bind(&rules.version).bind(&rules.body).execute(connection).await?;
    Ok(())
}

async fn write_tickets(connection: &mut PgConnection, tickets: &[Ticket]) -> Result<(), Fault> {
    if tickets.is_empty() {
        return Ok(());
    }
    let rows: BTreeMap<&str, &Ticket> = tickets.iter().map(|ticket| (ticket.id.as_str(), ticket)).collect();
    query(TICKETS)
        .bind(rows.keys().copied().collect::<Vec<_>>())
        .bind(rows.values().map(|ticket| ticket.earliest_due_date).collect::<Vec<_>>())
        .bind(rows.values().map(|ticket| i64::from(ticket.approved)).collect::<Vec<_>>())
        .bind(rows.values().map(|ticket| ticket.last_event_at).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_history(
    connection: &mut PgConnection,
    entries: &[Entry],
    keys: &BTreeMap<ExceptionId, i64>,
) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    let key = |entry: &Entry| {
        let unknown =
            || Fault::Contradiction(format!("history of exception {} that does not exist", entry.exception_id));
        keys.get(&entry.exception_id).copied().ok_or_else(unknown)
    };
    let all = || entries.iter().map(|entry| &entry.happening);
    let event = || all().map(|happening| happening.event.as_ref());
    query(HISTORY)
        .bind(entries.iter().map(key).collect::<Result<Vec<_>, _>>()?)
        .bind(entries.iter().map(|entry| i64::from(entry.number)).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.at).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.kind).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.actor.id.as_str()).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.actor.kind.word()).collect::<Vec<_>>())
        .bind(event().map(|event| event.map(|event| event.source.as_str())).collect::<Vec<_>>())
        .bind(event().map(|event| event.map(|event| event.id.as_str())).collect::<Vec<_>>())
        .bind(event().map(|event| event.map(|event| event.event_type.as_str())).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.outcome.word()).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.code).collect::<Vec<_>>())
        .bind(all().map(|happening| i64::from(happening.revision)).collect::<Vec<_>>())
        .bind(all().map(|happening| happening.body.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.hash.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_inbox(connection: &mut PgConnection, rows: &[InboxRow], ring: i16) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let (words, codes) = outcomes(rows.iter().map(|row| row.outcome))?;
    query(INBOX)
        .bind(rows.iter().map(|row| uuid(&row.key)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| uuid(&row.digest)).collect::<Vec<_>>())
        .bind(words)
        .bind(codes)
        .bind(ring)
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_ended(connection: &mut PgConnection, ended: &[InboxRow]) -> Result<(), Fault> {
    if ended.is_empty() {
        return Ok(());
    }
    let (words, codes) = outcomes(ended.iter().map(|row| row.outcome))?;
    let keys: Vec<Uuid> = ended.iter().map(|row| uuid(&row.key)).collect();
    let digests: Vec<Uuid> = ended.iter().map(|row| uuid(&row.digest)).collect();
    query(ENDED).bind(keys).bind(digests).bind(words).bind(codes).execute(connection).await?;
    Ok(())
}

type Words = (Vec<&'static str>, Vec<Option<&'static str>>);

fn outcomes(outcomes: impl Iterator<Item = Outcome>) -> Result<Words, Fault> {
    let stored = |outcome| rows::outcome(outcome).map_err(|why| Fault::Contradiction(why.to_owned()));
    outcomes.map(stored).collect()
}

async fn write_ids(connection: &mut PgConnection, statement: &'static str, ids: &[i64]) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    query(statement).bind(ids).execute(connection).await?;
    Ok(())
}

async fn write_parked(connection: &mut PgConnection, events: &[NewParked]) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    query(PARK)
        .bind(events.iter().map(|event| event.exception_id.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| uuid(&event.event_key)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.parked_at).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.expires_at).collect::<Vec<_>>())
        .bind(events.iter().map(|event| json(&event.properties)).collect::<Result<Vec<_>, _>>()?)
        .bind(events.iter().map(|event| event.body.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_failures(connection: &mut PgConnection, failures: &[Failure]) -> Result<(), Fault> {
    if failures.is_empty() {
        return Ok(());
    }
    let rows: BTreeMap<Uuid, &Failure> = failures.iter().map(|failure| (failure.id, failure)).collect();
    let all = || rows.values();
    query(FAILURES)
        .bind(rows.keys().copied().collect::<Vec<_>>())
        .bind(all().map(|failure| uuid(&failure.event_key)).collect::<Vec<_>>())
        .bind(all().map(|failure| uuid(&failure.digest)).collect::<Vec<_>>())
        .bind(all().map(|failure| failure.reason).collect::<Vec<_>>())
        .bind(all().map(|failure| storable(&failure.message)).collect::<Vec<_>>())
        .bind(all().map(|failure| storable(&failure.fingerprint)).collect::<Vec<_>>())
        .bind(all().map(|failure| storable(&failure.source)).collect::<Vec<_>>())
        .bind(all().map(|failure| storable(&failure.event_id)).collect::<Vec<_>>())
        .bind(all().map(|failure| failure.event_type.as_deref().map(storable)).collect::<Vec<_>>())
        .bind(all().map(|failure| failure.exception_id.as_ref().map(ExceptionId::as_str)).collect::<Vec<_>>())
        .bind(all().map(|failure| failure.received_at).collect::<Vec<_>>())
        .bind(all().map(|failure| json(&failure.properties)).collect::<Result<Vec<_>, _>>()?)
        .bind(all().map(|failure| failure.body.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_outbox(connection: &mut PgConnection, bodies: Vec<String>, held: bool) -> Result<Vec<Outgoing>, Fault> {
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<i64> = query_scalar(OUTBOX).bind(&bodies).bind(held).fetch_all(connection).await?;
    ids.sort_unstable();
    Ok(ids.into_iter().zip(bodies).map(|(id, body)| Outgoing { id, body }).collect())
}

fn json(properties: &Properties) -> Result<String, Fault> {
    serde_json::to_string(properties).map_err(|error| Fault::Contradiction(error.to_string()))
}
