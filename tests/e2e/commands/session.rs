//! One reader at one shell: what is exported stays, what goes on goes on beside it until the section ends, and Ctrl-C ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::document::{Kind, Step};
use super::lists::{self, Goes, Until};
use crate::support::process::{Process, free_port};
use crate::support::{eventually, http};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_reprieve");
const SOON: Duration = Duration::from_secs(30);
/// Between two events that are published so that somebody who follows hears of one.
const STIR: Duration = Duration::from_millis(300);

/// What a reader's shell goes through for one command: the variables of the last one, the command, the variables for the next.
const SHELL: &str = r#"set -o pipefail
[ ! -e .shell/variables ] || . .shell/variables
. "$1"
code=$?
export -p >.shell/variables
exit $code"#;
/// The same for what goes on: it takes the shell's place, so that Ctrl-C reaches it.
const SHELL_BESIDE: &str = r#"[ ! -e .shell/variables ] || . .shell/variables
. "$1""#;

/// In place of cargo, which would build all again. `reprieve` is there from `cargo install` on.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
"run -- "*) shift 2; exec PROGRAM "$@" ;;
"install --locked --path .") exec ln -sf PROGRAM "$HOME/bin/reprieve" ;;
*) echo "cargo $*: the test has nothing in its place" >&2; exit 101 ;;
esac
"#;

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) typed: String,
    pub(crate) said: String,
}

pub(crate) struct Session {
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    address: SocketAddr,
    names: Vec<(&'static str, String)>,
    /// Failures that a command was already given.
    failures: BTreeSet<String>,
    beside: Vec<Beside>,
    number: usize,
    pub(crate) ran: Vec<Ran>,
}

/// What goes on.
struct Beside {
    process: Process,
    step: Step,
    typed: String,
    goes: &'static Goes,
    log: PathBuf,
}

impl Session {
    /// In an empty folder, with the repository's `examples` and `scripts`, and nothing of the caller's variables.
    pub(crate) fn new(folder: &Path) -> Self {
        let bin = folder.join("bin");
        for made in [&bin, &folder.join(".shell")] {
            std::fs::create_dir(made).unwrap();
        }
        for name in ["examples", "scripts"] {
            symlink(Path::new(ROOT).join(name), folder.join(name)).unwrap();
        }
        let cargo = bin.join("cargo");
        std::fs::write(&cargo, CARGO.replace("PROGRAM", PROGRAM)).unwrap();
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        let environment = [
            ("PATH", path),
            ("HOME", folder.display().to_string()),
            ("NO_COLOR", "1".to_owned()),
            ("REPRIEVE_HTTP_LISTEN", address.to_string()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let names = vec![("127.0.0.1:8080", address.to_string()), ("localhost:8080", address.to_string())];
        let (failures, beside) = (BTreeSet::new(), Vec::new());
        Self { folder: folder.to_owned(), environment, address, names, failures, beside, number: 0, ran: Vec::new() }
    }

    /// With the program installed.
    pub(crate) fn installed(self) -> Self {
        symlink(PROGRAM, self.folder.join("bin/reprieve")).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One thing of the document stands for one of the case.
    pub(crate) fn call(mut self, document: &'static str, case: &str) -> Self {
        self.names.push((document, case.to_owned()));
        self
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// Does what a document says, from top to bottom.
    pub(crate) async fn follow(&mut self, steps: &[Step]) {
        let (mut section, given) = (0, self.beside.len());
        for step in steps {
            if step.section != section {
                self.end_beside(given).await;
                section = step.section;
            }
            self.step(step).await;
        }
        self.end_beside(given).await;
    }

    /// One thing to type, unless it is one of those that are not run.
    pub(crate) async fn step(&mut self, step: &Step) {
        let Some(typed) = lists::to_run(step) else { return };
        let typed = self.in_its_place(&typed).await;
        match lists::goes_on(&typed) {
            // The prose only names it.
            Some(_) if step.kind == Kind::Prose => {}
            Some(goes) => self.start(step, &typed, goes).await,
            None => self.run(step, &typed).await,
        }
    }

    /// The test's own, not a document's.
    pub(crate) async fn type_in(&mut self, typed: &str) -> String {
        let step = Step {
            place: "the test".to_owned(),
            section: usize::MAX,
            kind: Kind::Block,
            typed: typed.to_owned(),
            shown: None,
        };
        self.step(&step).await;
        self.ran.last().map(|ran| ran.said.clone()).unwrap_or_default()
    }

    async fn run(&mut self, step: &Step, typed: &str) {
        let expected = lists::exit_code(&step.typed);
        // What was just published may not have come through yet: who asks sees it a moment later.
        let ask = async || {
            let (code, said) = self.shell(typed).await;
            (code != Some(4) || expected == 4).then_some((code, said))
        };
        let (code, said) = eventually(&format!("{}: `{typed}` to find it", step.place), SOON, ask).await;
        assert_eq!(code, Some(expected), "{}: `{}`, here `{typed}`\n{said}", step.place, step.typed);
        if let Some(shown) = &step.shown {
            is_shown(step, shown, &said);
        }
        self.ran.push(Ran { typed: typed.to_owned(), said });
    }

    async fn shell(&self, typed: &str) -> (Option<i32>, String) {
        let file = self.folder.join(".shell/typed");
        std::fs::write(&file, format!("{typed}\n")).unwrap();
        let mut command = tokio::process::Command::from(self.bash(SHELL, &file));
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(SOON, output).await.unwrap_or_else(|_| panic!("`{typed}` does not end"));
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code(), said)
    }

    fn bash(&self, script: &str, typed: &Path) -> std::process::Command {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script, "bash"]).arg(typed);
        command.current_dir(&self.folder).env_clear().envs(&self.environment);
        command
    }

    async fn start(&mut self, step: &Step, typed: &str, goes: &'static Goes) {
        self.number += 1;
        let [file, log, pid] =
            ["typed", "log", "pid"].map(|kind| self.folder.join(format!("beside-{}.{kind}", self.number)));
        std::fs::write(&file, format!("exec {typed}\n")).unwrap();
        let process = Process::spawn(self.bash(SHELL_BESIDE, &file), &log, pid);
        let beside = Beside { process, step: step.clone(), typed: typed.to_owned(), goes, log };
        if goes.until == Until::Ready {
            let ready = async || match beside.process.exited() {
                Some(status) => panic!("{}: `{typed}` has ended: {status}\n{}", step.place, beside.said()),
                None => http::get(self.address, "/readyz").await.ok().filter(|answer| answer.status == 200),
            };
            eventually(&format!("{}: `{typed}` to be ready", step.place), SOON, ready).await;
        }
        self.beside.push(beside);
    }

    /// Everything that goes on has said what it has to.
    pub(crate) async fn settle(&self) {
        for beside in &self.beside {
            let Until::Says(words) = beside.goes.until else { continue };
            let what = format!("{}: `{}` to say {words:?}", beside.step.place, beside.typed);
            let mut stirred = tokio::time::Instant::now();
            let said = async || {
                if beside.said().contains(words) {
                    return Some(());
                }
                let status = beside.process.exited();
                assert!(status.is_none(), "{what}: it has ended: {status:?}\n{}", beside.said());
                if beside.goes.stir && stirred.elapsed() > STIR {
                    self.stir().await;
                    stirred = tokio::time::Instant::now();
                }
                None
            };
            eventually(&what, SOON, said).await;
            if let Some(shown) = &beside.step.shown {
                is_shown(&beside.step, shown, &beside.said());
            }
        }
    }

    /// Something happens, for those who follow what happens from now on.
    async fn stir(&self) {
        let name = format!("stir-{:?}", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap());
        let event = crate::embedded::submission(&name);
        let (code, said) = self.shell(&format!("reprieve events publish - <<'event'\n{event}\nevent")).await;
        assert_eq!(code, Some(0), "{said}");
    }

    /// Ctrl-C at what goes on, the last first, down to so many.
    pub(crate) async fn end_beside(&mut self, given: usize) {
        self.settle().await;
        for beside in self.beside.drain(given..).rev() {
            beside.process.signal(Signal::INT);
            let status = beside.process.wait_exit(SOON).await;
            let place = &beside.step.place;
            assert_eq!(status.code(), beside.goes.code, "{place}: `{}` after Ctrl-C\n{}", beside.typed, beside.said());
        }
    }

    /// What the document's words stand for here.
    async fn in_its_place(&mut self, typed: &str) -> String {
        let mut typed =
            self.names.iter().fold(typed.to_owned(), |typed, (document, case)| typed.replace(document, case));
        while typed.contains(lists::FAILURE) {
            let failure = self.failure().await;
            typed = typed.replacen(lists::FAILURE, &failure, 1);
        }
        typed
    }

    /// An open failure that no command was given yet.
    async fn failure(&mut self) -> String {
        let ask = async || {
            let (_, listed) = self.shell("reprieve failures list --limit 500 -o jsonl").await;
            let ids = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["failure_id"].clone());
            let mut ids = ids.map(|id| id.as_str().unwrap().to_owned());
            ids.find(|id| !self.failures.contains(id))
        };
        let found = eventually("another failure", SOON, ask).await;
        self.failures.insert(found.clone());
        found
    }
}

impl Beside {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for Beside { typed, log, .. } in &self.beside {
                eprintln!("--- the end of `{typed}`\n{}\n---", crate::support::process::tail(log, 30));
            }
        }
    }
}

