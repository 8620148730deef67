//! Reads chains for whoever checks them, on a connection of its own that cannot write. A page is one statement, so no snapshot is
//! held for long.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault};
use crate::domain::audit::Claim;
use crate::store::ViewError;
use crate::store::audit::{Audit, HEADS_PER_PAGE, Key, LINKS_PER_PAGE, Place, StoredHead, StoredLink};

/// Longest page: the server may be busy with other things, and a disk that is read from end to end is slow.
const LOOK_MAX: Duration = Duration::from_secs(61);
const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "60s")];

/// One statement sees both tables at one moment.
const LAST: &str = "SELECT greatest((SELECT max(key) FROM exceptions), (SELECT max(exception_key) FROM history))";

const HEADS: &str = "\
SELECT key, id, entries::bigint, head FROM exceptions
WHERE key >= $1::bigint AND key <= $2::bigint ORDER BY key LIMIT $3::bigint";

const HEAD: &str = "SELECT key, id, entries::bigint, head FROM exceptions WHERE key = $1::bigint";

/// The column sorts by bytes.
const HEADS_BY_ID: &str = "\
SELECT key, id, entries::bigint, head FROM exceptions WHERE id > $1::text ORDER BY id LIMIT $2::bigint";

/// No time that a turn has written is infinite; one that is gets a number that fits no hash.
const LINKS: &str = "\
SELECT exception_key, entry::bigint,
  CASE WHEN isfinite(at) THEN (extract(epoch FROM at) * 1000000)::bigint ELSE 0 END,
  kind, actor, actor_kind, coalesce(source, ''), coalesce(event_id, ''), coalesce(event_type, ''), outcome,
  coalesce(code, ''), revision::bigint, body, hash
FROM history
WHERE (exception_key, entry) >= ($1::bigint, $2::bigint) AND exception_key <= $3::bigint
ORDER BY exception_key, entry LIMIT $4::bigint";

const HASHES: &str = "\
SELECT h.exception_key, h.entry::bigint, h.hash
FROM unnest($1::bigint[], $2::integer[]) AS wanted (key, entry)
JOIN history AS h ON h.exception_key = wanted.key AND h.entry = wanted.entry";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[LAST, HEADS, HEAD, HEADS_BY_ID, LINKS, HASHES];

/// Reads chains from a Postgres database.
pub struct PostgresAudit {
    pool: PgPool,
}

impl PostgresAudit {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve audit", &SETTINGS)? })
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>) -> Result<T, ViewError> {
        let outcome = async {
            let mut lent = Lent::from(&self.pool).await?;
            let done = in_time(LOOK_MAX, work(lent.connection()?)).await?;
            lent.give_back();
            Ok(done)
        };
        outcome.await.map_err(|fault: Fault| fault.seen(&self.pool.connect_options()))
    }
}

#[async_trait]
impl Audit for PostgresAudit {
    async fn last(&self) -> Result<Option<Key>, ViewError> {
        self.with(async |connection: &mut PgConnection| Ok(query_scalar(LAST).fetch_one(connection).await?)).await
    }

    async fn heads(&self, from: Key, until: Key) -> Result<Vec<StoredHead>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query_as(HEADS).bind(from).bind(until).bind(rows(HEADS_PER_PAGE)).fetch_all(connection).await?;
            Ok(rows.into_iter().map(head).collect())
        };
        self.with(work).await
    }

    async fn links(&self, (key, number): Place, until: Key) -> Result<Vec<StoredLink>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let found = query_as(LINKS).bind(key).bind(number).bind(until).bind(rows(LINKS_PER_PAGE));
            Ok(found.fetch_all(connection).await?.into_iter().map(link).collect())
        };
        self.with(work).await
    }

    async fn head(&self, key: Key) -> Result<Option<StoredHead>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            Ok(query_as(HEAD).bind(key).fetch_optional(connection).await?.map(head))
        };
        self.with(work).await
    }

    async fn heads_by_id(&self, after: &str) -> Result<Vec<StoredHead>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query_as(HEADS_BY_ID).bind(after).bind(rows(HEADS_PER_PAGE)).fetch_all(connection).await?;
            Ok(rows.into_iter().map(head).collect())
        };
        self.with(work).await
    }

    async fn hashes(&self, places: &[Place]) -> Result<BTreeMap<Place, Vec<u8>>, ViewError> {
        let (keys, numbers): (Vec<Key>, Vec<i32>) = places.iter().map(|(key, number)| (*key, entry(*number))).unzip();
        let work = async |connection: &mut PgConnection| {
            let found: Vec<(Key, i64, Vec<u8>)> =
                query_as(HASHES).bind(keys).bind(numbers).fetch_all(connection).await?;
            Ok(found.into_iter().map(|(key, number, hash)| ((key, number), hash)).collect())
        };
        self.with(work).await
    }
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// As the column has it; no entry has a number beyond that.
fn entry(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

fn head((key, exception_id, entries, head): (Key, String, i64, Vec<u8>)) -> StoredHead {
    StoredHead { key, claim: Claim { exception_id, entries, head } }
}

type LinkRow = (Key, i64, i64, String, String, String, String, String, String, String, String, i64, String, Vec<u8>);

fn link(row: LinkRow) -> StoredLink {
    let (key, number, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash) =
        row;
    let (at, revision) = (at.to_string(), revision.to_string());
    let fields = [at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body];
    StoredLink { key, number, fields, hash }
}
