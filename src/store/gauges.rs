//! The port of those who watch: how much waits, and how many there are of each kind. It only counts, on connections of its own, and
//! each answer is bounded in time; who asks often keeps the last answer.

use async_trait::async_trait;

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Rows of the outbox.
    pub outbox_pending: u64,
    /// Seconds since the oldest of them was written, by the database's clock; 0 without one.
    pub outbox_oldest_age_s: u64,
    /// Open failures by reason, without those of which there are none.
    pub failures_open: Vec<(String, u64)>,
    /// Parked events.
    pub parked: u64,
}

/// The database did not say.
#[derive(Debug, thiserror::Error)]
#[error("the database did not count: {0}")]
pub struct GaugeError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Counts.
#[async_trait]
pub trait Gauges: Send + Sync {
    /// How much waits. Each count is of rows that are few, or of an index.
    async fn levels(&self) -> Result<Levels, GaugeError>;

    /// Exceptions by status, without those of which there are none. It reads one index from end to end: half a second for five
    /// million.
    async fn statuses(&self) -> Result<Vec<(String, u64)>, GaugeError>;
}