/// The lines of the document are there, one after the other, with others between them only where it says `…`.
fn is_shown(step: &Step, shown: &str, said: &str) {
    let mut real = said.lines().map(stable).filter(|line| !line.is_empty());
    let mut gap = false;
    for line in shown.lines().map(stable).filter(|line| !line.is_empty()) {
        if line.trim() == "…" {
            gap = true;
            continue;
        }
        let there = if gap { real.any(|other| other == line) } else { real.next().as_ref() == Some(&line) };
        assert!(there, "{}: `{}` does not print, there:\n{line}\nbut:\n{said}", step.place, step.typed);
        gap = false;
    }
    assert!(gap || real.next().is_none(), "{}: `{}` prints more: end it with `…`\n{said}", step.place, step.typed);
}

/// The line without what depends on the day and the moment: days, the day in an id, and ages with the room that their column has.
fn stable(line: &str) -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
    let is_age =
        |word: &str| word.trim().strip_suffix('s').is_some_and(|age| !age.is_empty() && digits(age) == age.len());
    let is_part = |c: char| c.is_ascii_digit() || "-:TZ".contains(c);
    let dated = |part: &&str| part.len() >= 8 && digits(part) >= 8;
    let mut stable = String::new();
    for word in line.trim_end().split_inclusive(' ') {
        if is_age(word) {
            stable.push_str("…s");
        } else if word != " " || !stable.ends_with("…s") {
            let parts = word.split_inclusive(|c: char| !is_part(c));
            stable.extend(parts.map(|part| if dated(&part) { part.trim_matches(is_part) } else { part }));
        }
    }
    stable
}
