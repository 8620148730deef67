//! How things stand: from the counts that turns keep, and from indexes of what is counted row by row.

use chrono::NaiveDate;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::super::Fault;
use super::super::desk::look;
use crate::store::desk::unsigned;
use crate::store::lookups::{COUNT_MAX, Stats};
use crate::store::tallies::{self, Row, Span};

/// The first day with an open one is found by passing over those of which all are decided: one row for each day there ever was.
const TALLIES: &str = "\
SELECT kind, day, part, count FROM tallies WHERE kind IN ('state', 'unassigned')
UNION ALL
SELECT kind, '', part, sum(max(count, 0)) FROM tallies WHERE kind = 'enforced' AND day BETWEEN ?2 AND ?3 GROUP BY kind, part
UNION ALL
SELECT kind, '', part, sum(max(count, 0)) FROM tallies WHERE kind = 'decided' AND day BETWEEN ?1 AND ?2 GROUP BY kind, part
UNION ALL
SELECT * FROM (SELECT kind, day, part, count FROM tallies WHERE kind = 'open' AND count > 0 ORDER BY day LIMIT 1)";

const PARKED: &str = "SELECT count(*) FROM (SELECT 1 FROM parked LIMIT ?1)";

const OPEN_FAILURES: &str = "SELECT count(*) FROM (SELECT 1 FROM failures WHERE state = 'open' LIMIT ?1)";

pub(super) async fn stats(connection: &mut SqliteConnection, today: NaiveDate) -> Result<Stats, Fault> {
    let Span { decided_from, today: this_day, expiring_until } = Span::around(today);
    let rows: Vec<(String, String, String, i64)> =
        query_as(TALLIES).bind(decided_from).bind(this_day).bind(expiring_until).fetch_all(&mut *connection).await?;
    let rows: Vec<Row> = rows.into_iter().map(|(kind, day, part, count)| Row { kind, day, part, count }).collect();
    let parked = query_scalar(PARKED).bind(COUNT_MAX).fetch_one(&mut *connection).await?;
    let failures = query_scalar(OPEN_FAILURES).bind(COUNT_MAX).fetch_one(&mut *connection).await?;
    Ok(Stats {
        parked: unsigned(parked),
        failures_open: unsigned(failures),
        outbox: look::outbox(connection).await?,
        ..tallies::stats(&rows, today)
    })
}
