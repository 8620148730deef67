//! The schema: brought up to date, shown, and checked before work begins. Nothing migrates by itself: a worker only checks.
//! Two versions may run side by side, so a newer schema is fine unless it says otherwise. The files: `migrations/postgres`.

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{query_as, query_scalar};

use super::{BadUrl, Fault, connection};
use crate::store::place::At;
use crate::store::schema::{self, Migrations};
pub use crate::store::schema::{MigrationStatus, SchemaError};

/// Long enough for two at once and for a running turn, too short to hold the workers up for minutes.
const LOCK_WAIT: (&str, &str) = ("lock_timeout", "30s");

const HAS_SCHEMA: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const APPLIED: &str = "SELECT version, description, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
const OLDEST_COMPATIBLE: &str = "SELECT max(oldest_compatible) FROM schema_compatibility";
const ENCODING: &str = "SELECT current_setting('server_encoding')";
const FSYNC: &str = "SELECT current_setting('fsync')";

/// Whether a database may run without `fsync`: it forgets what was committed when its machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsyncOff {
    /// No: the setting `database.allow_fsync_off` is false.
    Refused,
    /// Yes, for tests and trials.
    Allowed,
}

/// Runs what is missing, in order, each in a transaction of its own. Again is fine, and so is a newer schema.
pub async fn up(url: &str) -> Result<(), SchemaError> {
    let (mut connection, place) = connect(url).await?;
    match migrator().run(&mut connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMismatch(version)) => Err(SchemaError::Foreign(version)),
        Err(error) => Err(SchemaError::Migration(At::new(place, error).into())),
    }
}

/// This program's migrations and those the database has, by number.
pub async fn status(url: &str) -> Result<Vec<MigrationStatus>, SchemaError> {
    let (mut connection, place) = connect(url).await?;
    let applied = applied(&mut connection).await.map_err(|error| named(&place, error))?;
    Ok(schema::status(applied.unwrap_or_default(), known()))
}

/// Whether work may begin.
pub async fn check(url: &str, fsync_off: FsyncOff) -> Result<(), SchemaError> {
    let (mut connection, place) = connect(url).await?;
    check_all(&mut connection, fsync_off).await.map_err(|error| named(&place, error))
}

async fn check_all(connection: &mut PgConnection, fsync_off: FsyncOff) -> Result<(), SchemaError> {
    check_schema(connection).await?;
    let encoding: String = query_scalar(ENCODING).fetch_one(&mut *connection).await?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding(encoding));
    }
    let fsync: String = query_scalar(FSYNC).fetch_one(connection).await?;
    if fsync == "off" && fsync_off == FsyncOff::Refused {
        return Err(SchemaError::FsyncOff);
    }
    Ok(())
}

/// Whether the schema is one this version can work with.
async fn check_schema(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let applied = applied(connection).await?.ok_or(SchemaError::Missing)?;
    let known = known();
    schema::compare(&applied, &known)?;
    schema::compatible(query_scalar(OLDEST_COMPATIBLE).fetch_one(connection).await?, &known)
}

/// Description and checksum of each applied migration; `None` without a schema.
async fn applied(connection: &mut PgConnection) -> Result<Option<Migrations>, SchemaError> {
    if !query_scalar::<_, bool>(HAS_SCHEMA).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let rows: Vec<(i64, String, Vec<u8>)> = query_as(APPLIED).fetch_all(connection).await?;
    Ok(Some(rows.into_iter().map(|(version, description, checksum)| (version, (description, checksum))).collect()))
}

/// A connection, and where it leads.
async fn connect(url: &str) -> Result<(PgConnection, String), SchemaError> {
    let options =
        connection::options(url, "reprieve migrate").map_err(|error| BadUrl::of(&error))?.options([LOCK_WAIT]);
    open(&options).await
}

/// A session for one of those who look at the schema, and where it leads.
pub(super) async fn open(options: &PgConnectOptions) -> Result<(PgConnection, String), SchemaError> {
    let place = connection::place(options);
    match connection::connect(options).await {
        Ok(connection) => Ok((connection, place)),
        Err(fault) => Err(named(&place, fault.into())),
    }
}

/// Where it is that did not answer. Everything else names what is there.
pub(super) fn named(place: &str, error: SchemaError) -> SchemaError {
    match error {
        SchemaError::Away(cause) => SchemaError::Away(At::new(place, cause).into()),
        error => error,
    }
}

fn known() -> Migrations {
    let row =
        |migration: &Migration| (migration.version, (migration.description.to_string(), migration.checksum.to_vec()));
    migrator().iter().map(row).collect()
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator
}

impl From<Fault> for SchemaError {
    fn from(fault: Fault) -> Self {
        SchemaError::Away(Box::new(fault))
    }
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gap_and_say_why() {
        for (expected, migration) in (1_i64..).zip(migrator().iter()) {
            assert_eq!(migration.version, expected);
            assert!(migration.sql.as_str().starts_with("-- Why: "), "migration {expected}");
        }
    }
}
