//! From the settings to the parts they describe: what several commands need.

use std::sync::Arc;

use super::{Code, ExitError};
use crate::broker::rabbitmq::{self, Certificates};
use crate::config::{Broker, Config, Database};
use crate::store::Views;
use crate::store::desk::Desk;
use crate::store::postgres::desk::PostgresDesk;
use crate::store::postgres::submissions::PostgresSubmissions;
use crate::store::postgres::views::PostgresViews;
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

/// The operator's desk.
pub(super) fn desk(config: &Config) -> Result<Arc<dyn Desk>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Arc::new(PostgresDesk::new(url.expose())?),
        Database::Sqlite(_) => return Err(not_built()),
    })
}

/// The look-ups.
pub(super) fn views(config: &Config) -> Result<Arc<dyn Views>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Arc::new(PostgresViews::new(url.expose())?),
        Database::Sqlite(_) => return Err(not_built()),
    })
}

/// What was submitted.
pub(super) fn submissions(config: &Config) -> Result<Box<dyn Submissions>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => Box::new(PostgresSubmissions::new(url.expose())?),
        Database::Sqlite(_) => return Err(not_built()),
    })
}

fn not_built() -> ExitError {
    ExitError::new(Code::Configuration, "sqlite is not built yet")
}
