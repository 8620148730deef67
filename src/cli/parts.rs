//! From the settings to the parts they describe: what several commands need.

use std::sync::Arc;

use super::{Code, ExitError};
use crate::broker::Tail;
use crate::broker::rabbitmq::{self, Certificates, RabbitTail};
use crate::config::{Broker, Config, Database};
use crate::http::client::Client;
use crate::store::Views;
use crate::store::audit::Audit;
use crate::store::desk::Desk;
use crate::store::gauges::Gauges;
use crate::store::postgres::audit::PostgresAudit;
use crate::store::postgres::desk::PostgresDesk;
use crate::store::postgres::gauges::PostgresGauges;
use crate::store::postgres::submissions::PostgresSubmissions;
use crate::store::postgres::views::PostgresViews;
use crate::store::sqlite::audit::SqliteAudit;
use crate::store::sqlite::desk::SqliteDesk;
use crate::store::sqlite::gauges::SqliteGauges;
use crate::store::sqlite::submissions::SqliteSubmissions;
use crate::store::sqlite::views::SqliteViews;
use crate::store::submissions::Submissions;

/// Largest rules file that is read. Thousands of rules with their groups are a tenth of it; without a bound a wrong path would be read
/// into memory, whatever it is.
pub(super) const RULES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The broker.
pub(super) fn rabbit(config: &Config) -> Result<rabbitmq::Settings, ExitError> {
    let Broker::Rabbit(url) = config.broker()? else {
        let why = "with AMQP_URL=embedded: there is no RabbitMQ to talk to: set AMQP_URL to amqp://…";
        return Err(ExitError::new(Code::Configuration, why));
    };
    let settings = rabbitmq::Settings { uri: url.expose().to_owned(), ..rabbit_names(config) };
    // The worker would try it again for ever.
    settings.check().map_err(|error| ExitError::new(Code::Configuration, error.to_string()))?;
    Ok(settings)
}

/// The broker, for what only needs to know what things are called there.
pub(super) fn rabbit_names(config: &Config) -> rabbitmq::Settings {
    rabbitmq::Settings {
        uri: String::new(),
        certificates: Certificates {
            ca_file: config.amqp_ca_file.clone(),
            client_files: config.amqp_client_files.clone(),
        },
        prefix: config.amqp_prefix.clone(),
        prefetch: config.amqp_prefetch,
        wait_max: config.retry_wait_max,
    }
}

/// The running worker of this machine.
pub(super) fn worker(config: &Config) -> Result<Client, ExitError> {
    if config.http_listen.port() == 0 {
        let why = "http.listen leaves the port open, so nobody knows where the worker is: set REPRIEVE_HTTP_LISTEN";
        return Err(ExitError::new(Code::Configuration, why));
    }
    Ok(Client::new(config.http_listen, config.http_token.clone()))
}

/// What is published: by the broker, or told by the worker whose broker it is.
pub(super) fn tail(config: &Config) -> Result<Box<dyn Tail>, ExitError> {
    match config.broker()? {
        Broker::Rabbit(_) => Ok(Box::new(RabbitTail::new(rabbit(config)?))),
        Broker::Embedded => Ok(Box::new(worker(config)?)),
    }
}

/// The operator's desk.
pub(super) fn desk(config: &Config) -> Result<Arc<dyn Desk>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Arc::new(PostgresDesk::new(url.expose())?),
        Database::Sqlite(file) => Arc::new(SqliteDesk::new(&file)),
    })
}

/// The look-ups.
pub(super) fn views(config: &Config) -> Result<Arc<dyn Views>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Arc::new(PostgresViews::new(url.expose())?),
        Database::Sqlite(file) => Arc::new(SqliteViews::new(&file)),
    })
}

/// What the database counts for those who watch.
pub(super) fn gauges(config: &Config) -> Result<Arc<dyn Gauges>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Arc::new(PostgresGauges::new(url.expose())?),
        Database::Sqlite(file) => Arc::new(SqliteGauges::new(&file)),
    })
}

/// What was submitted.
pub(super) fn submissions(config: &Config) -> Result<Box<dyn Submissions>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Box::new(PostgresSubmissions::new(url.expose())?),
        Database::Sqlite(file) => Box::new(SqliteSubmissions::new(&file)),
    })
}

/// The chains of the history.
pub(super) fn audit(config: &Config) -> Result<Box<dyn Audit>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Box::new(PostgresAudit::new(url.expose())?),
        Database::Sqlite(file) => Box::new(SqliteAudit::new(&file)),
    })
}
