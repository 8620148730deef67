//! How the file is opened: for the turns, which write, and for people, who look.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// Longest wait for the write lock: only an operator's mark holds it beside the turns, and for a moment.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What every connection is set to. `FULL`: with a write-ahead log `NORMAL` may lose the last commits in a power cut.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_MAX)
}

/// For the worker: makes the file if there is none.
pub(super) fn of_the_worker(file: &Path) -> SqliteConnectOptions {
    options(file).create_if_missing(true)
}

/// For people who look and mark: a file that is not there is not made by looking.
pub(super) fn of_people(file: &Path) -> SqliteConnectOptions {
    options(file)
}
