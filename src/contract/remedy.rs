//! For each failure reason of the contract what a person can do about it. The list is closed: a reason that is not here is
//! none.

/// Reason and remedy, in the order in which the contract lists the reasons.
pub const REMEDIES: [(&str, &str); 18] = [
    ("too_large", "the publisher has to send less: move attachments elsewhere and send their URLs"),
    ("bad_properties", "correct the content type: edit with --content-type, and have the publisher send the right one"),
    ("bad_encoding", "the body is no UTF-8: edit it into UTF-8, and have the publisher send that"),
    ("bad_json", "the body is no JSON: edit it, and have the publisher write it with a JSON library"),
    ("too_deep", "the publisher has to nest less deeply"),
    ("duplicate_key", "decide which of the two values is meant, and edit the other one out"),
    ("schema", "edit the place that the message names; if a newer version of the worker knows the field, retry"),
    ("bad_text", "edit the hidden or control character out"),
    ("bad_time", "edit the time: RFC 3339 with an offset, dates as YYYY-MM-DD"),
    ("unknown_type", "retry after an upgrade if the type is new; otherwise correct the publisher and discard"),
    ("unsupported_version", "retry after an upgrade if the version is new; otherwise correct the publisher"),
    ("id_conflict", "two events share source and id: if this one is meant, edit it and give it an id of its own"),
    ("unauthenticated", "the publisher has to set the message's user id; then retry what it sends anew, discard this"),
    ("unauthorized", "let this user publish this type in [trust], then retry; otherwise discard"),
    ("orphaned", "retry once the submission of its exception is there; otherwise discard"),
    ("crash_loop", "report it with the log of the crash; retry after an upgrade that mends it"),
    ("delivery_limit", "it was delivered too often without an end: look at the log, then retry"),
    ("attempts_exhausted", "the database refused it: look at the log for the reason, mend that, then retry"),
];

/// What to do about a failure with this reason.
pub fn remedy(reason: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(known, _)| *known == reason).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::reason::Reason;

    #[test]
    fn every_reason_has_a_remedy() {
        for reason in [
            Reason::TooLarge,
            Reason::BadProperties,
            Reason::BadEncoding,
            Reason::TooDeep,
            Reason::BadJson,
            Reason::DuplicateKey,
            Reason::NoObject,
            Reason::UnsupportedVersion,
            Reason::UnknownType,
            Reason::BadText,
            Reason::BadTime,
            Reason::Schema,
            Reason::IdConflict,
            Reason::Orphaned,
            Reason::CrashLoop,
            Reason::AttemptsExhausted,
        ] {
            assert!(remedy(reason.word()).is_some(), "{}", reason.word());
        }
        assert_eq!(remedy("banana"), None);
    }
}
