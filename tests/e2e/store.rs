//! The Postgres store against a real server. Each test is a function that takes the URL of a fresh, empty database of its
//! own; the harness starts the server and calls them. What every store must do alike belongs to the conformance suite.

pub(crate) mod desk;
pub(crate) mod faults;
mod material;
pub(crate) mod roles;
pub(crate) mod rows;
pub(crate) mod schema;

use libtest_mimic::Trial;

use crate::support::stage::Stage;

/// Each function with a fresh database of its own.
macro_rules! with_a_database {
    ($($case:path),* $(,)?) => {
        vec![$({
            let name = concat!("store::", stringify!($case)).replace(' ', "");
            let stage = name.rsplit("::").next().unwrap().chars().take(50).collect::<String>();
            Trial::test(name, move || {
                crate::support::run_case(async move { $case(&Stage::shared(&stage).await.database_url()).await })
            })
        }),*]
    };
}

pub(crate) fn cases() -> Vec<Trial> {
    let mut cases = with_a_database![
        rows::what_a_turn_writes_the_next_one_reads,
        rows::a_look_up_shows_the_exception_and_its_chain,
        rows::submissions_are_read_page_by_page,
        rows::a_row_in_hand_is_not_claimed_and_a_void_term_is,
        rows::parked_events_come_in_the_order_they_were_parked,
        rows::only_what_is_live_on_a_ticket_is_loaded_with_it,
        rows::a_full_outbox_says_so,
        rows::open_assignments_are_kept_by_differences,
        rows::what_is_open_is_counted_when_the_table_comes,
        desk::every_statement_of_the_desk_is_good,
        desk::a_list_of_the_desk_is_read_page_by_page,
        desk::each_filter_of_the_desk_finds_its_failures,
        desk::a_mark_of_the_desk_is_made_once,
        desk::marks_of_many_go_step_by_step_from_the_oldest,
        desk::a_mark_of_the_desk_waits_for_the_turn,
        desk::an_edit_keeps_the_old_bytes,
        desk::parked_events_and_the_outbox_are_shown,
        schema::every_statement_finds_its_rows_by_index_however_small_the_tables_were,
        schema::a_session_is_set_for_turns,
        schema::raw_bodies_are_stored_as_they_are,
        schema::the_first_ring_is_entered_whoever_reads,
        schema::history_cannot_be_changed,
        schema::the_inbox_moves_on_by_one_ring_and_empties_only_that,
        schema::the_schema_is_checked_before_work_begins,
        faults::a_panic_in_the_plan_leaves_nothing_open_and_nothing_written,
        faults::a_turn_dropped_anywhere_is_whole_or_nothing,
        faults::refused_content_writes_nothing_and_the_store_goes_on,
        faults::a_lost_session_is_an_outage_and_the_next_turn_has_a_new_one,
        faults::a_second_store_waits_for_the_first,
        faults::a_writer_that_stands_still_is_ended_and_the_next_goes_on,
        faults::two_stores_count_without_losing_one,
    ];
    cases.extend(crate::cases![a_database_that_forgets_is_refused, roles::the_worker_needs_no_more_than_it_is_granted]);
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
}
