//! What turns need to know, from the settings of the program and from who runs them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::contract::trust::Trust;
use crate::domain::dates::Timestamp;
use crate::domain::rules::RuleSet;
use crate::metrics::Metrics;
use crate::spans::Spans;

/// Reads the wall clock; the simulation has its own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What turns need to know.
#[derive(Clone)]
pub struct Settings {
    /// The setting `worker.batch_max`.
    pub batch_max: usize,
    /// The setting `source`.
    pub source: String,
    /// The setting `links.exception`.
    pub link: String,
    /// The setting `parking.ttl`.
    pub parking_ttl: Duration,
    /// The setting `parking.max`.
    pub parking_max: u64,
    /// The setting `retry.wait_max`.
    pub wait_max: Duration,
    /// The wall clock.
    pub clock: Clock,
    /// The rules in force; each turn takes those of its beginning.
    pub rules: watch::Receiver<Arc<RuleSet>>,
    /// Names this process in the notes about suspects.
    pub run: Uuid,
    /// The setting `trust`; without it anybody may publish anything.
    pub trust: Option<Trust>,
    /// Where is counted what is settled.
    pub metrics: Metrics,
    /// Who is told of turns and publications, if anybody is.
    pub spans: Option<Arc<dyn Spans>>,
}
