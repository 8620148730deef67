use super::super::{again, of_event};
use super::*;
use crate::cli::ExitError;
use crate::cli::rules::submission::{self, Document};
use crate::contract::shapes::tests::sample;
use crate::domain::command::Submission;
use crate::domain::dates::{Timestamp, parse_date, parse_time};
use crate::domain::rules::RuleSet;
use crate::domain::ticket::Ticket;
use crate::store::submissions::Submitted;

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "7"
settings: { triage: [lead@example.com], may_review: { groups: [appsec, owners] } }
groups: { appsec: { members: [alice@example.com, zoe@example.com, bob@example.com] }, owners: { members: [dana@example.com] } }
rules:
  - name: exploited
    match: { ticket.severity: high, ticket.kev: true }
    reviewers: none
  - name: again
    match: { previous_exceptions: { gte: 2 }, cumulative_extension_days: { gt: 100 } }
    auto: deny
  - name: payments
    match: { ticket.severity: [critical, high], requester.team: "pay*" }
    levels:
      - { reviewers: { groups: [appsec], users: [eve@example.com] }, quorum: 2 }
      - { reviewers: { groups: [owners] }, quorum: all, pick: hash }
fallback: { reviewers: none }
"#;

const DATA: &str = r#"{"exception_id":"EX-1","ticket":{"id":"SEC-1","title":"x","severity":"High",
    "current_due_date":"2026-12-05"},"requester":{"id":"zoe@example.com","team":"payments"},"reason":"other",
    "requested_due_date":"2027-01-31"}"#;

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text).unwrap()
}

fn at() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").unwrap()
}

fn asked(data: &str) -> Submission {
    let Ok(Document::Submission(submission)) = submission::read(data) else { panic!("{data}") };
    *submission
}

#[test]
fn a_person_sees_at_a_glance_why() {
    let rules = rules(RULES);
    let shown = page(&of_event(&asked(DATA), 1, &rules, at()), Paint::Plain);
    let hash = rules.hash.get(..12).unwrap();
    let expected = "\
EX-1  rule payments
as if submitted 2026-11-24T09:00:00Z, rules version 7, hash HASH
extension_days 57, cumulative_extension_days 57, previous_exceptions 1, days_to_due 11

✗ exploited
    ✓ ticket.severity  wants high  found High
    ✗ ticket.kev       wants true  found nothing
✗ again
    ✗ previous_exceptions        wants gte 2   found 1
    ✗ cumulative_extension_days  wants gt 100  found 57
✓ payments
    ✓ ticket.severity  wants [critical, high]  found High
    ✓ requester.team   wants pay*              found payments

Level 1: 2 must approve
  review      alice@example.com, bob@example.com
  candidates  eve@example.com, alice@example.com, zoe@example.com, bob@example.com
  dropped     eve@example.com (may not review), zoe@example.com (the requester never reviews)

Level 2: all must approve
  review      decided when the level begins
  candidates  dana@example.com (of whom are picked as many, hash)";
    assert_eq!(shown, expected.replace("HASH", hash));
}

#[test]
fn what_is_decided_without_anybody_is_said() {
    let rules = rules(RULES);
    let shown = |data: &str, previous| page(&of_event(&asked(data), previous, &rules, at()), Paint::Plain);
    let text = shown(&DATA.replacen("2027-01-31", "2027-06-30", 1), 2);
    assert!(
        text.starts_with("EX-1  rule again\n") && text.ends_with("\n\ndenied by the rule itself: nobody is asked"),
        "{text}"
    );
    let text = shown(&DATA.replacen("2027-01-31", "2028-01-31", 1), 0);
    assert!(text.ends_with("\n\ndenied: beyond max_extension"), "{text}");
    let text = shown(&DATA.replacen("\"other\"", "\"boredom\"", 1), 0);
    assert!(text.contains("\n✓ payments\n") && text.ends_with("\n\nrefused: unknown_reason"), "{text}");
    let text = shown(&DATA.replacen("\"payments\"", "\"x\"", 1), 0);
    assert!(text.contains("✓ fallback\n") && text.contains("candidates  none: triage reviews"), "{text}");
}

