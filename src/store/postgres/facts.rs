//! What a server says about itself, for who checks a configuration before a worker is started.

use chrono::{DateTime, Utc};
use sqlx::query_as;

use super::migrate::{named, open};
use super::{BadUrl, connection};
use crate::domain::dates::lead_s;
use crate::store::schema::SchemaError;

const FACTS: &str = "\
SELECT
  current_setting('server_version'), current_user::text, current_setting('fsync') = 'on',
  pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', clock_timestamp()";

/// What a server says about itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// The role that asked.
    pub user: String,
    /// Whether what is committed survives a power cut.
    pub fsync: bool,
    /// Whether nothing can be written: a replica, or set so.
    pub is_read_only: bool,
    /// How far this machine's clock is ahead, as far as that is certain.
    pub clock_ahead_s: f64,
}

type Row = (String, String, bool, bool, DateTime<Utc>);

/// Asks once.
pub async fn facts(url: &str) -> Result<Facts, SchemaError> {
    let options = connection::options(url, "reprieve check").map_err(|error| BadUrl::of(&error))?;
    let (mut connection, place) = open(&options).await?;
    let before = Utc::now();
    let row: Result<Row, _> = query_as(FACTS).fetch_one(&mut connection).await;
    let (version, user, fsync, is_read_only, clock) = row.map_err(|error| named(&place, error.into()))?;
    let clock_ahead_s = lead_s(before, clock, Utc::now());
    Ok(Facts { version, user, fsync, is_read_only, clock_ahead_s })
}
