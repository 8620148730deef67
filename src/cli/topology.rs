//! `reprieve topology`: the exchanges and queues on the broker. What they are belongs to the broker's adapter.

use clap::Subcommand;
use serde::Serialize;

use super::output::{Output, Paint};
use super::{ExitError, parts};
use crate::broker::rabbitmq::topology::{self, Problem};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what there should be; as JSON it is a definitions file for import
    Print,
    /// Compare the broker with what there should be; exit code 1 if it differs
    Check,
    /// Declare what is missing
    Apply,
}

#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    problems: Vec<Problem>,
    /// What is there, and may be other than it should: this user may not have it compared.
    not_compared: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Applied {
    applied: Vec<String>,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Print => {
            let settings = parts::rabbit_names(config);
            let (definitions, table) = (topology::definitions(&settings), topology::table(&settings));
            output.object(&definitions, |_, _| table.trim_end().to_owned())
        }
        Command::Check => {
            let topology::Checked { problems, not_compared } = topology::check(&parts::rabbit(config)?).await?;
            let checked = Checked { ok: problems.is_empty(), problems, not_compared };
            output.object(&checked, checked_table)?;
            match checked.problems.len() {
                0 => Ok(()),
                1 => Err(ExitError::failed("1 object on the broker is not as it should be")),
                count => Err(ExitError::failed(format!("{count} objects on the broker are not as they should be"))),
            }
        }
        Command::Apply => output
            .object(&Applied { applied: topology::apply(&parts::rabbit(config)?).await? }, |done, _| {
                done.applied.join("\n")
            }),
    }
}

fn checked_table(checked: &Checked, paint: Paint) -> String {
    let line = |problem: &Problem| format!("{}: {}; {}", paint.bad(&problem.object), problem.what, problem.remedy);
    let mut lines: Vec<_> = checked.problems.iter().map(line).collect();
    lines.extend(not_compared(&checked.not_compared).map(|told| paint.warn(told)));
    if lines.is_empty() {
        lines.push(paint.good("the broker is as it should be"));
    }
    lines.join("\n")
}

/// What to say of that of which only the name is known.
pub(super) fn not_compared(titles: &[String]) -> Option<String> {
    if titles.is_empty() {
        return None;
    }
    let titles = titles.join(", ");
    Some(format!(
        "{titles}: there, but type and arguments were not compared, for which the broker wants the right to configure: \
         run `reprieve topology check` as a user that may declare"
    ))
}
