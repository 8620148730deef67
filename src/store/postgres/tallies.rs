//! The counts of exceptions: a turn adds its differences in one statement.

use sqlx::postgres::PgConnection;
use sqlx::query;

use super::Fault;
use crate::store::tallies::Row;

const DIFFERENCES: &str = "\
INSERT INTO tallies AS t (kind, day, part, count)
SELECT d.kind, d.day, d.part, d.count FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bigint[]) AS d (kind, day, part, count)
ON CONFLICT ON CONSTRAINT tallies_pkey DO UPDATE SET count = t.count + EXCLUDED.count";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[DIFFERENCES];

/// Adds the differences.
pub(super) async fn write(connection: &mut PgConnection, differences: &[Row]) -> Result<(), Fault> {
    if differences.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&Row) -> &str| differences.iter().map(of).collect::<Vec<_>>();
    query(DIFFERENCES)
        .bind(texts(|row| &row.kind))
        .bind(texts(|row| &row.day))
        .bind(texts(|row| &row.part))
        .bind(differences.iter().map(|row| row.count).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
