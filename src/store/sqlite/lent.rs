//! Connections for people: a few at a time, each opened for one piece of work and closed after it. It takes about a
//! millisecond, and no answer of one piece meets the question of the next, no transaction outlives its work, and no file is
//! read on that was replaced by another. Every port runs on them but the turns' own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Semaphore;

use super::{Fault, connection, primary};

/// Enough for people who look; each is a thread and an open file.
const CONNECTIONS_MAX: usize = 4;

/// Longest wait for one of them.
const FREE_MAX: Duration = Duration::from_secs(5);

/// So many steps of the database's machine, a fraction of a millisecond, between two looks at whether anybody still waits.
const STEPS: i32 = 10_000;

/// `SQLITE_CANTOPEN`.
const CANNOT_OPEN: i32 = 14;

/// What a connection is for.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It cannot write.
    Look,
    /// It writes in one transaction.
    Mark,
}

/// Lends connections to one file.
pub(super) struct Lender {
    file: PathBuf,
    work_max: Duration,
    free: Semaphore,
}

impl Lender {
    /// Opens nothing yet. A piece of work lasts `work_max` at most.
    pub(super) fn of(file: &Path, work_max: Duration) -> Self {
        Self { file: file.to_owned(), work_max, free: Semaphore::new(CONNECTIONS_MAX) }
    }

    /// Lends a connection for one piece of work. Whatever does not end well, and also when the caller goes away in the middle,
    /// ends with the connection: what it was doing is interrupted, and nothing of an open transaction is kept.
    pub(super) async fn lend<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let free = tokio::time::timeout(FREE_MAX, self.free.acquire()).await;
        let permit = free.map_err(|_| Fault::Late("no connection", FREE_MAX))?;
        let worked = tokio::time::timeout(self.work_max, async {
            let mut connection = self.open(access).await?;
            let waits = Arc::new(());
            let waiting = Arc::downgrade(&waits);
            connection.lock_handle().await?.set_progress_handler(STEPS, move || waiting.strong_count() > 0);
            let done = work(&mut connection).await?;
            Ok((done, connection))
        });
        let (done, connection) = worked.await.unwrap_or(Err(Fault::Late("no answer", self.work_max)))?;
        // What was asked is done, whatever becomes of the connection.
        if let Err(error) = connection.close().await {
            tracing::warn!("a connection for people was not closed as it should be: {error}");
        }
        drop(permit);
        Ok(done)
    }

    async fn open(&self, access: Access) -> Result<SqliteConnection, Fault> {
        let options = match access {
            Access::Look => connection::of_readers(&self.file),
            Access::Mark => connection::of_people(&self.file),
        };
        match connection::connect(&options).await {
            Err(Fault::Database(error)) if primary(&error) == CANNOT_OPEN && self.is_missing().await => {
                Err(Fault::Missing(self.file.clone()))
            }
            outcome => outcome,
        }
    }

    async fn is_missing(&self) -> bool {
        tokio::fs::try_exists(&self.file).await.is_ok_and(|exists| !exists)
    }
}
