//! `rules test`: runs the tests that the rules file carries.

use std::path::Path;

use serde::Serialize;

use crate::cli::ExitError;
use crate::cli::output::{Output, Paint, tame};
use crate::domain::rules::{CaseReport, CaseResult, Checked, RuleSet};

#[derive(Debug, Serialize)]
struct TestShape<'a> {
    file: &'a str,
    #[serde(flatten)]
    report: &'a CaseReport,
}

/// A file that cannot be used is told as by `rules check`.
pub(super) fn run(path: &Path, coverage: bool, output: &Output) -> Result<(), ExitError> {
    let name = super::name(path);
    let text = match super::read(path) {
        Ok(text) => text,
        Err(why) => return super::check::unreadable(&name, why, output),
    };
    let Checked { rules, report } = RuleSet::check(&text);
    let Some(rules) = rules else { return super::check::report(&name, &text, &report, output) };
    let report = rules.test();
    output.object(&TestShape { file: &name, report: &report }, |shape, paint| {
        table(&name, shape.report, coverage, paint)
    })?;
    match report.tests.iter().filter(|test| !test.passed).count() {
        0 => Ok(()),
        count => Err(ExitError::failed(format!("{count} of {} tests failed", report.tests.len()))),
    }
}

fn table(name: &str, report: &CaseReport, coverage: bool, paint: Paint) -> String {
    let mut lines: Vec<_> = report.tests.iter().map(|test| line(name, test, paint)).collect();
    if coverage {
        let unreached = |rule: &String| format!("{}  no test reaches the rule {}", paint.warn("gap"), tame(rule));
        lines.extend(report.unreached.iter().map(unreached));
    }
    if report.tests.is_empty() {
        lines.push(format!("{name} carries no tests"));
    } else if report.ok {
        lines.push(paint.good(format!("{} tests passed", report.tests.len())));
    }
    lines.join("\n")
}

fn line(name: &str, test: &CaseResult, paint: Paint) -> String {
    let title = tame(&test.name);
    if test.passed {
        return format!("{}  {title}", paint.good("ok"));
    }
    let place = paint.dim(format!("({name}:{}:{})", test.at.line, test.at.column));
    let mut lines = vec![format!("{}  {title} {place}", paint.bad("failed"))];
    for difference in &test.differences {
        let (expected, actual) = (tame(&difference.expected), tame(&difference.actual));
        let (expected, actual) = (paint.good(expected), paint.bad(actual));
        lines.push(format!("    {}: expected {expected}, found {actual}", difference.of));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = include_str!("../../../examples/rules-full.yaml");

    #[test]
    fn a_failed_test_shows_what_is_different() {
        let text = FULL.replacen("expect: { rule: trivial, auto: approve }", "expect: { rule: fallback }", 1);
        let report = RuleSet::parse(&text).unwrap().test();
        let failed = report.tests.iter().find(|test| !test.passed).unwrap();
        let expected =
            "failed  two weeks for a trifle need nobody (r.yaml:113:5)\n    rule: expected fallback, found trivial";
        assert_eq!(line("r.yaml", failed, Paint::Plain), expected);
        let table_of = |rules: &str| table("r.yaml", &RuleSet::parse(rules).unwrap().test(), true, Paint::Plain);
        let shown = table_of(&text);
        assert!(shown.contains("ok  outside staff go to triage\n"), "{shown}");
        let shown = table_of(FULL.split("\ntests:").next().unwrap());
        assert!(shown.starts_with("gap  no test reaches the rule exploited-in-the-wild\n"), "{shown}");
        assert!(shown.ends_with("no test reaches the rule fallback\nr.yaml carries no tests"), "{shown}");
    }
}
