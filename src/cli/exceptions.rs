//! `reprieve exceptions`: what is known of exception requests. It only reads.

use clap::Subcommand;

mod table;

use super::output::Output;
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::domain::ids::ExceptionId;
use crate::http::api::detail;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show one exception with its votes and its history
    Show {
        /// Its id, as upstream gave it
        id: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::Show { id } = command;
    let id = ExceptionId::parse(&id)
        .map_err(|error| ExitError::new(Code::Usage, format!("{id:?} is not an exception id: {error}")))?;
    let views = parts::views(config)?;
    let found = views.exception(&id).await.map_err(|error| {
        ExitError::new(Code::Unreachable, format!("{error}; check DATABASE_URL, and `reprieve migrate status`"))
    })?;
    let Some((exception, entries)) = found else {
        return Err(ExitError::new(Code::NotFound, format!("no exception has the id {id}")));
    };
    let detail = detail(&exception, &entries).map_err(|error| ExitError::failed(error.to_string()))?;
    output.object(&detail, table::detail)
}
