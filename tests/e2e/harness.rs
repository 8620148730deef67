//! The harness tested on itself: a crash that is not where the case says it is proves nothing.

mod proxy;
mod servers;

use libtest_mimic::Trial;

pub(crate) fn cases() -> Vec<Trial> {
    crate::cases![
        proxy::bytes_pass_unchanged_both_ways,
        proxy::a_trigger_finds_its_pattern_across_segments,
        proxy::a_trigger_before_keeps_the_pattern_back,
        proxy::a_trigger_after_forwards_the_rest_it_was_told_of,
        proxy::a_trigger_counts_over_connections,
        proxy::a_withheld_reply_comes_when_healed,
        proxy::a_cut_falls_on_its_byte,
        proxy::a_cut_ends_open_connections_and_serves_new_ones,
        proxy::a_refusing_proxy_serves_again_when_healed,
        proxy::a_frozen_direction_leaves_the_other_open,
        proxy::a_half_close_ends_one_direction,
        proxy::one_byte_segments_lose_nothing,
        proxy::a_slow_line_takes_its_time,
        servers::both_servers_serve_a_stage,
        servers::a_crash_of_the_database_keeps_what_was_committed,
        servers::a_crash_of_the_broker_keeps_what_was_confirmed,
        servers::a_frozen_server_does_not_answer,
        servers::a_trigger_stands_between_commit_and_its_answer,
        servers::a_trigger_finds_deliveries_and_acks,
        servers::a_worker_process_is_started_frozen_and_killed,
    ]
}
