//! `reprieve outbox`: what is to be published. It only reads.

use clap::Subcommand;

use super::output::{Output, Paint, columns};
use super::{ExitError, parts};
use crate::config::Config;
use crate::contract::shapes::desk::OutboxShape;
use crate::shapes;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// How much waits, and for how long
    Status,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::Status = command;
    let outbox = parts::desk(config)?.outbox().await?;
    output.object(&shapes::outbox(outbox), table)
}

fn table(outbox: &OutboxShape, paint: Paint) -> String {
    let unroutable = match outbox.unroutable {
        0 => "0".to_owned(),
        count => format!("{} (no queue is bound: `reprieve topology check`)", paint.bad(count)),
    };
    let oldest = outbox.oldest_age_s.map_or("-".to_owned(), |seconds| format!("{seconds} s"));
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    columns(&[row("pending", outbox.pending.to_string()), row("unroutable", unroutable), row("oldest", oldest)])
}
