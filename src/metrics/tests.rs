use super::*;

/// The contract's list: each metric with its labels, and whether it is a histogram.
const CONTRACT: [(&str, &[&str]); 16] = [
    ("events_received_total", &["type"]),
    ("outcomes_total", &["outcome", "code"]),
    ("published_total", &["outcome"]),
    ("batch_size", &[]),
    ("commit_seconds", &[]),
    ("event_age_seconds", &[]),
    ("outbox_pending", &[]),
    ("outbox_oldest_age_seconds", &[]),
    ("failures_open", &["reason"]),
    ("parked", &[]),
    ("connection_up", &["peer"]),
    ("rules_info", &["version", "hash"]),
    ("rules_reload_failed_total", &[]),
    ("timers_overdue", &[]),
    ("clock_skew_seconds", &[]),
    ("exceptions", &["status"]),
];

fn sample() -> Sample {
    Sample {
        connections: vec![("database", true), ("broker_publish", false)],
        counts: Some(Counts {
            outbox_pending: 3,
            outbox_oldest_age_s: 7,
            failures_open: vec![("schema", 2), ("too_large", 0)],
            parked: 5,
            exceptions: vec![("requested", 4)],
        }),
    }
}

fn used() -> Metrics {
    let metrics = Metrics::new();
    metrics.rules_in_force("1", "ab");
    metrics.received("other");
    metrics.outcome("refused", "already_final");
    metrics.committed(3, Duration::from_millis(20));
    metrics.event_age(Duration::from_secs(2));
    metrics.clock_skew(-1.5);
    metrics
}

#[test]
fn every_metric_of_the_contract_is_there_with_its_labels_and_no_other() {
    let text = used().text(sample());
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = name.strip_prefix("reprieve_").unwrap_or_else(|| panic!("{line}"));
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        let labels: Vec<_> = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect();
        if !found.contains(&(name.to_owned(), labels.clone())) {
            found.push((name.to_owned(), labels));
        }
    }
    let mut expected: Vec<(String, Vec<String>)> = CONTRACT
        .iter()
        .map(|(name, labels)| ((*name).to_owned(), labels.iter().map(ToString::to_string).collect()))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_text_is_what_scrapers_read() {
    let text = used().text(sample());
    for line in [
        "reprieve_events_received_total{type=\"other\"} 1",
        "reprieve_outcomes_total{outcome=\"refused\",code=\"already_final\"} 1",
        "reprieve_published_total{outcome=\"retried\"} 0",
        "reprieve_batch_size_bucket{le=\"5\"} 1",
        "reprieve_clock_skew_seconds -1.5",
        "reprieve_connection_up{peer=\"broker_publish\"} 0",
        "reprieve_failures_open{reason=\"schema\"} 2",
        "reprieve_exceptions{status=\"requested\"} 4",
        "# TYPE reprieve_outbox_pending gauge",
        "# TYPE reprieve_commit_seconds histogram",
    ] {
        assert!(text.lines().any(|found| found.trim_end() == line), "{line}\n{text}");
    }
}

#[test]
fn what_could_not_be_read_is_absent() {
    let text = Metrics::new().text(Sample::default());
    for name in ["outbox_pending", "parked", "reprieve_exceptions", "rules_info"] {
        assert!(!text.contains(name), "{text}");
    }
    assert!(text.contains("reprieve_timers_overdue 0"));
}

#[test]
fn labels_from_outside_are_escaped_and_the_last_rules_count() {
    let metrics = Metrics::new();
    metrics.clone().rules_in_force("1 \"new\"\n\\", "ab");
    metrics.rules_in_force("2 \"new\"\n\\", "cd");
    metrics.rules_reload_failed.inc();
    let text = metrics.text(Sample::default());
    assert!(text.contains(r#"reprieve_rules_info{version="2 \"new\"\n\\",hash="cd"} 1"#), "{text}");
    assert!(text.contains("reprieve_rules_reload_failed_total 1") && !text.contains("hash=\"ab\""), "{text}");
}
