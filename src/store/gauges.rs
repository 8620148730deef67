//! The port of those who watch: how much waits, and how many exceptions there are of each status. It only counts, on connections of
//! its own, and each answer is bounded in time; who asks often keeps the last answer.

use async_trait::async_trait;

/// What is counted at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of the outbox.
    pub outbox_pending: u64,
    /// Seconds since the oldest of them was written, by the database's clock; 0 without one.
    pub outbox_oldest_age_s: u64,
    /// Open failures by reason, without those of which there are none.
    pub failures_open: Vec<(String, u64)>,
    /// Parked events.
    pub parked: u64,
    /// Exceptions by status, without those of which there are none: from the tallies that turns keep.
    pub exceptions: Vec<(String, u64)>,
}

/// The database did not say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GaugeError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Counts.
#[async_trait]
pub trait Gauges: Send + Sync {
    /// Counts. Each count is of rows that are few, or of an index.
    async fn counts(&self) -> Result<Counts, GaugeError>;
}
