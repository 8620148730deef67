//! Looks at what was submitted, on a connection of its own that cannot write, page by page from the newest.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{FromRow as _, Row as _, query, query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault, read};
use crate::domain::ids::ExceptionId;
use crate::store::ViewError;
use crate::store::submissions::{Cursor, First, PAGE_ROWS, Pasts, Submissions, Submitted, otherwise};

/// Longest look: other requests of a ticket are found by reading every exception there is, which takes its time.
const LOOK_MAX: Duration = Duration::from_secs(61);
const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "60s")];

/// Our keys grow in the order in which submissions were applied.
const RECENT: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
JOIN tickets AS t ON t.id = x.ticket_id
WHERE $1::bigint IS NULL OR x.key < $1::bigint
ORDER BY x.key DESC LIMIT $2::bigint";

const ONE: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.id = $1::text";

/// No index leads from a ticket to all its exceptions: turns need those that live, and every index slows them down.
const OF_TICKETS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE ticket_id = ANY($1::text[])";

const RULE_SET: &str = "SELECT body FROM rule_sets WHERE hash = $1::text";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[RECENT, ONE, OF_TICKETS, RULE_SET];

/// Asks a Postgres database what was submitted.
pub struct PostgresSubmissions {
    pool: PgPool,
}

#[async_trait]
impl Submissions for PostgresSubmissions {
    async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(ONE).bind(id.as_str()).fetch_all(&mut *connection).await?;
            Ok(submitted(connection, rows).await?.pop())
        };
        self.with(work).await
    }

    async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(RECENT).bind(before).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
            let found = submitted(connection, rows).await?;
            let next = found.last().map(|last| last.key);
            Ok((found, next))
        };
        self.with(work).await
    }

    async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            Ok(query_scalar(RULE_SET).bind(hash).fetch_optional(connection).await?)
        };
        self.with(work).await
    }
}

impl PostgresSubmissions {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve rules", &SETTINGS)? })
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

async fn submitted(connection: &mut PgConnection, rows: Vec<PgRow>) -> Result<Vec<Submitted>, Fault> {
    let mut found = rows.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let tickets = otherwise(&found);
    if !tickets.is_empty() {
        let mut pasts = Pasts::default();
        let mut rows = query_as(OF_TICKETS).bind(tickets).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let (key, exception) = read::exception(row)?;
            pasts.add(key, &exception);
        }
        pasts.undo(&mut found);
    }
    Ok(found)
}

fn one(row: &PgRow) -> Result<Submitted, Fault> {
    let (key, exception) = read::exception(read::ExceptionRow::from_row(row)?)?;
    let first = First {
        kind: row.try_get("kind")?,
        at: row.try_get("at")?,
        data: row.try_get("body")?,
        earliest_due_date: row.try_get("earliest_due_date")?,
        approved: row.try_get::<i32, _>("approved")?.into(),
    };
    Ok(Submitted::of(key, exception, first)?)
}
