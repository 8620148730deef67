//! `RabbitMQ`: the ports of [`crate::broker`] over AMQP 0-9-1, and the objects on the broker. The only place that names lapin.
//!
//! It knows queues, exchanges and connections, never what an event means. Start with `link` (a connection that rebuilds
//! itself), then [`source`] and [`sink`]; [`topology`] is the table of objects, [`client`] publishes for an operator, [`ingest`] and
//! [`tail`] are there for what comes and goes over HTTP.

mod batching;
pub mod client;
mod connection;
mod frames;
mod guard;
mod header;
mod incoming;
pub mod ingest;
mod link;
pub mod sink;
pub mod source;
pub mod tail;
mod tls;
pub mod topology;

use std::fmt;
use std::time::Duration;

pub use ingest::RabbitIngest;
pub use sink::RabbitSink;
pub use source::RabbitSource;
pub use tail::RabbitTail;
pub use tls::Certificates;

use super::BrokerError;

/// The longest silence of the broker while something is awaited from it. Past it the connection is dropped: a broker that
/// is this slow is as good as gone, and what was sent comes again.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How `RabbitMQ` is reached and what its objects are called.
#[derive(Clone)]
pub struct Settings {
    /// `amqp://user:password@host:port/vhost` or `amqps://…` (setting `AMQP_URL`). Holds a secret.
    pub uri: String,
    /// For `amqps://`.
    pub certificates: Certificates,
    /// Stands before the name of every object (setting `amqp.prefix`).
    pub prefix: String,
    /// How many unacknowledged deliveries each consumed queue may have (setting `amqp.prefetch`).
    pub prefetch: u16,
    /// The longest wait between two attempts to connect (setting `retry.wait_max`).
    pub wait_max: Duration,
}

impl Settings {
    /// The full name of an object.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The full names of the consumed queues, by [`super::Tag::channel`].
    pub fn consumed(&self) -> Vec<String> {
        source::consumed().map(|name| self.name(name)).collect()
    }

    /// Whether the address can be read.
    pub fn check(&self) -> Result<(), RabbitError> {
        connection::user_of(&self.uri).map(|_| ())
    }

    /// What is said at the start of the worker where passwords and events leave this machine unencrypted.
    pub fn warning(&self) -> Option<String> {
        let host = connection::clear_text_host(&self.uri)?;
        Some(format!(
            "password and events travel to {host} in clear text, readable and changeable on the way: write amqps:// in \
             AMQP_URL, with amqp.ca_file for an authority of your own"
        ))
    }
}

impl fmt::Debug for Settings {
    /// Without the URI: it holds the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("prefetch", &self.prefetch)
            .field("wait_max", &self.wait_max)
            .finish_non_exhaustive()
    }
}

/// Why `RabbitMQ` did not do what was asked. The worker waits and tries again whatever it is; a command ends with it.
#[derive(Debug, thiserror::Error)]
pub enum RabbitError {
    /// Not there, not answering, or lost on the way: nothing is known of what was asked.
    #[error("RabbitMQ was not reached while trying to {action}: {why}")]
    Unreachable {
        /// What was tried, as in "connect to localhost:5672".
        action: String,
        /// What came instead of an answer.
        why: String,
    },
    /// It answered, and said no.
    #[error("RabbitMQ refused to {action}: {why}; {remedy}")]
    Refused {
        /// What was tried, as in "consume from exceptions.worker".
        action: String,
        /// The broker's own words.
        why: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// Begin the broker's words where it says no for now only: it is being stopped, or short of something.
const PASSING: [&str; 3] = ["CONNECTION_FORCED", "RESOURCE_ERROR", "INTERNAL_ERROR"];

impl RabbitError {
    /// Whether it says no, and will until somebody changes something: a right, an object, a setting.
    fn is_lasting_refusal(&self) -> bool {
        matches!(self, Self::Refused { why, .. } if !PASSING.iter().any(|word| why.starts_with(word)))
    }

    /// As those get it who hand in or follow. `rights` says which ones the user of the worker needs for it.
    fn for_others(self, rights: &str) -> BrokerError {
        match self {
            Self::Refused { .. } if !self.is_lasting_refusal() => BrokerError::Away(self.to_string()),
            Self::Refused { action, why, remedy } => {
                // Who could not even log in, or enter the vhost, has that to mend first.
                let right = why.starts_with("ACCESS_REFUSED") && !action.starts_with("connect");
                let remedy = if right {
                    format!("grant the user {rights}, as `reprieve topology print` shows")
                } else {
                    remedy.into()
                };
                BrokerError::Refused(format!("RabbitMQ refused to {action}: {why}; {remedy}"))
            }
            Self::Unreachable { .. } => BrokerError::Away(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let settings = Settings {
            uri: "amqp://reprieve:hunter2@localhost".into(),
            certificates: Certificates::default(),
            prefix: "p.".into(),
            prefetch: 1_000,
            wait_max: Duration::from_secs(30),
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.name("exceptions.worker"), "p.exceptions.worker");
        assert_eq!(settings.warning(), None);
        for (uri, warned) in [
            ("amqp://u:hunter2@10.0.0.1", true),
            ("amqp://u:hunter2@broker.example.com:5672/%2f", true),
            ("amqps://u:hunter2@broker.example.com", false),
            ("amqp://127.0.0.1", false),
            ("amqp://[::1]:5672", false),
        ] {
            let warning = Settings { uri: uri.to_owned(), ..settings.clone() }.warning();
            assert_eq!(warning.is_some(), warned, "{uri}");
            assert!(!warning.unwrap_or_default().contains("hunter2"), "{uri}");
        }
    }

    #[test]
    fn a_no_for_now_is_no_refusal() {
        #[track_caller]
        fn check(error: RabbitError, no: bool, says: &str) {
            let error = error.for_others("write on x");
            assert_eq!(matches!(error, BrokerError::Refused(_)), no, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let refused =
            |action: &str, why: &str| RabbitError::Refused { action: action.into(), why: why.into(), remedy: "r" };
        check(refused("publish", "ACCESS_REFUSED - access to x"), true, "; grant the user write on x, as");
        check(refused("connect to h", "ACCESS_REFUSED - Login was refused"), true, "; r");
        check(refused("publish", "NOT_FOUND - no exchange"), true, "; r");
        check(refused("publish", "CONNECTION_FORCED - broker forced"), false, "CONNECTION_FORCED");
        check(RabbitError::Unreachable { action: "publish".into(), why: "gone".into() }, false, "gone");
    }
}
