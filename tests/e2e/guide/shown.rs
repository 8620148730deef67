//! The documents say what is there: programs as in their files, commands that the program knows.

use std::path::Path;

use super::{ROOT, command};

/// Groups of commands that the runbooks name already and that are still being built. Empty this with the last of them.
const COMING: [&str; 8] =
    ["config", "health", "stats", "audit", "tickets", "completions", "exceptions history", "exceptions list"];

/// A program in the guide is its file, whole: `file=PATH` after the three backticks names it.
pub(crate) async fn shown_programs_are_the_files() {
    let guide = read("docs/integration.md");
    let mut shown = Vec::new();
    for block in guide.split("\n```").filter(|block| block.lines().next().is_some_and(|kind| kind.contains(" file="))) {
        let (kind, text) = block.split_once('\n').unwrap();
        let file = kind.split(" file=").nth(1).unwrap();
        assert_eq!(format!("{text}\n"), read(file), "docs/integration.md shows another {file}");
        shown.push(file.to_owned());
    }
    for folder in ["integration/rust", "integration/python", "integration/node", "integration/shell"] {
        for entry in std::fs::read_dir(Path::new(ROOT).join("examples").join(folder)).unwrap() {
            let file = format!("examples/{folder}/{}", entry.unwrap().file_name().display());
            assert!(shown.contains(&file), "docs/integration.md does not show {file}");
        }
    }
}

/// No document names a command or an option that the program does not know.
pub(crate) async fn every_command_in_the_documents_exists() {
    let mut documents = vec!["README.md".to_owned(), "deploy/README.md".to_owned()];
    for entry in std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(format!("docs/{}", path.file_name().unwrap().display()));
        }
    }
    let mut tried = 0;
    for document in &documents {
        for line in commands(&read(document)) {
            for arguments in spelled_out(&line) {
                accepted(document, &arguments).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "only {tried} commands were found");
}

/// Commands on lines of their own, and those between backticks.
fn commands(text: &str) -> Vec<String> {
    let own = text.replace("\\\n", " ");
    let own = own.lines().map(|line| {
        let line = line.trim().trim_start_matches("$ ").replace("docker compose exec worker ", "");
        line.replace("cargo run -- ", "reprieve ").replace("| reprieve", "\nreprieve")
    });
    let mut found: Vec<String> = own.flat_map(|line| line.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    found.extend(text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    let is_command = |rest: &str| rest.trim_start_matches("--").starts_with(|c: char| c.is_ascii_lowercase());
    found.retain(|line| line.strip_prefix("reprieve ").is_some_and(is_command));
    found
}

/// The words up to what a shell or a reader takes for something else; `a|b` is two commands, `[--x]` may be left out or not.
fn spelled_out(line: &str) -> Vec<Vec<String>> {
    let ends = [" #", " >", " | ", " && ", "   "].iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
    let mut commands = vec![Vec::new()];
    for word in line[..ends].split_whitespace().skip(1) {
        let word = word.trim_matches(['[', ']']).trim_end_matches("...").trim_end_matches(['…', ',']);
        let words: Vec<&str> = word.split('|').collect();
        commands = commands
            .iter()
            .flat_map(|command: &Vec<String>| {
                words.iter().map(|word| command.iter().cloned().chain([(*word).to_owned()]).collect())
            })
            .collect();
    }
    commands
}

/// `--help` at the end makes it show help instead of doing anything; what stands before is read first.
async fn accepted(document: &str, arguments: &[String]) {
    let line = arguments.join(" ");
    let program = [env!("CARGO_BIN_EXE_reprieve").to_owned()];
    let output = command(&program, Path::new(ROOT)).args(arguments).arg("--help").output().await.unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    // A value in capitals stands for one.
    let placeholder =
        complained.contains("invalid value '") && arguments.iter().any(|word| word.to_uppercase() == *word);
    let coming = complained.contains("unrecognized subcommand") && COMING.iter().any(|name| line.starts_with(name));
    assert!(output.status.success() || placeholder || coming, "{document} names `reprieve {line}`: {complained}");
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
