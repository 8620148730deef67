//! Look-ups, on connections of their own that cannot write and never delay a turn. An exception is read before its history and
//! the history only as far as the exception says, so the two agree without a transaction. Lists: `list`; figures: `figures`.

mod figures;
mod list;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::lent::{Access, Lender};
use super::{Fault, of_exception};
use crate::domain::exception::Exception;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::store::desk::Limit;
use crate::store::lookups::{
    Bounds, ENTRIES_MAX, ExceptionView, Exceptions, Newer, Selection, Stats, StoredEntry, TicketView,
};
use crate::store::rows::{self, ExceptionRow, HistoryRow};
use crate::store::{ViewError, Views};

/// Longest look-up, far longer than any takes.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);

const EXCEPTION: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = ?1";

const SUBMITTED: &str = "\
SELECT body FROM history WHERE exception_key = ?1 AND entry = 1 AND kind = 'submitted' AND outcome = 'applied'";

/// Without the bodies.
const HISTORY: &str = "\
SELECT entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, hash
FROM history WHERE exception_key = ?1 AND entry > ?2 AND entry <= ?3 ORDER BY entry LIMIT ?4";

/// The statements behind one exception.
#[cfg(test)]
pub(super) const ONE: &[&str] = &[EXCEPTION, SUBMITTED, HISTORY];

/// Answers look-ups from a file.
pub struct SqliteViews {
    lender: Lender,
    bounds: Bounds,
}

impl SqliteViews {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, LOOK_UP_MAX), bounds: Bounds::default() }
    }

    /// Looks no further than this for one page, instead of as far as is good.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }
}

/// Lends a connection for one look-up.
macro_rules! with {
    ($views:ident, $connection:ident => $look_up:expr) => {{
        let found = $views.lender.lend(Access::Look, async |$connection: &mut SqliteConnection| $look_up.await);
        found.await.map_err(ViewError::from)
    }};
}

#[async_trait]
impl Views for SqliteViews {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<ExceptionView>, ViewError> {
        with!(self, connection => view(connection, id))
    }

    async fn history(&self, id: &ExceptionId, after: u32) -> Result<Option<Vec<StoredEntry>>, ViewError> {
        with!(self, connection => history(connection, id, after))
    }

    async fn exceptions(
        &self,
        selection: &Selection,
        after: Option<Newer>,
        limit: Limit,
    ) -> Result<Exceptions, ViewError> {
        with!(self, connection => list::exceptions(connection, selection, after, limit, self.bounds))
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

async fn view(connection: &mut SqliteConnection, id: &ExceptionId) -> Result<Option<ExceptionView>, Fault> {
    let Some((key, exception)) = find(connection, id).await? else { return Ok(None) };
    let submitted =
        query_scalar(SUBMITTED).bind(key).fetch_optional(&mut *connection).await.map_err(of_exception(id))?;
    let entries = entries(connection, key, &exception, ExceptionView::after(&exception), ENTRIES_MAX + 1).await?;
    Ok(Some(ExceptionView::of(exception, submitted, entries)))
}

async fn history(
    connection: &mut SqliteConnection,
    id: &ExceptionId,
    after: u32,
) -> Result<Option<Vec<StoredEntry>>, Fault> {
    let Some((key, exception)) = find(connection, id).await? else { return Ok(None) };
    entries(connection, key, &exception, after, ENTRIES_MAX).await.map(Some)
}

async fn find(connection: &mut SqliteConnection, id: &ExceptionId) -> Result<Option<(i64, Exception)>, Fault> {
    let row = query_as(EXCEPTION).bind(id.as_str()).fetch_optional(connection).await.map_err(of_exception(id))?;
    row.map(exception).transpose()
}

async fn entries(
    connection: &mut SqliteConnection,
    key: i64,
    exception: &Exception,
    after: u32,
    most: u32,
) -> Result<Vec<StoredEntry>, Fault> {
    let until = i64::from(exception.chain.entries);
    let found = query_as(HISTORY).bind(key).bind(i64::from(after)).bind(until).bind(i64::from(most));
    let rows: Vec<HistoryRow<i64, i64>> = found.fetch_all(connection).await.map_err(of_exception(&exception.id))?;
    let entry = |row| Ok(rows::entry(&exception.id, row, |at| at)?);
    rows.into_iter().map(entry).collect()
}
