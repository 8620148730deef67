//! Counts for those who watch, on connections of their own that cannot write. The port is [`crate::store::gauges`].

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault};
use crate::store::desk::unsigned;
use crate::store::gauges::{Counts, GaugeError, Gauges};

/// Longest count once there is a connection: a little more than the server's own limit, which says better what was wrong.
const COUNT_MAX: Duration = Duration::from_secs(5);

const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "4s")];

/// The oldest row has the smallest id, as far as a metric cares: no row has to be read for its age but one.
const OUTBOX: &str = "\
SELECT
  (SELECT count(*) FROM outbox),
  (SELECT floor(extract(epoch FROM now() - created_at))::bigint FROM outbox ORDER BY id LIMIT 1)";

/// A fingerprint begins with the reason, and stands in the index of open failures.
const FAILURES_OPEN: &str =
    "SELECT split_part(fingerprint, '/', 1), count(*) FROM failures WHERE state = 'open' GROUP BY 1";

const PARKED: &str = "SELECT count(*) FROM parked";

const EXCEPTIONS: &str = "\
SELECT split_part(part, '/', 1), sum(greatest(count, 0))::bigint FROM tallies WHERE kind = 'state' GROUP BY 1";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[OUTBOX, FAILURES_OPEN, PARKED, EXCEPTIONS];

/// Counts in a Postgres database.
pub struct PostgresGauges {
    pool: PgPool,
}

impl PostgresGauges {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve metrics", &SETTINGS)? })
    }

    async fn lend<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault> + Send,
    ) -> Result<T, GaugeError> {
        let outcome = async {
            let mut lent = Lent::from(&self.pool).await?;
            let connection = lent.connection()?;
            let done = in_time(COUNT_MAX, work(connection)).await?;
            lent.give_back();
            Ok::<_, Fault>(done)
        };
        outcome.await.map_err(|fault| GaugeError(fault.at(&self.pool.connect_options()).into()))
    }
}

#[async_trait]
impl Gauges for PostgresGauges {
    async fn counts(&self) -> Result<Counts, GaugeError> {
        self.lend(counts).await
    }
}

async fn counts(connection: &mut PgConnection) -> Result<Counts, Fault> {
    let (pending, oldest): (i64, Option<i64>) = query_as(OUTBOX).fetch_one(&mut *connection).await?;
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
