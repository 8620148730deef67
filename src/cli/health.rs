//! `reprieve health`: asks the worker of this machine how it is, as an orchestrator does. Usable as a container's health check: it
//! needs nothing but the address, and has an answer within 3 s.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output::{Output, Paint, tame};
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::http::client::Probe;

/// Longest wait: container runtimes commonly give a check 5 s or more.
const ANSWER_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Ask whether it can work, not only whether it is alive
    #[arg(long)]
    ready: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    ok: bool,
    status: String,
    missing: Vec<String>,
}

pub(super) async fn run(command: &Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let worker = parts::worker(config)?;
    let probe = if command.ready { Probe::Ready } else { Probe::Alive };
    let Ok(answered) = tokio::time::timeout(ANSWER_MAX, worker.probe(probe)).await else {
        let (listen, seconds) = (config.http_listen, ANSWER_MAX.as_secs());
        let message = format!("the worker at {listen} gives no answer within {seconds} s: see its log, or restart it");
        return Err(ExitError::new(Code::Unreachable, message));
    };
    let told = answered.map_err(|error| ExitError::new(Code::Unreachable, error.to_string()))?;
    let shown = Shown { ok: told.ok, status: told.status, missing: told.missing };
    output.object(&shown, table)?;
    if shown.ok { Ok(()) } else { Err(ExitError::failed(format!("the worker is {}", tame(&shown.status)))) }
}

fn table(shown: &Shown, paint: Paint) -> String {
    let status = tame(&shown.status);
    let mut lines = vec![if shown.ok { paint.good(status) } else { paint.bad(status) }];
    lines.extend(shown.missing.iter().map(|what| format!("  missing: {}, {}", tame(what), meaning(what))));
    lines.join("\n")
}

/// What a word of the readiness probe means, and where to look.
fn meaning(missing: &str) -> &'static str {
    match missing {
        "broker_consume" => "the connection that takes events: `reprieve config check --connect`",
        "broker_publish" => {
            "the connection that publishes, lost, refused or blocked by the broker: `reprieve config check --connect`, then \
             `reprieve outbox status`"
        }
        "database" => "its last transaction did not succeed: `reprieve config check --connect`, and the worker's log",
        "serving" => "it has not finished its start, or is ending: see its log",
        _ => "see its log",
    }
}
