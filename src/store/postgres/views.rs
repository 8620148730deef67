//! Look-ups, on a few connections of their own that cannot write and never delay a turn. An exception is read before its
//! history and the history only as far as the exception says, so the two agree without a transaction. Turns:
//! [`super::PostgresStore`]; lists: `list`; figures: `figures`.

mod figures;
mod list;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault, of_exception, read};
use crate::domain::exception::Exception;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::store::desk::Limit;
use crate::store::lookups::{
    Bounds, ENTRIES_MAX, ExceptionView, Exceptions, Newer, Selection, Stats, StoredEntry, TicketView,
};
use crate::store::rows::{self, HistoryRow};
use crate::store::{ViewError, Views};

/// Longest look-up once there is one: a little more than the server's own limit, which says better what was wrong.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);

/// A statement of a list serves every filter: it is planned for the values it is given. Which index leads it is written in it, and
/// reading the whole table, or all of a range to sort it, never is what was meant.
pub const SETTINGS: [(&str, &str); 6] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "5s"),
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
    ("jit", "off"),
];

const EXCEPTION: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = $1::text";

const SUBMITTED: &str = "\
SELECT body FROM history
WHERE exception_key = $1::bigint AND entry = 1 AND kind = 'submitted' AND outcome = 'applied'";

/// Without the bodies.
const HISTORY: &str = "\
SELECT entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, hash
FROM history WHERE exception_key = $1::bigint AND entry > $2::bigint AND entry <= $3::bigint ORDER BY entry LIMIT $4::bigint";

/// Every statement of the look-ups: for a test that prepares them.
pub fn statements() -> impl Iterator<Item = &'static str> {
    let one: &[&str] = &[EXCEPTION, SUBMITTED, HISTORY];
    [one, list::STATEMENTS, figures::STATEMENTS].into_iter().flatten().copied()
}

/// Answers look-ups from a Postgres database.
pub struct PostgresViews {
    pool: PgPool,
    bounds: Bounds,
}

impl PostgresViews {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve views", &SETTINGS)?, bounds: Bounds::default() })
    }

    /// Looks no further than this for one page, instead of as far as is good.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }
}

/// Lends a connection for one look-up and gives it back only if that ended well.
macro_rules! with {
    ($views:ident, $connection:ident => $look_up:expr) => {{
        let outcome = async {
            let mut lent = Lent::from(&$views.pool).await?;
            let $connection: &mut PgConnection = lent.connection()?;
            let found = in_time(LOOK_UP_MAX, $look_up).await?;
            lent.give_back();
            Ok::<_, Fault>(found)
        };
        outcome.await.map_err(|fault| fault.seen(&$views.pool.connect_options()))
    }};
}

#[async_trait]
impl Views for PostgresViews {
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

async fn view(connection: &mut PgConnection, id: &ExceptionId) -> Result<Option<ExceptionView>, Fault> {
    let Some((key, exception)) = find(connection, id).await? else { return Ok(None) };
    let submitted =
        query_scalar(SUBMITTED).bind(key).fetch_optional(&mut *connection).await.map_err(of_exception(id))?;
    let entries = entries(connection, key, &exception, ExceptionView::after(&exception), ENTRIES_MAX + 1).await?;
    Ok(Some(ExceptionView::of(exception, submitted, entries)))
}

async fn history(
    connection: &mut PgConnection,
    id: &ExceptionId,
    after: u32,
) -> Result<Option<Vec<StoredEntry>>, Fault> {
    let Some((key, exception)) = find(connection, id).await? else { return Ok(None) };
    entries(connection, key, &exception, after, ENTRIES_MAX).await.map(Some)
}

async fn find(connection: &mut PgConnection, id: &ExceptionId) -> Result<Option<(i64, Exception)>, Fault> {
    let row = query_as(EXCEPTION).bind(id.as_str()).fetch_optional(connection).await.map_err(of_exception(id))?;
    row.map(read::exception).transpose()
}

async fn entries(
    connection: &mut PgConnection,
    key: i64,
    exception: &Exception,
    after: u32,
    most: u32,
) -> Result<Vec<StoredEntry>, Fault> {
    let until = i64::from(exception.chain.entries);
    let found = query_as(HISTORY).bind(key).bind(i64::from(after)).bind(until).bind(i64::from(most));
    let rows: Vec<HistoryRow<DateTime<Utc>, i32>> =
        found.fetch_all(connection).await.map_err(of_exception(&exception.id))?;
    let entry = |row| Ok(rows::entry(&exception.id, row, |at: DateTime<Utc>| at.timestamp_micros())?);
    rows.into_iter().map(entry).collect()
}
