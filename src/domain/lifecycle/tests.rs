use std::sync::LazyLock;

use chrono::Days;

use super::*;
use crate::domain::command::Submission;
use crate::domain::dates::{parse_date, parse_time};
use crate::domain::exception::Request;
use crate::domain::ids::{DecisionId, TicketId};
use crate::domain::json::Json;
use crate::domain::rules::Derived;

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings:
  triage: [lead@example.com]
  reasons: [other]
  may_request: { users: [zoe@example.com, dana@example.com, solo@example.com], teams: ["platform-*"] }
groups:
  appsec: { members: [alice@example.com, bob@example.com, chen@example.com] }
  owners: { members: [dana@example.com, eli@example.com] }
rules:
  - name: two-levels
    match: { ticket.severity: [critical, HIGH] }
    require: [justification]
    limits: { max_extension: 90d }
    levels:
      - { reviewers: { groups: [owners] } }
      - { reviewers: { groups: [appsec] }, quorum: 2 }
  - name: nobody
    match: { requester.team: "ext-*" }
    reviewers: none
  - name: self
    match: { ticket.severity: info }
    levels: [{ reviewers: { users: [solo@example.com] } }]
fallback:
  levels: [{ reviewers: { groups: [appsec] }, quorum: all }]
"#;

fn now() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").unwrap()
}

static RULE_SET: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::parse(RULES).unwrap());
static PEOPLE: LazyLock<People> = LazyLock::new(People::default);

fn scene() -> Scene<'static> {
    scene_of(&RULE_SET)
}

fn scene_of(rules: &RuleSet) -> Scene<'_> {
    Scene { rules, people: &PEOPLE, now: now() }
}

fn user(id: &str) -> UserId {
    UserId::parse(&format!("{id}@example.com")).unwrap()
}

fn date(text: &str) -> NaiveDate {
    parse_date(text).unwrap()
}

fn submission(change: impl FnOnce(&mut Submission)) -> Submission {
    let mut submission = Submission {
        exception_id: ExceptionId::parse("EX-1").unwrap(),
        ticket_id: TicketId::parse("SEC-1").unwrap(),
        request: Request {
            ticket_title: "t".into(),
            severity: "high".into(),
            requester: user("zoe"),
            team: None,
            reason: "other".into(),
            original_due_date: date("2026-12-01"),
            current_due_date: date("2026-12-05"),
            requested_due_date: date("2027-01-31"),
            previous_exception_id: None,
            batch_id: None,
        },
        data: Json::Null,
    };
    change(&mut submission);
    let text = |text: &str| Json::Text(text.to_owned());
    let request = &submission.request;
    let mut requester = vec![("id".to_owned(), text(request.requester.as_str()))];
    requester.extend(request.team.iter().map(|team| ("team".to_owned(), text(team))));
    if submission.data == Json::Null {
        submission.data = Json::Object(vec![
            ("ticket".to_owned(), Json::Object(vec![("severity".to_owned(), text(&request.severity))])),
            ("requester".to_owned(), Json::Object(requester)),
            ("justification".to_owned(), text("because")),
        ]);
    }
    submission
}

const FRESH: Before<'static> = Before { existing: None, ticket: None, ticket_has_open: false };
const DIGEST: Digest = Digest([1; 16]);

fn ticket() -> Ticket {
    Ticket {
        id: TicketId::parse("SEC-1").unwrap(),
        earliest_due_date: date("2026-12-01"),
        approved: 2,
        last_event_at: None,
    }
}

fn submitted(change: impl FnOnce(&mut Submission)) -> Exception {
    match submit(&submission(change), DIGEST, FRESH, scene()) {
        Ruling::Applied(exception, _) => *exception,
        other => panic!("{other:?}"),
    }
}

fn decision(by: &str, verdict: Verdict) -> Decision {
    Decision {
        decision_id: DecisionId::parse(&format!("D-{by}-{}", verdict.word())).unwrap(),
        exception_id: ExceptionId::parse("EX-1").unwrap(),
        verdict,
        reviewer: user(by),
        approved_due_date: None,
        comment: Some("ok".into()),
        expected_revision: None,
    }
}

fn rule_on(exception: &Exception, decision: &Decision) -> Ruling {
    decide(exception, decision, Digest([2; 16]), &ticket(), scene())
}

#[track_caller]
fn apply(exception: &Exception, decision: &Decision) -> (Exception, Vec<&'static str>) {
    match rule_on(exception, decision) {
        Ruling::Applied(exception, emissions) => (*exception, names(&emissions)),
        other => panic!("{other:?}"),
    }
}

