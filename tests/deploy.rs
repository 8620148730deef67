//! Holds what is deployed to what is built: compose file, image, chart, alert rules and dashboard name only metrics, settings,
//! paths and versions that exist. It needs nothing but the files; promtool and Helm check more, see `deploy/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use reprieve::config::keys::{Form, KEYS};
use reprieve::domain::rules::RuleSet;
use serde_json::Value;

/// What a metric is, which decides the names of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A gauge, or a counter: its name ends in `_total`.
    Plain,
    /// `_bucket` with the label `le`, `_sum`, `_count`.
    Histogram,
}

use Kind::{Histogram, Plain};

/// A label, with its values where they are a closed list.
type Label = (&'static str, &'static [&'static str]);

const OUTCOMES: &[&str] = &["applied", "repeated", "refused", "failed", "parked"];
const PUBLISHED: &[&str] = &["confirmed", "unroutable", "retried"];
const PEERS: &[&str] = &["broker_consume", "broker_publish", "database"];
const STATUSES: &[&str] = &["requested", "under_review", "approved", "denied", "cancelled"];
/// The closed list of reasons of failures.
const REASONS: &[&str] = &[
    "too_large",
    "bad_properties",
    "bad_encoding",
    "bad_json",
    "too_deep",
    "duplicate_key",
    "schema",
    "bad_text",
    "bad_time",
    "unknown_type",
    "unsupported_version",
    "id_conflict",
    "unauthenticated",
    "unauthorized",
    "orphaned",
    "crash_loop",
    "delivery_limit",
    "attempts_exhausted",
];

/// The metrics of the contract, without their prefix.
const METRICS: &[(&str, Kind, &[Label])] = &[
    ("events_received_total", Plain, &[("type", &[])]),
    ("outcomes_total", Plain, &[("outcome", OUTCOMES), ("code", &[])]),
    ("published_total", Plain, &[("outcome", PUBLISHED)]),
    ("batch_size", Histogram, &[]),
    ("commit_seconds", Histogram, &[]),
    ("event_age_seconds", Histogram, &[]),
    ("outbox_pending", Plain, &[]),
    ("outbox_oldest_age_seconds", Plain, &[]),
    ("failures_open", Plain, &[("reason", REASONS)]),
    ("parked", Plain, &[]),
    ("connection_up", Plain, &[("peer", PEERS)]),
    ("rules_info", Plain, &[("version", &[]), ("hash", &[])]),
    ("rules_reload_failed_total", Plain, &[]),
    ("timers_overdue", Plain, &[]),
    ("clock_skew_seconds", Plain, &[]),
    ("exceptions", Plain, &[("status", STATUSES)]),
];

/// Labels that Prometheus adds itself.
const SCRAPE_LABELS: [&str; 3] = ["job", "namespace", "instance"];

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "deploy/prometheus/alerts_test.yaml";
const DASHBOARD: &str = "deploy/grafana/reprieve.json";
const COMPOSE: &str = "docker-compose.yml";
const DOCKERFILE: &str = "deploy/Dockerfile";
const CHART: &str = "deploy/helm/reprieve";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{place}: expected a text, found {value}"))
}

fn list<'a>(value: &'a Value, place: &str) -> &'a Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{place}: expected a list, found {value}"))
}

/// All alert rules, in their order.
fn alerts() -> Vec<Value> {
    let file = yaml(ALERTS);
    let groups = list(&file["groups"], ALERTS).iter();
    let alerts: Vec<Value> = groups.flat_map(|group| list(&group["rules"], ALERTS).clone()).collect();
    assert!(alerts.len() > 10, "the alerts are there");
    alerts
}

/// The expressions of alerts and dashboard, each with its place.
fn expressions() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for alert in alerts() {
        let name = text(&alert["alert"], ALERTS);
        found.push((format!("{ALERTS}: {name}"), text(&alert["expr"], name).to_owned()));
    }
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let before = found.len();
    collect_expressions(&dashboard, &mut found);
    assert!(found.len() > before + 20, "the dashboard has expressions");
    found
}

fn collect_expressions(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(query) if matches!(key.as_str(), "expr" | "definition") => {
                        found.push((format!("{DASHBOARD}: {query}"), query.clone()));
                    }
                    _ => collect_expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_expressions(value, found)),
        _ => {}
    }
}

