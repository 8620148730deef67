//! The schema: embedded migrations, and whether a database holds what this version needs. Migrations only add until the next
//! version, so a newer schema is fine unless it says that it is not.

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use super::Target;

const INSTALLED: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const COMPATIBILITY: &str = "SELECT max(migration) FROM schema_compatibility";

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub name: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// Why a database cannot be used, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It does not answer.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    /// It has no schema, or an older one.
    #[error("the database's schema is behind: {missing} of {known} migrations are missing; run `reprieve migrate up`")]
    Behind {
        /// How many are missing.
        missing: usize,
        /// How many there are.
        known: usize,
    },
    /// Its schema says that older versions must not touch it.
    #[error("the database's schema needs migration {needed}, this version knows up to {known}; run the newer version")]
    TooNew {
        /// The migration that broke older versions.
        needed: i64,
        /// The newest this version knows.
        known: i64,
    },
    /// A migration failed, or an applied one is not the one this version knows.
    #[error("the schema cannot be brought up to date: {0}")]
    Migration(#[from] MigrateError),
    /// Commits would not survive a crash.
    #[error(
        "the database runs with fsync = off: a crash would lose what was acknowledged. Turn it on, or set database.allow_fsync_off for tests"
    )]
    FsyncOff,
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing; the database serialises several at once.
pub async fn up(target: &Target) -> Result<Vec<Step>, SchemaError> {
    let mut connection = target.connect().await?;
    // A long migration is no mistake.
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut connection).await?;
    migrator().run(&mut connection).await?;
    let steps = steps(&mut connection).await?;
    connection.close().await?;
    Ok(steps)
}

/// Every migration this version knows.
pub async fn status(target: &Target) -> Result<Vec<Step>, SchemaError> {
    let mut connection = target.connect().await?;
    let steps = steps(&mut connection).await?;
    connection.close().await?;
    Ok(steps)
}

/// Whether this version may work on the database; `allow_fsync_off` is for tests.
pub async fn check(target: &Target, allow_fsync_off: bool) -> Result<(), SchemaError> {
    let mut connection = target.connect().await?;
    let steps = steps(&mut connection).await?;
    let missing = steps.iter().filter(|step| !step.applied).count();
    if missing > 0 {
        return Err(SchemaError::Behind { missing, known: steps.len() });
    }
    let known = steps.iter().map(|step| step.version).max().unwrap_or_default();
    let needed: Option<i64> = sqlx::query_scalar(COMPATIBILITY).fetch_one(&mut connection).await?;
    if let Some(needed) = needed.filter(|needed| *needed > known) {
        return Err(SchemaError::TooNew { needed, known });
    }
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut connection).await?;
    if fsync != "on" && !allow_fsync_off {
        return Err(SchemaError::FsyncOff);
    }
    Ok(connection.close().await?)
}

async fn steps(connection: &mut PgConnection) -> Result<Vec<Step>, SchemaError> {
    let installed: bool = sqlx::query_scalar(INSTALLED).fetch_one(&mut *connection).await?;
    let migrator = migrator();
    let applied = if installed { connection.list_applied_migrations(&migrator.table_name).await? } else { Vec::new() };
    let is_applied = |version| applied.iter().any(|migration| migration.version == version);
    let step = |migration: &sqlx::migrate::Migration| Step {
        version: migration.version,
        name: migration.description.to_string(),
        applied: is_applied(migration.version),
    };
    Ok(migrator.iter().map(step).collect())
}
