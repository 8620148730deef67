//! `reprieve topology`: the exchanges and queues on the broker. What they are belongs to the broker's adapter.

use clap::Subcommand;
use serde::Serialize;

use super::output::{Output, Paint};
use super::{Code, ExitError};
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

/// What differs.
#[derive(Debug, Serialize)]
struct Problem {
    object: String,
    what: String,
    remedy: String,
}

#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Applied {
    applied: Vec<String>,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Print => {
            let (definitions, table) = print(config)?;
            output.object(&definitions, |_, _| table.trim_end().to_owned())
        }
        Command::Check => {
            let problems = check(config).await?;
            let checked = Checked { ok: problems.is_empty(), problems };
            output.object(&checked, checked_table)?;
            match checked.problems.len() {
                0 => Ok(()),
                count => Err(ExitError::failed(format!("{count} objects on the broker are not as they should be"))),
            }
        }
        Command::Apply => output.object(&Applied { applied: apply(config).await? }, |done, _| done.applied.join("\n")),
    }
}

fn checked_table(checked: &Checked, paint: Paint) -> String {
    if checked.ok {
        return paint.good("the broker is as it should be");
    }
    let line = |problem: &Problem| format!("{}: {}; {}", paint.bad(&problem.object), problem.what, problem.remedy);
    checked.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// CALL SITE: `broker::rabbitmq::topology::{definitions, table}`; needs no broker.
fn print(_config: &Config) -> Result<(serde_json::Value, String), ExitError> {
    Err(ExitError::new(Code::Unreachable, "topology print is not connected to the broker's adapter yet"))
}

/// CALL SITE: `broker::rabbitmq::topology::check`.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn check(config: &Config) -> Result<Vec<Problem>, ExitError> {
    config.amqp_url()?;
    Err(ExitError::new(Code::Unreachable, "topology check is not connected to the broker's adapter yet"))
}

/// CALL SITE: `broker::rabbitmq::topology::apply`; what was declared, in words.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn apply(config: &Config) -> Result<Vec<String>, ExitError> {
    config.amqp_url()?;
    Err(ExitError::new(Code::Unreachable, "topology apply is not connected to the broker's adapter yet"))
}
