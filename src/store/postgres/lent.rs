//! Connections for people: a few, pooled, and closed after anything that did not end well. Every port runs on
//! them but the turns' own.

use std::future::Future;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::raw_sql;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{BadUrl, Fault, connection};

/// Enough for people who look; each is a process of the server.
const CONNECTIONS_MAX: u32 = 4;

/// Longest wait for one of them.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

/// A pool that connects when it is first asked.
pub(super) fn pool(url: &str, application_name: &str, settings: &[(&str, &str)]) -> Result<PgPool, BadUrl> {
    let options = connection::options(url, application_name)
        .map_err(|error| BadUrl::of(&error))?
        .options(settings.iter().copied());
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_MAX);
    let pool = pool.after_release(|connection, _| {
        Box::pin(async move {
            // The driver may have begun a transaction that nobody ends: it would swallow what comes after. With its own
            // BEGIN the server has nothing to warn about when there is none.
            raw_sql("BEGIN; ROLLBACK").execute(connection).await?;
            Ok(true)
        })
    });
    Ok(pool.connect_lazy_with(options))
}

/// A connection that only goes back to the pool when its work has ended well. Otherwise, and also when the caller goes away in
/// the middle, it is closed: an unread answer must not meet the next question.
pub(super) struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    /// Waits for a free one, or a new one. The pool tries again and again and then says that it was too late; so the first
    /// connection is tried beside it, and says why there is none.
    pub(super) async fn from(pool: &PgPool) -> Result<Self, Fault> {
        if pool.size() == 0 {
            let trial = tokio::time::timeout(ACQUIRE_MAX, pool.connect_options().connect()).await;
            let trial = trial.map_err(|_| Fault::Late("no connection", ACQUIRE_MAX))?;
            trial.map_err(connection::explain)?.close().await?;
        }
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// What it is lent for.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        self.0.as_deref_mut().ok_or_else(|| Fault::from(sqlx::Error::PoolClosed))
    }

    /// It ended well.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

/// At most this long.
pub(super) async fn in_time<T>(most: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(most, work).await.unwrap_or(Err(Fault::Late("no answer", most)))
}
