//! What a person types and sees in a drill, as a section of `docs/drill.md`: told as it happens, with what changes from run to run
//! put in its place, and in the end compared with the document or, on request, written into it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::worker::{Worker, WorkerSetup};

const SOON: Duration = Duration::from_secs(60);

/// Most lines of one answer that are worth reading.
const LINES_MAX: usize = 24;

/// Cases run beside each other, and write into one file.
static DOCUMENT: Mutex<()> = Mutex::new(());

/// One drill on its way into the document.
pub(crate) struct Transcript {
    heading: &'static str,
    text: String,
    /// What stands for what: names of the case on the left, of the document on the right.
    names: Vec<(String, String)>,
    ids: BTreeMap<String, usize>,
}

impl Transcript {
    /// The heading has to be one of the document's.
    pub(crate) fn new(heading: &'static str, names: &[(String, &str)]) -> Self {
        assert!(super::HEADINGS.contains(&heading), "{heading} has no place in the document");
        let names = names.iter().map(|(case, document)| (case.clone(), (*document).to_owned())).collect();
        Self { heading, text: String::new(), names, ids: BTreeMap::new() }
    }

    /// From here on one thing stands for another.
    pub(crate) fn call(&mut self, case: &str, document: &str) {
        self.names.push((case.to_owned(), document.to_owned()));
    }

    /// Words between the shown.
    pub(crate) fn say(&mut self, words: &str) {
        write!(self.text, "\n{words}\n").unwrap();
    }

    /// Runs a command and shows it with its answer; fails if it ends otherwise.
    pub(crate) async fn run(&mut self, setup: &WorkerSetup, line: &str, code: i32) -> String {
        let arguments: Vec<String> = line.split_whitespace().map(|word| self.case(word)).collect();
        let output = setup.cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "reprieve {line}\n{said}");
        let mut shown = format!("$ reprieve {line}\n{}", self.masked(said.trim_end()));
        if code != 0 {
            write!(shown, "\n(exit code {code})").unwrap();
        }
        self.show("console", &shown);
        said
    }

    /// Shows what was typed that is none of ours: the test has done the same its own way.
    pub(crate) fn typed(&mut self, lines: &str) {
        self.show("console", lines);
    }

    /// Waits for a line of the log with these words, after `from`, and shows it; says where it ends.
    pub(crate) async fn log(&mut self, worker: &Worker, from: usize, words: &str) -> usize {
        let find = async || {
            let output = worker.output();
            let after = output.get(from..)?;
            let at = after.find(words)?;
            let start = after.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
            let end = at + after.get(at..)?.find('\n')?;
            Some((after.get(start..end)?.to_owned(), from + end))
        };
        let (line, end) = eventually(&format!("that it says {words:?}"), SOON, find).await;
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = format!("{} {}", entry["level"].as_str().unwrap(), entry["message"].as_str().unwrap());
        let text = self.masked(&text);
        self.show("log", &text);
        end
    }

    /// Waits for this answer of a probe and shows it.
    pub(crate) async fn probe(&mut self, worker: &Worker, status: u16, words: &str) {
        let asked = async || {
            let answer = worker.get("/readyz").await.ok()?;
            (answer.status == status && answer.body.contains(words)).then_some(answer.body)
        };
        let body = eventually(&format!("{status} with {words:?}"), SOON, asked).await;
        self.show("console", &format!("$ curl -s -w ' %{{http_code}}' localhost:8080/readyz\n{body} {status}"));
    }

    fn show(&mut self, kind: &str, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let mut shown = lines.iter().take(LINES_MAX).copied().collect::<Vec<_>>().join("\n");
        if lines.len() > LINES_MAX {
            write!(shown, "\n… {} more lines", lines.len() - LINES_MAX).unwrap();
        }
        write!(self.text, "\n```{kind}\n{shown}\n```\n").unwrap();
    }

    /// From the document's words to the case's.
    fn case(&self, word: &str) -> String {
        self.ids.iter().find(|(_, number)| word == uuid(**number)).map_or_else(|| word.to_owned(), |(id, _)| id.clone())
    }

    /// How the document calls an id of the case, for a command line.
    pub(crate) fn id(&mut self, id: &str) -> String {
        let next = self.ids.len() + 1;
        uuid(*self.ids.entry(id.to_owned()).or_insert(next))
    }

    /// Ids are numbered, times are one time, hashes are left out: all as wide as they were, so that columns stay in line.
    fn masked(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (case, document) in &self.names {
            text = text.replace(case, document);
        }
        for before in ["next attempt in ", "back after "] {
            if let Some((head, tail)) = text.clone().split_once(before) {
                text = format!("{head}{before}2{}", tail.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
            }
        }
        let (mut masked, mut rest) = (String::new(), text.as_str());
        while let Some(first) = rest.chars().next() {
            let taken = if let Some(id) = rest.get(..36).filter(|it| is_uuid(it)) {
                masked.push_str(&self.id(id));
                36
            } else if rest.get(..20).is_some_and(is_time) {
                masked.push_str("2026-11-24T09:00:00Z");
                20
            } else if let Some(hash) = hash(rest).filter(|_| !masked.ends_with(|c: char| c.is_ascii_alphanumeric())) {
                masked.push_str(&"0123456789abcdef".repeat(4)[..hash]);
                hash
            } else {
                masked.push(first);
                first.len_utf8()
            };
            rest = &rest[taken..];
        }
        masked
    }

    /// Compares with the document, or puts it there.
    pub(crate) fn end(self) {
        let _turn = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file();
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        let mut sections: BTreeMap<String, String> = BTreeMap::new();
        for section in found.split("\n## ").skip(1) {
            let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
            sections.insert(heading.to_owned(), text.trim_end().to_owned());
        }
        let text = self.text.trim_end().to_owned();
        if std::env::var_os("REPRIEVE_BLESS").is_some() {
            sections.insert(self.heading.to_owned(), text.clone());
            let ordered = super::HEADINGS.iter().filter_map(|heading| Some((heading, sections.get(*heading)?)));
            let body: String = ordered.map(|(heading, text)| format!("\n## {heading}\n{text}\n")).collect();
            std::fs::write(&file, format!("{}{body}", super::HEAD)).unwrap();
        }
        let shown = sections.get(self.heading).map(String::as_str).unwrap_or_default();
        assert!(
            shown == text,
            "docs/drill.md is not current: REPRIEVE_BLESS=1 cargo test --test e2e drill renews it. {}",
            difference(shown, &text)
        );
    }
}

fn difference(document: &str, now: &str) -> String {
    let pair = document.lines().zip(now.lines()).find(|(document, now)| document != now);
    pair.map_or_else(
        || "One is longer.".to_owned(),
        |(document, now)| format!("It says\n{document}\nand now it is\n{now}"),
    )
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drill.md")
}

fn uuid(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn is_uuid(text: &str) -> bool {
    text.char_indices().all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
}

fn is_time(text: &str) -> bool {
    text.chars().zip("0000-00-00T00:00:00Z".chars()).all(
        |(c, form)| {
            if form == '0' { c.is_ascii_digit() } else { c == form }
        },
    )
}

/// How long a hash is that the text begins with: that of a rules file, of which twelve digits are shown, or a whole one.
fn hash(text: &str) -> Option<usize> {
    let length = text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    matches!(length, 12 | 64).then_some(length)
}
