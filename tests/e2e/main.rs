//! End-to-end cases: the built binary against a real broker and a real database, with faults between them.
//!
//! The binary has a `main` of its own (`harness = false`): one `PostgreSQL` and one `RabbitMQ` serve all cases of the
//! process and are ended with it, however it ends. Cases that break a server start a pair of their own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case fails by panicking; the exception in clippy.toml only knows functions marked #[test]"
)]

mod audit;
mod bad_input;
mod books;
mod border;
mod brokers;
mod commands;
mod conservation;
mod contract;
mod crashes;
mod desk;
mod drill;
mod embedded;
mod followed;
mod guide;
mod harness;
mod ledger;
mod lookups;
mod readme;
mod reload;
mod routing;
mod rules;
mod secrets;
mod starts;
mod stops;
mod store;
#[allow(dead_code, reason = "the harness offers every fault; which of them are in use changes with the cases")]
mod support;
mod tls;
mod traffic;
mod trust;
mod watched;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    support::run(&arguments, cases())
}

#[allow(clippy::too_many_lines, reason = "a list")]
fn cases() -> Vec<Trial> {
    // The longest first: the others run beside it.
    let mut cases = cases![crashes::each_server_is_away_for_a_minute];
    cases.extend(harness::cases());
    cases.extend(store::cases());
    cases.extend(brokers::cases());
    cases.extend(cases![
        crashes::killed_after_receive,
        crashes::killed_inside_the_transaction,
        crashes::killed_after_commit_was_sent,
        crashes::killed_after_commit,
        crashes::killed_after_ack,
        crashes::killed_after_publish,
        crashes::killed_after_confirm,
        crashes::the_reply_to_commit_is_lost,
        crashes::the_broker_is_killed_under_load,
        crashes::the_database_is_killed_under_load,
        crashes::a_decision_and_its_submission_at_the_same_instant,
        border::a_failure_is_mended_and_let_in_again,
        border::a_body_that_is_too_long_is_kept_whole,
        border::an_orphan_is_let_in_when_its_submission_is_there,
        border::a_message_that_ends_the_process_is_set_aside,
        border::what_the_broker_gave_up_on_comes_home,
        bad_input::every_row_ends_as_the_table_says,
        bad_input::the_document_is_the_table,
        bad_input::the_schemas_agree_with_the_table,
        bad_input::examples_fit_the_schemas,
        conservation::three_thousand_events_balance_over_a_kill,
        contract::a_request_goes_through_two_levels,
        contract::nobody_to_review_goes_to_triage,
        contract::what_cannot_be_processed_is_stored_and_announced,
        contract::refusals_are_answered_once_and_change_nothing,
        contract::repeats_have_no_effect_and_conflicts_are_told,
        contract::both_modes_and_mistyped_routing_keys_are_read,
        contract::an_orphan_becomes_a_failure,
        contract::an_unroutable_notification_waits_for_its_queue,
        contract::exit_codes_are_as_written,
        contract::probes_tell_alive_from_ready,
        contract::the_worker_needs_no_configure_right,
    ]);
    cases.extend(embedded());
    cases.extend(for_people());
    cases
}

/// Without servers.
fn embedded() -> Vec<Trial> {
    cases![
        embedded::killed_under_load_nothing_answered_is_lost,
        embedded::sigterm_drains_what_was_handed_in,
        embedded::a_full_disk_loses_nothing_that_was_answered,
        embedded::a_folder_that_can_only_be_read_is_refused,
        embedded::the_first_command_shows_a_day,
        embedded::two_on_one_folder,
        embedded::a_folder_of_dev_is_its_own,
        embedded::a_file_that_vanishes_is_missed,
        embedded::commands_work_beside_it,
        embedded::a_batch_is_answered_in_its_order,
        embedded::the_data_file_works_with_a_real_broker,
    ]
}

/// What people see and do.
fn for_people() -> Vec<Trial> {
    cases![
        desk::failures_are_found_understood_and_marked,
        desk::an_edit_is_a_failure_of_its_own,
        desk::what_waits_is_shown,
        desk::the_api_shows_and_marks_the_same,
        audit::what_stands_under_the_name_of_an_export_is_kept,
        audit::an_export_that_is_ended_leaves_nothing,
        audit::a_row_that_cannot_be_read_is_no_outage,
        audit::a_long_history_is_shown_from_its_end,
        audit::the_history_is_checked_beside_the_worker_and_against_an_export,
        commands::the_readme_is_done_from_top_to_bottom,
        commands::the_operations_guide_is_done_from_top_to_bottom,
        commands::the_commands_over_http_are_taken,
        commands::the_commands_of_the_deployment_are_taken,
        commands::every_command_is_on_a_list,
        drill::the_rules_file_is_broken,
        drill::the_database_has_no_room,
        drill::passwords_are_revoked_and_given_back,
        drill::five_hundred_bad_messages_among_good_ones,
        followed::what_is_handed_in_is_queued_as_it_is,
        followed::what_is_published_is_followed_by_each,
        followed::without_the_right_both_are_refused_by_name,
        followed::a_broker_in_trouble_is_away_within_the_deadline,
        lookups::exceptions_are_looked_up_in_each_format,
        guide::the_programs_submit_and_defer_once,
        guide::the_program_without_a_broker_misses_nothing,
        guide::each_bridge_sends_each_notification_once,
        guide::no_message_and_no_answer_stops_a_bridge,
        guide::a_bridge_says_what_it_lacks_at_the_broker,
        guide::programs_say_how_they_are_used,
        guide::the_shell_shows_its_password_to_nobody,
        guide::shown_programs_are_the_files,
        guide::every_command_in_the_documents_exists,
        readme::the_second_command_shows_four_requests,
        readme::up_ends_all_it_started,
        readme::links_lead_somewhere,
        readme::the_guides_examples_are_read,
        readme::the_guide_lists_every_setting,
        reload::a_changed_file_is_in_force_and_what_is_assigned_stays,
        reload::a_bad_file_keeps_the_old_rules_and_says_so,
        reload::a_swapped_link_is_a_changed_file,
        reload::requests_are_spread_by_load,
        rules::an_exception_is_explained_by_the_rules_it_was_made_under,
        rules::another_file_is_compared_by_what_was_submitted,
        rules::files_are_checked_without_a_server,
        routing::the_whole_rules_file_acts_through_the_queue,
        secrets::no_secret_is_ever_written,
        tls::both_servers_are_reached_by_tls_and_nothing_else_is_taken_for_them,
        trust::users_can_do_what_is_theirs_and_nothing_else,
        starts::a_schema_that_does_not_fit_is_refused,
        starts::a_data_file_that_does_not_fit_is_refused,
        starts::a_topology_that_differs_is_told,
        stops::sigterm_under_load_drains_and_exits_0,
        stops::a_second_sigterm_exits_at_once,
        stops::frozen_inside_its_transaction_it_holds_up_nobody_for_long,
        stops::a_broker_that_blocks_publishers_gets_its_acks,
        watched::the_numbers_agree_with_what_happened,
        watched::the_numbers_of_embedded_parts,
        watched::a_trace_goes_through_to_every_output,
        watched::a_noisy_run_can_be_read_and_shown,
        watched::the_configuration_is_checked_and_shown,
        watched::health_is_asked_of_the_running_worker,
        watched::the_start_says_what_does_not_fit,
        watched::refused::a_publisher_without_the_right_is_not_ready,
        watched::refused::output_that_no_queue_takes_is_told_once,
        watched::refused::a_server_that_stays_away_is_told_once,
        watched::refused::what_breaks_right_after_an_outage_is_tried_again_at_once,
    ]
}
