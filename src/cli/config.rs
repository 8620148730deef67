//! `reprieve config`: what is set, where it came from, and whether a worker could start with it. It changes nothing. The
//! configuration is read here and not before: a bad one is what is asked about.

use clap::Subcommand;
use serde::Serialize;

use super::output::{self, Output, Paint, say, tame};
use super::{Code, ExitError};
use crate::config::error::{ConfigError, Fault, Origin};
use crate::config::shown::{self, Setting};
use crate::config::{Config, Sources};

mod check;
mod connect;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong or unwise: 3 if a worker would not start
    Check {
        /// Ask broker and database too: 5 if one does not answer, 1 if something on it does not fit
        #[arg(long)]
        connect: bool,
    },
    /// Every setting, its value and where it came from; secrets, and passwords in addresses, as ***
    Show,
    /// A complete reprieve.toml with all defaults
    Example,
}

/// One setting, as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    key: String,
    value: Option<String>,
    origin: Place,
}

/// Where a value came from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
enum Place {
    Flag,
    Environment { variable: String },
    File { file: String, line: usize },
    Default,
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Flag => Place::Flag,
            Origin::Variable(variable) => Place::Environment { variable: variable.clone() },
            Origin::File(file, line) => Place::File { file: file.display().to_string(), line: *line },
            Origin::Default => Place::Default,
        }
    }
}

impl Place {
    fn told(&self) -> String {
        match self {
            Place::Flag => "--set".to_owned(),
            Place::Environment { variable } => format!("environment {variable}"),
            Place::File { file, line } => format!("file {file}:{line}"),
            Place::Default => "default".to_owned(),
        }
    }
}

/// Runs before the configuration is read. Where that is wanted it is read here.
pub(super) async fn run(command: Command, sources: &Sources, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Check { connect } => check::run(sources, connect, output).await,
        Command::Show => show(sources, output),
        Command::Example => say(shown::example().trim_end()),
    }
}

fn show(sources: &Sources, output: &Output) -> Result<(), ExitError> {
    let (settings, _) = shown::settings(sources)?;
    let row = |Setting { key, value, origin }: Setting| Row { key, value, origin: Place::from(&origin) };
    let rows: Vec<_> = settings.into_iter().map(row).collect();
    output.list(&rows, table)?;
    // Whatever is wrong: what is shown would not be taken.
    match Config::load(sources) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn table(rows: &[Row], paint: Paint) -> String {
    let cells = |row: &Row| {
        let value = row.value.as_deref().map_or("-".to_owned(), |value| match value {
            "" => "\"\"".to_owned(),
            value => tame(value).into_owned(),
        });
        [tame(&row.key).into_owned(), value, tame(&row.origin.told()).into_owned()]
    };
    output::table(["KEY", "VALUE", "FROM"], rows.iter().map(cells), paint)
}