fn approve(exception: &Exception, by: &str) -> (Exception, Vec<&'static str>) {
    apply(exception, &decision(by, Verdict::Approve))
}

fn names(emissions: &[Emission]) -> Vec<&'static str> {
    let name = |emission: &Emission| match emission {
        Emission::StatusChanged { .. } => "status_changed",
        Emission::Assigned => "assigned",
        Emission::VoteRecorded { .. } => "vote_recorded",
        Emission::NotifyReviewer { kind: ReviewerNotice::Assigned, .. } => "reviewer assigned",
        Emission::NotifyReviewer { kind: ReviewerNotice::LevelReady, .. } => "reviewer level_ready",
        Emission::NotifyReviewer { kind: ReviewerNotice::Unassigned, .. } => "reviewer unassigned",
        Emission::NotifyRequester { kind: RequesterNotice::Received, .. } => "requester received",
        Emission::NotifyRequester { kind: RequesterNotice::Decided, .. } => "requester decided",
        Emission::DeferralRequested { .. } => "deferral_requested",
    };
    emissions.iter().map(name).collect()
}

#[track_caller]
fn check_submission(change: impl FnOnce(&mut Submission), before: Before<'_>, refusal: Refusal) {
    assert_eq!(submit(&submission(change), DIGEST, before, scene()), Ruling::Refused(refusal));
}

#[test]
fn t1_a_submission_is_assigned_to_the_first_level() {
    let Ruling::Applied(exception, emissions) = submit(&submission(|_| ()), DIGEST, FRESH, scene()) else { panic!() };
    assert_eq!(
        names(&emissions),
        ["status_changed", "assigned", "reviewer assigned", "reviewer assigned", "requester received"]
    );
    assert_eq!((exception.status, exception.revision, exception.level.quorum), (Status::Requested, 1, 1));
    assert_eq!(exception.level.reviewers, [user("dana"), user("eli")]);
    assert_eq!(exception.assignment.rule, "two-levels");
}

#[test]
fn t2_nobody_to_review_is_triage_and_never_silence() {
    for change in [
        (|s: &mut Submission| (s.request.severity, s.request.team) = ("low".into(), Some("EXT-acme".into())))
            as fn(&mut Submission),
        |s| (s.request.severity, s.request.requester) = ("info".into(), user("solo")),
    ] {
        let with_team = move |s: &mut Submission| {
            change(s);
            s.request.team = s.request.team.take().map(|_| "ext-platform".into());
        };
        let rules = RuleSet::parse(&RULES.replace("platform-*", "ext-*")).unwrap();
        let Ruling::Applied(exception, emissions) = submit(&submission(with_team), DIGEST, FRESH, scene_of(&rules))
        else {
            panic!()
        };
        assert_eq!(names(&emissions), ["status_changed", "assigned", "reviewer unassigned", "requester received"]);
        assert!(exception.level.unassigned && exception.status == Status::Requested);
        assert_eq!(exception.level.reviewers, [user("lead")]);
        let (exception, emissions) = approve(&exception, "lead");
        assert_eq!((exception.status, emissions[0]), (Status::Approved, "status_changed"));
    }
}

#[test]
fn t4_beyond_the_limit_it_is_denied_at_once() {
    let change = |s: &mut Submission| s.request.requested_due_date = s.request.current_due_date + Days::new(91);
    let Ruling::Applied(exception, emissions) = submit(&submission(change), DIGEST, FRESH, scene()) else { panic!() };
    assert_eq!(names(&emissions), ["status_changed", "status_changed", "requester decided"]);
    assert_eq!((exception.status, exception.cause, exception.revision), (Status::Denied, Cause::MaxExtension, 1));
    let at_the_limit = |s: &mut Submission| s.request.requested_due_date = s.request.current_due_date + Days::new(90);
    assert!(submitted(at_the_limit).is_open());
}

/// Rules that decide by themselves, for a requester whose team is `auto`, `never` or `limited`.
const AUTOMATIC: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings: { triage: [lead@example.com], reasons: [other], notify: all }
groups:
  appsec: { members: [alice@example.com, bob@example.com, zoe@example.com] }
rules:
  - name: small things
    match: { requester.team: auto }
    auto: approve
    limits: { max_extension: 60d, max_cumulative_extension: 70d, max_previous_exceptions: 2 }
  - { name: hopeless, match: { requester.team: never }, auto: deny, limits: { max_extension: 60d } }
  - name: open
    match: { requester.team: "open*" }
    levels: [{ reviewers: { groups: [appsec] } }]
    limits: { max_cumulative_extension: 70d, max_previous_exceptions: 2 }
