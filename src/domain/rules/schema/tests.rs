use std::path::Path;

use jsonschema::Validator;

use super::*;
use crate::domain::rules::RuleSet;
use crate::domain::rules::compile::tests::{CONDITION_ROWS, FULL, RULE_ROWS, SETTINGS_ROWS, TEST_ROWS, WARNING_ROWS};
use crate::domain::rules::node::{Node, Value as Yaml};

const SHORT: &str = include_str!("../../../../examples/rules.yaml");

fn validator() -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema("urn:test")).unwrap()
}

fn json_of(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(text) => serde_json::from_str(text).unwrap(),
        Yaml::Text(text) => json!(text),
        Yaml::List(items) => items.iter().map(json_of).collect(),
        Yaml::Map(members) => Value::Object(members.iter().map(|(key, it)| (key.name.clone(), json_of(it))).collect()),
    }
}

fn is_valid(text: &str) -> bool {
    validator().is_valid(&json_of(&Node::parse(text).unwrap()))
}

#[test]
fn every_example_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let errors: Vec<_> = validator()
                .iter_errors(&json_of(&Node::parse(&text).unwrap()))
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
            assert!(text.contains("# yaml-language-server: $schema=../schemas/rules.json"), "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 2);
}

/// What the compiler takes the schema must take: a warning is no error.
#[test]
fn what_is_only_unwise_is_valid() {
    for (from, to, _) in WARNING_ROWS {
        assert!(is_valid(&FULL.replacen(from, to, 1)), "{to}");
    }
}

/// The parts of messages about what no schema can see: names that lead nowhere, and what follows from two places at once.
const BEYOND: [&str; 12] = [
    "contains a control, bidirectional",
    "no zone of the IANA database",
    "there is no group named",
    "`any: true` lets everybody",
    "approvals cannot come from",
    "`ignore` needs two levels",
    "is none of settings.reasons",
    "there is no rule named",
    "there is another test named",
    "expected 1 to 100000",
    "cannot approve by itself",
    "conditions within conditions",
];

/// Each slip that the compiler finds in the full example, one at a time: the schema finds it too, but for the kinds above.
#[test]
fn what_the_compiler_refuses_is_invalid() {
    let exploited = "match: { ticket.kev: true }";
    let conditions: Vec<_> =
        CONDITION_ROWS.iter().map(|(to, said)| (exploited, format!("match: {{ {to} }}"), *said)).collect();
    let rows = [SETTINGS_ROWS, RULE_ROWS, TEST_ROWS].into_iter().flatten();
    let rows = rows.map(|(from, to, said)| (*from, (*to).to_owned(), *said)).chain(conditions);
    let (mut seen, mut beyond) = (0, std::collections::BTreeSet::new());
    for (from, to, said) in rows {
        let Ok(node) = Node::parse(&FULL.replacen(from, &to, 1)) else { continue };
        if let Some(part) = BEYOND.iter().find(|part| said.contains(**part)) {
            beyond.insert(part);
            continue;
        }
        assert!(!validator().is_valid(&json_of(&node)), "{said}");
        seen += 1;
    }
    assert!(seen > 55, "{seen}");
    // Deep conditions are made in a test of their own.
    assert_eq!(beyond.len(), BEYOND.len() - 1, "one of the kinds is no more: {beyond:?}");
}

/// The short file in forms that people write; the compiler and the schema say the same of each.
#[test]
fn forms_that_are_good_and_bad() {
    for (from, to, good) in [
        ("version: \"2026-11-24.1\"", "version: 1.0", true),
        ("ticket.kev: true", "ticket.kev: { not: false }", true),
        ("ticket.kev: true", "ticket.kev: [true, { present: false }]", true),
        ("ticket.kev: true", "ticket.kev: maybe", false),
        ("ticket.kev: true", "ticket.cvss: { gte: 7.5, lt: \"9\" }", true),
        ("ticket.kev: true", "ticket.cvss: { after: 7.5 }", false),
        ("ticket.kev: true", "custom.a.b: { any: [x, 1, true] }", true),
        ("ticket.kev: true", "custom: { present: true }", true),
        ("ticket.kev: true", "custom.: 1", false),
        ("[critical, high]", "[CRITICAL, \"h*\"]", true),
        ("[critical, high]", "{ any: [critical] }", false),
        ("[critical, high]", "[critical, severe]", false),
        ("max_extension: 90d", "max_extension: 90", false),
        ("max_extension: 90d", "max_extensions: 90d", false),
        ("quorum: any", "quorum: 1", true),
        ("quorum: any", "quorum: some", false),
        ("reviewers: none", "auto: deny", true),
        ("reviewers: none", "auto: approved", false),
        ("reviewers: none", "description: nobody", false),
        ("fallback:", "fall_back:", false),
    ] {
        assert!(SHORT.contains(from), "{from}");
        let text = SHORT.replacen(from, to, 1);
        let said = RuleSet::check(&text).report.errors;
        assert_eq!((is_valid(&text), said.is_empty()), (good, good), "{to}: {said:?}");
    }
}
