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

mod books;
mod crashes;
mod harness;
#[allow(dead_code, reason = "the harness offers every fault; which of them are in use changes with the cases")]
mod support;
mod traffic;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    support::run(&arguments, cases())
}

fn cases() -> Vec<Trial> {
    let mut cases = harness::cases();
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
        crashes::each_server_is_away_for_a_minute,
        crashes::a_decision_and_its_submission_at_the_same_instant,
    ]);
    cases
}
