//! From the settings to the parts they describe: what several commands need.

use super::{Code, ExitError};
use crate::broker::rabbitmq::{self, Certificates};
use crate::config::Config;
use crate::store::postgres::desk::PostgresDesk;

/// Largest rules file that is read. Thousands of rules with their groups are a tenth of it; without a bound a wrong path would be read
/// into memory, whatever it is.
pub(super) const RULES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The broker.
pub(super) fn rabbit(config: &Config) -> Result<rabbitmq::Settings, ExitError> {
    let uri = config.amqp_url()?.expose().to_owned();
    let settings = rabbitmq::Settings { uri, ..rabbit_names(config) };
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
pub(super) fn desk(config: &Config) -> Result<PostgresDesk, ExitError> {
    Ok(PostgresDesk::new(config.database_url()?.expose())?)
}
