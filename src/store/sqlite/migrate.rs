//! The schema of the data file: brought up to date, shown, and checked before work begins. Only [`up`] makes a file; a worker, which
//! is the only one of its file, calls it at its start. The files: `migrations/sqlite`.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::{Fault, connection, primary};
use crate::store::place::At;
use crate::store::schema::{self, MigrationStatus, Migrations, SchemaError};

const HAS_SCHEMA: &str = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
const APPLIED: &str = "SELECT version, description, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
const OLDEST_COMPATIBLE: &str = "SELECT max(oldest_compatible) FROM schema_compatibility";

/// Runs what is missing, in order, each in a transaction of its own, and makes the file if there is none. Again is fine, and so is a
/// newer schema.
pub async fn up(file: &Path) -> Result<(), SchemaError> {
    begin(file).await?;
    let mut connection = connection::connect(&connection::of_migrations(file)).await?;
    let mut before = applied(&mut connection).await?.map_or(0, |applied| applied.len());
    loop {
        match migrator().run(&mut connection).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::VersionMismatch(version)) => return Err(SchemaError::Foreign(version)),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) if is_passing(&error) => {
                return Err(error.into());
            }
            Err(error) => {
                // Two at once: what the other one has run meanwhile fails here. Whoever is overtaken goes on behind it.
                let now = applied(&mut connection).await?.map_or(0, |applied| applied.len());
                if now <= before {
                    return Err(SchemaError::Migration(Box::new(error)));
                }
                before = now;
            }
        }
    }
}

/// A file that is not there is made for this user alone, and one that belongs to another program is left as it is: bringing it up to date
/// would put tables into it and change how it is written, for good.
async fn begin(file: &Path) -> Result<(), SchemaError> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // Opening it says better what is wrong.
        Err(_) => return Ok(()),
    }
    let mut connection = connection::connect(&connection::as_it_is(file)).await?;
    not_strange(&mut connection, file).await
}

/// A file with tables, and none of ours among them, is another program's.
async fn not_strange(connection: &mut SqliteConnection, file: &Path) -> Result<(), SchemaError> {
    let ours = async {
        let tables: i64 = query_scalar(TABLES).fetch_one(&mut *connection).await?;
        Ok::<bool, Fault>(tables == 0 || query_scalar(HAS_SCHEMA).fetch_one(connection).await?)
    };
    if ours.await? { Ok(()) } else { Err(SchemaError::Strange(file.to_owned())) }
}

/// `SQLITE_BUSY`, `SQLITE_FULL`: it may go otherwise the next time.
fn is_passing(error: &sqlx::Error) -> bool {
    [5, 13].contains(&primary(error))
}

/// The file is named where it is what is wrong.
const AWAY: &str = "the database is away";

/// This program's migrations and those the file has, by number.
pub async fn status(file: &Path) -> Result<Vec<MigrationStatus>, SchemaError> {
    let mut connection = look(file).await?;
    not_strange(&mut connection, file).await?;
    let applied = applied(&mut connection).await?.unwrap_or_default();
    Ok(schema::status(applied, known()))
}

/// Whether work may begin.
pub async fn check(file: &Path) -> Result<(), SchemaError> {
    let mut connection = look(file).await?;
    not_strange(&mut connection, file).await?;
    let applied = applied(&mut connection).await?.ok_or(SchemaError::Missing)?;
    let known = known();
    schema::compare(&applied, &known)?;
    schema::compatible(needed(&mut connection).await?, &known)
}

/// The oldest migration that a program must know.
async fn needed(connection: &mut SqliteConnection) -> Result<Option<i64>, Fault> {
    Ok(query_scalar(OLDEST_COMPATIBLE).fetch_one(connection).await?)
}

/// A connection to a file that is there.
async fn look(file: &Path) -> Result<SqliteConnection, SchemaError> {
    match tokio::fs::try_exists(file).await {
        Ok(false) => Err(SchemaError::NoFile(file.to_owned())),
        Ok(true) => Ok(connection::connect(&connection::of_people(file)).await?),
        Err(error) => Err(SchemaError::Away(At::new(AWAY, error).into())),
    }
}

/// Description and checksum of each applied migration; `None` without a schema.
async fn applied(connection: &mut SqliteConnection) -> Result<Option<Migrations>, Fault> {
    if !query_scalar::<_, bool>(HAS_SCHEMA).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let rows: Vec<(i64, String, Vec<u8>)> = query_as(APPLIED).fetch_all(connection).await?;
    Ok(Some(rows.into_iter().map(|(version, description, checksum)| (version, (description, checksum))).collect()))
}

fn known() -> Migrations {
    let row =
        |migration: &Migration| (migration.version, (migration.description.to_string(), migration.checksum.to_vec()));
    migrator().iter().map(row).collect()
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.set_ignore_missing(true);
    migrator
}

