//! What bad input costs, and whether the books balance: the release binary on servers of its own.
//!
//! - `cargo bench --bench border -- conservation`: a hundred thousand messages, 30 of 100 copies, 10 of 100 bad, the worker
//!   killed in the middle; prints the books and exits with 1 when they do not balance.
//! - `cargo bench --bench border -- poison`: healthy events alone and with one bad message to a hundred, alternating; then
//!   everything delivered again.
//!
//! `REPRIEVE_BENCH_EVENTS` (of conservation 100000, of the others 20000) and `REPRIEVE_BENCH_ROUNDS` (3) change the amount.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on says why by panicking"
)]

mod rounds;
#[path = "../../tests/e2e"]
#[allow(dead_code, unused_macros, reason = "the harness of the end-to-end tests, of which a part is needed")]
mod e2e {
    pub(crate) mod conservation;
    pub(crate) mod ledger;
    pub(crate) mod support;
    pub(crate) mod traffic;
}
pub(crate) use e2e::{ledger, support, traffic};

use std::process::ExitCode;
use std::time::Duration;

use e2e::conservation::{Line, play};
use support::stage::Stage;

/// A hundred events a second would be slow.
const REST_MAX: Duration = Duration::from_mins(15);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    // `cargo test --benches` runs this too: nothing to test here.
    if !asked("--bench") {
        return ExitCode::SUCCESS;
    }
    let all = !asked("conservation") && !asked("poison");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let balanced = runtime.block_on(async {
        let balanced = !(all || asked("conservation")) || conservation().await;
        if all || asked("poison") {
            rounds::poison_and_repeats().await;
        }
        balanced
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    support::watchdog::end();
    if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

/// Whether the books balance; prints them.
async fn conservation() -> bool {
    let ledger = ledger::Ledger::new(setting("REPRIEVE_BENCH_EVENTS", 100_000), 1);
    println!("{} messages, {} distinct events, one kill -9 in the middle", ledger.messages.len(), ledger.distinct());
    let stage = Stage::own("conservation").await;
    let books = play(&stage, &ledger, REST_MAX).await;
    println!("| | expected | found |\n|---|---|---|");
    let mut balanced = true;
    for Line { name, expected, found } in &books.lines {
        let mark = if expected == found { "" } else { " **differs**" };
        balanced &= expected == found;
        println!("| {name} | {expected} | {found}{mark} |");
    }
    println!(
        "at rest after {:.1} s; {} outgoing events came twice; the books {}",
        books.time.as_secs_f64(),
        books.outputs.copies,
        if balanced { "balance" } else { "DO NOT balance" }
    );
    balanced
}
