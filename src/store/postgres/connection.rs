//! One held, unpooled session: how it is opened, and what it is set to. It is closed by being dropped, and whatever it was
//! doing goes with it. What runs on it is a turn: [`super::PostgresStore`].

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use super::Fault;
use crate::health::Light;

/// Longest wait for a session, so that a database that does not answer is noticed well within 15 s.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What every session of this program is set to. Warnings are not sent: each is logged by the driver otherwise, and the
/// `ROLLBACK`s that make sure of something warn.
const ALL: [(&str, &str); 3] =
    [("jit", "off"), ("client_min_messages", "error"), ("idle_in_transaction_session_timeout", "5s")];

/// What the session that runs turns is set to. A plan cached while a table was empty would read the whole of it for ever;
/// each statement of a turn finds its rows by key. The wait for the lock is longer than the 5.5 s in which a frozen holder
/// is ended, and ends with time left in the turn to say so.
const TURN: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("lock_timeout", "8s"),
    ("statement_timeout", "10s"),
];

/// Ends a session whose client takes nothing any more: no other timeout of the server does. A setting of TCP alone.
const TAKES_NOTHING: (&str, &str) = ("tcp_user_timeout", "5s");

/// The held session; the light is on from its first good turn until it is dropped.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    light: Light,
}

impl Session {
    /// One attempt.
    pub(super) async fn open(options: &PgConnectOptions, light: &Light) -> Result<Self, Fault> {
        let connection = connect(options).await?;
        Ok(Self { connection, light: light.clone() })
    }

    /// A turn went well on it.
    pub(super) fn proved(&self) {
        self.light.on();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.light.off();
    }
}

/// One attempt, with its deadline.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Fault> {
    match tokio::time::timeout(CONNECT_MAX, options.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Fault::Late("no session", CONNECT_MAX)),
    }
}

/// How the session that runs turns is opened.
pub(super) fn turn_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(options(url, "reprieve")?.options(TURN))
}

/// How any session is opened: with TLS and the server's name checked, unless the server is on this machine or the URL names
/// an `sslmode`. Left alone, the driver would go on in plain text without a word.
pub(super) fn options(url: &str, application_name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let mut options = PgConnectOptions::from_str(url)?.application_name(application_name).options(ALL);
    if !is_socket(&options) {
        options = options.options([TAKES_NOTHING]);
        if !is_loopback(options.get_host()) && !names_sslmode(url) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
    }
    Ok(options.disable_statement_logging())
}

fn is_socket(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || IpAddr::from_str(address).is_ok_and(|address| address.is_loopback())
}

fn names_sslmode(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| matches!(pair.split('=').next(), Some("sslmode" | "ssl-mode")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, verified: bool) {
        let options = options(url, "test").unwrap();
        assert_eq!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull), verified, "{url}");
    }

    #[test]
    fn the_way_to_another_machine_is_encrypted_and_verified() {
        check("postgres://db.example.com/reprieve", true);
        check("postgres://10.0.0.5:5432/reprieve", true);
        check("postgres://localhost.example.com/reprieve", true);
        check("postgres://localhost/reprieve?host=db.example.com", true);
    }

    #[test]
    fn this_machine_and_what_the_url_says_are_left_alone() {
        check("postgres://127.0.0.1/reprieve", false);
        check("postgres://[::1]:5432/reprieve", false);
        check("postgres://localhost/reprieve", false);
        check("postgres:///reprieve?host=/run/postgresql", false);
        check("postgres://db.example.com/reprieve?sslmode=disable", false);
    }

    #[test]
    fn the_tcp_timeout_is_left_out_on_a_socket() {
        let set = |url| turn_options(url).unwrap().get_options().unwrap().to_owned();
        assert!(set("postgres://127.0.0.1/reprieve").contains("tcp_user_timeout=5s"));
        assert!(!set("postgres:///reprieve?host=/run/postgresql").contains("tcp_user_timeout"));
        assert!(set("postgres:///reprieve?host=/run/postgresql").contains("enable_seqscan=off"));
    }
}
