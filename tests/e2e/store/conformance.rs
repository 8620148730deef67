//! What every store must do alike: each case on each kind of store. A case knows its database by [`Place`] only.

pub(crate) mod audit;
pub(crate) mod bytes;
pub(crate) mod desk;
pub(crate) mod edit;
pub(crate) mod failures;
pub(crate) mod faults;
pub(crate) mod lists;
pub(crate) mod lookups;
pub(crate) mod notes;
pub(crate) mod outbox;
pub(crate) mod parked;
pub(crate) mod refusals;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod submissions;

use libtest_mimic::Trial;

use super::place::postgres::PostgresPlace;
use super::place::sqlite::SqlitePlace;
use crate::support::trial;

/// Each function once for each store, as `store::KIND::NAME`.
macro_rules! on_every_store {
    ($($room:ident :: $case:ident),* $(,)?) => {
        vec![$(
            trial(concat!("store::postgres::", stringify!($case)), || async {
                $room::$case(&PostgresPlace::new(stringify!($case)).await).await;
            }),
            trial(concat!("store::sqlite::", stringify!($case)), || async {
                $room::$case(&SqlitePlace::new(stringify!($case))).await;
            }),
        )*]
    };
}

pub(crate) fn cases() -> Vec<Trial> {
    on_every_store![
        rows::what_a_turn_writes_the_next_one_reads,
        rows::only_what_is_live_on_a_ticket_is_loaded_with_it,
        rows::a_ticket_that_is_written_again_is_changed,
        rows::open_assignments_are_kept_by_differences,
        submissions::a_look_up_shows_the_exception_and_its_chain,
        submissions::large_refusals_are_looked_up_without_their_bytes,
        submissions::every_field_of_an_entry_comes_back,
        submissions::submissions_are_read_page_by_page,
        submissions::a_submission_shows_its_ticket_as_it_was,
        submissions::a_rule_set_is_kept_once,
        submissions::a_rule_set_of_a_refused_turn_comes_with_the_next,
        lists::every_combination_finds_what_a_plain_filter_finds,
        lookups::each_filter_finds_its_exceptions,
        lookups::lists_have_no_gap_and_no_double_however_many_there_are,
        lookups::a_ticket_is_shown_with_its_newest_exceptions,
        lookups::figures_are_kept_by_turns,
        audit::whatever_is_tampered_with_is_found,
        audit::under_the_lowest_key_nothing_is_passed_over,
        audit::many_chains_and_a_long_one_are_checked_page_by_page,
        audit::what_is_gone_since_an_export_is_found,
        audit::while_turns_write_nothing_false_is_found,
        outbox::a_row_in_hand_is_not_claimed_and_a_void_term_is,
        outbox::a_number_of_the_outbox_is_never_used_again,
        outbox::a_full_outbox_says_so,
        parked::parked_events_come_in_the_order_they_were_parked,
        parked::the_longest_expired_are_given_first,
        parked::what_waits_for_a_submission_is_counted,
        parked::a_number_of_the_parked_is_never_used_again,
        failures::every_field_of_a_failure_comes_back,
        failures::a_failure_is_kept_once,
        failures::marked_failures_are_given_back_the_longest_known_first,
        failures::marked_failures_come_up_to_their_bytes,
        failures::what_became_of_a_failure_is_told,
        failures::an_event_that_ends_is_seen_as_it_ended,
        notes::a_note_is_there_until_its_message_is_settled,
        bytes::texts_come_back_byte_for_byte,
        bytes::bytes_and_properties_come_back_as_they_came,
        bytes::a_large_body_is_kept_whole,
        bytes::a_turn_of_many_is_one_turn,
        bytes::times_and_dates_come_back_exactly,
        bytes::a_nul_is_refused_or_kept,
        refusals::refused_content_writes_nothing_and_the_store_goes_on,
        refusals::a_request_that_contradicts_itself_is_refused,
        refusals::one_request_of_a_ticket_may_follow_another,
        refusals::an_entry_that_is_there_is_refused,
        refusals::a_damaged_row_is_refused_and_a_newer_one_is_an_outage,
        schema::history_cannot_be_changed,
        schema::the_columns_say_what_the_document_says,
        schema::without_a_schema_every_turn_is_an_outage,
        desk::a_list_of_the_desk_is_read_page_by_page,
        desk::each_filter_of_the_desk_finds_its_failures,
        desk::a_mark_of_the_desk_is_made_once,
        desk::marks_of_many_go_step_by_step_from_the_oldest,
        desk::a_step_of_marks_passes_over_what_is_not_meant,
        desk::a_filter_and_a_place_go_together,
        desk::a_mark_of_the_desk_waits_for_the_turn,
        edit::an_edit_keeps_the_old_bytes,
        edit::parked_events_and_the_outbox_are_shown,
        faults::a_panic_in_the_plan_leaves_nothing_open_and_nothing_written,
        faults::a_turn_dropped_anywhere_is_whole_or_nothing,
        faults::what_is_committed_is_seen_at_once,
        faults::what_was_committed_is_there_for_the_next_store,
        faults::a_second_store_waits_for_the_first,
        faults::a_lock_that_is_held_for_long_is_an_outage_and_passes,
        faults::two_stores_count_without_losing_one,
    ]
}
