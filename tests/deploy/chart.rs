//! The Helm chart: every value explained and used, rules that are valid, probes that the router answers.

use std::collections::BTreeSet;
use std::path::Path;

use reprieve::domain::rules::RuleSet;
use serde_json::Value;

use super::{CHART, files, read, text, yaml};

#[test]
fn yaml_files_of_the_chart_are_yaml() {
    let mut parsed = 0;
    for (file, content) in files(CHART) {
        let is_yaml = Path::new(&file).extension().is_some_and(|extension| extension == "yaml");
        // Alert rules carry braces that are Prometheus' own.
        if is_yaml && (!content.contains("{{") || !file.contains("/templates/")) {
            let value: Value = serde_saphyr::from_str(&content).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(value.is_object(), "{file}");
            parsed += 1;
        }
    }
    assert!(parsed >= 5);
}

#[test]
fn every_value_of_the_chart_is_explained_has_a_schema_and_is_used() {
    let values = read(&format!("{CHART}/values.yaml"));
    let schema: Value = serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).unwrap();
    let templates: String = files(&format!("{CHART}/templates")).into_values().collect();
    let mut section = "";
    let mut before = "";
    for line in values.lines() {
        let depth = line.len() - line.trim_start().len();
        let key = line.trim_start().split_once(':').map_or("", |(key, _)| key);
        let is_key = !key.is_empty() && key.chars().all(char::is_alphanumeric) && (depth == 0 || depth == 2);
        if is_key && depth == 0 {
            section = key;
            assert!(schema["properties"][key].is_object(), "{key} is not in the schema");
        }
        let properties = &schema["properties"][section]["properties"];
        // A section without described members holds what a pod takes, and its members are the pod's.
        if is_key && (depth == 0 || properties.is_object()) {
            let is_section = depth == 0 && line.ends_with(':') && properties.is_object();
            assert!(is_section || before.trim_start().starts_with("# "), "{section}: {key} is not explained");
            let name = if depth == 0 { key.to_owned() } else { format!("{section}.{key}") };
            assert!(templates.contains(&format!(".Values.{name}")), "{name} is used nowhere");
            assert!(depth == 0 || properties[key].is_object(), "{name} is not in the schema");
        }
        before = line;
    }
}

#[test]
fn the_rules_that_are_deployed_as_examples_are_valid() {
    let values = yaml(&format!("{CHART}/ci/least-values.yaml"));
    for rules in [text(&values["rules"]["content"], "rules.content"), &read("examples/rules.yaml")] {
        assert_eq!(RuleSet::check(rules).report.errors, [], "{rules}");
    }
}

#[test]
fn probes_ask_paths_that_the_router_has() {
    let router = read("src/http.rs");
    let deployment = read(&format!("{CHART}/templates/deployment.yaml"));
    let monitor = read(&format!("{CHART}/templates/servicemonitor.yaml"));
    let asked: BTreeSet<_> = deployment
        .lines()
        .chain(monitor.lines())
        .filter_map(|line| line.trim().strip_prefix("path: /"))
        .map(|path| format!("/{path}"))
        .collect();
    assert_eq!(asked.iter().map(String::as_str).collect::<Vec<_>>(), ["/livez", "/metrics", "/readyz"]);
    for path in asked {
        assert!(router.contains(&format!(".route(\"{path}\", get(")), "the router does not answer to {path}");
    }
}
