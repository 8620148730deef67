//! The settings: flag, environment, file, default, in this order. It reads no rules and opens no connection. The table of
//! keys is in [`keys`], where they are found in [`layers`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;

mod address;
pub mod error;
pub mod keys;
pub mod layers;
pub mod secret;
pub mod shown;
mod trust;
mod values;

pub use error::ConfigError;
pub use layers::Sources;
pub use secret::Secret;

use error::{Fault, Origin};
use values::Values;

use crate::contract::trust::Trust;

/// Longest prefix: the longest name after it has 29 characters, and AMQP allows 255 bytes.
const PREFIX_LENGTH_MAX: usize = 64;
/// Longest `source`: as long as an inbound one may be.
const SOURCE_LENGTH_MAX: usize = 256;
/// Longest link; texts in events end there too.
const LINK_LENGTH_MAX: usize = 4_096;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Where the state is kept.
#[derive(Clone, Debug)]
pub enum Database<'a> {
    /// A Postgres server, by its URL.
    Postgres(&'a Secret),
    /// A file of this machine.
    Sqlite(PathBuf),
}

/// Where events come from and go to.
#[derive(Clone, Copy, Debug)]
pub enum Broker<'a> {
    /// A `RabbitMQ` server, by its URL.
    Rabbit(&'a Secret),
    /// The worker itself: over HTTP, and into the log in its database.
    Embedded,
}

/// The settings, read and checked. Each field is the key of the same name in [`keys::KEYS`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `database.url`; see [`Config::database`].
    pub database_url: Option<Secret>,
    /// `database.allow_fsync_off`
    pub database_allow_fsync_off: bool,
    /// `amqp.url`; see [`Config::broker`].
    pub amqp_url: Option<Secret>,
    /// `amqp.ca_file`
    pub amqp_ca_file: Option<PathBuf>,
    /// `amqp.client_cert_file` and `amqp.client_key_file`
    pub amqp_client_files: Option<(PathBuf, PathBuf)>,
    /// `amqp.prefix`
    pub amqp_prefix: String,
    /// `amqp.prefetch`
    pub amqp_prefetch: u16,
    /// `worker.batch_max`
    pub worker_batch_max: usize,
    /// `shutdown.deadline`
    pub shutdown_deadline: Duration,
    /// `parking.ttl`
    pub parking_ttl: Duration,
    /// `parking.max`
    pub parking_max: u64,
    /// `outbox.max`
    pub outbox_max: u64,
    /// `retry.wait_max`
    pub retry_wait_max: Duration,
    /// `http.listen`
    pub http_listen: SocketAddr,
    /// `http.token`
    pub http_token: Option<Secret>,
    /// `links.exception`
    pub links_exception: String,
    /// `rules`
    pub rules: PathBuf,
    /// `source`
    pub source: String,
    /// `trust`
    pub trust: Option<Trust>,
    /// `clock.offset`
    pub clock_offset: TimeDelta,
    /// `log.format`
    pub log_format: LogFormat,
}

impl Config {
    /// Reads and checks everything; all faults at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut values = Values(layers::gather(sources)?);
        match (read(&mut values), values.0.faults) {
            (Some(config), faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(ConfigError::Faults(faults)),
        }
    }

    /// The database, for what cannot do without.
    pub fn database(&self) -> Result<Database<'_>, ConfigError> {
        let url = self.database_url.as_ref().ok_or_else(|| missing("database.url"))?;
        Ok(url.expose().strip_prefix("sqlite:").map_or(Database::Postgres(url), |rest| {
            // Two slashes begin an address; what comes after them is the path, absolute with a third.
            Database::Sqlite(PathBuf::from(rest.strip_prefix("//").unwrap_or(rest)))
        }))
    }

    /// The broker, for what cannot do without.
    pub fn broker(&self) -> Result<Broker<'_>, ConfigError> {
        let url = self.amqp_url.as_ref().ok_or_else(|| missing("amqp.url"))?;
        Ok(if is_embedded(url) { Broker::Embedded } else { Broker::Rabbit(url) })
    }

    /// What is allowed but should not go unseen at the start of the worker.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.clock_offset.is_zero() {
            let seconds = self.clock_offset.num_seconds();
            warnings
                .push(format!("clock.offset shifts the clock by {seconds} s: for tests only, remove it anywhere else"));
        }
        if self.database_allow_fsync_off {
            let cost = "a power cut may lose what was acknowledged";
            warnings.push(format!("database.allow_fsync_off is set: {cost}; for tests only"));
        }
        if self.http_token.is_none() && !self.http_listen.ip().is_loopback() {
            let listen = self.http_listen;
            warnings
                .push(format!("http.listen is {listen} and http.token is not set: the API answers to loopback only"));
        }
        warnings
    }
}

