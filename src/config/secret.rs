//! A text that must not be seen. It is no protection of memory: what it prevents is the accident of printing.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A secret: it shows nothing of itself, not even its length.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the secret. The digests are compared, so the time it takes says nothing about where the
    /// first difference is, nor about the length.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let (own, other) = (Sha256::digest(&self.0), Sha256::digest(candidate));
        own.iter().zip(other.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_and_knows_itself() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "(hidden)");
        assert!(secret.matches(b"s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
    }
}