fallback: { reviewers: none }
"#;

/// A submission whose data carries what the rule looks at.
fn asked(team: &str, days: u64, kev_due_date: Option<&str>) -> Submission {
    let mut submission = submission(|submission| {
        submission.request.team = Some(team.to_owned());
        submission.request.requested_due_date = submission.request.current_due_date + Days::new(days);
    });
    if let (Some(text), Json::Object(members)) = (kev_due_date, &mut submission.data)
        && let Some((_, Json::Object(ticket))) = members.iter_mut().find(|(name, _)| name == "ticket")
    {
        ticket.push(("kev".to_owned(), Json::Bool(false)));
        ticket.push(("kev_due_date".to_owned(), Json::Text(text.to_owned())));
    }
    submission
}

fn submit_to(rules: &RuleSet, submission: &Submission, ticket: Option<&Ticket>) -> (Exception, Vec<Emission>) {
    match submit(submission, DIGEST, Before { ticket, ..FRESH }, scene_of(rules)) {
        Ruling::Applied(exception, emissions) => (*exception, emissions),
        other => panic!("{other:?}"),
    }
}

#[test]
fn t3_a_rule_approves_by_itself_where_the_limits_hold() {
    let rules = RuleSet::parse(AUTOMATIC).unwrap();
    let (exception, emissions) = submit_to(&rules, &asked("auto", 60, None), Some(&ticket()));
    assert_eq!(names(&emissions), ["status_changed", "status_changed", "deferral_requested", "requester decided"]);
    let Emission::StatusChanged { from, to, cause, actor, .. } = &emissions[1] else { panic!() };
    assert_eq!(*from, Some((Status::Requested, Enforcement::None)));
    assert_eq!((*to, *cause), ((Status::Approved, Enforcement::InForce), Cause::AutoApproved));
    assert_eq!(*actor, Actor::policy("small things"));
    assert_eq!(emissions[2], Emission::DeferralRequested { extension_days: 60, cumulative_extension_days: 64 });
    assert_eq!((exception.revision, exception.approved_due_date), (1, Some(date("2027-02-03"))));
    assert_eq!(exception.decided_by_policy(), Some(Actor::policy("small things")));
    assert_eq!(exception.level, crate::domain::rules::Level::none());
    assert_eq!(rule_on(&exception, &decision("alice", Verdict::Approve)), Ruling::Refused(Refusal::AlreadyFinal));
}

#[test]
fn t4_a_limit_or_a_rule_denies_at_once() {
    let rules = RuleSet::parse(AUTOMATIC).unwrap();
    let seldom = ticket();
    let often = Ticket { approved: 3, ..ticket() };
    let early = Ticket { earliest_due_date: date("2026-11-01"), ..ticket() };
    let often_and_early = Ticket { approved: 3, ..early.clone() };
    let day = Some("2026-12-20");
    for (team, days, kev_due_date, ticket, cause) in [
        ("never", 10, None, &seldom, Cause::AutoDenied),
        ("never", 61, None, &seldom, Cause::MaxExtension),
        ("auto", 61, day, &often_and_early, Cause::MaxExtension),
        ("auto", 50, day, &often_and_early, Cause::MaxCumulativeExtension),
        ("auto", 20, day, &often, Cause::MaxPreviousExceptions),
        ("auto", 20, day, &seldom, Cause::KevDueDate),
        ("auto", 15, day, &seldom, Cause::AutoApproved),
        ("open", 366, None, &seldom, Cause::MaxExtension),
        ("open", 67, None, &seldom, Cause::MaxCumulativeExtension),
        ("open", 20, None, &often, Cause::MaxPreviousExceptions),
        ("open", 20, day, &seldom, Cause::KevDueDate),
        ("open", 66, None, &seldom, Cause::Submitted),
        ("open", 15, day, &seldom, Cause::Submitted),
    ] {
        let (exception, emissions) = submit_to(&rules, &asked(team, days, kev_due_date), Some(ticket));
        assert_eq!(exception.cause, cause, "{team} {days} {kev_due_date:?} {}", ticket.approved);
        if exception.status == Status::Denied {
            assert_eq!(names(&emissions), ["status_changed", "status_changed", "requester decided"]);
            assert_eq!((exception.revision, exception.decided_at), (1, Some(now())));
        }
    }
}

