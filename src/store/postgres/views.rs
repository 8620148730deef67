//! Look-ups, on a few connections of their own that cannot write and never delay a turn. An exception is read before its
//! history and the history only as far as the exception says, so the two agree without a transaction. Turns:
//! [`super::PostgresStore`].

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::query_as;

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault, read};
use crate::domain::exception::Exception;
use crate::domain::ids::ExceptionId;
use crate::store::rows::{self, HistoryRow};
use crate::store::{StoredEntry, ViewError, Views};

/// Longest look-up once there is one: a little more than the server's own limit, which says better what was wrong.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);

const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "5s")];

const EXCEPTION: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = $1::text";

const HISTORY: &str = "\
SELECT entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, body, hash
FROM history WHERE exception_key = $1::bigint AND entry <= $2::bigint ORDER BY entry";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[EXCEPTION, HISTORY];

/// Answers look-ups from a Postgres database.
pub struct PostgresViews {
    pool: PgPool,
}

impl PostgresViews {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve views", &SETTINGS)? })
    }
}

#[async_trait]
impl Views for PostgresViews {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, ViewError> {
        let mut lent = Lent::from(&self.pool).await.map_err(failed)?;
        let looked_up = async { find(lent.connection()?, id).await };
        let found = in_time(LOOK_UP_MAX, looked_up).await.map_err(failed)?;
        lent.give_back();
        Ok(found)
    }
}

fn failed(error: Fault) -> ViewError {
    ViewError(Box::new(error))
}

async fn find(connection: &mut PgConnection, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, Fault> {
    let row = query_as(EXCEPTION).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let (key, exception) = read::exception(row)?;
    let rows: Vec<HistoryRow<DateTime<Utc>, i32>> =
        query_as(HISTORY).bind(key).bind(i64::from(exception.chain.entries)).fetch_all(connection).await?;
    let entry = |row| rows::entry(&exception.id, row, |at: DateTime<Utc>| at.timestamp_micros());
    let entries = rows.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Some((exception, entries)))
}
