//! One held, unpooled session: how it is opened, and what it is set to. It is closed by being dropped, and whatever it was
//! doing goes with it. What runs on it is a turn: [`super::PostgresStore`].

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use super::Fault;
use crate::health::Light;
use crate::tls::{Trouble, is_loopback, trouble};

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
        Ok(connected) => connected.map_err(explain),
        Err(_) => Err(Fault::Late("no session", CONNECT_MAX)),
    }
}

/// What to do about a session that did not come about, where it is a matter of certificates, or of who may log in to what.
pub(super) fn explain(error: sqlx::Error) -> Fault {
    let text = error.to_string();
    let code = error.as_database_error().and_then(DatabaseError::code);
    let remedy = match (trouble(&text), code.as_deref()) {
        (Some(Trouble::UnknownAuthority), _) => {
            "name the authority that signed the database's certificate: sslrootcert=FILE in DATABASE_URL"
        }
        (Some(Trouble::OtherHost), _) => "write the host in DATABASE_URL as it stands in the database's certificate",
        (Some(Trouble::OutOfDate), _) => "renew the database's certificate, or put the clock right",
        (Some(Trouble::ClientCertificate), _) => {
            "give a certificate the database accepts: sslcert=FILE and sslkey=FILE in DATABASE_URL"
        }
        (Some(Trouble::NoTls), _) => {
            "turn ssl on in the database, or write sslmode=disable where the way to it is safe"
        }
        (None, Some("28P01")) => "check user and password in DATABASE_URL",
        (None, Some("28000")) if text.contains("pg_hba.conf") => {
            "have the database's pg_hba.conf let this role in from here, or correct DATABASE_URL"
        }
        (None, Some("28000")) => "create the role and let it log in, or correct DATABASE_URL",
        (None, Some("3D000")) => "create the database, or correct DATABASE_URL",
        (None, None) if is_about_a_file(&error) => {
            "see that the files DATABASE_URL names (sslrootcert, sslcert, sslkey, the socket) are there and can be read"
        }
        _ => return Fault::Database(error),
    };
    Fault::NoSession(error, remedy)
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
        // Whoever names an authority wants it asked, on this machine too.
        let wanted = !is_loopback(options.get_host()) || names(url, &["sslrootcert", "ssl-root-cert", "ssl-ca"]);
        if wanted && !names(url, &["sslmode", "ssl-mode"]) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
    }
    Ok(options.disable_statement_logging())
}

/// Where it is, for messages: as in "the database reprieve at 127.0.0.1:5432". Nothing else of the URL.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if host.starts_with('/') => host.to_owned(),
        None if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    };
    match options.get_database() {
        Some(database) => format!("the database {database} at {server}"),
        None => format!("the database at {server}"),
    }
}

fn is_socket(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

fn is_about_a_file(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    matches!(error, sqlx::Error::Io(error) if matches!(error.kind(), NotFound | PermissionDenied))
}

/// Whether the URL has a parameter of one of these names.
fn names(url: &str, parameters: &[&str]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| pair.split('=').next().is_some_and(|name| parameters.contains(&name)))
}

/// The host, where the way to it is open to others.
pub(super) fn clear_text_host(url: &str) -> Result<Option<String>, sqlx::Error> {
    let options = options(url, "reprieve")?;
    let encrypted = matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    let near = is_socket(&options) || is_loopback(options.get_host());
    Ok((!encrypted && !near).then(|| options.get_host().to_owned()))
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
        check("postgres://localhost/reprieve?sslrootcert=ca.pem", true);
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
    fn the_place_is_named_without_the_password() {
        #[track_caller]
        fn check(url: &str, expected: &str) {
            assert_eq!(place(&options(url, "test").unwrap()), expected, "{url}");
        }
        check("postgres://u:hunter2@db.example.com/reprieve", "the database reprieve at db.example.com:5432");
        check("postgres://u@127.0.0.1:6432/d?password=hunter2", "the database d at 127.0.0.1:6432");
        check("postgres://u:hunter2@[::1]/d", "the database d at [::1]:5432");
        check("postgres:///d?host=/run/postgresql&password=hunter2", "the database d at /run/postgresql");
    }

    #[test]
    fn a_way_in_clear_text_is_known() {
        let host = |url: &str| clear_text_host(url).unwrap();
        assert_eq!(host("postgres://db.example.com/reprieve"), None);
        for mode in ["disable", "allow", "prefer"] {
            let url = format!("postgres://u:hunter2@db.example.com/reprieve?sslmode={mode}");
            assert_eq!(host(&url).as_deref(), Some("db.example.com"), "{mode}");
        }
        assert_eq!(host("postgres://db.example.com/reprieve?sslmode=require"), None);
        assert_eq!(host("postgres://127.0.0.1/reprieve"), None);
        assert_eq!(host("postgres:///reprieve?host=/run/postgresql"), None);
    }

    #[test]
    fn the_tcp_timeout_is_left_out_on_a_socket() {
        let set = |url| turn_options(url).unwrap().get_options().unwrap().to_owned();
        assert!(set("postgres://127.0.0.1/reprieve").contains("tcp_user_timeout=5s"));
        assert!(!set("postgres:///reprieve?host=/run/postgresql").contains("tcp_user_timeout"));
        assert!(set("postgres:///reprieve?host=/run/postgresql").contains("enable_seqscan=off"));
    }
}
