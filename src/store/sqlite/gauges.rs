//! Counts for those who watch, on connections of their own that cannot write. The port is [`crate::store::gauges`].

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::Fault;
use super::lent::{Access, Lender};
use crate::domain::dates::to_microseconds;
use crate::store::desk::unsigned;
use crate::store::gauges::{Counts, GaugeError, Gauges};

/// Longest count: it reads indexes, and a disk may be busy.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// The oldest row has the smallest id, as far as a metric cares.
const OUTBOX: &str = "\
SELECT
  (SELECT count(*) FROM outbox), (SELECT (?1 - created_at) / 1000000 FROM outbox ORDER BY id LIMIT 1)";

const FAILURES_OPEN: &str = "SELECT reason, count(*) FROM failures WHERE state = 'open' GROUP BY reason";

const PARKED: &str = "SELECT count(*) FROM parked";

const EXCEPTIONS: &str = "\
SELECT substr(part, 1, instr(part, '/') - 1), sum(max(count, 0)) FROM tallies WHERE kind = 'state' GROUP BY 1";

/// Counts in a file.
pub struct SqliteGauges {
    lender: Lender,
}

impl SqliteGauges {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, COUNT_MAX) }
    }
}

#[async_trait]
impl Gauges for SqliteGauges {
    async fn counts(&self) -> Result<Counts, GaugeError> {
        let counted =
            self.lender.lend(Access::Look, async |connection: &mut SqliteConnection| counts(connection).await);
        counted.await.map_err(|fault| GaugeError(Box::new(fault)))
    }
}

async fn counts(connection: &mut SqliteConnection) -> Result<Counts, Fault> {
    let now = to_microseconds(chrono::Utc::now()).timestamp_micros();
    let (pending, oldest): (i64, Option<i64>) = query_as(OUTBOX).bind(now).fetch_one(&mut *connection).await?;
    let failures: Vec<(String, i64)> = query_as(FAILURES_OPEN).fetch_all(&mut *connection).await?;
    let parked: i64 = query_scalar(PARKED).fetch_one(&mut *connection).await?;
    let exceptions: Vec<(String, i64)> = query_as(EXCEPTIONS).fetch_all(connection).await?;
    let each = |rows: Vec<(String, i64)>| rows.into_iter().map(|(word, count)| (word, unsigned(count))).collect();
    Ok(Counts {
        outbox_pending: unsigned(pending),
        outbox_oldest_age_s: oldest.map_or(0, unsigned),
        failures_open: each(failures),
        parked: unsigned(parked),
        exceptions: each(exceptions),
    })
}
