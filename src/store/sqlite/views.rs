//! Look-ups, on connections of their own that cannot write and never delay a turn. An exception is read before its history and
//! the history only as far as the exception says, so the two agree without a transaction. Lists: `list`; figures: `figures`.

mod figures;
mod list;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;
use sqlx::query_as;
use sqlx::sqlite::SqliteConnection;

use super::Fault;
use super::lent::{Access, Lender};
use crate::domain::exception::Exception;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::store::desk::Limit;
use crate::store::lookups::{Exceptions, Newer, Selection, Stats, TicketView};
use crate::store::rows::{self, ExceptionRow, HistoryRow};
use crate::store::{StoredEntry, ViewError, Views};

/// Longest look-up, far longer than any takes.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);

const EXCEPTION: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = ?1";

const HISTORY: &str = "\
SELECT entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash
FROM history WHERE exception_key = ?1 AND entry <= ?2 ORDER BY entry";

/// The statements behind one exception.
#[cfg(test)]
pub(super) const ONE: &[&str] = &[EXCEPTION, HISTORY];

/// Answers look-ups from a file.
pub struct SqliteViews {
    lender: Lender,
}

impl SqliteViews {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, LOOK_UP_MAX) }
    }
}

/// Lends a connection for one look-up.
macro_rules! with {
    ($views:ident, $connection:ident => $look_up:expr) => {{
        let found = $views.lender.lend(Access::Look, async |$connection: &mut SqliteConnection| $look_up.await);
        found.await.map_err(|fault| ViewError(fault.at().into()))
    }};
}

#[async_trait]
impl Views for SqliteViews {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, ViewError> {
        with!(self, connection => find(connection, id))
    }

    async fn exceptions(
        &self,
        selection: &Selection,
        after: Option<Newer>,
        limit: Limit,
    ) -> Result<Exceptions, ViewError> {
        with!(self, connection => list::exceptions(connection, selection, after, limit))
    }

    async fn ticket(&self, id: &TicketId, limit: Limit) -> Result<Option<TicketView>, ViewError> {
        with!(self, connection => list::ticket(connection, id, limit))
    }

    async fn stats(&self, today: NaiveDate) -> Result<Stats, ViewError> {
        with!(self, connection => figures::stats(connection, today))
    }
}

/// The columns of an exception; a row may have more after these.
pub(super) type ExceptionColumns = (i64, String, String, i64, i64, i64, Vec<u8>, String);

/// One stored exception with our key.
pub(super) fn exception(columns: ExceptionColumns) -> Result<(i64, Exception), Fault> {
    let (key, id, ticket_id, revision, sequence, entries, head, document) = columns;
    Ok(rows::exception(ExceptionRow { key, id, ticket_id, revision, sequence, entries, head, document })?)
}

async fn find(
    connection: &mut SqliteConnection,
    id: &ExceptionId,
) -> Result<Option<(Exception, Vec<StoredEntry>)>, Fault> {
    let row = query_as(EXCEPTION).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let (key, exception) = exception(row)?;
    let rows: Vec<HistoryRow<i64, i64>> =
        query_as(HISTORY).bind(key).bind(i64::from(exception.chain.entries)).fetch_all(connection).await?;
    let entry = |row| rows::entry(&exception.id, row, |at| at);
    let entries = rows.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Some((exception, entries)))
}
