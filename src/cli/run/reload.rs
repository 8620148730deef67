//! The rules file while the worker runs: looked at again and again, and put in force when it has changed and is good. A bad one
//! leaves the old rules in force.
//!
//! The file's bytes are compared, nothing else. A watcher of the file system would have to follow what orchestrators do (the file
//! is a link into a folder that is a link, which is replaced), is deaf on some network file systems, and would still have to read
//! the file to know whether it says something else: reading a small file every other second costs nothing and misses nothing.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::cli::output::tame;
use crate::cli::parts::RULES_BYTES_MAX;
use crate::cli::{Code, ExitError};
use crate::config::Config;
use crate::domain::rules::{Checked, Finding, RuleSet};
use crate::metrics::Metrics;

/// How often the file is looked at. What has changed counts once two looks have found the same: a file that is being written in
/// place is never taken for what it says so far.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Most faults of a file that are logged: another file put in its place may have tens of thousands.
const SHOWN_FAULTS_MAX: usize = 20;

/// The first characters of a hash tell two sets apart for a person.
const HASH_SHOWN: usize = 12;

/// Reads the rules file for the start; whatever is wrong ends it.
pub(super) fn start(config: &Config, metrics: &Metrics) -> Result<watch::Sender<Arc<RuleSet>>, ExitError> {
    let path = &config.rules;
    let invalid = |lines: Vec<String>| ExitError::new(Code::Configuration, lines.join("\n"));
    let text = read(path);
    let text = text.map_err(|error| invalid(vec![format!("{error}; set REPRIEVE_RULES to its path")]))?;
    let rules = judge(path, &text).map_err(invalid)?;
    metrics.rules_in_force(&rules.version, &rules.hash);
    Ok(watch::Sender::new(Arc::new(rules)))
}

/// As it is said at the start and with each change.
pub(super) fn name(rules: &RuleSet) -> String {
    format!("{} ({})", tame(&rules.version), rules.hash.get(..HASH_SHOWN).unwrap_or(&rules.hash))
}

/// What a look found: the file's text, or why there is none.
type Look = Result<String, String>;

/// Keeps the rules in force in step with the file.
pub(super) struct Reload {
    path: PathBuf,
    in_force: watch::Sender<Arc<RuleSet>>,
    metrics: Metrics,
    /// What the last look found, where that is not what is in force.
    last: Option<Look>,
    /// What was found bad and has been told.
    bad: Option<Look>,
}

impl Reload {
    /// For the file of these settings.
    pub(super) fn new(config: &Config, in_force: watch::Sender<Arc<RuleSet>>, metrics: Metrics) -> Self {
        Self { path: config.rules.clone(), in_force, metrics, last: None, bad: None }
    }

    /// The signal that asks for a look at once. From here on it no longer ends the process.
    pub(super) fn signal() -> Result<Signal, ExitError> {
        signal(SignalKind::hangup()).map_err(|error| ExitError::failed(format!("cannot listen for SIGHUP: {error}")))
    }

    /// Looks, for ever.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        loop {
            tokio::select! {
                biased;
                _ = hangup.recv() => {
                    let look = self.look().await;
                    self.asked(look).await;
                }
                () = sleep(LOOK_EVERY) => {
                    let look = self.look().await;
                    self.found(look).await;
                }
            }
        }
    }

    /// Away from the runtime's threads: a file system may hang.
    async fn look(&self) -> Look {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path)).await;
        reading.unwrap_or_else(|error| Err(format!("the rules file cannot be read: {error}")))
    }

    /// An operator says that the file is whole, and wants an answer whatever it is.
    async fn asked(&mut self, look: Look) {
        info!("SIGHUP: looking at the rules file");
        if self.is_in_force(&look) {
            info!("the rules file has not changed: rules {} stay in force", name(&self.in_force.borrow()));
        } else {
            self.bad = None;
        }
        self.last = Some(look.clone());
        self.found(look).await;
    }

    async fn found(&mut self, look: Look) {
        if self.is_in_force(&look) {
            if self.bad.take().is_some() {
                info!("the rules file is again the one in force, {}", name(&self.in_force.borrow()));
            }
            self.last = None;
        } else if self.last.as_ref() != Some(&look) {
            self.last = Some(look);
        } else if self.bad.as_ref() != Some(&look) {
            self.take(look).await;
        }
    }

    fn is_in_force(&self, look: &Look) -> bool {
        look.as_ref().is_ok_and(|text| *text == self.in_force.borrow().text)
    }

    /// Compiling a large file takes its time, and a panic in it is a bad file, not the end of looking.
    async fn take(&mut self, look: Look) {
        let (path, candidate) = (self.path.clone(), look.clone());
        let judging = tokio::task::spawn_blocking(move || judge(&path, &candidate.map_err(|error| vec![error])?));
        let judged =
            judging.await.unwrap_or_else(|error| Err(vec![format!("the rules file cannot be compiled: {error}")]));
        match judged {
            Ok(rules) => {
                (self.last, self.bad) = (None, None);
                self.metrics.rules_in_force(&rules.version, &rules.hash);
                info!(
                    rules.version,
                    rules.hash,
                    "rules {} are in force from the next turn on; what is assigned stays as it is",
                    name(&rules)
                );
                self.in_force.send_replace(Arc::new(rules));
            }
            Err(lines) => {
                for line in lines.iter().take(SHOWN_FAULTS_MAX) {
                    error!("{line}");
                }
                if lines.len() > SHOWN_FAULTS_MAX {
                    error!("and {} more", lines.len() - SHOWN_FAULTS_MAX);
                }
                let old = name(&self.in_force.borrow());
                error!(
                    "the rules file cannot be used: rules {old} stay in force; `reprieve rules check {}` shows more",
                    self.path.display()
                );
                self.metrics.rules_reload_failed.inc();
                self.bad = Some(look);
            }
        }
    }
}

fn read(path: &Path) -> Look {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(RULES_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= RULES_BYTES_MAX => Ok(text),
        Ok(_) => Err(format!("the rules file {} is larger than {RULES_BYTES_MAX} bytes", path.display())),
        Err(error) => Err(format!("the rules file {} cannot be read: {error}", path.display())),
    }
}

/// The rules of a good file, after its warnings; or a line for each fault.
fn judge(path: &Path, text: &str) -> Result<RuleSet, Vec<String>> {
    let Checked { rules, report } = RuleSet::check(text);
    let line = |finding: &Finding| format!("{}:{}", path.display(), tame(&finding.to_string()));
    let Some(rules) = rules else { return Err(report.errors.iter().map(line).collect()) };
    for finding in &report.warnings {
        warn!("{}", line(finding));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
