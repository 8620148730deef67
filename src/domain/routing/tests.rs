use super::*;
use crate::domain::command::Submission;
use crate::domain::dates::{parse_date, parse_time};
use crate::domain::exception::Request;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::json::Json;

const FULL: &str = include_str!("../../../examples/rules-full.yaml");

fn submission(severity: &str, tags: &[&str]) -> Submission {
    let text = |text: &str| Json::Text(text.into());
    let date = |text| parse_date(text).unwrap();
    let ticket = Json::Object(vec![
        ("severity".into(), text(severity)),
        ("tags".into(), Json::List(tags.iter().map(|tag| text(tag)).collect())),
        ("asset".into(), Json::Object(vec![("service".into(), text("payments-api"))])),
    ]);
    Submission {
        exception_id: ExceptionId::parse("EX-1").unwrap(),
        ticket_id: TicketId::parse("SEC-1").unwrap(),
        request: Request {
            ticket_title: "x".into(),
            severity: severity.into(),
            requester: UserId::parse("mona@example.com").unwrap(),
            team: Some("payments".into()),
            reason: "no_fix_yet".into(),
            original_due_date: date("2026-11-05"),
            current_due_date: date("2026-12-05"),
            requested_due_date: date("2027-01-31"),
            previous_exception_id: None,
            batch_id: None,
        },
        data: Json::Object(vec![
            ("ticket".into(), ticket),
            ("justification".into(), text("x")),
            ("requester".into(), Json::Object(vec![("id".into(), text("mona@example.com"))])),
        ]),
    }
}

/// The trace tells of the same rule, with the same levels, as what decides; and of every condition.
#[test]
fn the_whole_explanation_ends_at_the_rule_that_decides() {
    let rules = RuleSet::parse(FULL).unwrap();
    let at = parse_time("2026-11-24T09:00:00Z").unwrap();
    for (severity, tags) in [("high", &["pci"][..]), ("info", &[]), ("low", &["eu", "regulated", "prod"]), ("low", &[])]
    {
        let submission = submission(severity, tags);
        let question = Question { submission: &submission, ticket: None, at };
        let facts = Facts { data: &submission.data, derived: question.derived(&rules) };
        let (rule, assignment) = rules.find(&facts, &submission.request.requester);
        let explained = rules.explain(&facts, &submission.request.requester);
        assert_eq!((&explained.rule, &explained.levels), (&rule.name, &assignment.explanation.levels));
        assert_eq!(explained.tried.last().map(|tried| (&tried.rule, tried.matched)), Some((&rule.name, true)));
        let names = |tried: &[crate::domain::rules::Tried]| tried.iter().map(|it| it.rule.clone()).collect::<Vec<_>>();
        assert_eq!(names(&explained.tried), names(&assignment.explanation.tried));
        assert_eq!(question.routing(&rules).rule, rule.name);
    }
}

/// The day counts in the zone of the rules, and the ticket's past in what is derived.
#[test]
fn what_was_known_decides() {
    let rules = RuleSet::parse(FULL).unwrap();
    let submission = submission("high", &["pci"]);
    let ticket = Ticket {
        id: submission.ticket_id.clone(),
        earliest_due_date: parse_date("2026-10-05").unwrap(),
        approved: 9,
        last_event_at: None,
    };
    let at = parse_time("2026-11-24T23:30:00Z").unwrap();
    let question = Question { submission: &submission, ticket: Some(&ticket), at };
    let derived = question.derived(&rules);
    assert_eq!((derived.days_to_due, derived.cumulative_extension_days, derived.previous_exceptions), (10, 118, 9));
    let routing = question.routing(&rules);
    assert_eq!((routing.limit, routing.refused), (Some(Cause::MaxPreviousExceptions), None));
    let late = Question { at: parse_time("2027-02-01T09:00:00Z").unwrap(), ..question };
    assert_eq!(late.routing(&rules).refused, Some("date_in_past"));
    assert_eq!(late.routing(&rules).levels, routing.levels, "who would have been asked is known all the same");
    let level = routing.levels.first().unwrap();
    assert!(!level.candidates.contains(&submission.request.requester), "{level:?}");
}
