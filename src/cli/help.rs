//! The command line with its examples: the lines below each help text that can be copied into a shell. They stand here together,
//! and not beside the options, so that one can read whether they tell one story. A test parses each.

use clap::{Command, CommandFactory as _};

use super::Arguments;

/// The command line as it is parsed, helped with and completed.
pub(super) fn command() -> Command {
    let mut command = with_examples(Arguments::command(), "");
    // Also the help texts of subcommands show what the user types.
    command.build();
    command
}

/// The same for the manual, which needs no page about `help`.
pub(super) fn pages() -> Command {
    fn without_help(command: Command) -> Command {
        command.disable_help_subcommand(true).mut_subcommands(without_help)
    }
    let mut command = without_help(with_examples(Arguments::command(), ""));
    command.build();
    command
}

/// Nouns and verbs with their examples: what to type, and why.
type Examples = &'static [(&'static str, &'static [(&'static str, &'static str)])];

const EXAMPLES: Examples = &[
    ("run", &[("reprieve run", "settings from reprieve.toml and the environment")]),
    (
        "dev",
        &[
            ("reprieve dev", "a day's sample, in a folder that is removed at the end"),
            ("reprieve dev --data ./reprieve-data --no-demo", "for real use, kept"),
        ],
    ),
    ("migrate", &[("reprieve migrate up", "before the first start, and after an upgrade")]),
    ("migrate up", &[("reprieve migrate up", "as the owner of the tables; again does no harm")]),
    ("migrate status", &[("reprieve migrate status -o json", "for a script: exit code 1 if a step is missing")]),
    (
        "migrate grants",
        &[
            ("reprieve migrate grants reprieve_worker", "read it first"),
            ("reprieve migrate grants reprieve_worker --apply", "run it, as the owner of the tables"),
        ],
    ),
    ("topology", &[("reprieve topology check", "what is missing on the broker, or is not as it should be")]),
    ("topology print", &[("reprieve topology print -o json > definitions.json", "for rabbitmqctl import_definitions")]),
    ("topology check", &[("reprieve topology check", "exit code 1 if something is not as it should be")]),
    ("topology apply", &[("reprieve topology apply", "declare what is missing; again does no harm")]),
    ("events", &[("reprieve events publish examples/events.jsonl", "put events in as an upstream system would")]),
    (
        "events publish",
        &[
            ("reprieve events publish examples/events.jsonl", "a file"),
            ("reprieve events publish - < events.jsonl", "standard input"),
        ],
    ),
    (
        "events tail",
        &[
            ("reprieve events tail", "all that is published from now on"),
            ("reprieve events tail --type notification.* --count 10 -o jsonl", "ten notifications, for a script"),
        ],
    ),
    ("exceptions", &[("reprieve exceptions show EX-1", "where it stands, and how it came there")]),
    (
        "exceptions list",
        &[
            ("reprieve exceptions list --reviewer dana@example.com", "what waits for her, the newest first"),
            ("reprieve exceptions list --enforcement in_force --expiring-within 30d", "what runs out"),
            ("reprieve exceptions list --status requested -o jsonl", "for a script"),
        ],
    ),
    ("exceptions history", &[("reprieve exceptions history EX-1", "what happened to it, from the first entry on")]),
    (
        "exceptions show",
        &[
            ("reprieve exceptions show EX-1", "votes and history"),
            ("reprieve exceptions show EX-1 -o json", "the same as the API says it"),
        ],
    ),
    ("tickets", &[("reprieve tickets show SEC-1", "what was asked for one ticket")]),
    ("tickets show", &[("reprieve tickets show SEC-1", "its newest requests")]),
    (
        "stats",
        &[
            ("reprieve stats", "how much there is of what, now"),
            ("reprieve stats --watch", "again every 2 s, also over an outage"),
        ],
    ),
    ("health", &[("reprieve health --ready", "for a probe: exit code 0 if the worker is ready")]),
    ("config", &[("reprieve config check", "what is wrong with the settings")]),
    ("config check", &[("reprieve config check --connect", "also whether broker and database answer")]),
    ("config show", &[("reprieve config show", "each setting, and where it comes from")]),
    ("config example", &[("reprieve config example > reprieve.toml", "a file to begin with")]),
    ("rules", &[("reprieve rules check rules.yaml", "before a changed file is put in place")]),
    (
        "rules check",
        &[
            ("reprieve rules check", "the file the worker would use"),
            ("reprieve rules check rules.yaml -o json", "another one, for a script"),
        ],
    ),
    ("rules test", &[("reprieve rules test rules.yaml --coverage", "also which rules no test reaches")]),
    (
        "rules explain",
        &[
            ("reprieve rules explain EX-1", "why it went to whom it went"),
            ("reprieve rules explain --event event.json", "what would become of an event"),
        ],
    ),
    (
        "rules diff",
        &[
            ("reprieve rules diff rules.yaml new.yaml --last 30d", "over what was submitted in a month"),
            ("reprieve rules diff rules.yaml new.yaml --events examples/events.jsonl", "without a database"),
        ],
    ),
    ("failures", &[("reprieve failures groups", "begin here: which kinds there are, and how many of each")]),
    (
        "failures list",
        &[
            ("reprieve failures list --since 1h", "the newest, of the last hour"),
            ("reprieve failures list --reason schema -o jsonl", "one kind, for a script"),
        ],
    ),
    ("failures groups", &[("reprieve failures groups --since 2h", "what has begun to fail since then")]),
    (
        "failures show",
        &[
            ("reprieve failures show 7d5c0a52-6c8e-4d0c-8a37-6f6f0a1c2b3d", "what is wrong, and what helps"),
            ("reprieve failures show 7d5c0a52-6c8e-4d0c-8a37-6f6f0a1c2b3d --raw > body.json", "its bytes"),
        ],
    ),
    (
        "failures retry",
        &[
            ("reprieve failures retry 7d5c0a52-6c8e-4d0c-8a37-6f6f0a1c2b3d", "one"),
            ("reprieve failures retry --reason orphaned --dry-run", "which ones it would be"),
            ("reprieve failures retry --reason orphaned --yes", "all of a kind, without being asked"),
        ],
    ),
    (
        "failures discard",
        &[(
            "reprieve failures discard --reason bad_json --until 1d --yes",
            "what came a day ago or earlier, of one kind",
        )],
    ),
    (
        "failures edit",
        &[("reprieve failures edit 7d5c0a52-6c8e-4d0c-8a37-6f6f0a1c2b3d --body body.json", "the old bytes are kept")],
    ),
    ("parked", &[("reprieve parked list", "what came before its submission")]),
    ("parked list", &[("reprieve parked list --exception EX-1", "what waits for one submission")]),
    ("outbox", &[("reprieve outbox status", "whether what is decided is also published")]),
    ("outbox status", &[("reprieve outbox status -o json", "for a script")]),
    ("schema", &[("reprieve schema list", "the types of events, in and out")]),
    ("schema list", &[("reprieve schema list", "the types of events, and the rules file")]),
    (
        "schema show",
        &[("reprieve schema show exception.submitted.v1 > submitted.json", "for the upstream system's own tests")],
    ),
    ("schema validate", &[("reprieve schema validate examples/events.jsonl", "before they are published")]),
    (
        "audit",
        &[
            ("reprieve audit export heads.jsonl", "now and then; keep the file elsewhere"),
            ("reprieve audit verify --against heads.jsonl", "later"),
        ],
    ),
    (
        "audit verify",
        &[
            ("reprieve audit verify", "every chain; the worker may go on meanwhile"),
            ("reprieve audit verify --against heads.jsonl -o json", "also what vanished since then, for a script"),
        ],
    ),
    (
        "audit export",
        &[
            ("reprieve audit export heads.jsonl", "under its name only when it is whole"),
            ("reprieve audit export - | gzip > heads.jsonl.gz", "through a pipe"),
        ],
    ),
    (
        "completions",
        &[
            ("reprieve completions bash > /etc/bash_completion.d/reprieve", "for everybody on this machine"),
            ("reprieve completions fish > ~/.config/fish/completions/reprieve.fish", "for yourself"),
        ],
    ),
    (
        "man",
        &[
            ("reprieve man | man -l -", "read it"),
            ("reprieve man /usr/local/share/man/man1", "install a page for each command"),
        ],
    ),
];