#[test]
fn the_date_of_a_vote_keeps_the_limits_that_were_stored() {
    let rules = RuleSet::parse(AUTOMATIC).unwrap();
    let (exception, _) = submit_to(&rules, &asked("open", 10, Some("2026-12-20")), Some(&ticket()));
    let vote = |text: &str, earliest: &str| {
        let ticket = Ticket { earliest_due_date: date(earliest), ..ticket() };
        let vote = Decision { approved_due_date: Some(date(text)), ..decision("alice", Verdict::Approve) };
        // The rules of the day say nothing any more: what counts is what was stored.
        decide(&exception, &vote, Digest([2; 16]), &ticket, scene())
    };
    assert!(matches!(vote("2026-12-20", "2026-12-01"), Ruling::Applied(..)));
    assert_eq!(vote("2026-12-21", "2026-12-01"), Ruling::Refused(Refusal::DateOverLimit), "the mandated date");
    assert_eq!(vote("2026-12-20", "2026-10-10"), Ruling::Refused(Refusal::DateOverLimit), "71 days since the earliest");
    assert!(matches!(vote("2026-12-20", "2026-10-11"), Ruling::Applied(..)));
}

#[test]
fn whoever_might_review_is_told_once_and_gains_no_right() {
    let rules = RuleSet::parse(AUTOMATIC).unwrap();
    let (exception, emissions) = submit_to(&rules, &asked("open", 10, None), None);
    let told: Vec<_> = emissions
        .iter()
        .filter_map(|emission| match emission {
            Emission::NotifyReviewer { kind, recipient, level, .. } => Some((*kind, recipient.clone(), *level)),
            _ => None,
        })
        .collect();
    let assigned = ReviewerNotice::Assigned;
    assert_eq!(told, [(assigned, user("alice"), 1), (assigned, user("bob"), 1), (assigned, user("lead"), 0)]);
    assert_eq!(names(&emissions).last(), Some(&"requester received"));
    assert_eq!(rule_on(&exception, &decision("lead", Verdict::Approve)), Ruling::Refused(Refusal::NotAssigned));
    let (exception, emissions) = submit_to(&rules, &asked("x", 10, None), None);
    assert_eq!(
        names(&emissions),
        [
            "status_changed",
            "assigned",
            "reviewer unassigned",
            "reviewer assigned",
            "reviewer assigned",
            "requester received"
        ],
        "{:?}",
        exception.level
    );
}

#[test]
fn who_was_not_picked_is_not_assigned() {
    let rules = RuleSet::parse(&AUTOMATIC.replace("groups: [appsec] }", "groups: [appsec] }, pick: hash")).unwrap();
    let (exception, _) = submit_to(&rules, &asked("open", 10, None), None);
    let [picked] = exception.level.reviewers.as_slice() else { panic!("{:?}", exception.level) };
    let other = if *picked == user("alice") { "bob" } else { "alice" };
    assert_eq!(rule_on(&exception, &decision(other, Verdict::Approve)), Ruling::Refused(Refusal::NotAssigned));
}

#[test]
fn absence_is_looked_at_when_a_level_begins() {
    let exception = submitted(|_| ());
    let away = [(user("dana"), None), (user("alice"), Some(user("lead")))];
    let people = People { away: away.into(), ..People::default() };
    let scene = Scene { people: &people, ..scene() };
    let eli = decision("eli", Verdict::Approve);
    let Ruling::Applied(next, _) = decide(&exception, &eli, Digest([2; 16]), &ticket(), scene) else { panic!() };
    assert_eq!(next.level.reviewers, [user("lead"), user("bob"), user("chen")]);
    let Ruling::Applied(away, _) = submit(&submission(|_| ()), DIGEST, FRESH, scene) else { panic!() };
    assert_eq!(away.level.reviewers, [user("eli")]);
}

#[test]
fn t6_and_t8_two_levels_with_a_quorum_approve_with_the_earliest_date() {
    let exception = submitted(|_| ());
    let (exception, emissions) = approve(&exception, "eli");
    assert_eq!(
        emissions,
        ["vote_recorded", "assigned", "reviewer level_ready", "reviewer level_ready", "reviewer level_ready"]
    );
    assert_eq!((exception.level.number, exception.level.quorum, exception.revision), (2, 2, 2));
    let earlier = Decision { approved_due_date: Some(date("2027-01-10")), ..decision("alice", Verdict::Approve) };
    let (exception, emissions) = apply(&exception, &earlier);
    assert_eq!(emissions, ["vote_recorded"]);
    let (exception, emissions) = approve(&exception, "bob");
    assert_eq!(emissions, ["status_changed", "deferral_requested", "requester decided"]);
    assert_eq!(exception.state(), (Status::Approved, Enforcement::InForce));
    assert_eq!(exception.approved_due_date, Some(date("2027-01-10")));
    assert_eq!(exception.revision, 4);
}

