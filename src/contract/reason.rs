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
}
