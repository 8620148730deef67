//! How the file is opened: for the turns, which write, and for people, who look. One held connection is a [`Session`]; it has a
//! thread of its own, which ends what it was doing and rolls back when the connection is dropped.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use super::Fault;
use crate::health::Light;

/// Longest wait for the write lock: only an operator's mark holds it beside the turns, and for a moment.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Longest wait for a connection: longer than the one for a lock, which says better what was wrong.
const CONNECT_MAX: Duration = Duration::from_secs(6);

/// Pages kept in memory by the connection that runs turns, in KiB: the upper parts of its indexes, with room to spare.
const CACHE_KIB: &str = "-65536";

/// Pages of the write-ahead log after which it is copied into the file: some 16 MiB, several full batches, so that a page that
/// each of them writes is copied once.
const CHECKPOINT_PAGES: &str = "4000";

/// What is left of the write-ahead log, in bytes, after something has kept it from being copied for long.
const WAL_LEFT: &str = "67108864";

/// Rows that the connection's thread may be ahead of whoever reads them: those of a full batch, so that the two need not wait for
/// each other at every few.
const ROWS_AHEAD: usize = 512;

/// The held connection; the light is on from its first good turn until it is dropped.
pub(super) struct Session {
    pub(super) connection: SqliteConnection,
    light: Light,
    file: PathBuf,
    opened: Identity,
    log_file: PathBuf,
    /// Of the write-ahead log, which is there from the first turn on as long as somebody has the file open.
    log: Option<Identity>,
}

/// What tells one file from another of the same name: device and number.
type Identity = (u64, u64);

impl Session {
    /// One attempt.
    pub(super) async fn open(file: &Path, light: &Light) -> Result<Self, Fault> {
        let opened = identity(file)?;
        let connection = connect(&of_the_worker(file)).await?;
        // Beside the file itself, wherever a link has led to.
        let beside = std::fs::canonicalize(file).map_err(|_| Fault::Missing(file.to_owned()))?;
        let log_file = write_ahead(&beside);
        Ok(Self { connection, light: light.clone(), file: file.to_owned(), opened, log_file, log: None })
    }

    /// A file that was removed, or has another in its place, goes on being written without complaint, and is gone with the process.
    /// Asked after a commit and before anybody is told of it.
    pub(super) fn check(&mut self) -> Result<(), Fault> {
        let log = identity(&self.log_file)?;
        if identity(&self.file)? != self.opened || *self.log.get_or_insert(log) != log {
            return Err(Fault::Replaced(self.file.clone()));
        }
        Ok(())
    }

    /// A turn went well on it.
    pub(super) fn proved(&self) {
        self.light.on();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.light.off();
    }
}

fn write_ahead(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn identity(file: &Path) -> Result<Identity, Fault> {
    let found = std::fs::metadata(file).map_err(|_| Fault::Missing(file.to_owned()))?;
    Ok((found.dev(), found.ino()))
}

/// One attempt, with its deadline.
pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, Fault> {
    match tokio::time::timeout(CONNECT_MAX, options.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Fault::Late("no connection", CONNECT_MAX)),
    }
}

/// What every connection is set to. `FULL`: with a write-ahead log `NORMAL` may lose the last commits in a power cut. That there is one
/// is a property of the file, given with its first migration: whoever merely looks at a file does not change what it is.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_MAX)
        .disable_statement_logging()
}

/// For turns. They make no file, migrations do: one that vanishes under the worker is better missed than begun anew.
pub(super) fn of_the_worker(file: &Path) -> SqliteConnectOptions {
    options(file)
        .journal_mode(SqliteJournalMode::Wal)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("cache_size", CACHE_KIB)
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_LEFT)
}

/// For migrations: makes the file if there is none.
pub(super) fn of_migrations(file: &Path) -> SqliteConnectOptions {
    options(file).journal_mode(SqliteJournalMode::Wal).create_if_missing(true)
}

/// To see whose it is: nothing of it is changed, not even how it is written.
pub(super) fn as_it_is(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY_MAX).disable_statement_logging()
}

/// For people who look and mark: a file that is not there is not made by looking.
pub(super) fn of_people(file: &Path) -> SqliteConnectOptions {
    options(file)
}

/// For those who only look: nothing can be written by mistake.
pub(super) fn of_readers(file: &Path) -> SqliteConnectOptions {
    options(file).pragma("query_only", "on")
}
