//! When the business says no: a closed list of codes, as far as it is reached. When each is given, and in which
//! order they are tried: [`super::lifecycle`].

/// Why a well-formed event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The id is taken by a request with other content.
    #[error("there is an exception of this id with other content; a new request needs a new id")]
    ExceptionExists,
    /// The settings name who may submit.
    #[error("the requester may not submit requests (settings.may_request)")]
    RequesterNotPermitted,
    /// The settings list the reasons.
    #[error("the reason is none of settings.reasons")]
    UnknownReason,
    /// A deferral moves a date to a later day.
    #[error("the date is not after the ticket's current due date")]
    DateNotAfterCurrent,
    /// The day is over.
    #[error("the date has passed")]
    DateInPast,
    /// One at a time.
    #[error("there is an open request for this ticket")]
    OpenRequestExists,
    /// The matching rule names fields that must not be empty.
    #[error("a field that the rule requires is empty")]
    FieldRequired,
    /// The id is taken by a decision with other content.
    #[error("there is a decision of this id with other content; a new decision needs a new id")]
    DecisionExists,
    /// Nothing is left to decide.
    #[error("the exception is already decided or cancelled")]
    AlreadyFinal,
    /// Nobody decides about their own request.
    #[error("the requester takes no decision on their own request")]
    SelfApproval,
    /// Not a reviewer of it.
    #[error("not a reviewer of this exception")]
    NotAssigned,
    /// A reviewer, but of another level.
    #[error("a reviewer of another level than the current one")]
    WrongLevel,
    /// The request was amended after the reviewer looked at it.
    #[error("the request was amended since; look at it again and send its revision")]
    StaleRevision,
    /// A denial says why.
    #[error("a denial needs a comment")]
    CommentRequired,
    /// One vote each.
    #[error("the reviewer has already voted at this level")]
    AlreadyVoted,
    /// The rule's limit.
    #[error("the date is beyond the longest extension the rule allows")]
    DateOverLimit,
}

impl Refusal {
    /// As stored, published and counted.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::ExceptionExists => "exception_exists",
            Refusal::RequesterNotPermitted => "requester_not_permitted",
            Refusal::UnknownReason => "unknown_reason",
            Refusal::DateNotAfterCurrent => "date_not_after_current",
            Refusal::DateInPast => "date_in_past",
            Refusal::OpenRequestExists => "open_request_exists",
            Refusal::FieldRequired => "field_required",
            Refusal::DecisionExists => "decision_exists",
            Refusal::AlreadyFinal => "already_final",
            Refusal::SelfApproval => "self_approval",
            Refusal::NotAssigned => "not_assigned",
            Refusal::WrongLevel => "wrong_level",
            Refusal::StaleRevision => "stale_revision",
            Refusal::CommentRequired => "comment_required",
            Refusal::AlreadyVoted => "already_voted",
            Refusal::DateOverLimit => "date_over_limit",
        }
    }
}