fn read(values: &mut Values) -> Option<Config> {
    // All are read before the first `?`, so that all faults are found.
    let database_url = values.secret("database.url", check_database_url);
    let database_allow_fsync_off = values.switch("database.allow_fsync_off");
    let amqp_url = values.secret("amqp.url", check_amqp_url);
    let amqp_files = read_amqp_files(values, amqp_url.as_ref());
    let amqp_prefix = values.text("amqp.prefix", check_prefix);
    let amqp_prefetch = values.number("amqp.prefetch");
    let worker_batch_max = values.number("worker.batch_max");
    let shutdown_deadline = values.span("shutdown.deadline");
    let parking_ttl = values.span("parking.ttl");
    let parking_max = values.number("parking.max");
    let outbox_max = values.number("outbox.max");
    let retry_wait_max = values.span("retry.wait_max");
    let http_listen = values.text("http.listen", |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is no address with a port; write it like 127.0.0.1:8080 or [::1]:8080"))
    });
    let http_token = values.secret("http.token", check_token);
    let links_exception = values.text("links.exception", |text| visible(text, 0, LINK_LENGTH_MAX));
    let rules = values.text("rules", |text| visible(text, 1, LINK_LENGTH_MAX).map(PathBuf::from));
    let source = values.text("source", |text| visible(text, 1, SOURCE_LENGTH_MAX));
    check_embedded(values, database_url.as_ref(), amqp_url.as_ref());
    let trust = trust::read(std::mem::take(&mut values.0.trust), &mut values.0.faults);
    let clock_offset = values.offset("clock.offset");
    let log_format = values.word("log.format").map(|place| match place {
        1 => LogFormat::Human,
        2 => LogFormat::Json,
        _ => LogFormat::Auto,
    });
    Some(Config {
        database_url,
        database_allow_fsync_off: database_allow_fsync_off?,
        amqp_url,
        amqp_ca_file: amqp_files.0,
        amqp_client_files: amqp_files.1,
        amqp_prefix: amqp_prefix?,
        amqp_prefetch: amqp_prefetch?,
        worker_batch_max: worker_batch_max?,
        shutdown_deadline: shutdown_deadline?,
        parking_ttl: parking_ttl?,
        parking_max: parking_max?,
        outbox_max: outbox_max?,
        retry_wait_max: retry_wait_max?,
        http_listen: http_listen?,
        http_token,
        links_exception: links_exception?,
        rules: rules?,
        source: source?,
        trust,
        clock_offset: clock_offset?,
        log_format: log_format?,
    })
}

/// The authorities' file, and the client's certificate with its key.
type AmqpFiles = (Option<PathBuf>, Option<(PathBuf, PathBuf)>);

/// Files that would not be used are a fault: whoever names them believes the way to the broker to be safe.
fn read_amqp_files(values: &mut Values, url: Option<&Secret>) -> AmqpFiles {
    let is_plain = url.is_some_and(|url| url.expose().starts_with("amqp:"));
    let mut file = |name, other| {
        let other_is_named = values.0.found.get(other).is_some_and(|found| !found.text.is_empty());
        values.text(name, |text| match visible(text, 0, LINK_LENGTH_MAX)? {
            path if path.is_empty() => Ok(None),
            _ if is_plain => Err("would not be used: write amqps:// in AMQP_URL, or remove it".to_owned()),
            _ if !other_is_named => Err(format!("is of no use alone: set {other} too, or remove it")),
            path => Ok(Some(PathBuf::from(path))),
        })
    };
    let (cert_file, key_file) = ("amqp.client_cert_file", "amqp.client_key_file");
    let ca = file("amqp.ca_file", "amqp.ca_file").flatten();
    (ca, file(cert_file, key_file).flatten().zip(file(key_file, cert_file).flatten()))
}

