//! A seeded number of mutations of valid events, each held to [`properties`]. The same seeds each time: a run that passes
//! passes again.
//!
//! - `REPRIEVE_MUTATIONS=1000000 cargo test --release --test mutations` does the million: 178 s of one core.
//! - `REPRIEVE_MUTATION_SEED=42 cargo test --test mutations` does one again and shows it.
//!
//! Measured figures and the fuzz targets that share the properties: `fuzz/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking; the exception in clippy.toml only knows functions marked #[test]"
)]

mod found;
mod mutate;
mod oracle;
mod planted;
mod properties;

pub(crate) use reprieve::{contract, domain};

use std::collections::BTreeMap;

use contract::inbound::decode;
use mutate::{Mutated, mutated};
use properties::{Decode, check};

/// As many as take about eight seconds of one core, unoptimised.
const MUTATIONS: u64 = 8_000;
/// A planted bug that is not found among so many is not found.
const PLANTED_MAX: u64 = 4_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

/// What became of the mutation, in a word.
fn play(seed: u64, decode: Decode) -> Result<&'static str, String> {
    let Mutated { input, neutral } = mutated(seed);
    let reason = check(&input, decode)?;
    if neutral && let Some(reason) = reason {
        return Err(format!("{} although nothing was changed that counts", reason.word()));
    }
    Ok(reason.map_or("accepted", contract::reason::Reason::word))
}

#[test]
fn every_mutation_keeps_the_properties() {
    let seeds = match number("REPRIEVE_MUTATION_SEED") {
        Some(seed) => {
            let input = mutated(seed).input;
            println!("{input:?}\n{}", String::from_utf8_lossy(&input.body));
            seed..seed + 1
        }
        None => 0..number("REPRIEVE_MUTATIONS").unwrap_or(MUTATIONS),
    };
    let all = seeds.end - seeds.start >= MUTATIONS;
    let mut fates: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        match play(seed, decode) {
            Ok(fate) => *fates.entry(fate).or_default() += 1,
            Err(what) => panic!("{what}\nagain: REPRIEVE_MUTATION_SEED={seed} cargo test --test mutations"),
        }
    }
    println!("{fates:?}");
    // Every fate that the decoder knows is met, or the mutations have become too tame.
    let least = fates.values().min();
    assert!(!all || (fates.len() == 12 && least.is_some_and(|least| *least >= 10)), "{fates:?}");
}

#[test]
fn each_planted_bug_is_found() {
    for (name, bug) in planted::BUGS {
        let found = (0..PLANTED_MAX).find_map(|seed| play(seed, bug).err().map(|what| (seed, what)));
        let Some((seed, what)) = found else { panic!("not found: {name}") };
        println!("{name}: seed {seed}: {}", what.chars().take(100).collect::<String>());
    }
}
