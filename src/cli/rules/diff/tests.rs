use super::*;
use crate::cli::output::Paint;
use crate::domain::dates::parse_time;

const OLD: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings: { triage: [lead@example.com] }
groups: { appsec: { members: [alice@example.com, bob@example.com] } }
rules:
  - { name: small, match: { extension_days: { lte: 14 } }, auto: approve }
  - { name: high, match: { ticket.severity: high }, levels: [{ reviewers: { groups: [appsec] } }] }
fallback: { levels: [{ reviewers: { groups: [appsec] } }] }
"#;

fn data(id: &str, severity: &str, until: &str) -> String {
    format!(
        r#"{{"exception_id":"{id}","ticket":{{"id":"SEC-1","title":"x","severity":"{severity}",
        "current_due_date":"2036-12-05"}},"requester":{{"id":"bob@example.com"}},"reason":"other","requested_due_date":"{until}"}}"#
    )
}

fn compared(new: &str) -> DiffShape {
    let rules = |text: &str| RuleSet::parse(text).unwrap();
    let (old, new) = (rules(OLD), rules(new));
    let mut comparison = Comparison { old, new, looked_at: 0, skipped: 0, complete: true, items: Vec::new() };
    let at = parse_time("2026-11-24T09:00:00Z").unwrap();
    for data in
        [data("EX-1", "high", "2036-12-10"), data("EX-2", "high", "2037-01-31"), data("EX-3", "low", "2037-01-31")]
    {
        let Ok(Document::Submission(submission)) = submission::read(&data) else { panic!("{data}") };
        comparison.look(Question { submission: &submission, ticket: None, at });
    }
    comparison.shape()
}

/// An exception that becomes different, in which fields, and the first of the changes in words.
type Changed = (&'static str, &'static [&'static str], &'static str);

/// What stands there, what is written instead, what becomes different.
const ROWS: &[(&str, &str, &[Changed])] = &[
    ("version: \"1\"", "version: \"2\"", &[]),
    ("lte: 14", "lte: 3", &[("EX-1", &["rule", "auto", "levels"], "rule small -> high")]),
    ("auto: approve", "auto: deny", &[("EX-1", &["auto"], "auto approve -> deny")]),
    (
        "ticket.severity: high }, levels",
        "ticket.severity: high }, limits: { max_extension: 30d }, levels",
        &[("EX-2", &["limit"], "limit none -> max_extension")],
    ),
    (
        "ticket.severity: high }, levels",
        "ticket.severity: high }, require: [justification], levels",
        &[("EX-2", &["refused"], "refused none -> field_required")],
    ),
    (
        "triage: [lead@example.com] }",
        "triage: [lead@example.com], reasons: [bored] }",
        &[
            ("EX-1", &["refused"], "refused none -> unknown_reason"),
            ("EX-2", &["refused"], "refused none -> unknown_reason"),
            ("EX-3", &["refused"], "refused none -> unknown_reason"),
        ],
    ),
    (
        "[alice@example.com, bob@example.com]",
        "[alice@example.com, carol@example.com]",
        &[
            ("EX-2", &["levels"], "level 1 alice@example.com -> alice@example.com, carol@example.com"),
            ("EX-3", &["levels"], "level 1 alice@example.com -> alice@example.com, carol@example.com"),
        ],
    ),
    // The requester never reviews: without him it is the same.
    ("[alice@example.com, bob@example.com]", "[alice@example.com]", &[]),
    (
        "fallback: { levels: [{ reviewers: { groups: [appsec] } }] }",
        "fallback: { levels: [{ reviewers: { groups: [appsec] }, quorum: all, pick: hash }] }",
        &[("EX-3", &["levels"], "level 1 quorum any -> all")],
    ),
];

#[test]
fn each_difference_is_found_and_nothing_else() {
    for (from, to, expected) in ROWS {
        assert!(OLD.contains(from), "{from}");
        let shape = compared(&OLD.replacen(from, to, 1));
        let found: Vec<_> = shape
            .items
            .iter()
            .map(|item| (item.exception_id.as_str(), item.changed.as_slice(), changes(&item.old, &item.new)))
            .map(|(id, changed, changes)| (id, changed, changes[0].to_string()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(id, changed, said)| (*id, *changed, (*said).to_owned())).collect();
        assert_eq!(found, expected, "{to}");
        assert_eq!((shape.looked_at, shape.different), (3, expected.len()));
    }
}

#[test]
fn a_person_sees_the_counts_first() {
    let shape = compared(&OLD.replacen("lte: 14", "lte: 3", 1).replacen("severity: high", "severity: low", 1));
    let expected = "\
3 of 3 requests would be routed differently

Rules
  1  fallback  -> high
  1  high      -> fallback
  1  small     -> fallback

Requests
  EX-1  bob@example.com
    rule small -> fallback
    auto approve -> none
    level 1 no such level -> alice@example.com
  EX-2  bob@example.com
    rule high -> fallback
  EX-3  bob@example.com
    rule fallback -> high";
    assert_eq!(table::table(&shape, Paint::Plain), expected);
    let none = compared(OLD);
    assert_eq!(table::table(&none, Paint::Plain), "0 of 3 requests would be routed differently");
}

#[test]
fn a_time_is_one_that_can_be_subtracted() {
    assert_eq!(last("30d"), Ok(Duration::from_secs(30 * 86_400)));
    for text in ["", "30", "d", "-1d", "999999999999999y"] {
        assert!(last(text).is_err(), "{text}");
    }
}
