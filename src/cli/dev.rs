//! `reprieve dev`: the real worker on embedded parts, with example rules and a day's sample traffic, told in a form that a person likes to
//! read. It needs no server and touches none. The worker is the one of `reprieve run`; the sample is in `story`, how it is told in
//! `show`, where it is kept in `folder`.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

mod folder;
mod show;
mod story;

use folder::Folder;

use super::output::{self, Output, Paint};
use super::{ExitError, run as worker};
use crate::config::{Config, Sources};

/// Variables that lead to another database, another broker, other rules.
const ELSEWHERE: [&str; 5] = ["DATABASE_URL", "DATABASE_URL_FILE", "AMQP_URL", "AMQP_URL_FILE", "REPRIEVE_RULES"];

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Keep the data in this folder; the next start goes on from there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Play no sample: for real use
    #[arg(long)]
    no_demo: bool,
    #[arg(skip)]
    folder: Option<Folder>,
}

impl Command {
    /// Opens the folder. The settings are as they are, but for where the data is: that is the folder, whatever the shell has been told,
    /// since `dev` must never touch another database.
    pub(super) fn settle(&mut self, sources: Sources) -> Result<Sources, ExitError> {
        let folder = self.folder.insert(Folder::open(self.data.as_deref())?);
        let mut environment = sources.environment;
        environment.retain(|(name, _)| !ELSEWHERE.iter().any(|elsewhere| name == *elsewhere));
        environment.extend(folder.environment().into_iter().map(|(name, value)| (name.into(), OsString::from(value))));
        // Settings of the folder one happens to stand in are not meant either.
        let file = sources.file.or_else(|| Some(PathBuf::from("/dev/null")));
        Ok(Sources { environment, file, ..sources })
    }
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let folder = command.folder.expect("it was opened before the settings were read");
    let paint = output.paint();
    // The folder is nobody else's by then.
    let listen = async || {
        let listener = listen(config.http_listen).await?;
        let address = listener.local_addr().unwrap_or(config.http_listen);
        folder.write_settings(address)?;
        output::say(&head(&folder, address, paint))?;
        Ok(listener)
    };
    let result = worker::work(config, worker::Hangup::End, listen, async |beside| {
        let show = show::Show { paint, pace: show::Pace::of(std::io::stdout().is_terminal()) };
        let played = if command.no_demo { show.follow(&beside).await } else { show.play(&beside, &folder).await };
        if let Err(why) = played {
            output::tell(&format!("reprieve: {why}; the worker goes on"));
        }
    })
    .await;
    if result.is_ok() {
        // Nobody may be left to be told.
        output::say(&farewell(&folder, paint)).ok();
    }
    result
}

/// The wanted address; where another program has it, any that is free. Only the default gives way: who names an address means it.
async fn listen(wanted: SocketAddr) -> Result<TcpListener, ExitError> {
    match worker::listen(wanted).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_default(wanted) => {
            let free = SocketAddr::new(wanted.ip(), 0);
            worker::listen(free).await.map_err(|error| worker::unbound(free, &error))
        }
        bound => bound.map_err(|error| worker::unbound(wanted, &error)),
    }
}

fn is_default(address: SocketAddr) -> bool {
    crate::config::keys::find("http.listen").and_then(|key| key.default).is_some_and(|it| it == address.to_string())
}

fn head(folder: &Folder, address: SocketAddr, paint: Paint) -> String {
    let line = |name: &str, value: &dyn std::fmt::Display| format!("  {}  {value}", paint.dim(format!("{name:<8}")));
    [
        paint.bold("Reprieve is running: the real worker, with an embedded database and broker."),
        line("data", &folder.path().display()),
        line("rules", &format!("{} (edit it: what you save is in force in a moment)", folder.rules().display())),
        line("HTTP", &format!("http://{address}/api/v1/exceptions/ID, POST and GET /api/v1/events, /readyz, /metrics")),
    ]
    .join("\n")
}

fn farewell(folder: &Folder, paint: Paint) -> String {
    let path = folder.path().display();
    if folder.is_kept() {
        paint.dim(format!("Everything is kept in {path}: the next start with --data goes on from there."))
    } else {
        paint.dim(format!("{path} is removed. To keep the data of the next run: --data DIR"))
    }
}
