//! What the documents' words stand for, what is run and what is not. Whatever is on none of these lists fails the test.

use super::document::{Kind, Step};

/// What else is run: as it is, in the reader's folder.
pub(super) const RUN: &[&str] = &["reprieve", "cargo", "cp", "export", "head", "curl"];

/// What is not run, and why. A line that begins so is left out.
pub(super) const NOT_RUN: &[(&str, &str)] = &[
    ("sudo apt-get ", "installs packages; scripts/test names the same ones"),
    ("./scripts/up", "readme::the_second_command_shows_four_requests runs it, to its end"),
    ("./scripts/test", "runs this"),
    ("cargo bench", "takes minutes"),
    ("cargo build --release --features otel", "takes minutes; tests/otel runs what it builds"),
    ("cargo test", "runs this"),
    ("cargo install cargo-fuzz", "downloads"),
    ("cargo +nightly ", "needs another compiler"),
    ("docker compose ", "needs a container engine; what it executes in the container is run"),
    ("docker build ", "needs a container engine"),
    ("kubectl ", "needs a cluster"),
    ("helm ", "needs a cluster; tests/deploy reads the chart"),
    ("promtool ", "is none of the tools that the tests ask for; tests/deploy reads the rules"),
    ("rabbitmqctl ", "the broker's; trust::users_can_do_what_is_theirs_and_nothing_else imports the definitions"),
    ("rabbitmq-queues ", "the broker's, for a fault of its own"),
    ("sqlite3 ", "another product's"),
    ("openssl ", "another product's"),
    ("kill -", "names a signal, not a process"),
    ("date", "another product's"),
];

/// What stands for what, in this order. `FAILURE` is an open failure, each time another.
pub(super) const FAILURE: &str = "{failure}";
pub(super) const STANDS_FOR: &[(&str, &str)] = &[
    ("docker compose exec worker ", ""),
    ("docker run --rm reprieve:0.1.0 ", "reprieve "),
    ("/etc/reprieve/", "examples/"),
    ("postgres://reprieve@db.example.com/reprieve", "{database}"),
    ("amqps://reprieve@mq.example.com/%2f", "{broker}"),
    ("failures show ID", "failures show {failure}"),
    ("failures retry ID", "failures retry {failure}"),
    ("failures discard ID", "failures discard {failure}"),
    ("failures edit ID", "failures edit {failure}"),
    ("explain ID", "explain EX-2026-0001"),
    ("explain EXCEPTION_ID", "explain EX-2026-0001"),
    ("show ID", "show EX-2026-0001"),
    ("history ID", "history EX-2026-0001"),
    ("--reason REASON", "--reason unknown_type"),
    ("show TYPE", "show exception.submitted.v1"),
    ("--body FILE", "--body event.json"),
    ("validate FILE", "validate event.json"),
    ("--event FILE", "--event event.json"),
    ("publish FILE", "publish event.json"),
    ("> FILE", "> file"),
    ("OLD NEW", "old.yaml new.yaml"),
    ("dev --data DIR", "dev --data kept"),
    ("export FILE", "export file"),
    ("--against FILE", "--against heads.jsonl"),
];

/// What the prose names without what it needs ends as a mistake in the use, and as nothing else.
pub(super) const EXIT_CODES: &[(&str, i32)] =
    &[("reprieve events publish", 2), ("reprieve failures retry", 2), ("reprieve failures discard", 2)];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its probe says yes, before the next command.
    Ready,
    /// It has said this, before the section ends.
    Says(&'static str),
}

/// What goes on until Ctrl-C.
#[derive(Debug)]
pub(super) struct Goes {
    begins: &'static str,
    pub(super) until: Until,
    /// Whether something has to happen for that.
    pub(super) stir: bool,
    /// How it ends; nothing for a program that the signal ends.
    pub(super) code: Option<i32>,
}

pub(super) const GOES_ON: &[Goes] = &[
    Goes { begins: "reprieve run", until: Until::Ready, stir: false, code: Some(0) },
    Goes { begins: "cargo run -- dev", until: Until::Says("Ctrl-C ends it."), stir: false, code: Some(0) },
    Goes { begins: "reprieve dev", until: Until::Says("Ctrl-C ends it."), stir: false, code: Some(0) },
    Goes { begins: "reprieve stats --watch", until: Until::Says("open="), stir: false, code: None },
    Goes { begins: "reprieve events tail", until: Until::Says("notification."), stir: true, code: Some(0) },
    Goes { begins: "curl -sSN", until: Until::Says("\ndata:"), stir: true, code: None },
];

pub(super) fn goes_on(typed: &str) -> Option<&'static Goes> {
    GOES_ON.iter().find(|goes| typed.starts_with(goes.begins) && !typed.contains(" --count "))
}

pub(super) fn exit_code(typed: &str) -> i32 {
    EXIT_CODES.iter().find(|(line, _)| *line == typed).map_or(0, |(_, code)| *code)
}

/// The command as it is run, if it is.
pub(super) fn to_run(step: &Step) -> Option<String> {
    let typed = STANDS_FOR.iter().fold(step.typed.clone(), |typed, (document, here)| typed.replace(document, here));
    if NOT_RUN.iter().any(|(begins, _)| typed.starts_with(begins)) {
        return None;
    }
    let programs = programs(&typed);
    let known = |program: &&str| RUN.contains(program);
    if step.kind == Kind::Prose {
        // Whole commands only: `a|b` are two, `[--x]` may be left out. `guide::every_command_in_the_documents_exists` has those.
        let whole = !typed.contains(['|', '[', '…']) && !typed.contains("...") && typed.contains(' ');
        return (whole && known(&programs[0]) && programs[0] != "head").then_some(typed);
    }
    if let Some(strange) = programs.iter().find(|program| !known(program)) {
        panic!("{}: `{}`: {strange} is on no list of tests/e2e/commands/lists.rs", step.place, step.typed);
    }
    Some(typed)
}

/// The first words of what a line runs.
fn programs(typed: &str) -> Vec<&str> {
    let parts = typed.split(" | ").flat_map(|part| part.split(" && "));
    parts.map(|part| part.split_whitespace().next().unwrap_or_default()).collect()
}
