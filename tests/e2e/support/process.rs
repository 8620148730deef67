//! A child process that can be crashed, frozen and reaped, and is known to the watchdog while it lives.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A running child, or one that has ended and was reaped.
pub(crate) struct Process {
    pid: u32,
    pid_file: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts the command in a process group of its own, with its output appended to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path, pid_file: PathBuf) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log file can be written");
        let errors = output.try_clone().expect("a file handle can be cloned");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        let pid = child.id();
        std::fs::write(&pid_file, pid.to_string()).expect("the process id file can be written");
        Self { pid, pid_file, child: Mutex::new(child) }
    }

    /// The process id, also after the end.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. A process that was reaped gets none, so its id cannot hit a stranger.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait().expect("the process is our child").is_none() {
            send(self.pid, signal);
        }
    }

    /// `kill -9`, then reaps.
    pub(crate) fn kill9(&self) -> ExitStatus {
        self.signal(Signal::KILL);
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        self.forget();
        status.expect("the process is our child")
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&self) -> Option<ExitStatus> {
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        let status = status.expect("the process is our child");
        if status.is_some() {
            self.forget();
        }
        status
    }

    /// Waits for the end.
    pub(crate) async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of process {}", self.pid);
        eventually(&what, deadline, async || self.exited()).await
    }

    fn forget(&self) {
        // Gone already when this is the second call.
        std::fs::remove_file(&self.pid_file).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Sends a signal to a child that has not been reaped.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id is a positive i32");
    // A process that has just ended is not there any more, which is what was wanted or will be noticed.
    kill_process(pid, signal).ok();
}

/// A loopback port nobody listens on, below the range the kernel uses for outgoing connections: a server that is
/// restarted must not find its port taken by one of those.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;

    let start = u16::try_from(std::process::id() * 61 % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on")
}

/// The last lines of a file, for a failure's report.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
