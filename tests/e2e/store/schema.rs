//! The schema, the plans of the statements, and the settings they rest on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reprieve::domain::exception::{Enforcement, Status};
use reprieve::domain::ids::UserId;
use reprieve::health::Light;
use reprieve::store::postgres::migrate::{self, FsyncOff, SchemaError};
use reprieve::store::postgres::{PostgresStore, audit, desk, gauges, statements, submissions, turn_options, views};
use reprieve::store::{Changes, Wanted};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor as _, PgConnection, Row, query_scalar, raw_sql};

use super::material::{count, decide, digest, failure, key, open, plain, read, submission, user, write};

const BIG: [&str; 10] =
    ["exceptions", "tickets", "history", "inbox_0", "inbox_1", "inbox_2", "inbox_3", "parked", "failures", "reviewers"];

/// On empty tables, and on small ones of which the server knows how small they are: a plan outlives both.
pub(crate) async fn every_statement_finds_its_rows_by_index_however_small_the_tables_were(url: &str) {
    let mut store = open(url).await;
    let mut connection = turn_options(url).expect("a URL").connect().await.expect("a session");
    for rows in [0, 1, 20] {
        let names: Vec<String> = (0..rows).map(|row| format!("EX-{rows}-{row}")).collect();
        let changes = submission(&names.iter().map(String::as_str).collect::<Vec<_>>());
        if rows > 0 {
            write(&mut store, &Changes { failures: vec![failure("EX-1", digest(1))], load: load(rows), ..changes })
                .await;
            raw_sql("ANALYZE").execute(&mut connection).await.expect("analyzed");
        }
        for sql in statements() {
            let plan = plan_of(&mut connection, sql).await;
            for node in plan.split("->").filter(|_| !sql.contains("count(*)")) {
                let is_big = BIG.iter().any(|table| node.contains(&format!(" on {table} ")));
                // Holds marked rows only, and is read in its order up to a limit.
                let in_order = sql.contains("LIMIT") && node.contains(" using failures_retrying ");
                assert!(
                    !is_big || !node.contains("Scan") || node.contains("Cond: ") || in_order,
                    "with {rows} rows\n{sql}\n{plan}"
                );
            }
            assert!(!plan.contains("Seq Scan on outbox"), "{sql}\n{plan}");
        }
    }
    let people = views::statements().chain(submissions::STATEMENTS.iter().copied());
    for sql in people.chain(gauges::STATEMENTS.iter().copied()).chain(audit::STATEMENTS.iter().copied()) {
        plan_of(&mut connection, sql).await;
    }
}

fn load(reviewers: usize) -> BTreeMap<UserId, i64> {
    (0..reviewers).map(|number| (user(&format!("reviewer-{number}")), 1)).collect()
}

