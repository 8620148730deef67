//! From stored rows to values, and from values to what is stored: what every store does alike. How a row is read and written is
//! each store's own.

use std::fmt;

use crate::contract::message::Properties;
use crate::domain::exception::{Enforcement, Exception, Status};
use crate::domain::history::Chain;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::store::document::{self, Beside, DocumentError};
use crate::store::lookups::StoredEntry;
use crate::store::{Outcome, ViewError};

/// A row that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRow {
    /// A damaged row. Whatever names it is set aside with its bytes, to be retried once the row is mended; nothing else waits
    /// for that.
    #[error("the stored {what} {id} cannot be read: {why}")]
    Unreadable { what: &'static str, id: String, why: String },
    /// A row that only a newer program can read. An outage, loud: every event would end among the failures otherwise.
    #[error("the stored {what} {id} was written by a newer program: {why}")]
    Newer { what: &'static str, id: String, why: String },
}

impl BadRow {
    pub(super) fn unreadable(what: &'static str, id: &str, why: &dyn fmt::Display) -> Self {
        BadRow::Unreadable { what, id: id.to_owned(), why: why.to_string() }
    }

    /// For who looks.
    pub(super) fn shown(&self) -> ViewError {
        let (what, id, why, remedy) = match self {
            BadRow::Unreadable { what, id, why } => (what, id, why, "restore the row from a backup"),
            BadRow::Newer { what, id, why } => (what, id, why, "run the newer program"),
        };
        ViewError::Unreadable { row: format!("the stored {what} {id} cannot be read"), why: why.clone(), remedy }
    }

    fn document(id: &str, error: &DocumentError) -> Self {
        let (what, id, why) = ("exception", id.to_owned(), error.to_string());
        match error {
            DocumentError::Newer(_) => BadRow::Newer { what, id, why },
            DocumentError::Malformed(_) => BadRow::Unreadable { what, id, why },
        }
    }
}

/// The columns an exception is made of.
pub(super) struct ExceptionRow {
    pub(super) key: i64,
    pub(super) id: String,
    pub(super) ticket_id: String,
    pub(super) revision: i64,
    pub(super) sequence: i64,
    pub(super) entries: i64,
    pub(super) head: Vec<u8>,
    pub(super) document: String,
}

/// One stored exception with our key.
pub(super) fn exception(row: ExceptionRow) -> Result<(i64, Exception), BadRow> {
    let ExceptionRow { key, id, ticket_id, revision, sequence, entries, head, document } = row;
    let number = |value| count("exception", &id, value);
    let chain = Chain {
        entries: number(entries)?,
        head: head.try_into().map_err(|_| BadRow::unreadable("exception", &id, &"its head is no hash"))?,
    };
    let beside = Beside {
        id: ExceptionId::parse(&id).map_err(|error| BadRow::unreadable("exception", &id, &error))?,
        ticket_id: TicketId::parse(&ticket_id).map_err(|error| BadRow::unreadable("exception", &id, &error))?,
        revision: number(revision)?,
        sequence: number(sequence)?,
        chain,
    };
    let exception = document::read(&document, beside).map_err(|error| BadRow::document(&id, &error))?;
    Ok((key, exception))
}

/// The columns of a history row: entry, time, kind, actor, kind of actor; source, id and type of its event; outcome, code,
/// revision, hash.
pub(super) type HistoryRow<Time, Number> = (
    Number,
    Time,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    Number,
    Vec<u8>,
);

/// One entry of an exception's history; `micros` says how many microseconds since 1970 a stored time is.
pub(super) fn entry<Time, Number: Into<i64>>(
    exception: &ExceptionId,
    row: HistoryRow<Time, Number>,
    micros: impl FnOnce(Time) -> i64,
) -> Result<StoredEntry, BadRow> {
    let (entry, at, kind, actor, actor_kind, source, event_id, event_type, outcome, code, revision, hash) = row;
    let fields = [
        micros(at).to_string(),
        kind,
        actor,
        actor_kind,
        source.unwrap_or_default(),
        event_id.unwrap_or_default(),
        event_type.unwrap_or_default(),
        outcome,
        code.unwrap_or_default(),
        revision.into().to_string(),
    ];
    Ok(StoredEntry { number: count("history of", exception.as_str(), entry.into())?, fields, hash })
}

/// A number that is never negative.
pub(super) fn count(what: &'static str, id: &str, value: i64) -> Result<u32, BadRow> {
    u32::try_from(value).map_err(|error| BadRow::unreadable(what, id, &error))
}

/// As they were stored. Without them the rest is still worth seeing, and what is processed ends as a failure, with its bytes: an
/// error would stop every turn.
pub(super) fn properties(what: &str, id: &dyn fmt::Display, stored: &str) -> Properties {
    serde_json::from_str(stored).unwrap_or_else(|error| {
        tracing::error!("the stored properties of {what} {id} cannot be read: {error}");
        Properties::default()
    })
}

/// A failure must be storable whatever is in it, or it would be refused again and again: a text of Postgres holds no NUL, and one of
/// `SQLite` ends there for most of its functions.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// As the inbox stores an outcome: its word, and its code. A repeat changes nothing, so it has no row.
pub(super) fn outcome(outcome: Outcome) -> Result<(&'static str, Option<&'static str>), &'static str> {
    match outcome {
        Outcome::Applied => Ok(("applied", None)),
        Outcome::Refused(code) => Ok(("refused", Some(code))),
        Outcome::Failed(reason) => Ok(("failed", Some(reason))),
        Outcome::Parked => Ok(("parked", None)),
        Outcome::Repeated => Err("a repeat as a new row of the inbox"),
    }
}

/// As the column has it, and its CHECK.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Requested => "requested",
        Status::UnderReview => "under_review",
        Status::Approved => "approved",
        Status::Denied => "denied",
        Status::Cancelled => "cancelled",
    }
}

/// As the column has it, and its CHECK.
pub(super) fn enforcement(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::None => "none",
        Enforcement::Pending => "pending",
        Enforcement::InForce => "in_force",
        Enforcement::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_never_stored() {
        assert!(outcome(Outcome::Repeated).is_err());
        assert_eq!(outcome(Outcome::Failed("schema")), Ok(("failed", Some("schema"))));
        assert_eq!(outcome(Outcome::Parked), Ok(("parked", None)));
    }

    #[test]
    fn a_failure_is_storable_whatever_is_in_it() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }
}
