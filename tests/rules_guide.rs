//! Holds `docs/rules.md` to the program: every YAML file and fragment on the page is compiled and its tests are run, every
//! command whose output is shown is run, and no key or operator is missing. `REPRIEVE_BLESS=1` renews the shown output.
//!
//! What follows the three backticks says what a block is: `yaml file=NAME` a whole file, `yaml rules` keys that stand in
//! `frame.yaml` in place of its own; with `errors` it must be refused, with `fails` a test of it must fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use reprieve::domain::rules::{Checked, RuleSet};

const PAGE: &str = "docs/rules.md";

/// A fenced block, with the line its text begins in.
struct Block<'a> {
    line: usize,
    kind: Vec<&'a str>,
    text: String,
}

impl Block<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind.contains(&word)
    }

    fn file(&self) -> Option<&str> {
        self.kind.iter().find_map(|word| word.strip_prefix("file="))
    }
}

fn page() -> String {
    read(PAGE)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for (at, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), inside) {
            (Some(kind), false) => {
                blocks.push(Block { line: at + 2, kind: kind.split(' ').collect(), text: String::new() });
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => blocks.last_mut().unwrap().text.extend([line, "\n"]),
            (None, false) => {}
        }
    }
    assert!(!inside, "{PAGE} ends inside a block");
    blocks
}

/// The keys at the left margin, each with its lines.
fn sections(yaml: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in yaml.lines() {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            sections.push((line.split(':').next().unwrap().to_owned(), String::new()));
        }
        let (_, text) = sections.last_mut().unwrap_or_else(|| panic!("{line}: before any key"));
        text.extend([line, "\n"]);
    }
    sections
}

/// A fragment in the frame: what it names replaces what stands there.
fn framed(fragment: &str, frame: &str) -> String {
    let mut sections_of_frame = sections(frame);
    for (key, text) in sections(fragment) {
        match sections_of_frame.iter_mut().find(|(known, _)| *known == key) {
            Some((_, there)) => *there = text,
            None => sections_of_frame.push((key, text)),
        }
    }
    sections_of_frame.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn every_file_and_fragment_is_what_it_is_said_to_be() {
    let page = page();
    let blocks = blocks(&page);
    let frame = &blocks.iter().find(|block| block.file() == Some("frame.yaml")).unwrap().text;
    let (mut files, mut cases) = (0, 0);
    for block in blocks.iter().filter(|block| block.is("yaml")) {
        let at = format!("{PAGE}:{}", block.line);
        let text = if block.is("rules") { framed(&block.text, frame) } else { block.text.clone() };
        assert!(block.is("rules") != block.file().is_some(), "{at}: neither a file nor a fragment");
        let Checked { rules, report } = RuleSet::check(&text);
        if block.is("errors") {
            assert!(rules.is_none(), "{at}: nothing is wrong with it");
            continue;
        }
        let rules = rules.unwrap_or_else(|| panic!("{at}: {:#?}\n{text}", report.errors));
        let dead = report.warnings.iter().find(|warning| warning.message.contains("can never match"));
        assert!(dead.is_none(), "{at}: {dead:?}");
        let report = rules.test();
        let failed: Vec<_> = report.tests.iter().filter(|test| !test.passed).collect();
        assert_eq!(failed.is_empty(), !block.is("fails"), "{at}: {failed:#?}");
        files += 1;
        cases += report.tests.len();
    }
    assert!(files >= 15 && cases >= 30, "{files} files with {cases} tests: where has the rest gone?");
}

/// The excerpt that a newcomer sees first.
#[test]
fn the_readmes_excerpt_can_be_used_in_the_same_frame() {
    let (page, readme) = (page(), read("README.md"));
    let frame = &blocks(&page).into_iter().find(|block| block.file() == Some("frame.yaml")).unwrap().text;
    let excerpts: Vec<_> = blocks(&readme).into_iter().filter(|block| block.is("yaml")).collect();
    assert_eq!(excerpts.len(), 1);
    let text = framed(&excerpts[0].text, frame);
    assert_eq!(RuleSet::check(&text).report.errors, []);
}

/// Every block is of a kind that is looked at: a typo in the mark must not take it out of the test.
#[test]
fn no_block_is_left_alone() {
    let page = page();
    for block in blocks(&page) {
        let known = ["yaml", "rules", "errors", "fails", "console"];
        let strange = block.kind.iter().find(|word| !known.contains(word) && !word.starts_with("file="));
        assert!(strange.is_none() && block.is("yaml") != block.is("console"), "{PAGE}:{}: {strange:?}", block.line);
    }
}

/// The commands of one block, one after the other, as a reader would see them.
fn run(commands: &str, folder: &Path) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_reprieve")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shown = String::new();
    for command in commands.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let script = format!("{{ {command}; }} 2>&1");
        let output =
            Command::new("sh").args(["-c", &script]).current_dir(folder).env_clear().env("PATH", &path).output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        shown.extend(["$ ", command, "\n", &output]);
    }
    shown
}

#[test]
fn every_command_prints_what_is_shown() {
    let page = page();
    let folder = Folder::new();
    let mut renewed = page.clone();
    let mut commands = 0;
    for block in blocks(&page) {
        if let Some(file) = block.file() {
            std::fs::write(folder.0.join(file), &block.text).unwrap();
        }
        if block.is("console") {
            let real = run(&block.text, &folder.0);
            let (shown, real) =
                (format!("```console\n{}```\n", block.text), format!("```console\n{}\n```\n", real.trim_end()));
            renewed = renewed.replacen(&shown, &real, 1);
            commands += block.text.matches("$ reprieve").count();
        }
    }
    assert!(commands >= 5, "{commands} commands: where has the rest gone?");
    if std::env::var_os("REPRIEVE_BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), &renewed).unwrap();
    }
    let differs = renewed.lines().zip(page.lines()).find(|(real, shown)| real != shown);
    assert!(renewed == page, "REPRIEVE_BLESS=1 renews {PAGE}: really, and shown there: {differs:?}");
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("reprieve-rules-guide-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is the system's to remove.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// `examples/rules-full.yaml` says everything that can be said, and another test holds it to that.
#[test]
fn no_key_and_no_operator_is_missing() {
    let full = include_str!("../examples/rules-full.yaml");
    let full: serde_json::Value = serde_saphyr::from_str(full).unwrap();
    let page = page();
    let named: BTreeSet<&str> = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mut keys = BTreeMap::new();
    for (place, value) in full.as_object().unwrap() {
        keys.insert(place.clone(), "the file");
        if !matches!(place.as_str(), "tests" | "groups") {
            words(value, &mut keys);
        }
    }
    for operator in ["not", "any", "all", "gt", "gte", "lt", "lte", "before", "after", "present"] {
        keys.insert(operator.to_owned(), "operators");
    }
    assert!(keys.len() > 45, "{keys:?}");
    for (key, place) in keys {
        assert!(named.contains(key.as_str()), "{PAGE} does not name {key} of {place}");
    }
}

/// The names of members, but not the paths of `match`.
fn words(value: &serde_json::Value, found: &mut BTreeMap<String, &'static str>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, inner) in members.iter().filter(|(name, _)| *name != "match") {
                found.insert(name.clone(), "a rule, a level or the settings");
                words(inner, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        _ => {}
    }
}
