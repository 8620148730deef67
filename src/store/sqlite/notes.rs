//! Notes about suspects: written before one is looked at, deleted with the turn that settles it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::Fault;
use super::values::{digest, json, time};
use crate::domain::dates::Timestamp;
use crate::store::{MessageKey, Note};

/// A process may end between its note and its turn, and its message be settled by another: nobody comes back for that note.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);

const NOTES: &str = "SELECT key, run, tries, at FROM attempts WHERE key IN (SELECT unhex(value) FROM json_each(?1))";

/// `WHERE true`: without it `ON` would be read as that of a join.
const NOTE: &str = "\
INSERT INTO attempts (key, run, tries, at)
SELECT unhex(value ->> 'key'), unhex(value ->> 'run'), value ->> 'tries', value ->> 'at' FROM jsonb_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET run = excluded.run, tries = excluded.tries, at = excluded.at";

const FORGOTTEN: &str = "DELETE FROM attempts WHERE at < ?1";

const NOTED: &str = "DELETE FROM attempts WHERE key IN (SELECT unhex(value) FROM json_each(?1))";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[NOTES, NOTE, FORGOTTEN, NOTED];

#[derive(Serialize)]
struct Row {
    key: MessageKey,
    run: uuid::fmt::Simple,
    tries: u16,
    at: i64,
}

/// The notes there are about these messages.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<MessageKey>,
) -> Result<BTreeMap<MessageKey, Note>, Fault> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(Vec<u8>, Vec<u8>, i64, i64)> = query_as(NOTES).bind(json(keys)?).fetch_all(connection).await?;
    let note = |(key, run, tries, at)| {
        let key = digest("note", &"about a message", key)?;
        let run = Uuid::from_bytes(digest("note", &key, run)?.0);
        let note = Note { run, tries: u16::try_from(tries).unwrap_or(u16::MAX), at: time("note", &key, at)? };
        Ok((key, note))
    };
    rows.into_iter().map(note).collect()
}

/// Writes notes, and deletes those of what is settled.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    notes: &[(MessageKey, Note)],
    settled: &[MessageKey],
    now: Timestamp,
) -> Result<(), Fault> {
    if !notes.is_empty() {
        let row = |(key, note): &(MessageKey, Note)| {
            (*key, Row { key: *key, run: note.run.simple(), tries: note.tries, at: note.at.timestamp_micros() })
        };
        let rows: BTreeMap<MessageKey, Row> = notes.iter().map(row).collect();
        let rows: Vec<Row> = rows.into_values().collect();
        query(NOTE).bind(json(&rows)?).execute(&mut *connection).await?;
        query(FORGOTTEN).bind((now - FORGOTTEN_AFTER).timestamp_micros()).execute(&mut *connection).await?;
    }
    if !settled.is_empty() {
        query(NOTED).bind(json(settled)?).execute(connection).await?;
    }
    Ok(())
}
