//! The built binary as a process: the long-running worker, and one-shot commands with the same settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{Process, free_port, send, tail};
use super::{eventually, http};

static WORKERS: AtomicUsize = AtomicUsize::new(0);

/// What a worker is started with. One setup can start several.
#[derive(Clone)]
pub(crate) struct WorkerSetup {
    folder: PathBuf,
    program: PathBuf,
    environment: BTreeMap<String, String>,
}

impl WorkerSetup {
    /// With the example rules, and nothing of the caller's environment but `PATH` and `HOME`.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut environment = BTreeMap::new();
        for name in ["PATH", "HOME", "RUST_BACKTRACE"] {
            if let Ok(value) = std::env::var(name) {
                environment.insert(name.to_owned(), value);
            }
        }
        let setup = Self { folder: folder.to_owned(), program: env!("CARGO_BIN_EXE_reprieve").into(), environment };
        setup
            .env("REPRIEVE_RULES", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules.yaml"))
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
    }

    /// Sets one environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes one environment variable away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// The broker, or a proxy in front of it.
    pub(crate) fn amqp_url(self, url: &str) -> Self {
        self.env("AMQP_URL", url)
    }

    /// The database, or a proxy in front of it.
    pub(crate) fn database_url(self, url: &str) -> Self {
        self.env("DATABASE_URL", url)
    }

    /// Rules of the case's own.
    pub(crate) fn rules(self, yaml: &str) -> Self {
        let file = self.folder.join("rules.yaml");
        std::fs::write(&file, yaml).expect("the case's folder can be written");
        let file = file.display().to_string();
        self.env("REPRIEVE_RULES", &file)
    }

    /// Another program in place of the worker, to test the harness or an older version.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Starts `reprieve run` and returns at once.
    pub(crate) fn start(&self) -> Worker {
        self.start_with(&["run"])
    }

    /// Starts a long-running command.
    pub(crate) fn start_with(&self, arguments: &[&str]) -> Worker {
        let number = WORKERS.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = self.folder.join(format!("worker-{number}.log"));
        let mut command = self.command(arguments);
        command.env("REPRIEVE_HTTP_LISTEN", address.to_string());
        let process = Process::spawn(command, &log, self.folder.join(format!("worker-{number}.pid")));
        Worker { process, address, log }
    }

    /// Runs a one-shot command to its end and returns what it said and how it ended.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        // A worker that is to end at its start listens before it does: two of them must not meet at the default address.
        if arguments == ["run"] && !self.environment.contains_key("REPRIEVE_HTTP_LISTEN") {
            command.env("REPRIEVE_HTTP_LISTEN", "127.0.0.1:0");
        }
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        output.await.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()))
    }

    /// Runs a one-shot command that has to succeed and returns its standard output.
    pub(crate) async fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments).await;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "reprieve {}: {}\n{said}{complained}", arguments.join(" "), output.status);
        said.into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.folder).stdin(Stdio::null());
        command
    }
}

/// A worker process. It is killed when dropped; in a failing case the end of its log is shown.
pub(crate) struct Worker {
    process: Process,
    address: SocketAddr,
    log: PathBuf,
}

impl Worker {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves HTTP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A crash, and the process reaped.
    pub(crate) fn kill9(&self) {
        self.process.kill9();
    }

    /// A crash to be placed by a trigger of the proxy. The process must still be held by the case when it is called.
    pub(crate) fn killer(&self) -> impl FnOnce() + Send + 'static {
        let pid = self.pid();
        move || send(pid, Signal::KILL)
    }

    /// A freeze to be placed by a trigger of the proxy.
    pub(crate) fn freezer(&self) -> impl FnOnce() + Send + 'static {
        let pid = self.pid();
        move || send(pid, Signal::STOP)
    }

    pub(crate) fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    pub(crate) fn sigint(&self) {
        self.process.signal(Signal::INT);
    }

    pub(crate) fn sighup(&self) {
        self.process.signal(Signal::HUP);
    }

    pub(crate) fn sigstop(&self) {
        self.process.signal(Signal::STOP);
    }

    pub(crate) fn sigcont(&self) {
        self.process.signal(Signal::CONT);
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// Waits for its end.
    pub(crate) async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline).await
    }

    /// Waits until `/readyz` says yes. An early end of the process fails the case at once.
    pub(crate) async fn wait_ready(&self, deadline: Duration) {
        eventually("the worker's readiness", deadline, async || {
            if let Some(status) = self.exited() {
                panic!("the worker ended before it was ready: {status}\n{}", self.output());
            }
            let answer = self.get("/readyz").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Asks it over HTTP.
    pub(crate) async fn get(&self, path: &str) -> std::io::Result<http::Response> {
        http::get(self.address, path).await
    }

    /// Tells it something over HTTP, without a body.
    pub(crate) async fn post(&self, path: &str) -> std::io::Result<http::Response> {
        http::ask(self.address, "POST", path).await
    }

    /// Everything it wrote so far, standard output and error together.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of {}\n{}\n---", self.log.display(), tail(&self.log, 40));
        }
    }
}
