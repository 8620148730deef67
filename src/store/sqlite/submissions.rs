//! Looks at what was submitted, on connections of its own that cannot write, page by page from the newest.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow as _, Row as _, query, query_as, query_scalar};

use super::lent::{Access, Lender};
use super::{Fault, columns, views};
use crate::domain::ids::ExceptionId;
use crate::store::ViewError;
use crate::store::submissions::{Cursor, First, PAGE_ROWS, Pasts, Submissions, Submitted, otherwise};

/// Longest look: other requests of a ticket are found by reading every exception there is, which takes its time.
const LOOK_MAX: Duration = Duration::from_secs(61);

/// Our keys grow in the order in which submissions were applied. The outer order is said by the kind of join: from the newest
/// down, and each row has one first entry and one ticket.
const RECENT: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
CROSS JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
CROSS JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.key < ?1
ORDER BY x.key DESC LIMIT ?2";

const ONE: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
CROSS JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
CROSS JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.id = ?1";

/// No index leads from a ticket to all its exceptions: turns need those that live, and every index slows them down.
const OF_TICKETS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE ticket_id IN (SELECT value FROM json_each(?1))";

const RULE_SET: &str = "SELECT body FROM rule_sets WHERE hash = ?1";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[RECENT, ONE, OF_TICKETS, RULE_SET];

/// Asks a file what was submitted.
pub struct SqliteSubmissions {
    lender: Lender,
}

impl SqliteSubmissions {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, LOOK_MAX) }
    }

    async fn look<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Fault>) -> Result<T, ViewError> {
        self.lender.lend(Access::Look, work).await.map_err(|fault| ViewError(Box::new(fault)))
    }
}

#[async_trait]
impl Submissions for SqliteSubmissions {
    async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let rows = query(ONE).bind(id.as_str()).fetch_all(&mut *connection).await?;
            Ok(submitted(connection, rows).await?.pop())
        };
        self.look(work).await
    }

    async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let before = before.unwrap_or(Cursor::MAX);
            let rows = query(RECENT).bind(before).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
            let found = submitted(connection, rows).await?;
            let next = found.last().map(|last| last.key);
            Ok((found, next))
        };
        self.look(work).await
    }

    async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            Ok(query_scalar(RULE_SET).bind(hash).fetch_optional(connection).await?)
        };
        self.look(work).await
    }
}

async fn submitted(connection: &mut SqliteConnection, rows: Vec<SqliteRow>) -> Result<Vec<Submitted>, Fault> {
    let mut found = rows.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let tickets = otherwise(&found);
    if !tickets.is_empty() {
        let mut pasts = Pasts::default();
        let tickets = serde_json::Value::from(tickets).to_string();
        let mut rows = query_as(OF_TICKETS).bind(tickets).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let (key, exception) = views::exception(row)?;
            pasts.add(key, &exception);
        }
        pasts.undo(&mut found);
    }
    Ok(found)
}

fn one(row: &SqliteRow) -> Result<Submitted, Fault> {
    let (key, exception) = views::exception(views::ExceptionColumns::from_row(row)?)?;
    let first = First {
        kind: row.try_get("kind")?,
        at: columns::time("history of", &exception.id.as_str(), row.try_get("at")?)?,
        data: row.try_get("body")?,
        earliest_due_date: row.try_get("earliest_due_date")?,
        approved: row.try_get("approved")?,
    };
    Ok(Submitted::of(key, exception, first)?)
}