pub(crate) async fn a_session_is_set_for_turns(url: &str) {
    let mut connection = turn_options(url).expect("a URL").connect().await.expect("a session");
    for (setting, value) in [
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
        ("lock_timeout", "8s"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("tcp_user_timeout", "5000"), // shown in milliseconds
        ("application_name", "reprieve"),
    ] {
        let shown: String = query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .expect("a setting");
        assert_eq!(shown, value, "{setting}");
    }
}

/// A large body that compresses slowly would not be written within the time of a turn: then nothing could set it aside.
pub(crate) async fn raw_bodies_are_stored_as_they_are(url: &str) {
    migrate::up(url).await.expect("migrations run");
    let stored: Vec<String> = query_scalar(
        "SELECT concat_ws('.', attrelid::regclass, attname) FROM pg_attribute
         WHERE attrelid = ANY('{failures,parked}'::regclass[]) AND atttypid = 'bytea'::regtype AND attstorage = 'e'
         ORDER BY 1",
    )
    .fetch_all(&mut plain(url).await)
    .await
    .expect("the columns");
    assert_eq!(stored, ["failures.body", "parked.body"]);
}

pub(crate) async fn the_inbox_moves_on_by_one_ring_and_empties_only_that(url: &str) {
    let mut store = open(url).await;
    let rings = |url: String| async move {
        query_scalar::<_, i64>("SELECT count(*) FROM inbox WHERE ring = ANY(ARRAY[0, 1]) GROUP BY ring ORDER BY ring")
            .fetch_all(&mut plain(&url).await)
            .await
            .expect("the inbox")
    };
    write(&mut store, &submission(&["EX-1"])).await;
    let mut other = plain(url).await;
    let age = "UPDATE inbox_rings SET epoch = epoch - 9; INSERT INTO inbox VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'applied', NULL)";
    raw_sql(age).execute(&mut other).await.expect("months ago");

    // A reader of the ring to be emptied delays the move, not the turn.
    raw_sql("BEGIN; SELECT count(*) FROM inbox_1").execute(&mut other).await.expect("a dump");
    let mut delayed = PostgresStore::new(url, Light::default(), 1_000).expect("a URL");
    let begun = Instant::now();
    write(&mut delayed, &submission(&["EX-2"])).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(rings(url.to_owned()).await, [2, 1]);
    raw_sql("COMMIT").execute(&mut other).await.expect("the dump is over");

    let mut next = PostgresStore::new(url, Light::default(), 1_000).expect("a URL");
    write(&mut next, &submission(&["EX-3"])).await;
    assert_eq!(rings(url.to_owned()).await, [2, 1], "the old row of ring 1 is gone, the new one is there");
    write(&mut delayed, &submission(&["EX-4"])).await;
    let wanted = Wanted {
        events: ["EX-1", "EX-2", "EX-3", "EX-4"].map(|name| (key(name), BTreeSet::new())).into(),
        ..Wanted::default()
    };
    assert_eq!(read(&mut next, &wanted).await.seen.len(), 4);
}

/// The very first turn of a database, while somebody counts the inbox: the ring is entered all the same, and the next process
/// does not take what is in it for old.
pub(crate) async fn the_first_ring_is_entered_whoever_reads(url: &str) {
    let mut store = open(url).await;
    let mut other = plain(url).await;
    raw_sql("BEGIN; SELECT count(*) FROM inbox").execute(&mut other).await.expect("a reader");
    write(&mut store, &submission(&["EX-1"])).await;
    raw_sql("COMMIT").execute(&mut other).await.expect("the reader is done");
    assert_eq!(count(url, "inbox_rings").await, 1);
    let mut next = PostgresStore::new(url, Light::default(), 1_000).expect("a URL");
    write(&mut next, &submission(&["EX-2"])).await;
    assert_eq!(count(url, "inbox").await, 2, "nothing that was seen is forgotten");
}

pub(crate) async fn the_schema_is_checked_before_work_begins(url: &str) {
    let check = async || migrate::check(url, FsyncOff::Refused).await;
    assert!(matches!(check().await, Err(SchemaError::Missing)));
    assert!(migrate::status(url).await.expect("an answer").iter().all(|step| !step.applied));
    migrate::up(url).await.expect("migrations run");
    migrate::up(url).await.expect("again is fine");
    check().await.expect("good");
    assert!(migrate::status(url).await.expect("an answer").iter().all(|step| step.applied));

    let mut other = plain(url).await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 0)";
    raw_sql(newer).execute(&mut other).await.expect("a newer schema");
    check().await.expect("newer is fine");
    migrate::up(url).await.expect("nothing to do");
    raw_sql("UPDATE schema_compatibility SET oldest_compatible = 9999").execute(&mut other).await.expect("no longer");
    assert!(matches!(check().await, Err(SchemaError::TooNew { needed: 9999, .. })));
    raw_sql("DELETE FROM _sqlx_migrations WHERE version = 5").execute(&mut other).await.expect("older");
    assert!(matches!(check().await, Err(SchemaError::Older(5))));
    raw_sql("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 4")
        .execute(&mut other)
        .await
        .expect("foreign");
    assert!(matches!(check().await, Err(SchemaError::Foreign(4))));
}