#[test]
fn t9_a_denial_at_any_level_ends_it_without_a_ticket_event() {
    let (second, _) = approve(&submitted(|_| ()), "dana");
    for (exception, by) in [(submitted(|_| ()), "eli"), (second, "chen")] {
        let (exception, emissions) = apply(&exception, &decision(by, Verdict::Deny));
        assert_eq!(emissions, ["status_changed", "requester decided"]);
        assert_eq!(exception.state(), (Status::Denied, Enforcement::None));
    }
}

#[test]
fn t23_the_older_one_is_superseded() {
    let mut exception = submitted(|_| ());
    for by in ["eli", "alice", "bob"] {
        exception = approve(&exception, by).0;
    }
    let (after, emissions) = supersede(&exception, &Actor::user(&user("bob")), now());
    assert_eq!(names(&emissions), ["status_changed"]);
    assert_eq!(
        (after.enforcement, after.ended_reason, after.status),
        (Enforcement::Ended, Some(EndedReason::Superseded), Status::Approved)
    );
}

#[test]
fn submission_guards_are_tried_in_their_order() {
    let existing = submitted(|_| ());
    let other = Before { existing: Some(&existing), ..FRESH };
    let open = Before { ticket_has_open: true, ..FRESH };
    // Each row breaks everything from its own guard on.
    let field = |s: &mut Submission| {
        s.data =
            Json::Object(vec![("ticket".into(), Json::Object(vec![("severity".into(), Json::Text("high".into()))]))]);
    };
    let past = move |s: &mut Submission| {
        (s.request.current_due_date, s.request.requested_due_date) = (date("2026-11-01"), date("2026-11-23"));
    };
    let before_current = move |s: &mut Submission| {
        past(s);
        s.request.current_due_date = date("2026-11-23");
    };
    let reason = move |s: &mut Submission| (before_current(s), s.request.reason = "whim".into()).0;
    let stranger = move |s: &mut Submission| (reason(s), s.request.requester = user("mallory")).0;
    assert_eq!(
        submit(&submission(stranger), Digest([9; 16]), other, scene()),
        Ruling::Refused(Refusal::ExceptionExists)
    );
    check_submission(stranger, open, Refusal::RequesterNotPermitted);
    check_submission(reason, open, Refusal::UnknownReason);
    check_submission(before_current, open, Refusal::DateNotAfterCurrent);
    check_submission(past, open, Refusal::DateInPast);
    check_submission(field, open, Refusal::OpenRequestExists);
    check_submission(field, FRESH, Refusal::FieldRequired);
    assert_eq!(submit(&submission(|_| ()), DIGEST, other, scene()), Ruling::Nothing, "the same content again");
}

#[test]
fn decision_guards_are_tried_in_their_order() {
    let mut level_one = submitted(|_| ());
    level_one.amended_at_revision = Some(5);
    let (mut decided, _) = apply(&submitted(|_| ()), &decision("eli", Verdict::Deny));
    decided.decisions.insert(DecisionId::parse("D-zoe-deny").unwrap(), Digest([3; 16]));
    let (mut voted, _) = approve(&submitted(|_| ()), "eli");
    voted = apply(&voted, &decision("alice", Verdict::Approve)).0;
    let late = |by: &str, text: &str| Decision {
        decision_id: DecisionId::parse("D-x").unwrap(),
        approved_due_date: Some(date(text)),
        ..decision(by, Verdict::Approve)
    };
    let wordless = |by: &str| Decision { comment: Some(" ".into()), ..decision(by, Verdict::Deny) };
    let mut past = voted.clone();
    past.request.current_due_date = date("2026-11-01");
    for (exception, decision, refusal) in [
        (&decided, wordless("zoe"), Refusal::DecisionExists),
        (
            &decided,
            Decision { decision_id: DecisionId::parse("D-x").unwrap(), ..wordless("zoe") },
            Refusal::AlreadyFinal,
        ),
        (&level_one, wordless("zoe"), Refusal::SelfApproval),
        (&level_one, wordless("mallory"), Refusal::NotAssigned),
        (&level_one, wordless("alice"), Refusal::WrongLevel),
        (&level_one, wordless("dana"), Refusal::StaleRevision),
        (&voted, wordless("alice"), Refusal::CommentRequired),
        (&voted, late("alice", "2026-12-05"), Refusal::AlreadyVoted),
        (&voted, late("bob", "2026-12-05"), Refusal::DateNotAfterCurrent),
        (&past, late("bob", "2026-11-23"), Refusal::DateInPast),
        (&voted, late("bob", "9999-12-31"), Refusal::DateOverLimit),
        (&voted, late("dana", "2027-01-01"), Refusal::WrongLevel),
    ] {
        assert_eq!(rule_on(exception, &decision), Ruling::Refused(refusal), "{decision:?}");
    }
    let seen = Decision { expected_revision: Some(5), ..decision("dana", Verdict::Deny) };
    assert!(matches!(rule_on(&level_one, &seen), Ruling::Applied(..)));
}

