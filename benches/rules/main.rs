//! What the rules cost: one submission against 1, 100 and 1,000 rules of which only the last matches, with the explanation
//! built and the first level filled, as the turn does it. Plain timing; nothing but the domain runs here.
//!
//! `cargo bench --bench rules`; `REPRIEVE_BENCH_ROUNDS` (default 9) changes the number of rounds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on says why by panicking")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use reprieve::contract::json;
use reprieve::domain::ids::{ExceptionId, UserId};
use reprieve::domain::json::Json;
use reprieve::domain::rules::{Derived, Facts, Filling, People, RuleSet};

/// How long one round asks, so that the clock's own grain does not show.
const ROUND: Duration = Duration::from_millis(100);
/// Processor time that a reference event may cost the worker, in µs: the ambition and the floor of the targets.
const BUDGET_US: [f64; 2] = [35.0, 50.0];

/// 0.9 kB, as the reference traffic has it.
const SUBMISSION: &str = r#"{
  "exception_id": "EX-0000001",
  "ticket": { "id": "SEC-0000001", "title": "OpenSSL 3.0 on payments-api", "url": "https://tickets.example.com/SEC-0000001",
    "severity": "High", "original_due_date": "2036-12-05", "current_due_date": "2036-12-05", "assignee": "zoe@example.com",
    "business_unit": "payments", "environment": "prod", "cves": ["CVE-2026-1234"], "kev": false, "epss": "0.42", "cvss": "8.1",
    "asset": { "id": "payments-api", "service": "payments-api", "criticality": "high", "internet_facing": true }, "tags": ["pci"] },
  "requester": { "id": "zoe@example.com", "name": "Zoe", "team": "payments", "manager": "dana@example.com" },
  "reason": "fix_unavailable", "justification": "Vendor patch is due in January.",
  "compensating_controls": ["WAF rule 812"], "requested_due_date": "2037-01-31", "custom": { "region": "eu-west-1" }
}"#;

/// Conditions that fail for the submission, each at its first, second or third key; `#` is the number of the rule.
const NEAR_MISSES: [&str; 10] = [
    "{ ticket.severity: [critical, medium], ticket.asset.service: \"shop-*\" }",
    "{ ticket.severity: [critical, high], ticket.asset.service: \"*-team-#\" }",
    "{ ticket.tags: { any: [sox-#, \"hipaa*\"] } }",
    "{ ticket.cvss: { gte: 9.0 }, ticket.kev: true }",
    "{ ticket.environment: { not: [prod, staging] } }",
    "{ requester.team: \"ext-#-*\" }",
    "{ extension_days: { gt: 90, lte: 120 }, previous_exceptions: 0 }",
    "{ ticket.current_due_date: { before: 2030-01-01 } }",
    "{ ticket.severity: high, ticket.kev: false, custom.region: \"us-#\" }",
    "{ custom.regulation: { present: true } }",
];

fn rules(count: usize) -> RuleSet {
    let mut text = String::from(
        "apiVersion: reprieve/v1\nversion: bench\nsettings: { triage: [lead@example.com] }\n\
         groups: { owners: { members: [dana@example.com, eli@example.com, faye@example.com] } }\nrules:\n",
    );
    for number in 1..count {
        let near_miss = NEAR_MISSES.get(number % NEAR_MISSES.len()).unwrap().replace('#', &number.to_string());
        writeln!(text, "  - {{ name: rule-{number}, match: {near_miss}, reviewers: none }}").unwrap();
    }
    text += "  - name: the-last\n    match: { ticket.severity: high, ticket.asset.service: \"payments-*\", extension_days: { lte: 60 } }\n    \
             levels: [{ reviewers: { groups: [owners] }, pick: hash }]\nfallback: { reviewers: none }\n";
    RuleSet::parse(&text).unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn main() {
    // `cargo test --benches` runs this too: nothing to test here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds: usize = std::env::var("REPRIEVE_BENCH_ROUNDS").map_or(9, |text| text.parse().expect("a number"));
    let data = json::read(SUBMISSION.as_bytes()).unwrap().value;
    println!("one submission, {rounds} rounds of {} ms; min, median, max in us", ROUND.as_millis());
    for count in [1, 100, 1_000] {
        let rules = rules(count);
        assert_eq!(assign(&rules, &data), "the-last");
        let mut times: Vec<f64> = (0..rounds).map(|_| round(&rules, &data)).collect();
        times.sort_by(f64::total_cmp);
        let (first, median, last) =
            (times.first().unwrap(), times.get(times.len() / 2).unwrap(), times.last().unwrap());
        let [ambition, floor] = BUDGET_US.map(|budget| median / budget * 100.0);
        println!(
            "{count:>5} rules: {first:.2} {median:.2} {last:.2}; {ambition:.1} % of {} us, {floor:.1} % of {} us",
            BUDGET_US[0], BUDGET_US[1]
        );
    }
}

/// Microseconds for one submission.
fn round(rules: &RuleSet, data: &Json) -> f64 {
    let (begun, mut asked) = (Instant::now(), 0_u32);
    while begun.elapsed() < ROUND {
        for _ in 0..16 {
            black_box(assign(black_box(rules), black_box(data)));
        }
        asked += 16;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(asked)
}

/// What a submission asks of the rules: the rule with its explanation, and the first level. Gives the rule's name.
fn assign(rules: &RuleSet, data: &Json) -> String {
    let requester = UserId::parse("zoe@example.com").unwrap();
    let exception = ExceptionId::parse("EX-0000001").unwrap();
    let derived =
        Derived { extension_days: 57, cumulative_extension_days: 57, previous_exceptions: 0, days_to_due: 3_600 };
    let (_, mut assignment) = rules.find(&Facts { data, derived }, &requester);
    let filling = Filling { exception: &exception, requester: &requester, people: &People::default(), rules };
    assert!(assignment.begin(1, filling).is_some_and(|level| !level.unassigned));
    black_box(&assignment);
    assignment.rule
}
