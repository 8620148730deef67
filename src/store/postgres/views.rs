//! Look-ups, on a few connections of their own that cannot write and never delay a turn. An exception is read before its
//! history and the history only as far as the exception says, so the two agree without a transaction. Turns:
//! [`super::PostgresStore`].

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::{query_as, raw_sql};

use super::{BadUrl, Fault, connection, read};
use crate::domain::exception::Exception;
use crate::domain::ids::ExceptionId;
use crate::store::{StoredEntry, ViewError, Views};

/// Enough for people who look; each is a process of the server.
const CONNECTIONS_MAX: u32 = 4;

/// Longest wait for one of them.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

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
        let options = connection::options(url, "reprieve views").map_err(|error| BadUrl::of(&error))?.options(SETTINGS);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_MAX)
            .after_release(|connection, _| {
                Box::pin(async move {
                    // The driver may have begun a transaction that nobody ends: it would swallow what comes after. With
                    // its own BEGIN the server has nothing to warn about when there is none.
                    raw_sql("BEGIN; ROLLBACK").execute(connection).await?;
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    async fn lend(&self) -> Result<Lent, Fault> {
        Ok(Lent(Some(self.pool.acquire().await?)))
    }
}

#[async_trait]
impl Views for PostgresViews {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, ViewError> {
        let mut lent = self.lend().await.map_err(failed)?;
        let found = in_time(find(lent.connection()?, id)).await?;
        lent.give_back();
        Ok(found)
    }
}

/// A connection that only goes back to the pool when its look-up has ended well. Otherwise, and also when the caller goes
/// away in the middle, it is closed: an unread answer must not meet the next question.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    fn connection(&mut self) -> Result<&mut PgConnection, ViewError> {
        self.0.as_deref_mut().ok_or_else(|| failed(Fault::from(sqlx::Error::PoolClosed)))
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

async fn in_time<T, E>(look_up: impl Future<Output = Result<T, E>>) -> Result<T, ViewError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(LOOK_UP_MAX, look_up).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(Fault::Late("no answer", LOOK_UP_MAX))),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ViewError {
    ViewError(Box::new(error))
}

async fn find(connection: &mut PgConnection, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, Fault> {
    let row = query_as(EXCEPTION).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let (key, exception) = read::exception(row)?;
    let rows: Vec<HistoryRow> =
        query_as(HISTORY).bind(key).bind(i64::from(exception.chain.entries)).fetch_all(connection).await?;
    let entries = rows.into_iter().map(|row| row.stored(&exception.id)).collect::<Result<_, _>>()?;
    Ok(Some((exception, entries)))
}

#[derive(sqlx::FromRow)]
struct HistoryRow {
    entry: i32,
    at: DateTime<Utc>,
    kind: String,
    actor: String,
    actor_kind: String,
    source: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    outcome: String,
    code: Option<String>,
    revision: i32,
    body: String,
    hash: Vec<u8>,
}

impl HistoryRow {
    fn stored(self, id: &ExceptionId) -> Result<StoredEntry, Fault> {
        let number = u32::try_from(self.entry).map_err(|error| Fault::unreadable("history of", id.as_str(), &error))?;
        let fields = [
            self.at.timestamp_micros().to_string(),
            self.kind,
            self.actor,
            self.actor_kind,
            self.source.unwrap_or_default(),
            self.event_id.unwrap_or_default(),
            self.event_type.unwrap_or_default(),
            self.outcome,
            self.code.unwrap_or_default(),
            self.revision.to_string(),
            self.body,
        ];
        Ok(StoredEntry { number, fields, hash: self.hash })
    }
}
