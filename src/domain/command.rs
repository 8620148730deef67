//! What the outside may ask for, already read and checked for form.

use chrono::NaiveDate;

use super::exception::Request;
use super::ids::{DecisionId, ExceptionId, TicketId, UserId};
use super::json::Json;

/// One command, from one inbound event.
#[derive(Clone, Debug)]
pub enum Command {
    /// `exception.submitted`
    Submit(Box<Submission>),
    /// `exception.decision`
    Decide(Decision),
}

impl Command {
    /// The exception it is about.
    pub fn exception_id(&self) -> &ExceptionId {
        match self {
            Command::Submit(submission) => &submission.exception_id,
            Command::Decide(decision) => &decision.exception_id,
        }
    }

    /// What the history calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Command::Submit(_) => "submitted",
            Command::Decide(decision) => decision.verdict.word(),
        }
    }

    /// The person who sent it.
    pub fn actor(&self) -> &UserId {
        match self {
            Command::Submit(submission) => &submission.request.requester,
            Command::Decide(decision) => &decision.reviewer,
        }
    }
}

/// A new request.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its id, chosen upstream.
    pub exception_id: ExceptionId,
    /// The ticket whose date is to move.
    pub ticket_id: TicketId,
    /// The typed part.
    pub request: Request,
    /// Everything that was sent: what rules match on.
    pub data: Json,
}

/// What a reviewer says.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Used up once it has acted.
    pub decision_id: DecisionId,
    /// The exception it is about.
    pub exception_id: ExceptionId,
    /// The word.
    pub verdict: Verdict,
    /// Who says it.
    pub reviewer: UserId,
    /// The date of an approval; none means the requested one.
    pub approved_due_date: Option<NaiveDate>,
    /// Required for a denial.
    pub comment: Option<String>,
    /// What the reviewer had before them.
    pub expected_revision: Option<u32>,
}

/// The decisions that are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Counts a vote, and approves the exception when it completes the last level.
    Approve,
    /// Ends it.
    Deny,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 2] = [Verdict::Approve, Verdict::Deny];
    /// The words of the contract that are not built yet.
    pub const NOT_BUILT: [&'static str; 4] = ["acknowledge", "request_info", "reassign", "revoke"];

    /// Reads it in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word().eq_ignore_ascii_case(text))
    }

    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Approve => "approve",
            Verdict::Deny => "deny",
        }
    }
}
