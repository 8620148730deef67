//! `reprieve rules`: checks the rules file and runs the tests it carries. What is wrong and what is unwise is decided in the
//! domain; here it is shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Output, Paint, tame};
use super::{Code, ExitError};
use crate::config::Config;
use crate::domain::rules::{CaseReport, CaseResult, Checked, Finding, Report, RuleSet};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong with the rules file, or unwise; exit code 3 if it cannot be used
    Check(File),
    /// Run the tests that the rules file carries; exit code 1 if one fails
    Test {
        #[command(flatten)]
        file: File,
        /// Also name the rules that no test reaches
        #[arg(long)]
        coverage: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// The rules file, instead of the one the worker would use
    file: Option<PathBuf>,
}

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

#[derive(Debug, Serialize)]
struct TestShape<'a> {
    file: &'a str,
    #[serde(flatten)]
    report: &'a CaseReport,
}

pub(super) fn run(command: &Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Check(file) => {
            let (name, text) = read(file, config)?;
            check(&name, &text, &RuleSet::check(&text).report, output)
        }
        Command::Test { file, coverage } => {
            let (name, text) = read(file, config)?;
            let Checked { rules, report } = RuleSet::check(&text);
            match rules {
                Some(rules) => test(&name, &rules.test(), *coverage, output),
                None => check(&name, &text, &report, output),
            }
        }
    }
}

fn read(file: &File, config: &Config) -> Result<(String, String), ExitError> {
    let path: &Path = file.file.as_ref().unwrap_or(&config.rules);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ExitError::new(Code::Configuration, format!("{name} cannot be read: {error}")))?;
    Ok((name, text))
}

fn check(name: &str, text: &str, report: &Report, output: &Output) -> Result<(), ExitError> {
    let located = |findings| -> Vec<_> {
        let findings: &[Finding] = findings;
        findings.iter().map(|finding| Located { file: name, finding }).collect()
    };
    let (errors, warnings) = (located(&report.errors), located(&report.warnings));
    let shape = CheckShape { ok: errors.is_empty(), errors, warnings };
    output.object(&shape, |shape, paint| check_table(name, text, shape, paint))?;
    match report.errors.len() {
        0 => Ok(()),
        1 => Err(ExitError::new(Code::Configuration, format!("{name} has 1 error"))),
        count => Err(ExitError::new(Code::Configuration, format!("{name} has {count} errors"))),
    }
}

fn check_table(name: &str, text: &str, shape: &CheckShape<'_>, paint: Paint) -> String {
    let errors = shape.errors.iter().map(|located| pointed(name, text, located.finding, &paint.bad("error"), paint));
    let warnings = shape.warnings.iter().map(|located| pointed(name, text, located.finding, "warning", paint));
    let mut lines: Vec<_> = errors.chain(warnings).collect();
    if shape.ok {
        lines.push(paint.good(format!("{name} can be used")));
    }
    lines.join("\n")
}

/// A finding with its line of the file and a caret under its place.
fn pointed(name: &str, text: &str, finding: &Finding, kind: &str, paint: Paint) -> String {
    let at = finding.at;
    let path = if finding.path.is_empty() { String::new() } else { format!("{}: ", tame(&finding.path)) };
    let meant = finding.suggestion.as_ref().map(|meant| format!("; did you mean {}?", tame(meant))).unwrap_or_default();
    let (name, message) = (paint.bold(name), tame(&finding.message));
    let shown = format!("{name}:{}:{}: {kind}: {path}{message}{meant}", at.line, at.column);
    let index = usize::try_from(at.line).unwrap_or(0);
    let Some(line) = index.checked_sub(1).and_then(|index| text.lines().nth(index)) else { return shown };
    let number = at.line.to_string();
    let before = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
    let margin = " ".repeat(number.len());
    let caret = paint.bad("^");
    format!("{shown}\n {number} | {}\n {margin} | {}{caret}", tame(line), " ".repeat(before))
}

