//! `reprieve events`: puts events in, as an upstream system would, and shows what comes out.

use clap::Subcommand;

mod documents;
pub(super) mod line;
mod publish;
mod tail;

use super::ExitError;
use super::output::Output;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish envelopes: JSON lines, documents one after the other, or one array
    Publish(publish::Publish),
    /// Show what is published, as it happens
    Tail(tail::Options),
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Publish(command) => publish::run(&command, config, output).await,
        Command::Tail(options) => tail::run(options, config, output).await,
    }
}
