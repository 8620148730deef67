//! Why an input can never be processed: a closed list, in the order in which it is applied when several fit (the integration
//! guide, "The answer to what was not applied").

/// A permanent fault of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// With a trust table: the broker vouches for no user, or for one that is not in the table. Before anything is read.
    Unauthenticated,
    /// With a trust table: the user may not publish this type.
    Unauthorized,
    /// The body is over the limit.
    TooLarge,
    /// Content type or encoding, or the event's headers.
    BadProperties,
    /// Not UTF-8, or a lone surrogate.
    BadEncoding,
    /// Nested too deeply.
    TooDeep,
    /// Not one JSON document.
    BadJson,
    /// A name twice in one object.
    DuplicateKey,
    /// The body is no JSON object.
    NoObject,
    /// `specversion` other than 1.0, or a major version of a type that is not known.
    UnsupportedVersion,
    /// A type nobody here knows.
    UnknownType,
    /// NUL anywhere, or hidden characters in an identifier.
    BadText,
    /// A date or time that is none.
    BadTime,
    /// Anything else that a schema would refuse.
    Schema,
    /// The same (source, id) with other content.
    IdConflict,
    /// Parked, and its submission never came.
    Orphaned,
    /// Processing it ends in a crash.
    CrashLoop,
    /// The database refuses its content, again and again.
    AttemptsExhausted,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; 18] = [
        Self::Unauthenticated,
        Self::Unauthorized,
        Self::TooLarge,
        Self::BadProperties,
        Self::BadEncoding,
        Self::TooDeep,
        Self::BadJson,
        Self::DuplicateKey,
        Self::NoObject,
        Self::UnsupportedVersion,
        Self::UnknownType,
        Self::BadText,
        Self::BadTime,
        Self::Schema,
        Self::IdConflict,
        Self::Orphaned,
        Self::CrashLoop,
        Self::AttemptsExhausted,
    ];

    /// As stored, published and counted.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Unauthenticated => "unauthenticated",
            Reason::Unauthorized => "unauthorized",
            Reason::TooLarge => "too_large",
            Reason::BadProperties => "bad_properties",
            Reason::BadEncoding => "bad_encoding",
            Reason::TooDeep => "too_deep",
            Reason::BadJson => "bad_json",
            Reason::DuplicateKey => "duplicate_key",
            Reason::NoObject | Reason::Schema => "schema",
            Reason::UnsupportedVersion => "unsupported_version",
            Reason::UnknownType => "unknown_type",
            Reason::BadText => "bad_text",
            Reason::BadTime => "bad_time",
            Reason::IdConflict => "id_conflict",
            Reason::Orphaned => "orphaned",
            Reason::CrashLoop => "crash_loop",
            Reason::AttemptsExhausted => "attempts_exhausted",
        }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Reason::TooLarge => "the publisher has to send less: move attachments elsewhere and send their URLs",
            Reason::BadProperties => {
                "correct the content type: edit with --content-type, and have the publisher send the right one"
            }
            Reason::BadEncoding => "the body is no UTF-8: edit it into UTF-8, and have the publisher send that",
            Reason::BadJson => "the body is no JSON: edit it, and have the publisher write it with a JSON library",
            Reason::TooDeep => "the publisher has to nest less deeply",
            Reason::DuplicateKey => "decide which of the two values is meant, and edit the other one out",
            Reason::NoObject | Reason::Schema => {
                "edit the place that the message names; if a newer version of the worker knows the field, retry"
            }
            Reason::BadText => "edit the hidden or control character out",
            Reason::BadTime => "edit the time: RFC 3339 with an offset, dates as YYYY-MM-DD",
            Reason::UnknownType => {
                "retry after an upgrade if the type is new; otherwise correct the publisher and discard"
            }
            Reason::UnsupportedVersion => {
                "retry after an upgrade if the version is new; otherwise correct the publisher"
            }
            Reason::IdConflict => {
                "two events share source and id: if this one is meant, edit it and give it an id of its own"
            }
            Reason::Unauthenticated => {
                "the publisher has to set the message's user id; then retry what it sends anew, discard this"
            }
            Reason::Unauthorized => "let this user publish this type in [trust], then retry; otherwise discard",
            Reason::Orphaned => "retry once the submission of its exception is there; otherwise discard",
            Reason::CrashLoop => "report it with the log of the crash; retry after an upgrade that mends it",
            Reason::AttemptsExhausted => {
                "the database refused it: look at the log for the reason, mend that, then retry"
            }
        }
    }

    /// The reason with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_their_order() {
        assert!(Reason::ALL.is_sorted());
        // A new reason makes `word` fail to compile, and this to fail until it is listed.
        assert_eq!(Reason::ALL.last(), Some(&Reason::AttemptsExhausted));
        assert_eq!(Reason::ALL.map(|reason| reason as usize), std::array::from_fn(|place| place));
        assert_eq!(Reason::of("unauthorized"), Some(Reason::Unauthorized));
        assert_eq!(Reason::of("banana"), None);
    }
}
