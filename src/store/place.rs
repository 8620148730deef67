//! Which database an error is about. Whoever reads it may run several.

use std::error::Error;
use std::fmt;

/// What went wrong, and where. Never with a password.
#[derive(Debug)]
pub struct At {
    place: String,
    cause: Box<dyn Error + Send + Sync>,
    is_advised: bool,
}

impl At {
    /// `place` as in "the database reprieve at 127.0.0.1:5432".
    pub(crate) fn new(place: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { place: place.into(), cause: cause.into(), is_advised: false }
    }

    /// The cause says what to do.
    pub(crate) fn advised(self, is_advised: bool) -> Self {
        Self { is_advised, ..self }
    }

    /// Whether it says what to do; what would be said without knowing the cause is left out then.
    pub fn is_advised(&self) -> bool {
        self.is_advised
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)
    }
}

impl Error for At {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause.as_ref())
    }
}
