//! The aggregate as it is stored: JSON text with its own version, so that a later version can read what this one wrote.
//! What has a column of its own for the chain or the counters is not in it; see [`read`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::dates::Timestamp;
use crate::domain::exception::{Assignment, Cause, EndedReason, Enforcement, Exception, Level, Request, Status, Vote};
use crate::domain::history::Chain;
use crate::domain::ids::{DecisionId, Digest, ExceptionId, TicketId};

/// The form this version writes. A reader takes every form up to its own, and ignores fields it does not know.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    v: u32,
    submission: Digest,
    request: Cow<'a, Request>,
    status: Status,
    enforcement: Enforcement,
    ended_reason: Option<EndedReason>,
    cause: Cause,
    assignment: Cow<'a, Assignment>,
    level: Cow<'a, Level>,
    votes: Cow<'a, [Vote]>,
    decisions: Cow<'a, BTreeMap<DecisionId, Digest>>,
    amended_at_revision: Option<u32>,
    approved_due_date: Option<NaiveDate>,
    created_at: Timestamp,
    updated_at: Timestamp,
    decided_at: Option<Timestamp>,
}

/// What stands in columns beside the document.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Upstream's id.
    pub id: ExceptionId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The revision.
    pub revision: u32,
    /// The number of the last outgoing event.
    pub sequence: u32,
    /// The end of the history.
    pub chain: Chain,
}

/// The document of an exception.
pub fn write(exception: &Exception) -> String {
    let document = Document {
        v: VERSION,
        submission: exception.submission,
        request: Cow::Borrowed(&exception.request),
        status: exception.status,
        enforcement: exception.enforcement,
        ended_reason: exception.ended_reason,
        cause: exception.cause,
        assignment: Cow::Borrowed(&exception.assignment),
        level: Cow::Borrowed(&exception.level),
        votes: Cow::Borrowed(&exception.votes),
        decisions: Cow::Borrowed(&exception.decisions),
        amended_at_revision: exception.amended_at_revision,
        approved_due_date: exception.approved_due_date,
        created_at: exception.created_at,
        updated_at: exception.updated_at,
        decided_at: exception.decided_at,
    };
    serde_json::to_string(&document).expect("texts, numbers and dates are always JSON")
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not what this or an earlier version wrote.
    #[error("the stored document is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("the stored document has version {0}, this program reads up to {VERSION}: run the newer one")]
    TooNew(u32),
}

/// The exception of a document and the columns beside it.
pub fn read(document: &str, columns: Columns) -> Result<Exception, DocumentError> {
    let document: Document<'_> = serde_json::from_str(document)?;
    if document.v > VERSION {
        return Err(DocumentError::TooNew(document.v));
    }
    Ok(Exception {
        id: columns.id,
        ticket_id: columns.ticket_id,
        submission: document.submission,
        request: document.request.into_owned(),
        status: document.status,
        enforcement: document.enforcement,
        ended_reason: document.ended_reason,
        cause: document.cause,
        revision: columns.revision,
        sequence: columns.sequence,
        assignment: document.assignment.into_owned(),
        level: document.level.into_owned(),
        votes: document.votes.into_owned(),
        decisions: document.decisions.into_owned(),
        amended_at_revision: document.amended_at_revision,
        approved_due_date: document.approved_due_date,
        chain: columns.chain,
        created_at: document.created_at,
        updated_at: document.updated_at,
        decided_at: document.decided_at,
    })
}
