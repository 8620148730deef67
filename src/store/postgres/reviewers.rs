//! How many open assignments each reviewer has: kept by the difference that a turn makes, read only for those whom a level may
//! pick by it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::Fault;
use crate::domain::ids::UserId;

const LOAD: &str = "SELECT id, open_assignments FROM reviewers WHERE id = ANY($1::text[])";

/// One statement for both directions. A row that is inserted is checked before it is known that there is one already, so that
/// a difference below 0 cannot be offered to be added: those are updates. No row is in both halves.
///
/// A count that was wrong, because somebody changed it by hand, ends at 0 and not below: picking a little unevenly is better
/// than refusing a decision for ever.
const DIFFERENCES: &str = "\
WITH d AS (SELECT d.id, d.difference FROM UNNEST($1::text[], $2::bigint[]) AS d (id, difference)),
fewer AS (
  UPDATE reviewers AS r SET open_assignments = greatest(r.open_assignments + d.difference, 0)
  FROM d WHERE d.difference < 0 AND r.id = d.id AND r.id = ANY($1::text[])
)
INSERT INTO reviewers AS r (id, open_assignments)
SELECT d.id, d.difference FROM d WHERE d.difference > 0
ON CONFLICT ON CONSTRAINT reviewers_pkey DO UPDATE SET open_assignments = r.open_assignments + EXCLUDED.open_assignments";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[LOAD, DIFFERENCES];

/// The open assignments of these; whoever has none may be missing.
pub(super) async fn read(
    connection: &mut PgConnection,
    users: BTreeSet<&UserId>,
) -> Result<BTreeMap<UserId, u32>, Fault> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
    let rows: Vec<(String, i32)> = query_as(LOAD).bind(ids).fetch_all(connection).await?;
    let load = rows.into_iter().map(|(id, open)| {
        let user = UserId::parse(&id).map_err(|error| Fault::unreadable("reviewer", &id, &error))?;
        let open = u32::try_from(open).map_err(|error| Fault::unreadable("reviewer", &id, &error))?;
        Ok((user, open))
    });
    load.collect()
}

/// Adds the differences, in the order of ids.
pub(super) async fn write(connection: &mut PgConnection, differences: &BTreeMap<UserId, i64>) -> Result<(), Fault> {
    if differences.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = differences.keys().map(UserId::as_str).collect();
    let values: Vec<i64> = differences.values().copied().collect();
    query(DIFFERENCES).bind(ids).bind(values).execute(connection).await?;
    Ok(())
}
