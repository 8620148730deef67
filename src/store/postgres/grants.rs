//! What the worker's role may do in the database: one list beside the schema. The owner of the tables migrates and grants; the
//! worker has no DDL, changes nothing of the history and empties nothing but the rings of the inbox.

use std::fmt::Write as _;

use sqlx::{query_scalar, raw_sql};

use super::connection;
use super::migrate::{SchemaError, named, open};
use super::{BadUrl, Fault};

/// Each table with all that the worker, and the commands that look things up and mark failures, do with it. A new table is
/// missing here until somebody has thought about it: the test below says so.
const GRANTS: &[(&str, &str)] = &[
    ("exceptions", "SELECT, INSERT, UPDATE"),
    ("tickets", "SELECT, INSERT, UPDATE"),
    ("history", "SELECT, INSERT"),
    ("inbox", "SELECT, INSERT, UPDATE"),
    // Rows go in through the parent; a partition itself is only ever emptied whole.
    ("inbox_0", "TRUNCATE"),
    ("inbox_1", "TRUNCATE"),
    ("inbox_2", "TRUNCATE"),
    ("inbox_3", "TRUNCATE"),
    ("inbox_rings", "SELECT, INSERT, UPDATE"),
    ("outbox", "SELECT, INSERT, UPDATE, DELETE"),
    ("parked", "SELECT, INSERT, DELETE"),
    ("failures", "SELECT, INSERT, UPDATE"),
    ("rule_sets", "SELECT, INSERT"),
    ("reviewers", "SELECT, INSERT, UPDATE"),
    ("tallies", "SELECT, INSERT, UPDATE"),
    ("attempts", "SELECT, INSERT, UPDATE, DELETE"),
    // Looked at before work begins.
    ("schema_compatibility", "SELECT"),
    ("_sqlx_migrations", "SELECT"),
];

/// The longest name Postgres keeps; a longer one it would cut off, and grant to somebody else.
const ROLE_BYTES_MAX: usize = 63;

/// A role that cannot be named.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} can be no role of Postgres: give its name, 1 to {ROLE_BYTES_MAX} bytes without control characters, and no quotes around it"
)]
pub struct BadRole(String);

/// The statements for a role as one transaction, one a line; running them again is fine. What the role had before on these tables is taken away
/// first, so that an upgrade that needs less leaves no more behind.
pub fn statements(role: &str) -> Result<String, BadRole> {
    let nameable = (1..=ROLE_BYTES_MAX).contains(&role.len()) && !role.contains(char::is_control);
    // Unquoted it would be everybody, and quoted nobody.
    if !nameable || role.eq_ignore_ascii_case("public") {
        return Err(BadRole(role.to_owned()));
    }
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let mut text = "BEGIN;\n".to_owned();
    for (table, rights) in GRANTS {
        writeln!(text, "REVOKE ALL ON {table} FROM {role};\nGRANT {rights} ON {table} TO {role};")
            .expect("a String takes everything");
    }
    text.push_str("COMMIT;\n");
    Ok(text)
}

/// Runs the statements, all or none, as the owner of the tables.
pub async fn apply(url: &str, statements: String) -> Result<(), SchemaError> {
    let options = connection::options(url, "reprieve migrate").map_err(|error| BadUrl::of(&error))?;
    let (mut connection, place) = open(&options).await?;
    match raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await {
        Ok(_) => Ok(()),
        Err(error) if error.as_database_error().is_some() => Err(SchemaError::Grants(Box::new(Fault::from(error)))),
        Err(error) => Err(named(&place, error.into())),
    }
}

const HAS: &str = "\
SELECT CASE WHEN to_regclass($1::text) IS NULL THEN true ELSE has_table_privilege(to_regclass($1::text), $2::text) END";

/// What the role that asks lacks of the list, as in "UPDATE on outbox". Of a table that is not there nothing is said.
pub async fn missing(url: &str) -> Result<Vec<String>, SchemaError> {
    let options = connection::options(url, "reprieve check").map_err(|error| BadUrl::of(&error))?;
    let (mut connection, place) = open(&options).await?;
    let mut missing = Vec::new();
    for (table, rights) in GRANTS {
        for right in rights.split(", ") {
            let has = query_scalar(HAS).bind(*table).bind(right).fetch_one(&mut connection).await;
            if !has.map_err(|error| named(&place, error.into()))? {
                missing.push(format!("{right} on {table}"));
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_schema_is_in_the_list() {
        let migrator = sqlx::migrate!("migrations/postgres");
        let mut tables: Vec<String> = migrator
            .iter()
            .flat_map(|migration| {
                migration.sql.as_str().split("CREATE TABLE ").skip(1).map(str::to_owned).collect::<Vec<_>>()
            })
            .map(|rest| rest.split([' ', '(']).next().unwrap().to_owned())
            .chain(["_sqlx_migrations".to_owned()])
            .collect();
        tables.sort();
        let mut granted: Vec<&str> = GRANTS.iter().map(|(table, _)| *table).collect();
        granted.sort_unstable();
        assert_eq!(tables, granted);
    }

    #[test]
    fn a_role_is_quoted_whatever_is_in_it() {
        let text = statements("a\"; DROP TABLE history; --").unwrap();
        assert!(text.contains("GRANT SELECT, INSERT ON history TO \"a\"\"; DROP TABLE history; --\";\n"), "{text}");
        for role in ["", "public", "Public", "a\nb", &"x".repeat(64)] {
            assert!(statements(role).is_err(), "{role:?}");
        }
    }
}