/// The table as it comes to a database that has been used before.
pub(crate) async fn what_is_open_is_counted_when_the_table_comes(url: &str) {
    let mut store = open(url).await;
    let mut all = submission(&["EX-1", "EX-2", "EX-3"]);
    decide(&mut all.exceptions[2], Status::Denied, Enforcement::None);
    all.exceptions[0].level.reviewers = vec![user("alice"), user("bob")];
    all.exceptions[1].level.reviewers = vec![user("alice")];
    write(&mut store, &all).await;
    let before = "DROP TABLE reviewers; DELETE FROM _sqlx_migrations WHERE version = 16";
    raw_sql(before).execute(&mut plain(url).await).await.expect("the schema before");
    migrate::up(url).await.expect("the table comes");
    let counted: Vec<String> = query_scalar("SELECT concat_ws(' ', id, open_assignments) FROM reviewers ORDER BY id")
        .fetch_all(&mut plain(url).await)
        .await
        .expect("the counts");
    assert_eq!(counted, ["alice 2", "bob 1"]);
}

pub(crate) async fn every_statement_of_the_desk_is_good(url: &str) {
    drop(open(url).await);
    let mut connection = plain(url).await;
    for sql in desk::statements() {
        let prepared = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await;
        assert!(prepared.is_ok(), "{sql}\n{:?}", prepared.err());
    }
}

/// For a server that runs without `fsync`.
pub(crate) async fn a_database_that_forgets_is_refused(url: &str) {
    migrate::up(url).await.expect("migrations run");
    assert!(matches!(migrate::check(url, FsyncOff::Refused).await, Err(SchemaError::FsyncOff)));
    migrate::check(url, FsyncOff::Allowed).await.expect("asked for");
}

/// Of lists only the keys of a block are sorted, and whatever is read of exceptions is read by a condition on an index.
pub(crate) async fn every_list_is_led_by_its_index(url: &str) {
    open(url).await;
    let mut connection = plain(url).await;
    for (setting, value) in views::SETTINGS {
        raw_sql(AssertSqlSafe(format!("SET {setting} = '{value}'"))).execute(&mut connection).await.expect("a setting");
    }
    let values = [
        "'{approved,denied}'",
        "'{in_force,none}'",
        "'{low}'",
        "'SEC-1'",
        "'zoe'",
        "'dana'",
        "'2026-11-25'",
        "'2026-12-25'",
        "'EX'",
        "'EX~'",
        "'ex'",
        "'ex~'",
        "90000",
        "51",
        "20000",
        "0",
        "20",
        "256",
    ];
    let mut walked = Vec::new();
    for sql in views::statements().filter(|sql| sql.contains("generate_series")) {
        let plan = explained(&mut connection, sql, &|count| values[..count].to_vec()).await;
        for node in plan.split("->").filter(|node| node.contains(" on exceptions")) {
            assert!(node.contains("Index Cond: "), "{sql}\n{plan}");
        }
        let led =
            ["exceptions_ticket", "exceptions_requester"].into_iter().filter(|index| plan.matches(index).count() > 1);
        walked.push(led.collect::<Vec<_>>().join(" "));
        let stated = plan.matches("exceptions_state").count();
        assert!(stated == 1 || stated == 2, "{sql}\n{plan}");
        assert!(plan.contains("exceptions_named"), "{sql}\n{plan}");
    }
    assert_eq!(walked, ["", "exceptions_ticket", "exceptions_requester"]);
}

async fn plan_of(connection: &mut PgConnection, sql: &str) -> String {
    explained(connection, sql, &|count| vec!["NULL"; count]).await
}

async fn explained(connection: &mut PgConnection, sql: &str, values: &dyn Fn(usize) -> Vec<&'static str>) -> String {
    raw_sql(AssertSqlSafe(format!("PREPARE statement AS {sql}"))).execute(&mut *connection).await.expect(sql);
    let parameters: i32 =
        query_scalar("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'statement'")
            .fetch_one(&mut *connection)
            .await
            .expect("prepared");
    let values = values(usize::try_from(parameters).expect("a count"));
    let arguments = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let explain = format!("EXPLAIN EXECUTE statement{arguments}");
    let rows = raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.expect(sql);
    raw_sql("DEALLOCATE statement").execute(connection).await.expect("deallocated");
    let lines: Vec<String> = rows.iter().map(|row| row.try_get(0).expect("a line")).collect();
    lines.join("\n")
}
