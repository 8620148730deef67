//! `rules check`: every finding with its line of the file and a caret under its place.

use std::path::Path;

use serde::Serialize;

use crate::cli::output::{Output, Paint, tame};
use crate::cli::{Code, ExitError};
use crate::domain::rules::{Finding, Place, Report, RuleSet};

/// A finding with the name of its file.
#[derive(Debug, Serialize)]
struct Located<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Debug, Serialize)]
struct CheckShape<'a> {
    ok: bool,
    errors: Vec<Located<'a>>,
    warnings: Vec<Located<'a>>,
}

pub(super) fn run(path: &Path, output: &Output) -> Result<(), ExitError> {
    let name = super::name(path);
    match super::read(path) {
        Ok(text) => report(&name, &text, &RuleSet::check(&text).report, output),
        Err(why) => unreadable(&name, why, output),
    }
}

/// Prints what was found, and fails where the file cannot be used.
pub(super) fn report(name: &str, text: &str, report: &Report, output: &Output) -> Result<(), ExitError> {
    output.object(&shape(name, report), |shape, paint| table(name, text, shape, paint))?;
    match report.errors.len() {
        0 => Ok(()),
        1 => Err(ExitError::new(Code::Configuration, format!("{name} has 1 error"))),
        count => Err(ExitError::new(Code::Configuration, format!("{name} has {count} errors"))),
    }
}

/// A file that is not there is a finding too: whoever reads the findings reads them all in one form.
pub(super) fn unreadable(name: &str, message: String, output: &Output) -> Result<(), ExitError> {
    let finding = Finding { at: Place::default(), path: String::new(), message: message.clone(), suggestion: None };
    let report = Report { errors: vec![finding], warnings: Vec::new() };
    // A person is told once, on stderr.
    output.object(&shape(name, &report), |_, _| String::new())?;
    Err(ExitError::new(Code::Configuration, message))
}

fn shape<'a>(file: &'a str, report: &'a Report) -> CheckShape<'a> {
    let located = |findings: &'a [Finding]| findings.iter().map(|finding| Located { file, finding }).collect();
    CheckShape { ok: report.errors.is_empty(), errors: located(&report.errors), warnings: located(&report.warnings) }
}

fn table(name: &str, text: &str, shape: &CheckShape<'_>, paint: Paint) -> String {
    let errors = shape.errors.iter().map(|located| pointed(name, text, located.finding, "error", paint));
    let warnings = shape.warnings.iter().map(|located| pointed(name, text, located.finding, "warning", paint));
    let mut lines: Vec<_> = errors.chain(warnings).collect();
    if shape.ok {
        lines.push(paint.good(format!("{name} can be used")));
    }
    lines.join("\n")
}

/// A finding with its line of the file and a caret under its place.
pub(super) fn pointed(name: &str, text: &str, finding: &Finding, kind: &str, paint: Paint) -> String {
    let at = finding.at;
    let mark = |text: &str| if kind == "error" { paint.bad(text) } else { paint.warn(text) };
    let place = if at.line == 0 { name.to_owned() } else { format!("{name}:{}:{}", at.line, at.column) };
    let path = if finding.path.is_empty() { String::new() } else { format!("{}: ", tame(&finding.path)) };
    let meant = finding.suggestion.as_ref().map(|meant| format!("; did you mean {}?", paint.good(tame(meant))));
    let message = tame(&finding.message);
    let shown = format!("{}: {}: {path}{message}{}", paint.bold(place), mark(kind), meant.unwrap_or_default());
    let index = usize::try_from(at.line).unwrap_or(0);
    let Some(line) = index.checked_sub(1).and_then(|index| text.lines().nth(index)) else { return shown };
    let number = at.line.to_string();
    let before = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
    if line.len() > LINE_BYTES_MAX {
        return shown;
    }
    // What stands before the place stays in line with it, tabs too.
    let before: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let gutter = |number: &str| paint.dim(format!(" {number:>0$} |", at.line.to_string().len()));
    format!("{shown}\n{} {}\n{} {before}{}", gutter(&number), line_of(line), gutter(""), mark("^"))
}

/// Longest line that is shown with its finding: a file of one line would be shown whole for each.
const LINE_BYTES_MAX: usize = 500;

/// A line of the file as a terminal may see it, its tabs kept.
fn line_of(line: &str) -> String {
    line.split('\t').map(tame).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests;
