//! The names and forms of the shapes, on one exception; other modules' tests use it too.

use std::collections::BTreeMap;

use super::*;
use crate::domain::actor::Actor;
use crate::domain::dates::{parse_date, parse_time};
use crate::domain::exception::Request;
use crate::domain::history::{Chain, Entry, EntryOutcome, EventRef, Happening};
use crate::domain::ids::Digest;
use crate::domain::rules::{Assignment, Level};
use crate::domain::rules::{LevelPlan, Quorum};

/// The submitted data, with odd spacing and a number that is no float.
pub(crate) const BODY: &str = r#"{"exception_id" : "EX-1",  "epss": 0.420, "custom":{}}"#;

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn happening(kind: &'static str, outcome: EntryOutcome, code: Option<&'static str>, body: &str) -> Happening {
    Happening {
        at: parse_time("2026-11-24T10:00:00.5+01:00").unwrap(),
        kind,
        actor: Actor::user(&user("zoe@example.com")),
        event: Some(EventRef {
            source: "urn:up".into(),
            id: "e-1".into(),
            event_type: "exception.submitted.v1".into(),
        }),
        outcome,
        code,
        revision: 1,
        body: body.into(),
    }
}

/// An open exception with a vote, and two history entries: its submission, and one under the same id that was refused.
pub(crate) fn sample() -> (Exception, Vec<Entry>) {
    let id = ExceptionId::parse("EX-1").unwrap();
    let at = parse_time("2026-11-24T09:00:00Z").unwrap();
    let date = |text| parse_date(text).unwrap();
    let mut chain = Chain::default();
    let entries = vec![
        chain.append(&id, happening("submitted", EntryOutcome::Applied, None, BODY)),
        chain.append(&id, happening("submitted", EntryOutcome::Refused, Some("exception_exists"), "{}")),
    ];
    let exception = Exception {
        id,
        ticket_id: TicketId::parse("SEC-812").unwrap(),
        submission: Digest([1; 16]),
        request: Request {
            ticket_title: "OpenSSL on payments".into(),
            severity: "high".into(),
            requester: user("zoe@example.com"),
            team: None,
            reason: "fix_unavailable".into(),
            original_due_date: date("2026-12-05"),
            current_due_date: date("2026-12-05"),
            requested_due_date: date("2027-01-31"),
            previous_exception_id: None,
            batch_id: None,
        },
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 3,
        assignment: Assignment {
            rule: "high".into(),
            rules_version: "1".into(),
            rules_hash: "ab".into(),
            levels: vec![
                LevelPlan {
                    candidates: vec![user("dana@example.com")],
                    quorum: Quorum::Any,
                    ..LevelPlan::default()
                };
                2
            ],
            triage: vec![],
            max_extension_days: 180,
            ..Assignment::default()
        },
        level: Level { number: 1, reviewers: vec![user("dana@example.com")], quorum: 1, unassigned: false },
        votes: vec![Vote { reviewer: user("dana@example.com"), level: 1, approved_due_date: date("2027-01-15"), at }],
        decisions: BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain,
        created_at: at,
        updated_at: at,
        decided_at: None,
    };
    (exception, entries)
}

/// The fields of an entry that are shown.
pub(crate) fn light(entry: &Entry) -> [String; 10] {
    let [fields @ .., _] = entry.happening.fields();
    fields
}

fn shown() -> (String, serde_json::Value) {
    let (exception, entries) = sample();
    let stored: Vec<_> = entries.iter().map(|entry| (entry.number, light(entry), entry.hash)).collect();
    let rows = stored.iter().map(|(number, fields, hash)| Row { number: *number, fields, hash });
    let text = serde_json::to_string(&detail(&exception, Some(BODY), None, rows).unwrap()).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

#[track_caller]
fn check_names(value: &serde_json::Value, expected: &str) {
    let mut expected: Vec<_> = expected.split_whitespace().collect();
    expected.sort_unstable();
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn the_names_are_those_of_the_contract() {
    let (_, detail) = shown();
    check_names(
        &detail,
        "exception_id ticket_id ticket_title severity status enforcement ended_reason cause revision level levels \
         unassigned info_needed reviewers quorum votes requester team reason original_due_date current_due_date \
         requested_due_date approved_due_date rule rules_version rules_hash review_due_at previous_exception_id batch_id \
         created_at updated_at request explanation history",
    );
    check_names(&detail["votes"][0], "reviewer level approved_due_date at");
    check_names(&detail["explanation"], "rules_version rules_hash rule truncated tried levels");
    check_names(&detail["history"][0], "seq at kind actor event outcome code revision hash previous_hash");
    check_names(&detail["history"][0]["actor"], "id kind");
    check_names(&detail["history"][0]["event"], "source id type");
    let problem = Problem { problem_type: "about:blank", title: "", status: 404, detail: "", instance: "" };
    check_names(&serde_json::to_value(problem).unwrap(), "type title status detail instance");
}

#[test]
fn the_request_is_the_submission_that_was_applied_byte_for_byte() {
    let (text, detail) = shown();
    assert!(text.contains(BODY), "{text}");
    assert_eq!(detail["history"][1]["code"], "exception_exists");
    assert_eq!(detail["history"][1]["outcome"], "refused");
}

#[test]
fn times_dates_and_hashes_have_their_form() {
    let (_, detail) = shown();
    assert_eq!(detail["created_at"], "2026-11-24T09:00:00Z");
    assert_eq!(detail["history"][0]["at"], "2026-11-24T09:00:00.500Z");
    assert_eq!(detail["votes"][0]["approved_due_date"], "2027-01-15");
    assert_eq!(detail["history"][0]["previous_hash"], "0".repeat(64));
    assert_eq!(detail["history"][1]["previous_hash"], detail["history"][0]["hash"]);
    assert_eq!(detail["levels"], 2);
    assert_eq!(detail["status"], "requested");
    assert_eq!(detail["enforcement"], "none");
}

#[test]
fn reviewers_are_shown_while_it_is_open() {
    let (mut exception, _) = sample();
    assert_eq!(super::exception(&exception).reviewers.len(), 1);
    exception.status = Status::Denied;
    assert!(super::exception(&exception).reviewers.is_empty());
}

#[test]
fn a_row_that_was_changed_names_itself() {
    let (exception, entries) = sample();
    let mut fields = light(&entries[0]);
    fields[0] = "yesterday".into();
    let rows = [Row { number: 1, fields: &fields, hash: &entries[0].hash }];
    let error = detail(&exception, None, None, rows).unwrap_err();
    assert!(error.to_string().starts_with("history entry 1 of EX-1 holds no valid time"), "{error}");
    let error = detail(&exception, Some("{"), None, []).unwrap_err();
    assert!(error.to_string().starts_with("history entry 1 of EX-1 holds no valid body"), "{error}");
}

#[test]
fn entries_from_the_middle_are_chained_to_the_one_before() {
    let (exception, entries) = sample();
    let fields = light(&entries[1]);
    let rows = [Row { number: 2, fields: &fields, hash: &entries[1].hash }];
    let shown = history(&exception.id, Some(&entries[0].hash), rows).unwrap();
    assert_eq!((shown[0].seq, &shown[0].previous_hash), (2, &hex(&entries[0].hash)));
}
