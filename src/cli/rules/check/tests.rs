//! What `rules check` says, word for word, for files of each group of faults: `shown/*.yaml`, each with a `.txt` beside it.
//! The faults of every key by itself are in the compiler's tests.

use std::path::Path;

use super::*;

/// Says that the texts are to be written, not compared.
const BLESS: &str = "REPRIEVE_BLESS";

const FULL: &str = include_str!("../../../../examples/rules-full.yaml");

#[test]
fn every_group_of_findings_reads_as_it_always_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/rules/check/shown");
    for name in ["errors", "warnings", "syntax"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let report = RuleSet::check(&text).report;
        let shown = table("rules.yaml", &text, &shape("rules.yaml", &report), Paint::Plain) + "\n";
        let file = folder.join(format!("{name}.txt"));
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&file, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(shown, expected, "{name}.txt: {BLESS}=1 cargo test --lib check renews it");
    }
}

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
    let shown = pointed("rules.yaml", &text, &report.errors[0], "error", Paint::Ansi);
    assert!(shown.contains("\x1b[31merror\x1b[0m") && shown.ends_with("\x1b[31m^\x1b[0m"), "{shown}");
}

#[test]
fn the_shape_is_that_of_the_contract() {
    let text = FULL.replacen("quorum: all }", "quorum: al }", 1);
    let report = RuleSet::check(&text).report;
    let found = serde_json::to_value(shape("r.yaml", &Report { warnings: Vec::new(), ..report })).unwrap();
    let expected = serde_json::json!({ "ok": false, "warnings": [], "errors": [{
        "file": "r.yaml", "line": 49, "column": 56, "path": "rules[0].levels[1].quorum",
        "message": "expected any, all or a number, found \"al\"", "suggestion": "all",
    }]});
    assert_eq!(found, expected);
}