fn with_examples(mut command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for name in names {
        let below = format!("{path} {name}");
        command = command.mut_subcommand(name, |verb| with_examples(verb, below.trim_start()));
    }
    match EXAMPLES.iter().find(|(at, _)| *at == path) {
        Some((_, examples)) if command.get_after_help().is_none() => command.after_help(text(examples)),
        _ => command,
    }
}

fn text(examples: &[(&str, &str)]) -> String {
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let line = |(line, why): &(&str, &str)| format!("\n  {line:width$}  # {why}");
    format!("Examples:{}", examples.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command lines in a help text, as a shell would hand them over: without comments, pipes and redirections.
    fn examples(command: &Command) -> Vec<Vec<String>> {
        let help = command.clone().render_long_help().to_string();
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with("reprieve ") && line.contains(" # "));
        let words = |line: &str| {
            let words = line.split_whitespace().map(str::to_owned);
            words.take_while(|word| !["#", "|", ">", "<"].contains(&word.as_str())).collect()
        };
        lines.map(words).collect()
    }

    fn walk(command: &Command, path: &str, check: &mut dyn FnMut(&str, &Command)) {
        check(path, command);
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            walk(verb, &format!("{path} {}", verb.get_name()), check);
        }
    }

    #[test]
    fn every_help_text_has_examples_that_parse_and_are_about_it() {
        let mut count = 0;
        walk(&command(), "reprieve", &mut |path, it| {
            let examples = examples(it);
            assert!(!examples.is_empty(), "{path} --help shows no example: add one to {}", file!());
            for line in examples {
                let parsed = command().try_get_matches_from(&line);
                assert!(parsed.is_ok(), "{path}: {}\n{}", line.join(" "), parsed.unwrap_err());
                assert!(line.join(" ").starts_with(path), "{path} shows {}", line.join(" "));
                count += 1;
            }
        });
        assert!(count > 50, "{count}");
    }

    #[test]
    fn a_help_text_fits_a_terminal() {
        walk(&command(), "reprieve", &mut |path, it| {
            let help = it.clone().render_long_help().to_string();
            let longest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(longest <= 140, "{path}: {longest}\n{help}");
        });
    }
}
