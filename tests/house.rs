//! Holds the shape of the house: who may import whom, how long files may be, and where SQL and lapin live.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 400;

/// For each room: the rooms of this crate it may import. `domain` imports nothing but itself, and `store` and `broker` not each
/// other. `cli` puts everything together: it is in no list, so nothing may import it.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("domain", &["domain"]),
    ("contract", &["domain", "contract"]),
    ("health", &[]),
    ("metrics", &[]),
    ("retry", &[]),
    ("tls", &[]),
    ("broker", &["domain", "contract", "health", "retry", "tls", "broker"]),
    ("store", &["domain", "contract", "health", "tls", "store"]),
    ("spans", &["domain", "retry", "spans"]),
    ("worker", &["domain", "contract", "store", "broker", "retry", "metrics", "spans", "worker"]), // what is settled is counted there
    ("config", &["contract", "config"]), // the trust table is read into what judges by it
    ("telemetry", &["config"]),
    ("shapes", &["domain", "contract", "store"]),
    ("http", &["domain", "contract", "store", "broker", "health", "metrics", "config", "shapes", "http"]),
];

/// Crates that stay in one room.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("lapin", &["broker/rabbitmq", "broker/rabbitmq.rs"]),
    ("sqlx", &["store/postgres", "store/postgres.rs", "store/sqlite", "store/sqlite.rs"]),
    ("axum", &["http", "http.rs"]),
    ("clap", &["cli", "cli.rs", "main.rs"]),
    ("serde_saphyr", &["domain/rules"]),
    ("prometheus_client", &["metrics.rs", "metrics/"]),
    ("opentelemetry", &["spans/otel"]),
    ("opentelemetry_sdk", &["spans/otel"]),
];

/// What the pure rooms must not name.
const NOT_IN_PURE_ROOMS: [&str; 6] = ["tokio::", "Utc::now", "SystemTime", "Instant::now", "HashMap", "HashSet"];

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 20, "the sources are there");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The code before the module of tests at its end; something else that only tests need hides nothing after it.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let begins_tests =
        |(line, next): (&str, &str)| line == "#[cfg(test)]" && next.contains("mod ") && next.ends_with('{');
    let end = text.lines().zip(text.lines().skip(1)).position(begins_tests).unwrap_or(usize::MAX);
    text.lines().enumerate().take(end).map(|(at, line)| (at + 1, line))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

#[test]
fn rooms_import_only_what_they_may() {
    for (file, text) in sources() {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room(&file)) else {
            assert!(
                ["cli", "main", "lib"].contains(&room(&file)),
                "{file}: say in MAY_IMPORT what its room may import"
            );
            continue;
        };
        for (line, content) in code(&text).filter(|(_, content)| !is_comment(content)) {
            for named in content.split("crate::").skip(1) {
                let imported = named.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                assert!(allowed.contains(&imported), "{file}:{line} imports {imported}, which {} may not", room(&file));
            }
        }
    }
}

#[test]
fn crates_stay_in_their_room() {
    for (file, text) in sources() {
        for (name, places) in ONLY_IN {
            let allowed = places.iter().any(|place| file.starts_with(place));
            let found = code(&text).find(|(_, line)| !is_comment(line) && line.contains(&format!("{name}::")));
            assert!(allowed || found.is_none(), "{file}:{} names {name}, which stays in {places:?}", found.unwrap().0);
        }
    }
}

#[test]
fn pure_rooms_know_no_clock_no_io_and_nothing_unordered() {
    for (file, text) in sources() {
        let pure = matches!(room(&file), "domain" | "contract")
            || file.starts_with("worker/plan")
            || file == "worker/input.rs";
        if !pure {
            continue;
        }
        for (line, content) in code(&text).filter(|(_, content)| !is_comment(content)) {
            for name in NOT_IN_PURE_ROOMS {
                assert!(!content.contains(name), "{file}:{line} names {name}");
            }
        }
    }
}

#[test]
fn sql_lives_only_in_the_store() {
    for (file, text) in sources() {
        for (line, content) in code(&text).filter(|(_, content)| !is_comment(content)) {
            let sql = ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "TRUNCATE "]
                .iter()
                .any(|word| content.contains(word));
            assert!(!sql || file.starts_with("store/"), "{file}:{line} holds SQL");
        }
    }
}

/// sqlx 0.9.0 loses writes when a future of `begin()` is dropped: the transaction stays open on a pooled connection. Turns and
/// marks say BEGIN themselves on a connection that is dropped with them; look-ups need none.
#[test]
fn nothing_begins_a_transaction_through_the_driver() {
    for (file, text) in sources() {
        let begins = |line: &str| line.contains("pool.begin(") || line.contains(".begin().await");
        let says = |line: &str| line.contains("\"BEGIN") && !file.starts_with("store/");
        let begun = code(&text).find(|(_, line)| begins(line) || says(line));
        assert!(begun.is_none(), "{file}:{} begins a transaction", begun.unwrap().0);
    }
}

#[test]
fn files_stay_short() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= FILE_LINES_MAX || file.ends_with("tests.rs"),
            "{file} has {lines} lines: is it still one thing?"
        );
    }
}

#[test]
fn every_room_says_what_it_is() {
    for (file, text) in sources() {
        assert!(text.starts_with("//!") || file.ends_with("tests.rs"), "{file} begins without a module doc");
    }
}

/// The term of a row in the outbox is written as SQL in two places and as a number in two others.
#[test]
fn the_term_of_an_outbox_row_is_the_same_everywhere() {
    let term = format!("now() + interval '{} seconds'", reprieve::worker::publish::HOLD.as_secs());
    for place in ["store/postgres/read.rs", "store/postgres/write.rs"] {
        let (_, text) = sources().into_iter().find(|(file, _)| file == place).unwrap();
        assert!(text.contains(&term), "{place} gives another term");
    }
    let (_, text) = sources().into_iter().find(|(file, _)| file == "store/postgres/read.rs").unwrap();
    let void = format!("free_at > now() + interval '{} seconds'", 2 * reprieve::worker::publish::HOLD.as_secs());
    assert!(text.contains(&void), "a term further ahead than any that is given is void");
    let (_, text) = sources().into_iter().find(|(file, _)| file == "store/sqlite/outbox.rs").unwrap();
    let hold = format!("const HOLD: Duration = Duration::from_secs({});", reprieve::worker::publish::HOLD.as_secs());
    assert!(text.contains(&hold), "the embedded store gives another term");
}

#[test]
fn a_turn_awaits_nothing_but_the_database() {
    // The port makes it impossible: `plan` is a plain function. This holds the word in the signature.
    let (_, text) = sources().into_iter().find(|(file, _)| file == "store.rs").unwrap();
    assert!(
        text.contains("pub type Plan<'a> = dyn FnMut(Snapshot) -> Changes + Send + 'a;"),
        "the plan became something that can wait"
    );
}