/// The words of a text that begin with `prefix`, made of letters, digits and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> Vec<(usize, &'a str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |at: usize| !text[..at].ends_with(is_word);
    let word = |at: usize| text[at..].split(|c| !is_word(c)).next().unwrap();
    text.match_indices(prefix).filter(|(at, _)| begins(*at)).map(|(at, _)| (at, word(at))).collect()
}

/// The metric behind the name of a series, without prefix.
fn metric(series: &str) -> Option<&'static (&'static str, Kind, &'static [Label])> {
    METRICS.iter().find(|(name, kind, _)| match kind {
        Plain => series == *name,
        Histogram => ["_bucket", "_sum", "_count"].iter().any(|suffix| series.strip_suffix(suffix) == Some(name)),
    })
}

#[test]
fn alerts_and_dashboard_name_only_metrics_and_labels_of_the_contract() {
    let mut used = BTreeSet::new();
    for (place, expression) in expressions() {
        for (at, word) in words(&expression, "reprieve_") {
            let series = word.strip_prefix("reprieve_").unwrap();
            let (name, _, labels) = metric(series).unwrap_or_else(|| panic!("{place}: there is no metric {word}"));
            used.insert(*name);
            for matcher in matchers(&expression[at + word.len()..]) {
                check_matcher(&place, word, matcher, labels);
            }
        }
    }
    let all: BTreeSet<_> = METRICS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(used, all, "each metric is looked at somewhere");
}

/// What stands between the braces after a series, if there are any.
fn matchers(rest: &str) -> Vec<&str> {
    let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return Vec::new() };
    inside.split(',').map(str::trim).collect()
}

fn check_matcher(place: &str, series: &str, matcher: &str, labels: &[Label]) {
    let (label, value) = matcher.split_once('=').unwrap_or_else(|| panic!("{place}: {matcher:?}"));
    let value = value.trim_start_matches('~').trim_matches('"');
    if SCRAPE_LABELS.contains(&label) || (label == "le" && series.ends_with("_bucket")) {
        return;
    }
    let known = labels.iter().find(|(name, _)| *name == label);
    let (_, values) = known.unwrap_or_else(|| panic!("{place}: {series} has no label {label}"));
    for value in value.split('|') {
        assert!(values.is_empty() || values.contains(&value), "{place}: {label} of {series} is never {value}");
    }
}

/// The anchor that a heading gets on the page: lower case, spaces as hyphens, other signs left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_alert_says_how_bad_it_is_what_to_look_with_and_where_its_runbook_is() {
    let page = read("docs/operations.md");
    let anchors: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    let runbook = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/operations.md#");
    let mut named = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert["alert"], ALERTS);
        let severity = text(&alert["labels"]["severity"], name);
        assert!(matches!(severity, "critical" | "warning"), "{name}: {severity}");
        let annotations = &alert["annotations"];
        assert!(!text(&annotations["summary"], name).is_empty());
        assert!(text(&annotations["description"], name).contains("`reprieve "), "{name} names a command to look with");
        let url = text(&annotations["runbook_url"], name);
        let anchor = url.strip_prefix(runbook).unwrap_or_else(|| panic!("{name}: the runbook is at {url}"));
        assert!(anchors.contains(anchor), "{name}: docs/operations.md has no heading for #{anchor}");
        assert!(named.insert(anchor.to_owned()), "{name}: #{anchor} belongs to another alert");
    }
    let without_alert: Vec<_> = anchors.iter().filter(|a| a.starts_with("reprieve") && !named.contains(*a)).collect();
    assert!(without_alert.is_empty(), "docs/operations.md explains alarms that there are not: {without_alert:?}");
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let file = yaml(ALERTS_TEST);
    let (mut fires, mut is_quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in list(&file["tests"], ALERTS_TEST) {
        for case in list(&test["alert_rule_test"], ALERTS_TEST) {
            let expected = list(&case["exp_alerts"], ALERTS_TEST);
            let set = if expected.is_empty() { &mut is_quiet } else { &mut fires };
            set.insert(text(&case["alertname"], ALERTS_TEST).to_owned());
        }
    }
    let names: BTreeSet<_> = alerts().iter().map(|alert| text(&alert["alert"], ALERTS).to_owned()).collect();
    assert_eq!(fires, names);
    assert_eq!(is_quiet, names);
}

/// Images of compose file and Dockerfile, with their places.
fn images() -> Vec<(String, String)> {
    let compose = yaml(COMPOSE);
    let services = compose["services"].as_object().unwrap();
    let mut images: Vec<_> =
        services.iter().map(|(name, service)| (name.clone(), text(&service["image"], name).to_owned())).collect();
    let dockerfile = read(DOCKERFILE);
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    images.extend(bases.map(|base| (DOCKERFILE.to_owned(), base.split(' ').next().unwrap().to_owned())));
    assert!(images.len() >= 7, "{images:?}");
    images
}

