//! The counts of exceptions: a turn adds its differences in one statement.

use sqlx::query;
use sqlx::sqlite::SqliteConnection;

use super::Fault;
use super::values::json;
use crate::store::tallies::Row;

/// `WHERE true`: without it `ON` would be read as that of a join.
const DIFFERENCES: &str = "\
INSERT INTO tallies (kind, day, part, count)
SELECT value ->> 'kind', value ->> 'day', value ->> 'part', value ->> 'count' FROM json_each(?1) WHERE true
ON CONFLICT (kind, day, part) DO UPDATE SET count = count + excluded.count";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[DIFFERENCES];

/// Adds the differences.
pub(super) async fn write(connection: &mut SqliteConnection, differences: &[Row]) -> Result<(), Fault> {
    if !differences.is_empty() {
        query(DIFFERENCES).bind(json(differences)?).execute(connection).await?;
    }
    Ok(())
}
