//! `reprieve rules`: checks the rules file, runs the tests it carries, says how a request was routed, and what another file
//! would do differently. All of that is decided in the domain; here it is asked and shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output::{Output, Paint};
use super::parts::RULES_BYTES_MAX;
use super::{Code, ExitError, input};
use crate::config::Config;
use crate::domain::rules::{Checked, RuleSet};

mod cases;
mod check;
mod diff;
mod explain;
mod submission;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong with the rules file, or unwise; exit code 3 if it cannot be used
    Check(File),
    /// Run the tests that the rules file carries; exit code 1 if one fails
    Test {
        #[command(flatten)]
        file: File,
        /// Also name the rules that no test reaches
        #[arg(long)]
        coverage: bool,
    },
    /// Say which rule an exception fell under and why, or an event would
    Explain(explain::Arguments),
    /// Say which requests a new rules file would route differently
    Diff(diff::Arguments),
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// The rules file, instead of the one the worker would use; - for standard input
    file: Option<PathBuf>,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Check(file) => check::run(file.path(config), output),
        Command::Test { file, coverage } => cases::run(file.path(config), coverage, output),
        Command::Explain(arguments) => explain::run(&arguments, config, output).await,
        Command::Diff(arguments) => diff::run(&arguments, config, output).await,
    }
}

impl File {
    fn path<'a>(&'a self, config: &'a Config) -> &'a Path {
        self.file.as_ref().unwrap_or(&config.rules)
    }
}

/// What messages call a file.
fn name(path: &Path) -> String {
    path.display().to_string()
}

/// The text of a rules file, or why there is none.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = input::open(path).map_err(|error| error.message)?;
    let read = std::io::Read::take(opened.reader, RULES_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| format!("cannot read {}: {error}; expected a text in UTF-8", opened.name))?;
    if read as u64 > RULES_BYTES_MAX {
        return Err(format!("{} is larger than {RULES_BYTES_MAX} bytes, the most that the worker reads", opened.name));
    }
    Ok(text)
}

/// A rules file that has to be good: what is wrong is told as `rules check` tells it.
fn load(path: &Path) -> Result<RuleSet, ExitError> {
    let name = name(path);
    let text = read(path).map_err(|why| ExitError::new(Code::Configuration, why))?;
    let Checked { rules, report } = RuleSet::check(&text);
    rules.ok_or_else(|| {
        let errors = report.errors.iter().map(|error| check::pointed(&name, &text, error, "error", Paint::Plain));
        let errors = errors.collect::<Vec<_>>().join("\n");
        ExitError::new(Code::Configuration, format!("the rules of {name} are not valid\n{errors}"))
    })
}
