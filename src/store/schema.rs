//! Whether a schema is one that this program can work with: what every store judges alike. How it is read and brought up to date
//! is each store's own ([`super::postgres::migrate`], [`super::sqlite::migrate`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::postgres::BadUrl;

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

/// Why the database cannot be worked with, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// It did not answer. Everything else here is an answer.
    #[error("{0}")]
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
    /// The embedded database has no file, and none is made by asking for it.
    #[error("there is no data file {}: run `reprieve migrate up` to make it, or name the right one", .0.display())]
    NoFile(PathBuf),
    /// The file is another program's.
    #[error("{} holds tables of another program: name a file of its own for this one", .0.display())]
    Strange(PathBuf),
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

/// Migrations by number, each with its description and checksum.
pub(super) type Migrations = BTreeMap<i64, (String, Vec<u8>)>;

/// This program's migrations and those the database has, by number.
pub(super) fn status(applied: Migrations, known: Migrations) -> Vec<MigrationStatus> {
    let versions: BTreeSet<i64> = applied.keys().copied().collect();
    let all: BTreeMap<i64, String> =
        applied.into_iter().chain(known).map(|(version, (description, _))| (version, description)).collect();
    let row = |(version, description)| MigrationStatus { version, description, applied: versions.contains(&version) };
    all.into_iter().map(row).collect()
}

/// Whether what is applied is what is known. More may be applied.
pub(super) fn compare(applied: &Migrations, known: &Migrations) -> Result<(), SchemaError> {
    for (version, (_, checksum)) in known {
        let (_, stored) = applied.get(version).ok_or(SchemaError::Older(*version))?;
        if stored != checksum {
            return Err(SchemaError::Foreign(*version));
        }
    }
    Ok(())
}

/// Whether a program that knows these migrations is new enough for what the schema says it needs.
pub(super) fn compatible(needed: Option<i64>, known: &Migrations) -> Result<(), SchemaError> {
    let known = known.keys().max().copied().unwrap_or(0);
    match needed {
        Some(needed) if needed > known => Err(SchemaError::TooNew { needed, known }),
        _ => Ok(()),
    }
}
