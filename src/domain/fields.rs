//! The fields of inbound `data` that have a meaning (the integration guide, "Publishing"): what the decoder checks, the schemas
//! say and rules may name. Everything else is kept and ignored, and what stands under `custom` is the sender's own.

/// What a field must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[A-Za-z0-9._:@+-]{1,128}`.
    Id,
    /// A person.
    User,
    /// One of [`SEVERITIES`], in any case.
    Severity,
    /// A word of the settings, in any case.
    Word,
    /// A [`crate::domain::command::Verdict`], in any case.
    Verdict,
    /// Text.
    Text,
    /// Text that may be longer; only directly in `data`.
    LongText,
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339 with offset.
    Time,
    /// A whole number from 0.
    Count,
    /// true or false.
    Bool,
    /// A decimal number, as a string or a JSON number.
    Score,
    /// Texts.
    TextList,
    /// An object whose fields are in this table too.
    Object,
    /// Objects of texts.
    ObjectList,
    /// An object of anything.
    Custom,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it stands, from `data`.
    pub path: &'static str,
    /// What it must hold.
    pub kind: Kind,
    /// Whether it has to be there, and not null.
    pub required: bool,
}

/// The severities, worst first.
pub const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];

const fn required(path: &'static str, kind: Kind) -> Field {
    Field { path, kind, required: true }
}

const fn optional(path: &'static str, kind: Kind) -> Field {
    Field { path, kind, required: false }
}

/// Those of a submission, outer ones first.
pub const SUBMISSION: [Field; 36] = [
    required("exception_id", Kind::Id),
    required("ticket", Kind::Object),
    required("ticket.id", Kind::Id),
    required("ticket.title", Kind::Text),
    optional("ticket.url", Kind::Text),
    required("ticket.severity", Kind::Severity),
    optional("ticket.original_due_date", Kind::Date),
    required("ticket.current_due_date", Kind::Date),
    optional("ticket.assignee", Kind::Text),
    optional("ticket.business_unit", Kind::Text),
    optional("ticket.environment", Kind::Text),
    optional("ticket.asset", Kind::Object),
    optional("ticket.asset.id", Kind::Text),
    optional("ticket.asset.service", Kind::Text),
    optional("ticket.asset.criticality", Kind::Text),
    optional("ticket.asset.internet_facing", Kind::Bool),
    optional("ticket.cves", Kind::TextList),
    optional("ticket.kev", Kind::Bool),
    optional("ticket.kev_due_date", Kind::Date),
    optional("ticket.epss", Kind::Score),
    optional("ticket.cvss", Kind::Score),
    optional("ticket.fix_available", Kind::Bool),
    optional("ticket.tags", Kind::TextList),
    required("requester", Kind::Object),
    required("requester.id", Kind::User),
    optional("requester.name", Kind::Text),
    optional("requester.team", Kind::Text),
    optional("requester.manager", Kind::User),
    required("reason", Kind::Word),
    optional("justification", Kind::LongText),
    optional("compensating_controls", Kind::TextList),
    required("requested_due_date", Kind::Date),
    optional("attachments", Kind::ObjectList),
    optional("previous_exception_id", Kind::Id),
    optional("batch_id", Kind::Text),
    optional("custom", Kind::Custom),
];

/// Those of a decision, outer ones first.
pub const DECISION: [Field; 10] = [
    required("decision_id", Kind::Id),
    required("exception_id", Kind::Id),
    required("decision", Kind::Verdict),
    required("reviewer", Kind::Object),
    required("reviewer.id", Kind::User),
    optional("approved_due_date", Kind::Date),
    optional("comment", Kind::Text),
    optional("reassign_to", Kind::User),
    optional("expected_revision", Kind::Count),
    optional("decided_at", Kind::Time),
];

/// What the worker computes for a submission, and rules may name beside its fields. All are whole numbers.
pub const DERIVED: [&str; 4] = ["extension_days", "cumulative_extension_days", "previous_exceptions", "days_to_due"];

/// Whether a path names a field of the sender's own: `custom.` and names, as deep as they go.
pub fn is_own(path: &str) -> bool {
    path.strip_prefix("custom.").is_some_and(|rest| rest.split('.').all(|name| !name.is_empty()))
}

/// The known field at a path.
pub fn submission_field(path: &str) -> Option<&'static Field> {
    SUBMISSION.iter().find(|field| field.path == path)
}
