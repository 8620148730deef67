//! The stores. What all of them must do alike is the conformance suite; what is about Postgres alone, on a real server, is
//! here: each test is a function that takes the URL of a fresh, empty database of its own. About `SQLite` alone is its log.

mod conformance;
pub(crate) mod faults;
pub(crate) mod log;
mod material;
mod place;
pub(crate) mod roles;
pub(crate) mod schema;

use libtest_mimic::Trial;

use crate::support::stage::Stage;
use crate::support::trial;

/// Each function with a fresh database of its own.
macro_rules! with_a_database {
    ($($case:path),* $(,)?) => {
        vec![$({
            let name = concat!("store::", stringify!($case)).replace(' ', "");
            let stage = name.rsplit("::").next().unwrap().chars().take(50).collect::<String>();
            trial(name, move || async move { $case(&Stage::shared(&stage).await.database_url()).await })
        }),*]
    };
}

/// Each function as it is: it makes its own file.
macro_rules! in_the_store {
    ($($room:ident :: $case:ident),* $(,)?) => {
        vec![$(trial(concat!("store::", stringify!($room), "::", stringify!($case)), || $room::$case())),*]
    };
}

pub(crate) fn cases() -> Vec<Trial> {
    let mut cases = with_a_database![
        schema::every_statement_finds_its_rows_by_index_however_small_the_tables_were,
        schema::every_list_is_led_by_its_index,
        schema::every_statement_of_the_desk_is_good,
        schema::a_session_is_set_for_turns,
        schema::raw_bodies_are_stored_as_they_are,
        schema::the_first_ring_is_entered_whoever_reads,
        schema::the_inbox_moves_on_by_one_ring_and_empties_only_that,
        schema::the_schema_is_checked_before_work_begins,
        schema::what_is_open_is_counted_when_the_table_comes,
        faults::refused_content_costs_no_session,
        faults::a_lost_session_is_an_outage_and_the_next_turn_has_a_new_one,
        faults::a_writer_that_stands_still_is_ended_and_the_next_goes_on,
    ];
    cases.extend(conformance::cases());
    cases.extend(crate::cases![a_database_that_forgets_is_refused, roles::the_worker_needs_no_more_than_it_is_granted]);
    cases.extend(in_the_store![
        log::what_turns_tell_is_in_the_log_in_order_and_once,
        log::what_is_committed_is_in_the_files,
        log::what_an_outbox_has_left_is_moved_into_the_log,
        log::many_that_are_left_are_moved_before_what_is_told_later,
        log::what_is_old_leaves_the_log_and_nothing_else_does,
    ]);
    cases
}

/// The setting can be changed at run time, so a server of the case's own is made forgetful.
async fn a_database_that_forgets_is_refused() {
    let stage = Stage::own("forgets").await;
    let off = "ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf()";
    for statement in off.split("; ") {
        sqlx::raw_sql(statement).execute(&mut stage.connect().await).await.unwrap();
    }
    let is_off = async || {
        let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut stage.connect().await).await.unwrap();
        (fsync == "off").then_some(())
    };
    crate::support::eventually("fsync is off", std::time::Duration::from_secs(10), is_off).await;
    schema::a_database_that_forgets_is_refused(&stage.database_url()).await;
    let setup = stage.worker();
    setup.cli_ok(&["topology", "apply"]).await;
    crate::starts::refused(&setup, "runs with `fsync = off`: turn it on, or set `database.allow_fsync_off`").await;
    let allowed = setup.env("REPRIEVE_DATABASE__ALLOW_FSYNC_OFF", "true");
    let told = allowed.cli_ok(&["config", "check", "--connect"]).await;
    assert!(told.contains("fsync is off, which is allowed: for tests only"), "{told}");
    let worker = allowed.start();
    worker.wait_ready(std::time::Duration::from_secs(20)).await;
    assert!(worker.output().contains("database.allow_fsync_off is set"), "{}", worker.output());
}
