//! `reprieve migrate`: the schema of the database. The steps themselves belong to the store.

use clap::Subcommand;
use serde::Serialize;

use super::output::{self, Output, Paint};
use super::{Code, ExitError};
use crate::config::{Config, Database};
use crate::store::postgres::grants;
use crate::store::schema::MigrationStatus;
use crate::store::{postgres, sqlite};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply the steps that are missing
    Up,
    /// Show which steps are applied; exit code 1 if some are not
    Status,
    /// Print what a role that is not the owner needs to run the worker, as SQL
    Grants {
        /// The role, as it is called: without quotes
        role: String,
        /// Run it too, as the owner of the tables
        #[arg(long)]
        apply: bool,
    },
}

/// One migration, as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    version: i64,
    name: String,
    state: &'static str,
}

/// The rights of a role.
#[derive(Debug, Serialize)]
struct Granted {
    role: String,
    applied: bool,
    sql: String,
}

fn rows(steps: Vec<MigrationStatus>) -> Vec<Row> {
    let state = |applied| if applied { "applied" } else { "missing" };
    steps
        .into_iter()
        .map(|step| Row { version: step.version, name: step.description, state: state(step.applied) })
        .collect()
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Up => {
            match config.database()? {
                Database::Postgres(url) => postgres::migrate::up(url.expose()).await?,
                Database::Sqlite(file) => sqlite::migrate::up(&file).await?,
            }
            output.list(&rows(status(config).await?), table)
        }
        Command::Status => {
            let steps = status(config).await?;
            let missing = steps.iter().filter(|step| !step.applied).count();
            output.list(&rows(steps), table)?;
            match missing {
                0 => Ok(()),
                1 => Err(ExitError::failed("1 migration is missing: run `reprieve migrate up`")),
                _ => Err(ExitError::failed(format!("{missing} migrations are missing: run `reprieve migrate up`"))),
            }
        }
        Command::Grants { role, apply } => {
            let sql = grants::statements(&role)?;
            if apply {
                let Database::Postgres(url) = config.database()? else {
                    let why = "an SQLite file has no roles: who may read and write it is up to the file system";
                    return Err(ExitError::new(Code::Configuration, why));
                };
                grants::apply(url.expose(), sql.clone()).await?;
            }
            output.object(&Granted { role, applied: apply, sql }, |granted, _| granted.sql.trim_end().to_owned())
        }
    }
}

async fn status(config: &Config) -> Result<Vec<MigrationStatus>, ExitError> {
    Ok(match config.database()? {
        Database::Postgres(url) => postgres::migrate::status(url.expose()).await?,
        Database::Sqlite(file) => sqlite::migrate::status(&file).await?,
    })
}

fn table(steps: &[Row], paint: Paint) -> String {
    let row = |step: &Row| [step.version.to_string(), step.name.clone(), step.state.to_owned()];
    output::table(["VERSION", "NAME", "STATE"], steps.iter().map(row), paint)
}
