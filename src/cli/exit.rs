//! How a command ends when it does not end well: the exit codes that `--help` lists.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::broker::BrokerError;
use crate::broker::rabbitmq::RabbitError;
use crate::store::ViewError;
use crate::store::desk::DeskError;
use crate::store::place::At;
use crate::store::postgres::BadUrl;
use crate::store::postgres::grants::BadRole;
use crate::store::postgres::migrate::SchemaError;
use crate::store::sqlite::lock::LockError;

/// What kind of end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A check failed, or the work was done in part.
    Failed = 1,
    /// The command line, or the input it names, makes no sense.
    Usage = 2,
    /// Configuration or rules are invalid.
    Configuration = 3,
    /// What was asked for does not exist.
    NotFound = 4,
    /// Broker or database did not answer.
    Unreachable = 5,
    /// Broker, database or the business said no.
    Refused = 6,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub struct ExitError {
    /// The process ends with it.
    pub code: Code,
    /// For stderr.
    pub message: String,
}

impl ExitError {
    /// An error with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something failed, or was done in part.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ExitError {}

impl From<RabbitError> for ExitError {
    fn from(error: RabbitError) -> Self {
        let code = match error {
            RabbitError::Unreachable { .. } => Code::Unreachable,
            RabbitError::Refused { .. } => Code::Refused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BrokerError> for ExitError {
    fn from(error: BrokerError) -> Self {
        let code = match error {
            BrokerError::Away(_) => Code::Unreachable,
            BrokerError::Refused(_) => Code::Refused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SchemaError> for ExitError {
    fn from(error: SchemaError) -> Self {
        let code = match error {
            SchemaError::Url(_) => Code::Configuration,
            SchemaError::Away(_) => Code::Unreachable,
            SchemaError::Migration(_) => Code::Failed,
            SchemaError::Grants(_)
            | SchemaError::Missing
            | SchemaError::Strange(_)
            | SchemaError::NoFile(_)
            | SchemaError::Older(_)
            | SchemaError::Foreign(_)
            | SchemaError::TooNew { .. }
            | SchemaError::Encoding(_)
            | SchemaError::FsyncOff => Code::Refused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<LockError> for ExitError {
    fn from(error: LockError) -> Self {
        let code = match error {
            LockError::Held { .. } | LockError::Names { .. } => Code::Refused,
            LockError::Io { .. } => Code::Unreachable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DeskError> for ExitError {
    fn from(DeskError(cause): DeskError) -> Self {
        Self::new(Code::Unreachable, advised(cause.as_ref()))
    }
}

impl From<ViewError> for ExitError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Away(cause) => Self::new(Code::Unreachable, advised(cause.as_ref())),
            ViewError::Unreadable { .. } => Self::failed(error.to_string()),
        }
    }
}

/// What the database said, with what helps: the general advice only where the cause brings none of its own.
fn advised(cause: &(dyn Error + Send + Sync + 'static)) -> String {
    match cause.downcast_ref::<At>() {
        Some(at) if at.is_advised() => at.to_string(),
        _ => format!("{cause}; check DATABASE_URL, and `reprieve migrate status`"),
    }
}

impl From<BadRole> for ExitError {
    fn from(error: BadRole) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<BadUrl> for ExitError {
    fn from(error: BadUrl) -> Self {
        Self::new(Code::Configuration, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_once() {
        let at = |is_advised| At::new("the database d at h:5432", "no; do this").advised(is_advised);
        let told = |at: At| ExitError::from(ViewError::Away(at.into())).message;
        assert_eq!(told(at(true)), "the database d at h:5432: no; do this");
        assert_eq!(
            told(at(false)),
            "the database d at h:5432: no; do this; check DATABASE_URL, and `reprieve migrate status`"
        );
        let desk = ExitError::from(DeskError(at(true).into()));
        assert_eq!((desk.code, desk.message.as_str()), (Code::Unreachable, "the database d at h:5432: no; do this"));
    }
}