#[test]
fn the_last_day_and_the_longest_extension_are_still_allowed() {
    let today = |s: &mut Submission| {
        (s.request.current_due_date, s.request.requested_due_date) = (date("2026-11-01"), date("2026-11-24"));
    };
    assert!(submitted(today).is_open());
    let exception = submitted(|_| ());
    for (text, refusal) in [("2027-03-05", None), ("2027-03-06", Some(Refusal::DateOverLimit))] {
        let vote = Decision { approved_due_date: Some(date(text)), ..decision("eli", Verdict::Approve) };
        let refused = match rule_on(&exception, &vote) {
            Ruling::Refused(refusal) => Some(refusal),
            _ => None,
        };
        assert_eq!(refused, refusal, "{text}: 90 days after 2026-12-05 is 2027-03-05");
    }
}

#[test]
fn triage_that_voted_at_a_level_before_is_of_another_level() {
    let change = |s: &mut Submission| s.request.requester = user("dana");
    let mut exception = submitted(change);
    exception.level.reviewers.push(user("lead"));
    let (exception, _) = approve(&exception, "lead");
    assert_eq!(exception.level.number, 2);
    let again = Decision { decision_id: DecisionId::parse("D-again").unwrap(), ..decision("lead", Verdict::Approve) };
    assert_eq!(rule_on(&exception, &again), Ruling::Refused(Refusal::WrongLevel));
}

fn derived(submission: &Submission, ticket: &Ticket) -> Derived {
    let earliest = submission::earliest_due_date(submission, Some(ticket));
    submission::derive(submission, earliest, Some(ticket), date("2026-11-24"))
}

#[test]
fn days_are_counted_from_the_current_and_from_the_earliest_date() {
    let known = ticket();
    for (original, cumulative) in [("2026-12-05", 61), ("2026-11-30", 62)] {
        let submission = submission(|s| s.request.original_due_date = date(original));
        let expected = Derived {
            extension_days: 57,
            cumulative_extension_days: cumulative,
            previous_exceptions: 2,
            days_to_due: 11,
        };
        assert_eq!(derived(&submission, &known), expected, "{original}");
    }
    let mut exception = submitted(|_| ());
    for by in ["eli", "alice"] {
        exception = approve(&exception, by).0;
    }
    let last = Decision { approved_due_date: Some(date("2027-01-10")), ..decision("bob", Verdict::Approve) };
    let Ruling::Applied(_, emissions) = rule_on(&exception, &last) else { panic!() };
    let deferral = Emission::DeferralRequested { extension_days: 36, cumulative_extension_days: 40 };
    assert_eq!(emissions.get(1), Some(&deferral));
}

#[test]
fn a_decision_that_acted_is_a_repeat_also_when_all_is_decided() {
    let (denied, _) = apply(&submitted(|_| ()), &decision("eli", Verdict::Deny));
    assert_eq!(rule_on(&denied, &decision("eli", Verdict::Deny)), Ruling::Nothing);
}

#[test]
fn the_requester_never_reviews_and_an_empty_level_never_approves() {
    let exception = submitted(|s| s.request.requester = user("dana"));
    assert_eq!(exception.level.reviewers, [user("eli")]);
    let all = submitted(|s| s.request.severity = "low".into());
    assert_eq!((all.assignment.rule.as_str(), all.level.quorum), ("fallback", 3));
    let zoe = user("zoe");
    for level in 1..=2 {
        let filled = exception.assignment.clone().begin(level, scene().filling(&exception.id, &zoe)).unwrap();
        assert!(filled.quorum >= 1);
    }
    assert_eq!(exception.assignment.clone().begin(3, scene().filling(&exception.id, &zoe)), None);
}
