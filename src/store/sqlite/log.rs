//! The log of outgoing events: a turn writes into it what it tells, and whoever follows reads on from the last id he has seen. With
//! the embedded broker an event is published when it stands here. Rows stay for [`KEPT`]. Read side: [`SqliteLog`].

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{query, query_as, query_scalar};
use tokio::sync::{Mutex, watch};

use super::values::{self, json};
use super::{Fault, connection};
use crate::domain::dates::Timestamp;
use crate::store::ViewError;

/// How long a row stays: whoever follows may be away for so long and misses nothing.
pub const KEPT: TimeDelta = TimeDelta::days(7);

/// Rows deleted by one tick: some are read from the disk for it, and a turn has an end. More than are written in the long run.
const DELETED_MAX: i64 = 2_000;

/// Rows of the outbox moved here by one turn.
pub(super) const MOVED_MAX: u64 = 1_000;

/// Longest page, its wait for another reader included.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);

const PAGE: &str = "SELECT id, at, body FROM log WHERE id > ?1 ORDER BY id LIMIT ?2";

const NEWEST: &str = "SELECT coalesce((SELECT max(id) FROM log), 0)";

/// The rows of an array come in its order.
const APPEND: &str = "INSERT INTO log (at, body) SELECT ?2, value FROM json_each(?1)";

const MOVE: &str = "INSERT INTO log (at, body) SELECT ?1, body FROM outbox ORDER BY id LIMIT ?2";

const MOVED: &str = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?1)";

/// The oldest by number, whatever the table holds.
const OLD: &str =
    "DELETE FROM log WHERE id IN (SELECT id FROM (SELECT id, at FROM log ORDER BY id LIMIT ?2) WHERE at < ?1)";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[PAGE, NEWEST, APPEND, MOVE, MOVED, OLD];

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Grows in the order of turns, and within one in the order of its events. Never used again; gaps mean nothing.
    pub id: i64,
    /// When it was written, by the process's clock.
    pub at: Timestamp,
    /// The envelope, byte for byte.
    pub body: String,
}

/// Where turns say that the log has grown.
#[derive(Clone, Debug)]
pub struct LogWriter(watch::Sender<i64>);

impl LogWriter {
    pub(super) fn announce(&self, newest: i64) {
        self.0.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }
}

/// The two ends of an announcement: the id of the newest row, 0 before the first turn of the process.
pub fn announcements() -> (LogWriter, watch::Receiver<i64>) {
    let (sender, receiver) = watch::channel(0);
    (LogWriter(sender), receiver)
}

/// Reads the log, on a connection of its own that cannot write.
pub struct SqliteLog {
    options: SqliteConnectOptions,
    /// Taken out for the time of a question: whatever goes wrong, or leaves in between, closes it.
    held: Mutex<Option<SqliteConnection>>,
}

impl SqliteLog {
    /// Connects when it is first asked.
    pub fn new(file: &Path) -> Self {
        Self { options: connection::of_readers(file), held: Mutex::new(None) }
    }

    /// At most `limit` rows after that id, oldest first.
    pub async fn page(&self, after: i64, limit: i64) -> Result<Vec<LogRow>, ViewError> {
        let asked = async {
            let mut held = self.held.lock().await;
            let mut connection = self.take(&mut held).await?;
            let rows: Vec<(i64, i64, String)> =
                query_as(PAGE).bind(after).bind(limit).fetch_all(&mut connection).await?;
            *held = Some(connection);
            let row = |(id, at, body)| Ok(LogRow { id, at: values::time("row of the log", &id, at)?, body });
            rows.into_iter().map(row).collect()
        };
        in_time(asked).await
    }

    /// The id of the newest row, 0 if there is none.
    pub async fn newest(&self) -> Result<i64, ViewError> {
        let asked = async {
            let mut held = self.held.lock().await;
            let mut connection = self.take(&mut held).await?;
            let id = newest(&mut connection).await?;
            *held = Some(connection);
            Ok(id)
        };
        in_time(asked).await
    }

    async fn take(&self, held: &mut Option<SqliteConnection>) -> Result<SqliteConnection, Fault> {
        match held.take() {
            Some(connection) => Ok(connection),
            None => connection::connect(&self.options).await,
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, ViewError> {
    let answer = tokio::time::timeout(LOOK_UP_MAX, asked).await.unwrap_or(Err(Fault::Late("no answer", LOOK_UP_MAX)));
    answer.map_err(|fault| ViewError(fault.at().into()))
}

/// Writes the events of a turn, in order.
pub(super) async fn append(connection: &mut SqliteConnection, now: Timestamp, bodies: &[String]) -> Result<(), Fault> {
    if !bodies.is_empty() {
        query(APPEND).bind(json(&bodies)?).bind(now.timestamp_micros()).execute(connection).await?;
    }
    Ok(())
}

/// Moves what an earlier run with another broker has left in the outbox, the oldest first, whoever had it in hand; how many rows.
pub(super) async fn move_outbox(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, Fault> {
    let most = i64::try_from(MOVED_MAX).unwrap_or(i64::MAX);
    let written = query(MOVE).bind(now.timestamp_micros()).bind(most).execute(&mut *connection).await?.rows_affected();
    if written > 0 {
        query(MOVED).bind(most).execute(connection).await?;
    }
    Ok(written)
}

/// Deletes some of what is older than it has to be.
pub(super) async fn delete_old(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), Fault> {
    query(OLD).bind((now - KEPT).timestamp_micros()).bind(DELETED_MAX).execute(connection).await?;
    Ok(())
}

/// The id of the newest row, as the turn sees it.
pub(super) async fn newest(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    Ok(query_scalar(NEWEST).fetch_one(connection).await?)
}