impl From<Fault> for SchemaError {
    fn from(fault: Fault) -> Self {
        SchemaError::Away(At::new(AWAY, fault).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gap_and_say_why() {
        for (expected, migration) in (1_i64..).zip(migrator().iter()) {
            assert_eq!(migration.version, expected);
            assert!(migration.sql.as_str().starts_with("-- Why: "), "migration {expected}");
        }
    }

    #[tokio::test]
    async fn looking_makes_no_file_and_up_does() {
        let scratch = Scratch::new();
        let file = scratch.file();
        assert!(matches!(check(file).await, Err(SchemaError::NoFile(_))));
        assert!(matches!(status(file).await, Err(SchemaError::NoFile(_))));
        assert!(!file.exists());
        up(file).await.unwrap();
        up(file).await.unwrap();
        check(file).await.unwrap();
        let steps = status(file).await.unwrap();
        assert!(steps.iter().all(|step| step.applied) && steps.len() == known().len(), "{steps:?}");
    }

    #[tokio::test]
    async fn two_at_once_both_end_well() {
        let scratch = Scratch::new();
        let (one, two) = tokio::join!(up(scratch.file()), up(scratch.file()));
        one.unwrap();
        two.unwrap();
        check(scratch.file()).await.unwrap();
    }

    #[tokio::test]
    async fn a_schema_that_does_not_fit_is_named() {
        let scratch = Scratch::new();
        std::fs::write(scratch.file(), "").unwrap();
        assert!(matches!(check(scratch.file()).await, Err(SchemaError::Missing)));
        assert!(status(scratch.file()).await.unwrap().iter().all(|step| !step.applied));

        up(scratch.file()).await.unwrap();
        scratch.run("UPDATE schema_compatibility SET oldest_compatible = 9999").await;
        assert!(matches!(check(scratch.file()).await, Err(SchemaError::TooNew { needed: 9999, .. })));
        scratch.run("DELETE FROM _sqlx_migrations WHERE version = 5").await;
        assert!(matches!(check(scratch.file()).await, Err(SchemaError::Older(5))));
        scratch.run("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 4").await;
        assert!(matches!(check(scratch.file()).await, Err(SchemaError::Foreign(4))));
        assert!(matches!(up(scratch.file()).await, Err(SchemaError::Foreign(4))));
    }

    /// Neither taken over nor touched, also by who only asks: how a file is written would be changed for good.
    #[tokio::test]
    async fn a_file_of_another_program_is_left_byte_for_byte() {
        let scratch = Scratch::new();
        let file = scratch.file();
        let plain = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let mut other = sqlx::ConnectOptions::connect(&plain).await.unwrap();
        sqlx::raw_sql("CREATE TABLE theirs (id INTEGER); INSERT INTO theirs VALUES (1)")
            .execute(&mut other)
            .await
            .unwrap();
        sqlx::Connection::close(other).await.unwrap();
        let before = std::fs::read(file).unwrap();
        for refused in [up(file).await, check(file).await, status(file).await.map(|_| ())] {
            let error = refused.unwrap_err();
            assert!(matches!(&error, SchemaError::Strange(named) if named == file), "{error}");
            assert!(error.to_string().contains("name a file of its own"), "{error}");
        }
        let mut reader = connection::connect(&connection::of_readers(file)).await.unwrap();
        assert!(applied(&mut reader).await.unwrap().is_none());
        drop(reader);
        assert_eq!(std::fs::read(file).unwrap(), before);
        assert!(!scratch.folder().join("data.db-wal").exists());
    }

    /// What is in it is nobody else's to read. `SQLite` gives what it puts beside a file the file's own mode.
    #[tokio::test]
    async fn the_file_and_what_stands_beside_it_are_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::migrated().await;
        let lock = super::super::lock::WorkerLock::take(scratch.file()).unwrap();
        let held = scratch.plain().await;
        scratch.run("CREATE TABLE written (id INTEGER)").await;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(scratch.folder()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            found.push(name);
        }
        found.sort();
        assert_eq!(found, ["data.db", "data.db-shm", "data.db-wal", "data.db.lock"]);
        drop((held, lock));
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_away_with_a_remedy() {
        let scratch = Scratch::new();
        std::fs::write(scratch.file(), "no database, but long enough to be taken for one".repeat(40)).unwrap();
        let error = check(scratch.file()).await.unwrap_err();
        assert!(matches!(error, SchemaError::Away(_)) && error.to_string().contains("restore a copy"), "{error}");
        let missing = up(&scratch.folder().join("no").join("data.db")).await.unwrap_err();
        assert!(missing.to_string().contains("check that the folder exists"), "{missing}");
    }
}
