//! Notes about suspects: written before one is looked at, deleted with the turn that settles it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};
use uuid::Uuid;

use super::Fault;
use super::read::uuid;
use crate::domain::ids::Digest;
use crate::store::{MessageKey, Note};

const NOTES: &str = "SELECT key, run, tries, at FROM attempts WHERE key = ANY($1::uuid[])";

const NOTE: &str = "\
INSERT INTO attempts (key, run, tries, at)
SELECT n.key, n.run, n.tries, n.at
FROM UNNEST($1::uuid[], $2::uuid[], $3::smallint[], $4::timestamptz[]) AS n (key, run, tries, at)
ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE SET run = EXCLUDED.run, tries = EXCLUDED.tries, at = EXCLUDED.at";

/// A process may end between its note and its turn while another one settles the message: nobody comes back for that note.
const FORGOTTEN: &str = "DELETE FROM attempts WHERE at < now() - interval '1 day'";

const NOTED: &str = "DELETE FROM attempts WHERE key = ANY($1::uuid[])";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[NOTES, NOTE, FORGOTTEN, NOTED];

/// The notes there are about these messages.
pub(super) async fn read(
    connection: &mut PgConnection,
    keys: &BTreeSet<MessageKey>,
) -> Result<BTreeMap<MessageKey, Note>, Fault> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<Uuid> = keys.iter().map(uuid).collect();
    let rows: Vec<(Uuid, Uuid, i16, DateTime<Utc>)> = query_as(NOTES).bind(keys).fetch_all(connection).await?;
    let note = |(key, run, tries, at): (Uuid, _, i16, _)| {
        (Digest(key.into_bytes()), Note { run, tries: u16::try_from(tries).unwrap_or(0), at })
    };
    Ok(rows.into_iter().map(note).collect())
}

/// Writes notes, and deletes those of what is settled.
pub(super) async fn write(
    connection: &mut PgConnection,
    notes: &[(MessageKey, Note)],
    settled: &[MessageKey],
) -> Result<(), Fault> {
    if !notes.is_empty() {
        let rows: BTreeMap<Uuid, Note> = notes.iter().map(|(key, note)| (uuid(key), *note)).collect();
        query(NOTE)
            .bind(rows.keys().copied().collect::<Vec<_>>())
            .bind(rows.values().map(|note| note.run).collect::<Vec<_>>())
            .bind(rows.values().map(|note| i16::try_from(note.tries).unwrap_or(i16::MAX)).collect::<Vec<_>>())
            .bind(rows.values().map(|note| note.at).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        query(FORGOTTEN).execute(&mut *connection).await?;
    }
    if !settled.is_empty() {
        let keys: Vec<Uuid> = settled.iter().map(uuid).collect();
        query(NOTED).bind(keys).execute(connection).await?;
    }
    Ok(())
}
