//! What look-ups cost: pages of every kind over millions of exceptions, first and deep inside, on Postgres and on `SQLite`; and what their
//! indexes cost the turns, by the processor time of the session that runs them.
//!
//! `cargo bench --bench lookups [-- pages|turns]`; `REPRIEVE_BENCH_ROWS` (default 5000000, a fifth of it on `SQLite`) and
//! `REPRIEVE_BENCH_EVENTS` (default 20000) change the amount. `REPRIEVE_BENCH_URL` is a Postgres database that is filled already.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on says why by panicking"
)]

mod pages;
mod rows;
mod turns;
#[path = "../../tests/e2e"]
#[allow(dead_code, unused_macros, reason = "the harness of the end-to-end tests, of which a part is needed")]
mod e2e {
    pub(crate) mod support;
}
pub(crate) use e2e::support;

use support::stage::Stage;

/// What the migration of the look-ups makes.
const INDEXES: [&str; 5] =
    ["exceptions_state", "exceptions_named", "exceptions_requester", "exceptions_ticket", "exceptions_assigned"];

fn main() {
    // `cargo test --benches` runs this too: nothing to test here.
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let is_asked = |part: &str| {
        let parts = ["pages", "turns"];
        !arguments.iter().any(|argument| parts.contains(&argument.as_str())) || arguments.iter().any(|it| it == part)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if is_asked("turns") {
            turns::bench(setting("REPRIEVE_BENCH_EVENTS", 20_000)).await;
        }
        if is_asked("pages") {
            let rows = setting("REPRIEVE_BENCH_ROWS", 5_000_000);
            if let Ok(url) = std::env::var("REPRIEVE_BENCH_URL") {
                pages::ask_postgres(&url, rows).await;
            } else {
                pages::postgres(&Stage::shared("pages").await, rows).await;
            }
            pages::sqlite(rows / 5).await;
        }
    });
    support::servers::end_shared();
    support::watchdog::end();
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}
