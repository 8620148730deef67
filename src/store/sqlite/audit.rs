//! Reads chains for whoever checks them, on connections of its own that cannot write. A page is one statement, so the write-ahead
//! log is not kept from being copied for long.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, query, query_as, query_scalar};

use super::lent::{Access, Lender};
use super::{Fault, values};
use crate::domain::audit::Claim;
use crate::store::ViewError;
use crate::store::audit::{Audit, HEADS_PER_PAGE, Key, LINKS_PER_PAGE, Place, StoredHead, StoredLink};

/// Longest page: a disk that is read from end to end is slow.
const LOOK_MAX: Duration = Duration::from_secs(61);

/// One statement sees both tables at one moment. The outer function takes what is not null.
const LAST: &str = "\
SELECT max(last) FROM (SELECT max(key) AS last FROM exceptions UNION ALL SELECT max(exception_key) FROM history)";

const HEADS: &str = "SELECT key, id, entries, head FROM exceptions WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3";

const HEAD: &str = "SELECT key, id, entries, head FROM exceptions WHERE key = ?1";

const HEADS_BY_ID: &str = "SELECT key, id, entries, head FROM exceptions WHERE id > ?1 ORDER BY id LIMIT ?2";

const LINKS: &str = "\
SELECT exception_key, entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash
FROM history WHERE (exception_key, entry) > (?1, ?2) AND exception_key <= ?3
ORDER BY exception_key, entry LIMIT ?4";

const HASHES: &str = "\
SELECT h.exception_key, h.entry, h.hash FROM json_each(?1) AS wanted
CROSS JOIN history AS h ON h.exception_key = wanted.value ->> 0 AND h.entry = wanted.value ->> 1";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[LAST, HEADS, HEAD, HEADS_BY_ID, LINKS, HASHES];

/// Reads chains from a file.
pub struct SqliteAudit {
    lender: Lender,
}

impl SqliteAudit {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, LOOK_MAX) }
    }

    async fn look<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Fault>) -> Result<T, ViewError> {
        self.lender.lend(Access::Look, work).await.map_err(|fault| ViewError(fault.at().into()))
    }
}

#[async_trait]
impl Audit for SqliteAudit {
    async fn last(&self) -> Result<Option<Key>, ViewError> {
        self.look(async |connection: &mut SqliteConnection| Ok(query_scalar(LAST).fetch_one(connection).await?)).await
    }

    async fn heads(&self, after: Key, until: Key) -> Result<Vec<StoredHead>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let found = query(HEADS).bind(after).bind(until).bind(rows(HEADS_PER_PAGE)).fetch_all(connection).await?;
            found.iter().map(head).collect()
        };
        self.look(work).await
    }

    async fn links(&self, (key, number): Place, until: Key) -> Result<Vec<StoredLink>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let found = query(LINKS).bind(key).bind(number).bind(until).bind(rows(LINKS_PER_PAGE));
            found.fetch_all(connection).await?.iter().map(link).collect()
        };
        self.look(work).await
    }

    async fn head(&self, key: Key) -> Result<Option<StoredHead>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            query(HEAD).bind(key).fetch_optional(connection).await?.as_ref().map(head).transpose()
        };
        self.look(work).await
    }

    async fn heads_by_id(&self, after: &str) -> Result<Vec<StoredHead>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let found = query(HEADS_BY_ID).bind(after).bind(rows(HEADS_PER_PAGE)).fetch_all(connection).await?;
            found.iter().map(head).collect()
        };
        self.look(work).await
    }

    async fn hashes(&self, places: &[Place]) -> Result<BTreeMap<Place, Vec<u8>>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let found: Vec<(Key, i64, Vec<u8>)> =
                query_as(HASHES).bind(values::json(places)?).fetch_all(connection).await?;
            Ok(found.into_iter().map(|(key, number, hash)| ((key, number), hash)).collect())
        };
        self.look(work).await
    }
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn head(row: &SqliteRow) -> Result<StoredHead, Fault> {
    let claim = Claim { exception_id: text(row, 1)?, entries: row.try_get(2)?, head: row.try_get(3)? };
    Ok(StoredHead { key: row.try_get(0)?, claim })
}

fn link(row: &SqliteRow) -> Result<StoredLink, Fault> {
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number.to_string());
    let fields = [
        number(2)?,
        text(row, 3)?,
        text(row, 4)?,
        text(row, 5)?,
        text(row, 6)?,
        text(row, 7)?,
        text(row, 8)?,
        text(row, 9)?,
        text(row, 10)?,
        number(11)?,
        text(row, 12)?,
    ];
    Ok(StoredLink { key: row.try_get(0)?, number: row.try_get(1)?, fields, hash: row.try_get(13)? })
}

/// A text, whatever its bytes: `SQLite` does not look whether they are UTF-8, and a row that cannot be read is a finding, no
/// outage. Null is empty.
fn text(row: &SqliteRow, column: usize) -> Result<String, Fault> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(column)?;
    Ok(String::from_utf8(bytes.unwrap_or_default())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// Each page costs what is on it, however much there is.
    #[tokio::test]
    async fn every_page_is_found_by_index() {
        let scratch = Scratch::migrated().await;
        for statement in STATEMENTS {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = query(explain).fetch_all(&mut scratch.plain().await).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let reads_all = |step: &&String| {
                step.starts_with("SCAN ") && ["exceptions", "history", " h "].iter().any(|it| step.contains(it))
            };
            assert_eq!(plan.iter().find(reads_all), None, "{statement}\n{plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{statement}\n{plan:#?}");
        }
    }
}
