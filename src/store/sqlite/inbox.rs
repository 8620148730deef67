//! What was seen: read before a turn is planned, written with it, and deleted from its old end a little at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};

use super::Fault;
use super::values::{digest, json};
use crate::domain::dates::Timestamp;
use crate::domain::ids::Digest;
use crate::store::rows;
use crate::store::{EventKey, InboxRow, Seen, Wanted};

/// How long what was seen is known, as in Postgres.
const KEPT: TimeDelta = TimeDelta::days(45);

/// Rows deleted by one tick: each may cost a page of the index of keys that has to be read from the disk, and a turn has an end. In a
/// day these are more than are written.
const DELETED_MAX: i64 = 500;

const SEEN: &str = "\
SELECT key, digest, outcome = 'failed' FROM inbox WHERE key IN (SELECT unhex(value) FROM json_each(?1))";

const CONFLICTS: &str = "\
SELECT event_key, digest FROM failures
WHERE (event_key, digest) IN (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each(?1))";

const INBOX: &str = "\
INSERT INTO inbox (key, at, digest, outcome, code)
SELECT unhex(value ->> 'key'), ?2, unhex(value ->> 'digest'), value ->> 'outcome', value ->> 'code' FROM jsonb_each(?1)";

const ENDED: &str = "\
UPDATE inbox SET digest = unhex(e.value ->> 'digest'), outcome = e.value ->> 'outcome', code = e.value ->> 'code'
FROM jsonb_each(?1) AS e WHERE inbox.key = unhex(e.value ->> 'key')";

/// The oldest by number, whatever the table holds.
const OLD: &str = "\
DELETE FROM inbox WHERE id IN (SELECT id FROM (SELECT id, at FROM inbox ORDER BY id LIMIT ?2) WHERE at < ?1)";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[SEEN, CONFLICTS, INBOX, ENDED, OLD];

#[derive(Serialize)]
struct Row {
    key: EventKey,
    digest: Digest,
    outcome: &'static str,
    code: Option<&'static str>,
}

/// Which of the wanted events were seen.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
) -> Result<BTreeMap<EventKey, Seen>, Fault> {
    let mut seen = BTreeMap::new();
    if wanted.events.is_empty() {
        return Ok(seen);
    }
    let keys: Vec<&EventKey> = wanted.events.keys().collect();
    let rows: Vec<(Vec<u8>, Vec<u8>, bool)> = query_as(SEEN).bind(json(&keys)?).fetch_all(&mut *connection).await?;
    for (key, first, failed) in rows {
        let key = digest("event", &"in the inbox", key)?;
        let first = digest("event", &key, first)?;
        seen.insert(key, Seen { digest: first, failed, conflicts: BTreeSet::new() });
    }
    read_conflicts(connection, wanted, &mut seen).await?;
    Ok(seen)
}

async fn read_conflicts(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    seen: &mut BTreeMap<EventKey, Seen>,
) -> Result<(), Fault> {
    let others: Vec<(&EventKey, &Digest)> = seen
        .iter()
        .flat_map(|(key, row)| {
            let wanted = wanted.events.get(key).into_iter().flatten();
            wanted.filter(|digest| **digest != row.digest).map(move |digest| (key, digest))
        })
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Vec<u8>, Vec<u8>)> = query_as(CONFLICTS).bind(json(&others)?).fetch_all(connection).await?;
    for (key, other) in rows {
        let key = digest("failure", &"of a conflict", key)?;
        let other = digest("failure", &key, other)?;
        if let Some(row) = seen.get_mut(&key) {
            row.conflicts.insert(other);
        }
    }
    Ok(())
}

/// Writes what is seen for the first time.
pub(super) async fn write(connection: &mut SqliteConnection, rows: &[InboxRow], now: Timestamp) -> Result<(), Fault> {
    if !rows.is_empty() {
        query(INBOX).bind(json(&stored(rows)?)?).bind(now.timestamp_micros()).execute(connection).await?;
    }
    Ok(())
}

/// Writes what came to another end.
pub(super) async fn write_ended(connection: &mut SqliteConnection, ended: &[InboxRow]) -> Result<(), Fault> {
    if !ended.is_empty() {
        query(ENDED).bind(json(&stored(ended)?)?).execute(connection).await?;
    }
    Ok(())
}

fn stored(rows: &[InboxRow]) -> Result<Vec<Row>, Fault> {
    let stored = |row: &InboxRow| {
        let (outcome, code) = rows::outcome(row.outcome).map_err(|why| Fault::Contradiction(why.to_owned()))?;
        Ok(Row { key: row.key, digest: row.digest, outcome, code })
    };
    rows.iter().map(stored).collect()
}

/// Forgets some of what is older than it has to be known.
pub(super) async fn delete_old(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), Fault> {
    query(OLD).bind((now - KEPT).timestamp_micros()).bind(DELETED_MAX).execute(connection).await?;
    Ok(())
}
