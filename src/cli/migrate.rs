//! `reprieve migrate`: the schema of the database. The steps themselves belong to the store.

use clap::Subcommand;
use serde::Serialize;

use super::output::{Output, Paint, columns};
use super::{Code, ExitError};
use crate::config::{Config, Secret};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply the steps that are missing
    Up,
    /// Show which steps are applied; exit code 1 if some are not
    Status,
}

/// One step of the schema.
#[derive(Debug, Serialize)]
struct Step {
    version: i64,
    name: String,
    state: &'static str,
}

const APPLIED: &str = "applied";

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let url = config.database_url()?;
    match command {
        Command::Up => output.list(&up(url).await?, |steps, paint| {
            if steps.is_empty() { "nothing to do: the schema is up to date".to_owned() } else { table(steps, paint) }
        }),
        Command::Status => {
            let steps = status(url).await?;
            output.list(&steps, table)?;
            match steps.iter().filter(|step| step.state != APPLIED).count() {
                0 => Ok(()),
                missing => {
                    Err(ExitError::failed(format!("{missing} steps are not applied: run `reprieve migrate up`")))
                }
            }
        }
    }
}

fn table(steps: &[Step], paint: Paint) -> String {
    let row = |step: &Step| vec![step.version.to_string(), step.name.clone(), step.state.to_owned()];
    let head = ["VERSION", "NAME", "STATE"].map(str::to_owned).to_vec();
    let text = columns(&std::iter::once(head).chain(steps.iter().map(row)).collect::<Vec<_>>());
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rest}", paint.bold(head)).trim_end().to_owned()
}

/// CALL SITE: the steps that `store::postgres::migrate` has applied now.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn up(_url: &Secret) -> Result<Vec<Step>, ExitError> {
    Err(ExitError::new(Code::Unreachable, "migrate up is not connected to the store yet"))
}

/// CALL SITE: all steps, from `store::postgres::migrate`.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn status(_url: &Secret) -> Result<Vec<Step>, ExitError> {
    Err(ExitError::new(Code::Unreachable, "migrate status is not connected to the store yet"))
}
