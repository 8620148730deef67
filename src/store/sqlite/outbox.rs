//! Events on their way to another broker: written by the turn that they tell of, held by whoever publishes them, claimed when nobody
//! does, deleted when they are confirmed.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::Fault;
use super::values::{json, limit};
use crate::contract::message::Outgoing;
use crate::domain::dates::Timestamp;
use crate::store::OutboxId;

/// How long a row is in the hands of whoever wrote or claimed it: longer than it is published for.
const HOLD: Duration = Duration::from_secs(15);

/// A term further ahead than any that is given was written by a clock that has jumped. The order is that of the covering index: when
/// few rows are free, no body is read in search of them.
const CLAIM: &str = "\
UPDATE outbox SET free_at = ?2, attempts = min(attempts + 1, 32767)
WHERE id IN (
  SELECT id FROM outbox INDEXED BY outbox_free WHERE free_at <= ?1 OR free_at > ?3 ORDER BY id LIMIT ?4
)
RETURNING id, body";

/// The rows of an array come in its order.
const WRITE: &str = "\
INSERT INTO outbox (free_at, created_at, body) SELECT ?2, ?3, value FROM json_each(?1) RETURNING id";

const CONFIRMED: &str = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?1))";

/// Doubles up to 30 s; the exponent is bounded too: a row may be tried for ever.
const UNROUTABLE: &str = "\
UPDATE outbox SET
  unroutable = 1,
  attempts = min(attempts + 1, 32767),
  free_at = ?2 + min(1 << min(attempts, 5), 30) * 1000000
WHERE id IN (SELECT value FROM json_each(?1))";

/// Never less than the number of rows, and found at both ends.
const BOUND: &str = "SELECT coalesce((SELECT max(id) FROM outbox) - (SELECT min(id) FROM outbox) + 1, 0)";

/// Reads the small index and no body.
const COUNT: &str = "SELECT count(*) FROM outbox INDEXED BY outbox_free";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[CLAIM, WRITE, CONFIRMED, UNROUTABLE, BOUND, COUNT];

/// Takes rows that nobody has in hand, in order.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Outgoing>, Fault> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let mut rows: Vec<(i64, String)> = query_as(CLAIM)
        .bind(now.timestamp_micros())
        .bind((now + HOLD).timestamp_micros())
        .bind((now + 2 * HOLD).timestamp_micros())
        .bind(limit(most))
        .fetch_all(connection)
        .await?;
    rows.sort_unstable_by_key(|(id, _)| *id);
    Ok(rows.into_iter().map(|(id, body)| Outgoing { id, body }).collect())
}

/// Writes the events of a turn; its rows, in order.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    bodies: Vec<String>,
    held: bool,
    now: Timestamp,
) -> Result<Vec<Outgoing>, Fault> {
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let free_at = if held { now + HOLD } else { now };
    let mut ids: Vec<i64> = query_scalar(WRITE)
        .bind(json(&bodies)?)
        .bind(free_at.timestamp_micros())
        .bind(now.timestamp_micros())
        .fetch_all(connection)
        .await?;
    ids.sort_unstable();
    Ok(ids.into_iter().zip(bodies).map(|(id, body)| Outgoing { id, body }).collect())
}

/// Deletes what is published, and lets wait what found no queue.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    confirmed: &[OutboxId],
    unroutable: &[OutboxId],
    now: Timestamp,
) -> Result<(), Fault> {
    if !confirmed.is_empty() {
        query(CONFIRMED).bind(json(confirmed)?).execute(&mut *connection).await?;
    }
    if !unroutable.is_empty() {
        let ids: BTreeSet<&OutboxId> = unroutable.iter().collect();
        query(UNROUTABLE).bind(json(&ids)?).bind(now.timestamp_micros()).execute(connection).await?;
    }
    Ok(())
}

/// Whether it holds so many rows.
pub(super) async fn is_full(connection: &mut SqliteConnection, max: u64) -> Result<bool, Fault> {
    let reaches = |rows: i64| u64::try_from(rows).is_ok_and(|rows| rows >= max);
    if !reaches(query_scalar(BOUND).fetch_one(&mut *connection).await?) {
        return Ok(false);
    }
    Ok(reaches(query_scalar(COUNT).fetch_one(connection).await?))
}
