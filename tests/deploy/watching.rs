//! Alert rules and dashboard: they look at metrics that there are, and each alarm leads somewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{ALERTS, ALERTS_TEST, CHART, DASHBOARD, list, read, text, words, yaml};

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

/// Whoever reads the list of alarms believes each of them.
#[test]
fn no_alert_rests_on_what_is_always_0() {
    let page = read("docs/operations.md");
    let rows = page.lines().filter(|line| line.starts_with("| `reprieve_") && line.contains("always 0"));
    let never: Vec<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    for alert in alerts() {
        let expression = text(&alert["expr"], ALERTS);
        let named = never.iter().find(|metric| words(expression, "reprieve_").iter().any(|(_, word)| word == *metric));
        assert!(named.is_none(), "{}: {named:?} is always 0, so it cannot fire", alert["alert"]);
    }
    let dashboard = read(DASHBOARD);
    let panels: usize = never.iter().map(|metric| dashboard.matches(&format!("({metric}{{")).count()).sum();
    let told = dashboard.matches("Always 0 in this version").count();
    assert_eq!(told, panels, "each panel of {never:?} says so");
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

#[test]
fn the_chart_and_the_prometheus_folder_carry_the_same_text() {
    assert!(read(&format!("{CHART}/files/alerts.yaml")) == read(ALERTS));
    assert!(read(&format!("{CHART}/files/dashboard.json")) == read(DASHBOARD));
}
