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

mod harness;
#[allow(dead_code, reason = "the harness offers every fault; which of them are in use changes with the cases")]
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    support::run(&arguments, cases())
}

fn cases() -> Vec<Trial> {
    harness::cases()
}
