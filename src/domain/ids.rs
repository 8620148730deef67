//! Names that cross the border: parsed once, compared exactly afterwards. Their form: the integration guide, "Limits".

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier, in characters (all of them ASCII).
const ID_LENGTH_MAX: usize = 128;

/// Why a text is not an identifier. The two kinds end as different failure reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or a character outside the alphabet.
    #[error("expected {0}")]
    Malformed(&'static str),
    /// A control, bidirectional or zero-width character: never an accident worth keeping.
    #[error("contains a control, bidirectional or zero-width character")]
    Hidden,
}

/// Whether a character can hide in a text or change how the rest of it is shown.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Accepts `[A-Za-z0-9._:@+-]{1,128}`, compared exactly.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse_identifier(text).map(|()| Self(text.to_owned()))
            }

            /// The identifier as it was sent.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// The exception request's id, given by the ticketing system and unique in one deployment.
    ExceptionId
);
identifier!(
    /// The remediation ticket's id, given by the ticketing system.
    TicketId
);
identifier!(
    /// The id of one decision on one exception, given by the review front end.
    DecisionId
);

fn parse_identifier(text: &str) -> Result<(), IdError> {
    if text.chars().any(is_hidden) {
        return Err(IdError::Hidden);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:@+-".contains(&b);
    if text.is_empty() || text.len() > ID_LENGTH_MAX || !text.bytes().all(allowed) {
        return Err(IdError::Malformed("1 to 128 characters of A-Z a-z 0-9 . _ : @ + -"));
    }
    Ok(())
}

/// A person, trimmed and lower-cased: two spellings that this makes equal are the same person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// Trims, lower-cases, then accepts 1 to 128 printable ASCII characters without space.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.chars().any(is_hidden) {
            return Err(IdError::Hidden);
        }
        if trimmed.is_empty() || trimmed.len() > ID_LENGTH_MAX || !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdError::Malformed("1 to 128 printable ASCII characters without space"));
        }
        Ok(Self(trimmed.to_ascii_lowercase()))
    }

    /// The normalised id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 16 bytes of a SHA-256: long enough that nobody meets a collision, half the space in every index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The first half of a SHA-256.
    pub fn of_sha256(hash: &[u8; 32]) -> Self {
        let (first, _) = hash.split_first_chunk().expect("32 bytes begin with 16");
        Self(*first)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(value.to_be_bytes()))
    }
}

/// Lower-case hexadecimal, as every hash is shown.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_as_written() {
        assert_eq!(ExceptionId::parse("EX-2026:a.b_c@d+1").unwrap().as_str(), "EX-2026:a.b_c@d+1");
    }

    #[test]
    fn what_is_no_id_says_which_kind_of_no() {
        for (text, hidden) in [
            ("", false),
            (" x", false),
            ("é", false),
            ("a/b", false),
            ("a\u{200b}b", true),
            ("a\nb", true),
            ("\u{202e}a", true),
        ] {
            assert_eq!(ExceptionId::parse(text).unwrap_err() == IdError::Hidden, hidden, "{text:?}");
        }
        assert!(ExceptionId::parse(&"x".repeat(128)).is_ok());
        assert!(ExceptionId::parse(&"x".repeat(129)).is_err());
    }

    #[test]
    fn two_spellings_of_a_person_are_one() {
        assert_eq!(UserId::parse(" ANA@x.com ").unwrap(), UserId::parse("ana@X.com").unwrap());
        assert!(UserId::parse("ana maria").is_err());
        assert!(UserId::parse("  ").is_err());
    }

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Digest([7; 16]);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }
}
