//! The real worker over a fake database and a fake broker, on virtual time and from one seed: thousands of runs with crashes
//! at any await, lost replies and lost connections, each of which has to end with balanced books.
//!
//! [`world`] is what is outside the worker, [`store`], [`source`] and [`sink`] are its ports, [`traffic`] is what upstream
//! sends, [`seed`] plays a run, [`model`] says what had to come of it and [`oracle`] compares. [`bugs`] shows that they would
//! notice.
//!
//! `REPRIEVE_SEEDS` runs another number of seeds; `REPRIEVE_SEED` plays one of them and tells its steps.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic: the seed that did is named and can be played again"
)]

mod broker;
mod bugs;
mod database;
mod instances;
mod model;
mod oracle;
mod seed;
mod sink;
mod source;
mod store;
mod traffic;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bugs::Bug;
use seed::play;

/// Seeds of a run without `REPRIEVE_SEEDS`.
const SEEDS: u64 = 1_000;
/// Seeds after which each planted bug must have been noticed.
const SEEDS_PER_BUG: u64 = 100;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

/// Plays seeds on two threads, until one fails.
fn play_all(seeds: u64) -> Vec<seed::Report> {
    let (next, reports, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds) {
                    match play(seed, None, false) {
                        Ok(report) => reports.lock().unwrap().push(report),
                        Err(error) => {
                            next.store(seeds, Ordering::Relaxed);
                            failed.lock().unwrap().get_or_insert((seed, error));
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, error)) = failed.into_inner().unwrap() {
        panic!("seed {seed}: {error}\nreplay: REPRIEVE_SEED={seed} cargo test --test simulation seeds -- --nocapture");
    }
    reports.into_inner().unwrap()
}

#[test]
fn seeds_end_with_balanced_books() {
    if let Some(seed) = setting("REPRIEVE_SEED") {
        println!("{:#?}", play(seed, None, true).unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        return;
    }
    let began = std::time::Instant::now();
    let reports = play_all(setting("REPRIEVE_SEEDS").unwrap_or(SEEDS));
    let sum = |of: fn(&seed::Report) -> u64| reports.iter().map(of).sum::<u64>();
    let published = sum(|report| report.counts.published);
    let slowest = reports.iter().map(|report| report.drained).max().unwrap_or(Duration::ZERO);
    println!(
        "{} seeds in {:.1} s: {} events, {} turns, {} crashes, {} stops, {} releases, {} failures tried again, {} events blamed, {published} outputs with {} extra copies, slowest drain {:.1} s",
        reports.len(),
        began.elapsed().as_secs_f64(),
        sum(|report| report.events),
        sum(|report| report.counts.turns),
        sum(|report| report.counts.crashes),
        sum(|report| report.counts.stops),
        sum(|report| report.counts.releases),
        sum(|report| report.counts.retried),
        sum(|report| report.counts.blamed),
        sum(|report| report.counts.copies),
        slowest.as_secs_f64(),
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let [one, two] = [(); 2].map(|()| play(seed, None, false).unwrap().trace);
        assert_eq!(one, two, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in Bug::ALL {
        let caught = (0..SEEDS_PER_BUG).find_map(|seed| Some((seed, play(seed, Some(bug), false).err()?)));
        let (seed, error) = caught.unwrap_or_else(|| panic!("{bug:?} was not noticed in {SEEDS_PER_BUG} seeds"));
        println!("{bug:?}: noticed after {} seeds: {}", seed + 1, error.lines().next().unwrap_or_default());
    }
}