fn test(name: &str, report: &CaseReport, coverage: bool, output: &Output) -> Result<(), ExitError> {
    output.object(&TestShape { file: name, report }, |shape, paint| test_table(name, shape.report, coverage, paint))?;
    let failed = report.tests.iter().filter(|test| !test.passed).count();
    match failed {
        0 => Ok(()),
        count => Err(ExitError::failed(format!("{count} of {} tests failed", report.tests.len()))),
    }
}

fn test_table(name: &str, report: &CaseReport, coverage: bool, paint: Paint) -> String {
    let mut lines: Vec<_> = report.tests.iter().map(|test| test_line(name, test, paint)).collect();
    if coverage {
        let unreached = report.unreached.iter().map(|rule| format!("no test reaches the rule {}", tame(rule)));
        lines.extend(unreached);
    }
    if report.tests.is_empty() {
        lines.push(format!("{name} carries no tests"));
    } else if report.ok {
        lines.push(paint.good(format!("{} tests passed", report.tests.len())));
    }
    lines.join("\n")
}

fn test_line(name: &str, test: &CaseResult, paint: Paint) -> String {
    let title = tame(&test.name);
    if test.passed {
        return format!("{}  {title}", paint.good("ok"));
    }
    let mut lines = vec![format!("{}  {title} ({name}:{}:{})", paint.bad("failed"), test.at.line, test.at.column)];
    for difference in &test.differences {
        lines.push(format!(
            "    {}: expected {}, found {}",
            difference.of,
            tame(&difference.expected),
            tame(&difference.actual)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = include_str!("../../examples/rules-full.yaml");

    #[test]
    fn an_error_is_shown_under_its_line() {
        let text = FULL.replacen("groups: [risk-board] }, quorum: all", "groups: [risk-bord] }, quorum: all", 1);
        let report = RuleSet::check(&text).report;
        let shown = pointed("rules.yaml", &text, &report.errors[0], "error", Paint::Plain);
        let expected = "\
rules.yaml:49:33: error: rules[0].levels[1].reviewers.groups[0]: there is no group named risk-bord; did you mean risk-board?
 49 |       - { reviewers: { groups: [risk-bord] }, quorum: all }
    |                                 ^";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_shapes_are_those_of_the_contract() {
        let text = FULL.replacen("quorum: all }", "quorum: al }", 1);
        let report = RuleSet::check(&text).report;
        let errors = report.errors.iter().map(|finding| Located { file: "r.yaml", finding }).collect();
        let shape = serde_json::to_value(CheckShape { ok: false, errors, warnings: Vec::new() }).unwrap();
        let expected = serde_json::json!({ "ok": false, "warnings": [], "errors": [{
            "file": "r.yaml", "line": 49, "column": 56, "path": "rules[0].levels[1].quorum",
            "message": "expected any, all or a number, found \"al\"", "suggestion": "all",
        }]});
        assert_eq!(shape, expected);
    }

    #[test]
    fn a_failed_test_shows_what_is_different() {
        let text = FULL.replacen("expect: { rule: trivial, auto: approve }", "expect: { rule: fallback }", 1);
        let report = RuleSet::parse(&text).unwrap().test();
        let failed = report.tests.iter().find(|test| !test.passed).unwrap();
        let expected =
            "failed  two weeks for a trifle need nobody (r.yaml:113:5)\n    rule: expected fallback, found trivial";
        assert_eq!(test_line("r.yaml", failed, Paint::Plain), expected);
        let table = test_table("r.yaml", &report, true, Paint::Plain);
        assert!(table.contains("ok  outside staff go to triage\n"), "{table}");
        let untested = FULL.split("\ntests:").next().unwrap();
        let table = test_table("r.yaml", &RuleSet::parse(untested).unwrap().test(), true, Paint::Plain);
        assert!(table.starts_with("no test reaches the rule exploited-in-the-wild\n"), "{table}");
        assert!(table.ends_with("no test reaches the rule fallback\nr.yaml carries no tests"), "{table}");
    }
}
