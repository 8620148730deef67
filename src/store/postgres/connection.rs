//! Where the database is and how sessions are opened: settings, TLS, deadlines. A password never shows in an error.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

/// A server that accepts but says nothing is as good as away.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Settings of every session. The first three make plans that are right whatever the tables held when they were made: a
/// generic plan cached while a table was empty is a sequential scan for ever. The others end on the server what a frozen or
/// vanished client left behind.
const SESSION: [(&str, &str); 8] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("lock_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_user_timeout", "5s"),
    ("TimeZone", "UTC"),
];

/// A database, by its URL.
#[derive(Clone)]
pub struct Target(PgConnectOptions);

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}:{}/{})", self.0.get_host(), self.0.get_port(), self.0.get_database().unwrap_or_default())
    }
}

/// Why a URL names no database. The URL itself is not shown: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL is no postgres:// URL: {0}")]
pub struct TargetError(String);

impl Target {
    /// Reads a `postgres://` URL. A host that is not loopback is reached by verified TLS unless the URL says `sslmode`.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let mut options = PgConnectOptions::from_str(url).map_err(|error| TargetError(error.to_string()))?;
        let local = options.get_socket().is_some() || is_loopback(options.get_host());
        if !local && !url.contains("sslmode=") {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        // Statements are not logged: their arguments are what people wrote.
        Ok(Self(options.application_name("reprieve").options(SESSION).disable_statement_logging()))
    }

    /// Opens a session.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = timeout(CONNECT_MAX, self.0.connect());
        connecting.await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.0.clone()
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.starts_with('/') || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
