//! How many open assignments each reviewer has: kept by the difference that a turn makes, read only for those whom a level may
//! pick by it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};

use super::Fault;
use super::values::json;
use crate::domain::ids::UserId;

const LOAD: &str = "SELECT id, open_assignments FROM reviewers WHERE id IN (SELECT value FROM json_each(?1))";

/// A count that was wrong, because somebody changed it by hand, ends at 0 and not below: picking a little unevenly is better than
/// refusing a decision for ever.
const FEWER: &str = "\
UPDATE reviewers SET open_assignments = max(open_assignments + d.value, 0)
FROM json_each(?1) AS d WHERE reviewers.id = d.key";

/// `WHERE true`: without it `ON` would be read as that of a join.
const MORE: &str = "\
INSERT INTO reviewers (id, open_assignments) SELECT key, value FROM json_each(?1) WHERE true
ON CONFLICT (id) DO UPDATE SET open_assignments = open_assignments + excluded.open_assignments";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[LOAD, FEWER, MORE];

/// The open assignments of these; whoever has none may be missing.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    users: BTreeSet<&UserId>,
) -> Result<BTreeMap<UserId, u32>, Fault> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(String, i64)> = query_as(LOAD).bind(json(&users)?).fetch_all(connection).await?;
    let load = rows.into_iter().map(|(id, open)| {
        let user = UserId::parse(&id).map_err(|error| Fault::unreadable("reviewer", &id, &error))?;
        let open = u32::try_from(open).map_err(|error| Fault::unreadable("reviewer", &id, &error))?;
        Ok((user, open))
    });
    load.collect()
}

/// Adds the differences.
pub(super) async fn write(connection: &mut SqliteConnection, differences: &BTreeMap<UserId, i64>) -> Result<(), Fault> {
    let (more, fewer): (BTreeMap<&UserId, i64>, BTreeMap<&UserId, i64>) =
        differences.iter().map(|(user, difference)| (user, *difference)).partition(|(_, difference)| *difference > 0);
    for (statement, differences) in [(FEWER, fewer), (MORE, more)] {
        if !differences.is_empty() {
            query(statement).bind(json(&differences)?).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