#[test]
fn images_have_pinned_tags() {
    for (place, image) in images() {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{place}: {image} has no tag"));
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{place}: {image} moves");
    }
}

#[test]
fn versions_are_those_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let own = format!("reprieve:{version}");
    let built: Vec<_> = images().into_iter().filter(|(_, image)| image.starts_with("reprieve")).collect();
    assert!(built.len() == 3 && built.iter().all(|(_, image)| *image == own), "{built:?}, the program is {version}");
    assert!(read(DOCKERFILE).contains(&format!("ARG VERSION={version}\n")));
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!(text(&chart["appVersion"], CHART), version);
    let toolchain = env!("CARGO_PKG_RUST_VERSION").split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let image = images().into_iter().find_map(|(_, image)| image.strip_prefix("rust:1.").map(str::to_owned)).unwrap();
    let minor = image.split('.').next().unwrap().parse::<u32>().unwrap();
    assert!(minor >= toolchain, "the image builds with Rust 1.{minor}, the crate needs 1.{toolchain}");
}

/// All files below a folder, by name.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if path(&name).is_dir() {
            found.extend(files(&name));
        } else {
            found.insert(name.clone(), read(&name));
        }
    }
    found
}

#[test]
fn every_variable_is_a_known_setting() {
    let mut texts = files("deploy");
    texts.insert(COMPOSE.to_owned(), read(COMPOSE));
    let by_file = |key: &reprieve::config::keys::Key| match key.form {
        Form::Secret => Some(format!("{}_FILE", key.variable)),
        _ => None,
    };
    let known: BTreeSet<String> =
        KEYS.iter().flat_map(|key| [Some(key.variable.to_owned()), by_file(key)]).flatten().collect();
    // What Kubernetes would set for a Service of that name; the chart says why it is turned off.
    let elsewhere = ["REPRIEVE_PORT"];
    let mut seen = 0;
    for (file, text) in &texts {
        for word in ["REPRIEVE_", "DATABASE_URL", "AMQP_URL"].iter().flat_map(|prefix| words(text, prefix)) {
            seen += 1;
            assert!(known.contains(word.1) || elsewhere.contains(&word.1), "{file}: {} is no setting", word.1);
        }
    }
    assert!(seen > 10);
    let services = &yaml(COMPOSE)["services"];
    assert!(services["worker"]["environment"]["DATABASE_URL"].is_string(), "the shared variables are merged in");
}

#[test]
fn compose_publishes_on_loopback_only_and_shields_the_worker() {
    let compose = yaml(COMPOSE);
    for (name, service) in compose["services"].as_object().unwrap() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(text(port, name).starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    let worker = &compose["services"]["worker"];
    assert_eq!(worker["read_only"], true);
    assert_eq!(worker["cap_drop"][0], "ALL");
    assert_eq!(worker["security_opt"][0], "no-new-privileges:true");
}

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
fn the_chart_and_the_prometheus_folder_carry_the_same_text() {
    assert!(read(&format!("{CHART}/files/alerts.yaml")) == read(ALERTS));
    assert!(read(&format!("{CHART}/files/dashboard.json")) == read(DASHBOARD));
}

/// What the program takes in from outside of `src` while it is built has to be in the image's first stage too.
#[test]
fn the_image_is_built_from_everything_that_is_included() {
    let (dockerfile, ignore) = (read(DOCKERFILE), read(".dockerignore"));
    let mut needed = BTreeSet::from(["migrations".to_owned(), "src".to_owned(), "build.rs".to_owned()]);
    for (file, content) in files("src").iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        let code = content.split("#[cfg(test)]").next().unwrap();
        for included in code.split("include_").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
            let depth = Path::new(file).parent().unwrap().components().count();
            let out = included.matches("../").count();
            if out == depth {
                needed.insert(included[3 * out..].split('/').next().unwrap().to_owned());
            }
        }
    }
    assert!(needed.contains("schemas"), "{needed:?}");
    for name in needed {
        assert!(dockerfile.contains(&format!("COPY {name} ")), "{DOCKERFILE} does not copy {name}");
        assert!(ignore.contains(&format!("!{name}\n")), ".dockerignore leaves {name} out");
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
