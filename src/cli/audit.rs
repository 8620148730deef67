//! `reprieve audit`: whether the history is what was written. It only reads. What a whole chain is, and how it is walked, belongs
//! to the domain and the store; the file of an export is in `heads`.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Subcommand;

mod export;
mod heads;

use heads::Heads;

use super::output::{self, Output, Paint, tame};
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::domain::audit::{Finding, Report};
use crate::store::audit::Audit;
use crate::store::audit::against::{AgainstError, compare};
use crate::store::audit::verify::verify;

/// How often whoever waits at a terminal hears how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Recompute every chain of the history; exit code 1 if a row was edited, is missing, moved or too many
    Verify {
        /// Also find what vanished, was shortened or rewritten since this export
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Write the end of each chain to a file, to keep where nobody of this database can change it
    Export {
        /// The file, or - for standard output; a pipe or a device is written into
        file: PathBuf,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let audit = parts::audit(config)?;
    match command {
        Command::Verify { against } => verified(audit.as_ref(), against.as_deref(), output).await,
        Command::Export { file } => export::run(audit.as_ref(), &file, output).await,
    }
}

async fn verified(audit: &dyn Audit, against: Option<&Path>, output: &Output) -> Result<(), ExitError> {
    let damaged = |why: String| ExitError::new(Code::Usage, why);
    // It is known to be whole before hours of work, and the same file is read again after them, whatever its name stands for then.
    let exported = against.map(|file| Heads::open(file)?.checked()).transpose().map_err(damaged)?;
    let (mut report, mut progress, mut warning) = (Report::default(), Progress::new(), None);
    let tell = |report: &Report, share: u8| {
        progress.tell(|| format!("{share} %: {} exceptions, {} findings", report.checked_exceptions, report.count()));
    };
    verify(audit, &mut report, tell).await?;
    if let Some(heads) = exported {
        let name = heads.name().to_owned();
        report.compared_heads = Some(0);
        let tell = |report: &Report| {
            progress.tell(|| format!("{} exported heads compared", report.compared_heads.unwrap_or_default()));
        };
        compare(audit, heads, &mut report, tell).await.map_err(|error| match error {
            AgainstError::View(error) => error.into(),
            AgainstError::Export(why) => damaged(why),
        })?;
        report.weigh();
        if report.compared_heads == Some(0) {
            warning = Some(format!("warning: the export {name} names no exception: nothing was compared with it"));
        }
    }
    drop(progress);
    if let Some(warning) = warning {
        output::tell(&warning);
    }
    output.object(&report, table)?;
    match report.count() {
        0 => Ok(()),
        1 => Err(ExitError::failed("1 finding: the history is not what was written")),
        count => Err(ExitError::failed(format!("{count} findings: the history is not what was written"))),
    }
}

fn table(report: &Report, paint: Paint) -> String {
    let compared = report.compared_heads.map_or(String::new(), |heads| format!("; {heads} exported heads compared"));
    let looked =
        format!("{} exceptions with {} entries checked{compared}", report.checked_exceptions, report.checked_entries);
    if report.count() == 0 {
        return format!("{looked}: {}", paint.good("every chain is whole"));
    }
    let row = |finding: &Finding| {
        [
            tame(finding.exception_id.as_deref().unwrap_or("-")).into_owned(),
            finding.entry.map_or("-".to_owned(), |entry| entry.to_string()),
            finding.problem.to_string(),
        ]
    };
    let rows = output::table(["EXCEPTION", "ENTRY", "PROBLEM"], report.findings.iter().map(row), paint);
    let more = match report.more_findings {
        0 => String::new(),
        count => format!("\nand {count} more"),
    };
    format!("{rows}{more}\n{}", paint.bad(looked))
}

/// One line that is written over, for whoever waits at a terminal; it is gone at the end.
struct Progress {
    told: Option<Instant>,
    begun: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { told: None, begun: Instant::now() }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if stderr().is_terminal() && self.told.unwrap_or(self.begun).elapsed() >= TELL_EVERY {
            self.told = Some(Instant::now());
            // Nobody is left to be told that stderr is gone.
            write!(stderr().lock(), "\r\x1b[K{}", what()).ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            write!(stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