/// As the store gives it: decided under `RULES`, two exceptions approved before.
fn stored(previous: u32) -> (Submitted, Submission) {
    let (rules, submission) = (rules(RULES), asked(DATA));
    let ticket = Ticket {
        id: submission.ticket_id.clone(),
        earliest_due_date: parse_date("2026-11-05").unwrap(),
        approved: previous,
        last_event_at: None,
    };
    let question = crate::domain::routing::Question { submission: &submission, ticket: Some(&ticket), at: at() };
    let mut exception = sample().0;
    exception.request.requested_due_date = submission.request.requested_due_date;
    exception.assignment.explanation = question.explanation(&rules);
    exception.assignment.rule.clone_from(&exception.assignment.explanation.rule);
    (Submitted::new(exception, at(), DATA.to_owned(), ticket), submission)
}

#[test]
fn a_stored_exception_is_explained_by_the_rules_of_then() {
    let (stored, submission) = stored(0);
    let (then, unread) = (rules(RULES), ExitError::failed("rules.yaml: gone\nand more"));
    let explain =
        |today: Result<&RuleSet, &ExitError>| page(&again(&stored, &submission, Some(&then), today), Paint::Plain);
    let text = explain(Ok(&then));
    assert!(text.starts_with("EX-1  requested  rule payments\nsubmitted 2026-11-24T09:00:00Z"), "{text}");
    assert!(text.contains("cumulative_extension_days 87") && !text.contains("today"), "{text}");
    let other = rules(&RULES.replacen("\"pay*\"", "\"ops\"", 1));
    assert!(explain(Ok(&other)).ends_with("\n\ntoday: rule fallback"));
    let other = rules(&RULES.replacen("quorum: 2", "quorum: 1", 1));
    assert!(explain(Ok(&other)).ends_with("\n\ntoday: rule payments still, but level 1 quorum 2 -> 1"));
    assert!(explain(Err(&unread)).ends_with("\n\ntoday nothing can be said: rules.yaml: gone"));
}

#[test]
fn what_was_explained_then_wins_over_what_is_found_now() {
    let (mut stored, submission) = stored(1);
    // Meanwhile the ticket looks as if more had been approved before, and its first date is not known.
    stored.ticket.approved = 5;
    stored.ticket.earliest_due_date = submission.request.original_due_date;
    let then = rules(RULES);
    let explained = again(&stored, &submission, Some(&then), Ok(&then));
    let derived = explained.derived.unwrap();
    assert_eq!((derived.previous_exceptions, derived.cumulative_extension_days), (1, 87));
    assert_eq!(explained.notes, Vec::<String>::new());
}

#[test]
fn a_file_that_is_gone_or_leads_elsewhere_leaves_what_was_explained() {
    let (stored, submission) = stored(0);
    let then = rules(RULES);
    let text = page(&again(&stored, &submission, None, Ok(&then)), Paint::Plain);
    assert!(text.contains("✓ payments") && text.contains("is not stored") && !text.contains("today: "), "{text}");
    let other = rules(&RULES.replacen("\"pay*\"", "\"ops\"", 1));
    let text = page(&again(&stored, &submission, Some(&other), Ok(&other)), Paint::Plain);
    assert!(text.contains("✓ payments") && text.contains("the same file leads to the rule fallback"), "{text}");
    let text = page(&again(&stored, &submission, None, Ok(&other)), Paint::Plain);
    assert!(text.ends_with("\ntoday: rule fallback"), "{text}");
}

#[test]
fn the_json_is_an_explanation_with_all_conditions() {
    let shape = serde_json::to_value(of_event(&asked(DATA), 0, &rules(RULES), at())).unwrap();
    assert_eq!(shape["rule"], "payments");
    assert_eq!(shape["truncated"], false);
    assert_eq!(shape["tried"][1]["conditions"].as_array().unwrap().len(), 2, "also what failed after the first");
    assert_eq!(shape["levels"][0]["reviewers"][1], "bob@example.com");
    assert_eq!((&shape["today"], &shape["derived"]["days_to_due"]), (&serde_json::Value::Null, &serde_json::json!(11)));
}
