//! The `SQLite` store: the same ports as the Postgres one, in a file of this machine. A turn is one `BEGIN IMMEDIATE` transaction on
//! one held connection; look-ups and the operator's desk have connections of their own, which a write-ahead log lets read beside it.
//! The database's clock is the process's own.

mod columns;
mod connection;
pub mod desk;
mod lent;
#[cfg(test)]
mod scratch;
pub mod submissions;
pub mod views;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::error::DatabaseError;

use super::StoreError;
use super::rows::BadRow;

/// What went wrong, before it is known whose fault it is.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}", told(.0))]
    Database(#[from] sqlx::Error),
    #[error("no answer to COMMIT that says what became of it: {}", told(.0))]
    Commit(#[source] sqlx::Error),
    #[error("{0} within {1:?}")]
    Late(&'static str, Duration),
    /// Whoever looks does not make the file.
    #[error("there is no database file {}: `reprieve migrate up` makes it, or the worker itself", .0.display())]
    Missing(PathBuf),
    #[error(transparent)]
    Row(#[from] BadRow),
    /// What is to be written contradicts what is there: only this input can be at fault, and nothing of it is written.
    #[error("a turn contradicts the database: {0}")]
    Contradiction(String),
}

impl Fault {
    fn unreadable(what: &'static str, id: &str, why: &dyn fmt::Display) -> Self {
        Fault::Row(BadRow::unreadable(what, id, why))
    }

    /// Whether the content is at fault: violated constraints, wrong types, exceeded limits.
    fn is_refusal(&self) -> bool {
        match self {
            Fault::Database(error) | Fault::Commit(error) => CONTENT.contains(&primary(error)),
            Fault::Contradiction(_) | Fault::Row(BadRow::Unreadable { .. }) => true,
            Fault::Late(..) | Fault::Missing(_) | Fault::Row(BadRow::Newer { .. }) => false,
        }
    }
}

/// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT`, `SQLITE_MISMATCH`.
const CONTENT: [i32; 3] = [18, 19, 20];

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        if fault.is_refusal() { StoreError::Refused(Box::new(fault)) } else { StoreError::Away(Box::new(fault)) }
    }
}

/// The primary result code; 0 when there is none.
fn primary(error: &sqlx::Error) -> i32 {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // The extended codes keep the primary one in their lowest byte.
    code.and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff
}

/// What `SQLite` says, and what helps where that is known.
fn told(error: &sqlx::Error) -> String {
    let Some(said) = error.as_database_error() else { return error.to_string() };
    let message = said.message();
    match primary(error) {
        5 | 6 => format!("{message}: another process holds the write lock for long"),
        8 => format!("{message}: the file or its folder can only be read; give this user the right to write both"),
        13 => format!("{message}: make room on the disk, and work goes on by itself"),
        14 => format!("{message}: check that the folder exists and that this user may write in it"),
        11 | 26 => format!("{message}: the file is damaged or no database; put it aside and restore a copy"),
        _ => message.to_owned(),
    }
}
