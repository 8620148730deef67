//! The schema: brought up to date, shown, and checked before work begins. Nothing migrates by itself: a worker only checks.
//! Two versions may run side by side, so a newer schema is fine unless it says otherwise. The files: `migrations/postgres`.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{query_as, query_scalar};

use super::{BadUrl, Fault, connection};

/// Long enough for two at once and for a running turn, too short to hold the workers up for minutes.
const LOCK_WAIT: (&str, &str) = ("lock_timeout", "30s");

const HAS_SCHEMA: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const APPLIED: &str = "SELECT version, description, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
const OLDEST_COMPATIBLE: &str = "SELECT max(oldest_compatible) FROM schema_compatibility";
const ENCODING: &str = "SELECT current_setting('server_encoding')";
const FSYNC: &str = "SELECT current_setting('fsync')";

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Whether a database may run without `fsync`: it forgets what was committed when its machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsyncOff {
    /// No: the setting `database.allow_fsync_off` is false.
    Refused,
    /// Yes, for tests and trials.
    Allowed,
}

/// Why the database cannot be worked with, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// It did not answer. Everything else here is an answer.
    #[error("the database is away: {0}")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A migration did not run; none after it did either.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rights of a role were not changed; none of them.
    #[error(
        "the rights could not be granted: {0}; run it as the owner of the tables, after `reprieve migrate up`, for a role that exists"
    )]
    Grants(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing was ever migrated.
    #[error("the database has no schema: run `reprieve migrate up`")]
    Missing,
    /// Some of this version's migrations were not run.
    #[error("the database's schema is older than this program, migration {0} is missing: run `reprieve migrate up`")]
    Older(i64),
    /// A migration of that number was run, with other content.
    #[error("migration {0} of the database is not the one of this program: they do not belong together")]
    Foreign(i64),
    /// A newer version has changed what this one relies on.
    #[error("the database's schema needs migration {needed}, this program knows {known}: run the newer program")]
    TooNew {
        /// The oldest migration a program must know.
        needed: i64,
        /// The newest one this program knows.
        known: i64,
    },
    /// It cannot hold every text.
    #[error("the database's encoding is {0}: ids and texts may hold any character, create it with encoding UTF8")]
    Encoding(String),
    /// What is committed may be lost.
    #[error("the database runs with `fsync = off`: turn it on, or set `database.allow_fsync_off` for a trial")]
    FsyncOff,
}

/// Runs what is missing, in order, each in a transaction of its own. Again is fine, and so is a newer schema.
pub async fn up(url: &str) -> Result<(), SchemaError> {
    let mut connection = connect(url).await?;
    match migrator().run(&mut connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMismatch(version)) => Err(SchemaError::Foreign(version)),
        Err(error) => Err(SchemaError::Migration(Box::new(error))),
    }
}

/// This program's migrations and those the database has, by number.
pub async fn status(url: &str) -> Result<Vec<MigrationStatus>, SchemaError> {
    let applied = applied(&mut connect(url).await?).await?.unwrap_or_default();
    let versions: BTreeSet<i64> = applied.keys().copied().collect();
    let stored = applied.into_iter().map(|(version, (description, _))| (version, description));
    let known = migrator();
    let known = known.iter().map(|migration| (migration.version, migration.description.to_string()));
    let all: BTreeMap<i64, String> = stored.chain(known).collect();
    let row = |(version, description)| MigrationStatus { version, description, applied: versions.contains(&version) };
    Ok(all.into_iter().map(row).collect())
}

/// Whether work may begin.
pub async fn check(url: &str, fsync_off: FsyncOff) -> Result<(), SchemaError> {
    let mut connection = connect(url).await?;
    check_schema(&mut connection).await?;
    let encoding: String = query_scalar(ENCODING).fetch_one(&mut connection).await?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding(encoding));
    }
    let fsync: String = query_scalar(FSYNC).fetch_one(&mut connection).await?;
    if fsync == "off" && fsync_off == FsyncOff::Refused {
        return Err(SchemaError::FsyncOff);
    }
    Ok(())
}

/// Whether the schema is one this version can work with.
async fn check_schema(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let applied = applied(connection).await?.ok_or(SchemaError::Missing)?;
    let migrator = migrator();
    for migration in migrator.iter() {
        let (_, checksum) = applied.get(&migration.version).ok_or(SchemaError::Older(migration.version))?;
        if *checksum != *migration.checksum {
            return Err(SchemaError::Foreign(migration.version));
        }
    }
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let needed: Option<i64> = query_scalar(OLDEST_COMPATIBLE).fetch_one(connection).await?;
    match needed {
        Some(needed) if needed > known => Err(SchemaError::TooNew { needed, known }),
        _ => Ok(()),
    }
}

/// Description and checksum of each applied migration; `None` without a schema.
async fn applied(connection: &mut PgConnection) -> Result<Option<BTreeMap<i64, (String, Vec<u8>)>>, SchemaError> {
    if !query_scalar::<_, bool>(HAS_SCHEMA).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let rows: Vec<(i64, String, Vec<u8>)> = query_as(APPLIED).fetch_all(connection).await?;
    Ok(Some(rows.into_iter().map(|(version, description, checksum)| (version, (description, checksum))).collect()))
}

async fn connect(url: &str) -> Result<PgConnection, SchemaError> {
    let options =
        connection::options(url, "reprieve migrate").map_err(|error| BadUrl::of(&error))?.options([LOCK_WAIT]);
    Ok(connection::connect(&options).await?)
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
        SchemaError::Away(Box::new(error))
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
