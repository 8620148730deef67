//! What a document has its reader type, in its order: lines of indented blocks, of blocks `sh` and `console`, and commands between
//! backticks in the prose.

use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Blocks that hold no commands.
const NOT_SHELL: [&str; 9] = ["json", "yaml", "toml", "sql", "python", "rust", "js", "text", "log"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be typed as it stands.
    Block,
    /// The same after `$ `, with what it answers below.
    Console,
    /// Named between backticks.
    Prose,
}

/// One thing to type.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Document and line.
    pub(crate) place: String,
    /// The number of the `##` heading above.
    pub(crate) section: usize,
    pub(crate) kind: Kind,
    pub(crate) typed: String,
    /// What the document says it prints.
    pub(crate) shown: Option<String>,
}

/// Every document of the repository.
pub(crate) fn all() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "deploy", "benches", "fuzz", "examples", "schemas", "migrations", "scripts", "tests"] {
        for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(ROOT).unwrap().display().to_string());
            }
        }
    }
    found
}

pub(crate) fn text(document: &str) -> String {
    let file: PathBuf = Path::new(ROOT).join(document);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// A program of the guide is a block too, and another test runs it.
pub(crate) fn steps(document: &str) -> Vec<Step> {
    let text = text(document);
    let mut reader = Reader { document, at: 0, section: 0, prose: String::new(), steps: Vec::new() };
    let mut fence: Option<Vec<&str>> = None;
    let (mut block, mut blank) = (Vec::new(), true);
    for line in text.lines() {
        reader.at += 1;
        reader.section += usize::from(line.starts_with("## ") && fence.is_none());
        let indented = line.strip_prefix("    ").filter(|_| fence.is_none() && (blank || !block.is_empty()));
        match (line.strip_prefix("```"), &fence) {
            (Some(kind), None) => {
                fence = Some(kind.split(' ').collect());
                reader.block(&std::mem::take(&mut block), reader.at);
            }
            (Some(_), Some(kind)) => {
                reader.fenced(kind, &block);
                (fence, block) = (None, Vec::new());
            }
            (None, Some(_)) => block.push(line),
            (None, None) if indented.is_some() => block.extend(indented),
            (None, None) if line.is_empty() && !block.is_empty() => block.push(line),
            (None, None) => {
                reader.block(&std::mem::take(&mut block), reader.at);
                reader.prose.push_str(line);
            }
        }
        blank = line.is_empty();
        // One line each, so that places can be counted.
        reader.prose.push('\n');
    }
    assert!(fence.is_none(), "{document} ends inside a block");
    reader.block(&block, reader.at + 1);
    reader.spans();
    reader.steps.sort_by_key(|(line, _)| *line);
    reader.steps.into_iter().map(|(_, step)| step).collect()
}

struct Reader<'a> {
    document: &'a str,
    /// The line that is read, counted from 1.
    at: usize,
    section: usize,
    prose: String,
    steps: Vec<(usize, Step)>,
}

impl Reader<'_> {
    fn push(&mut self, line: usize, kind: Kind, typed: String) {
        let place = format!("{}:{line}", self.document);
        self.steps.push((line, Step { place, section: self.section, kind, typed, shown: None }));
    }

    /// The lines above the one with number `end`; `\` at the end of a line goes on in the next.
    fn block(&mut self, lines: &[&str], end: usize) {
        let mut open = String::new();
        for (number, line) in lines.iter().enumerate() {
            open.push_str(line);
            if let Some(begun) = open.strip_suffix('\\') {
                open = begun.to_owned();
            } else {
                let typed = std::mem::take(&mut open);
                if !typed.trim().is_empty() && !typed.starts_with('#') {
                    self.push(end - lines.len() + number, Kind::Block, typed);
                }
            }
        }
    }

    fn fenced(&mut self, kind: &[&str], lines: &[&str]) {
        let place = format!("{}:{}", self.document, self.at);
        match kind {
            ["sh"] => self.block(lines, self.at),
            ["console"] => {
                for (number, line) in lines.iter().enumerate() {
                    if let Some(typed) = line.strip_prefix("$ ") {
                        self.push(self.at - lines.len() + number, Kind::Console, typed.to_owned());
                    } else {
                        let (_, step) =
                            self.steps.last_mut().unwrap_or_else(|| panic!("{place}: an answer to nothing"));
                        step.shown.get_or_insert_default().extend([line, "\n"]);
                    }
                }
            }
            // What the command right above prints: no prose stands between them.
            ["text"] if self.prose.trim_end().len() < self.steps.last().map_or(0, |(line, _)| self.offset(*line)) => {
                self.steps.last_mut().unwrap().1.shown = Some(lines.join("\n"));
            }
            [_, file] if file.starts_with("file=") => {}
            [kind, ..] if NOT_SHELL.contains(kind) => {
                let typed = lines.iter().find(|line| line.starts_with("$ "));
                assert!(typed.is_none(), "{place}: commands stand in a block `sh` or `console`: {}", typed.unwrap());
            }
            _ => panic!("{place}: no kind of block that is known: {kind:?}"),
        }
    }

    /// Where a line begins in the prose so far.
    fn offset(&self, line: usize) -> usize {
        self.prose.split_inclusive('\n').take(line - 1).map(str::len).sum()
    }

    /// What stands between backticks; whether it is a command is for others to say.
    fn spans(&mut self) {
        let prose = std::mem::take(&mut self.prose);
        let (mut line, mut section) = (1, 0);
        for (number, part) in prose.split('`').enumerate() {
            if number % 2 == 1 {
                let typed = part.replace('\n', " ");
                self.section = section;
                self.push(line, Kind::Prose, typed);
            }
            line += part.matches('\n').count();
            section += part.matches("\n## ").count();
        }
    }
}