fn missing(name: &str) -> ConfigError {
    let variable = keys::find(name).map_or("its variable", |key| key.variable);
    let message = format!("not set; set {variable}, or {variable}_FILE to a file that holds it, or {name} in the file");
    ConfigError::Faults(vec![Fault { key: name.to_owned(), origin: Origin::Default, message }])
}

fn check_database_url(url: &str) -> Result<(), &'static str> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => Ok(()),
        Some(("sqlite", rest)) => check_sqlite_path(rest.strip_prefix("//").unwrap_or(rest)),
        _ => Err("is no postgres:// or sqlite:// address; write it like postgres://user:password@host/database"),
    }
}

fn check_amqp_url(url: &str) -> Result<(), &'static str> {
    match url.split_once(':') {
        Some(("amqp" | "amqps", rest)) if rest.starts_with("//") => Ok(()),
        Some(("embedded", "")) => Ok(()),
        Some(("embedded", _)) => Err("is followed by something: the embedded broker has no address, write embedded:"),
        _ => Err("is no amqp:// or amqps:// address, nor embedded:; write it like amqp://user:password@host/%2f"),
    }
}

fn is_embedded(url: &Secret) -> bool {
    url.expose() == "embedded:"
}

/// A path is taken as it stands: what looks like parameters or escapes would silently become part of a name.
fn check_sqlite_path(path: &str) -> Result<(), &'static str> {
    match path {
        "" => Err("names no file; write it like sqlite:///var/lib/reprieve/reprieve.db"),
        ":memory:" => Err("would forget everything with the process: name a file"),
        _ if path.contains(['?', '#', '%']) || path.chars().any(char::is_control) => {
            Err("may not contain ? # % or control characters: it is a path, without parameters and escapes")
        }
        _ => Ok(()),
    }
}

/// The embedded broker keeps what it publishes in the file that the turns write, and knows no users.
fn check_embedded(values: &mut Values, database: Option<&Secret>, broker: Option<&Secret>) {
    if !broker.is_some_and(is_embedded) {
        return;
    }
    if database.is_some_and(|url| !url.expose().starts_with("sqlite:")) {
        let message = "embedded: needs a database of its own: write DATABASE_URL=sqlite://FILE, or AMQP_URL=amqp://…";
        values.clash("amqp.url", message);
    }
    if !values.0.trust.is_empty() {
        let message = "with AMQP_URL=embedded: there are no users of a broker to be told apart: remove it";
        values.clash("trust", message);
    }
}

fn check_token(token: &str) -> Result<(), &'static str> {
    let sendable = token.bytes().all(|byte| byte.is_ascii_graphic());
    sendable.then_some(()).ok_or("can be no bearer token: use printable ASCII characters without space")
}

fn check_prefix(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if text.len() > PREFIX_LENGTH_MAX || !text.bytes().all(allowed) {
        return Err(format!(
            "{text:?} can begin no name: write up to {PREFIX_LENGTH_MAX} characters of A-Z a-z 0-9 . _ : -"
        ));
    }
    if text.starts_with("amq.") {
        return Err("names that begin with amq. belong to the broker: choose another prefix".to_owned());
    }
    Ok(text.to_owned())
}

fn visible(text: &str, length_min: usize, length_max: usize) -> Result<String, String> {
    let length = text.chars().count();
    if !(length_min..=length_max).contains(&length) || text.chars().any(char::is_control) {
        return Err(format!(
            "{text:?} does not fit: write {length_min} to {length_max} characters, no control characters"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
