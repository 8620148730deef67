use std::sync::LazyLock;

use proptest::prelude::*;

use super::explanation::EXPLANATION_BYTES_MAX;
use super::*;
use crate::domain::ids::ExceptionId;

const EXAMPLE: &str = include_str!("../../../examples/rules.yaml");
const FULL: &str = include_str!("../../../examples/rules-full.yaml");

fn user(id: &str) -> UserId {
    UserId::parse(&format!("{id}@example.com")).unwrap()
}

fn data(fields: &[(&str, &str)]) -> Json {
    let text = |text: &str| if text == "true" { Json::Bool(true) } else { Json::Text(text.to_owned()) };
    let of = |prefix: &str| {
        let own = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), text(value))));
        Json::Object(own.collect())
    };
    let mut ticket = of("ticket.");
    if let Json::Object(members) = &mut ticket {
        members.push(("asset".to_owned(), of("asset.")));
    }
    Json::Object(vec![("ticket".to_owned(), ticket), ("requester".to_owned(), of("requester."))])
}

fn find(rules: &RuleSet, fields: &[(&str, &str)]) -> Assignment {
    rules.find(&Facts { data: &data(fields), derived: Derived::default() }, &user("dana")).1
}

fn begin(rules: &RuleSet, assignment: &mut Assignment, level: u32, requester: &str) -> Level {
    let (exception, requester) = (ExceptionId::parse("EX-1").unwrap(), user(requester));
    let filling = Filling { exception: &exception, requester: &requester, people: &People::default(), rules };
    assignment.begin(level, filling).unwrap()
}

#[test]
fn the_first_rule_that_matches_wins() {
    let rules = RuleSet::parse(EXAMPLE).unwrap();
    for (fields, rule) in [
        (
            &[("ticket.kev", "true"), ("ticket.severity", "high"), ("asset.service", "payments-api")][..],
            "known-exploited",
        ),
        (&[("ticket.severity", "HIGH"), ("asset.service", "Payments-API")], "payments-critical"),
        (&[("ticket.severity", "low"), ("asset.service", "payments-api")], "fallback"),
        (&[("ticket.severity", "high")], "fallback"),
        (&[("requester.team", "ext-acme")], "contractors-to-triage"),
        (&[], "fallback"),
    ] {
        assert_eq!(find(&rules, fields).rule, rule, "{fields:?}");
    }
}

#[test]
fn the_full_example_has_no_fault_and_its_tests_reach_every_rule() {
    let checked = RuleSet::check(FULL);
    assert_eq!(checked.report.errors, []);
    let warnings: Vec<_> = checked.report.warnings.iter().map(Finding::to_string).collect();
    assert_eq!(
        warnings,
        [
            "19:20: settings.expiry_warnings: expiry_warnings is checked and kept, but does not act yet",
            "32:17: defaults.remind_after: remind_after is checked and kept, but does not act yet",
            "33:19: defaults.escalate_after: escalate_after is checked and kept, but does not act yet",
            "34:18: defaults.review_within: review_within is checked and kept, but does not act yet",
            "48:89: rules[0].levels[0].on_deadline: on_deadline is checked and kept, but does not act yet",
        ]
    );
    let report = checked.rules.unwrap().test();
    let failed: Vec<_> = report.tests.iter().filter(|test| !test.passed).collect();
    assert!(report.ok && failed.is_empty(), "{failed:#?}");
    assert_eq!(report.unreached, [] as [&str; 0]);
    assert_eq!(RuleSet::check(EXAMPLE).report.errors, []);
}

#[test]
fn an_assignment_explains_itself() {
    let rules = RuleSet::parse(EXAMPLE).unwrap();
    let mut assignment = find(&rules, &[("ticket.severity", "high"), ("asset.service", "payments-api")]);
    let level = begin(&rules, &mut assignment, 1, "dana");
    let explanation = &assignment.explanation;
    assert_eq!(level.reviewers, [user("eli")]);
    let failed = &explanation.tried[0];
    assert_eq!((failed.rule.as_str(), failed.matched, failed.conditions.len()), ("known-exploited", false, 1));
    assert_eq!((failed.conditions[0].wanted.as_str(), failed.conditions[0].actual.as_deref()), ("true", None));
    let matched = &explanation.tried[1];
    assert!(matched.matched && matched.conditions.iter().all(|c| c.holds));
    assert_eq!(matched.conditions.len(), 2);
    assert_eq!(explanation.levels[0].dropped, [Dropped { id: user("dana"), why: "requester".into() }]);
    assert_eq!(explanation.levels[0].reviewers, [user("eli")]);
    assert_eq!((explanation.levels[1].reviewers.len(), explanation.levels[1].quorum), (0, None), "not begun");
    assert_eq!(explanation.rules_hash, rules.hash);
}

#[test]
fn a_trace_shows_all_conditions_of_all_rules() {
    let rules = RuleSet::parse(FULL).unwrap();
    let data = data(&[("ticket.kev", "true"), ("ticket.severity", "low"), ("requester.team", "ext-a")]);
    let trace = rules.trace(&Facts { data: &data, derived: Derived::default() });
    let matched: Vec<_> = trace.iter().filter(|rule| rule.matched).map(|rule| rule.rule.as_str()).collect();
    assert_eq!(matched, ["exploited-in-the-wild", "outside-staff", "fallback"]);
    let counts: Vec<_> = trace.iter().map(|rule| rule.conditions.len()).collect();
    assert_eq!(counts, [1, 2, 6, 4, 3, 1, 3, 0], "`trivial` is passed over for a condition of its own");
    let shown = |rule: usize, at: usize| trace[rule].conditions[at].wanted.as_str();
    assert_eq!((shown(2, 0), shown(2, 2), shown(2, 3)), ("[low, info]", "lt 4.0", "gte 1, lte 14"));
    assert_eq!((shown(3, 1), shown(3, 2), shown(4, 1)), ("any [pci, card*]", "not [dev, test]", "present"));
}

#[test]
fn an_automatic_approval_never_matches_a_known_exploited_ticket() {
    let text = format!(
        "{}\n  - {{ name: anything-low, match: {{ ticket.severity: low }}, auto: approve }}\n",
        EXAMPLE.split("\nfallback:").next().unwrap().split("  - name: known-exploited").next().unwrap()
    ) + "fallback: { reviewers: none }\n";
    let rules = RuleSet::parse(&text).unwrap();
    assert_eq!(find(&rules, &[("ticket.severity", "low")]).rule, "anything-low");
    for mark in [("ticket.kev", "true"), ("ticket.kev_due_date", "2027-01-01")] {
        let assignment = find(&rules, &[("ticket.severity", "low"), mark]);
        let passed_over = &assignment.explanation.tried[0];
        assert_eq!((assignment.rule.as_str(), passed_over.matched), ("fallback", false));
        assert_eq!(passed_over.conditions[0].field, "ticket.kev");
    }
}

#[test]
fn an_explanation_has_a_bound() {
    let many: String = (0..500)
        .map(|n| format!("  - {{ name: rule-{n}, match: {{ ticket.title: \"x{n}\" }}, reviewers: none }}\n"))
        .collect();
    let crowd: String = (0..900).map(|n| format!("person-with-a-long-name-{n}@example.com,")).collect();
    let text = EXAMPLE
        .replace("  - name: known-exploited", &format!("{many}  - name: known-exploited"))
        .replace("[faye@example.com]", &format!("[{crowd}faye@example.com]"));
    // Once everybody is eligible, and once next to nobody: then hundreds are dropped.
    for may_review in ["{ any: true }", "{ users: [bob@example.com] }"] {
        let text = text.replacen("settings:", &format!("settings:\n  may_review: {may_review}"), 1);
        let rules = RuleSet::parse(&text).unwrap();
        let mut assignment = find(&rules, &[("ticket.kev", "true")]);
        begin(&rules, &mut assignment, 2, "zoe");
        let explanation = &assignment.explanation;
        assert!(explanation.truncated);
        assert!(serde_json::to_string(explanation).unwrap().len() <= EXPLANATION_BYTES_MAX);
        assert!(explanation.tried.last().is_some_and(|tried| tried.matched), "the matched rule stays");
    }
}

#[test]
fn a_long_matched_rule_keeps_its_name() {
    let mut explanation = Explanation::default();
    let condition = Condition { field: "custom.x".into(), wanted: "\u{1}".repeat(200), actual: None, holds: true };
    explanation.tried = vec![Tried { rule: "r".into(), matched: true, conditions: vec![condition; 30] }];
    assert!(serde_json::to_string(&explanation).unwrap().len() <= explanation.bytes_max());
    explanation.fit();
    assert!(explanation.truncated && serde_json::to_string(&explanation).unwrap().len() <= EXPLANATION_BYTES_MAX);
    assert!(!explanation.tried[0].conditions.is_empty());
}

#[test]
fn who_may_request_is_a_list_of_people_groups_and_teams() {
    let text =
        EXAMPLE.replace("{ any: true }", "{ users: [Zoe@example.com], groups: [appsec], teams: [\"platform-*\"] }");
    let rules = RuleSet::parse(&text).unwrap();
    assert!(rules.may_request(&user("zoe"), None) && rules.may_request(&user("bob"), Some("x")));
    assert!(rules.may_request(&user("mallory"), Some("Platform-Core")));
    assert!(!rules.may_request(&user("mallory"), Some("x")) && !rules.may_request(&user("mallory"), None));
}

#[test]
fn who_may_review_is_whoever_the_file_names_unless_it_says_otherwise() {
    let with = |setting: &str| {
        let text = EXAMPLE.replacen("settings:", &format!("settings:\n{setting}"), 1);
        RuleSet::parse(&text.replace("{ any: true } #", "{ users: [asker@example.com] } #")).unwrap()
    };
    let named = with("");
    for (who, may) in [("alice", true), ("faye", true), ("vm-lead", true), ("asker", false), ("mallory", false)] {
        assert_eq!(named.may_review(&user(who)), may, "{who}");
    }
    let listed = with("  may_review: { users: [gus@example.com], groups: [appsec] }");
    for (who, may) in [("alice", true), ("gus", true), ("faye", false), ("vm-lead", false)] {
        assert_eq!(listed.may_review(&user(who)), may, "{who}");
    }
    assert!(with("  may_review: { any: true }").may_review(&user("mallory")));
    let mut assignment = find(&listed, &[("ticket.severity", "high"), ("asset.service", "payments-x")]);
    let level = begin(&listed, &mut assignment, 1, "zoe");
    assert_eq!((level.reviewers, level.unassigned), (vec![user("vm-lead")], true), "nobody of the level is eligible");
    assert!(assignment.explanation.levels[0].dropped.iter().all(|dropped| dropped.why == "not_eligible"));
}

#[test]
fn a_person_named_by_a_field_of_the_event_is_eligible() {
    let rules = RuleSet::parse(FULL).unwrap();
    let level = |manager: &str, requester: &str| {
        let mut data = data(&[("requester.manager", manager)]);
        if let Json::Object(members) = &mut data {
            members.push(("reason".into(), Json::Text("change_freeze".into())));
        }
        let derived = Derived { days_to_due: 10, ..Derived::default() };
        let (rule, mut assignment) = rules.find(&Facts { data: &data, derived }, &user(requester));
        assert_eq!(rule.name, "own-manager");
        begin(&rules, &mut assignment, 1, requester).reviewers
    };
    assert_eq!(level(" Sam@Example.com ", "zoe"), [user("sam")]);
    let security = ["ines", "jan", "kofi", "lea"].map(user);
    assert_eq!(level("zoe@example.com", "zoe"), security, "the own manager is the requester");
    assert_eq!(level("no id", "zoe"), security);
}

#[test]
fn limits_and_timers_are_merged_key_by_key() {
    let rules = RuleSet::parse(FULL).unwrap();
    let exploited = find(&rules, &[("ticket.kev", "true"), ("ticket.kev_due_date", "2027-01-01")]);
    assert_eq!((exploited.max_extension_days, exploited.max_cumulative_extension_days), (21, Some(240)));
    assert_eq!((exploited.max_previous_exceptions, exploited.kev_due_date), (Some(4), KevDueDate::Ignore));
    assert_eq!(exploited.mandated_date.unwrap().to_string(), "2027-01-01");
    let [first, second] = exploited.levels.as_slice() else { panic!() };
    let timers = Timers {
        remind_after_s: Some(2 * 86_400),
        escalate_after_s: Some(4 * 86_400),
        review_within_s: Some(86_400),
        on_deadline: OnDeadline::Keep,
    };
    assert_eq!(second.timers, timers);
    let own = Timers { review_within_s: Some(8 * 3_600), on_deadline: OnDeadline::Cancel, ..timers };
    assert_eq!((first.timers, first.quorum, second.quorum), (own, Quorum::Number(2), Quorum::All));
    let fallback = find(&rules, &[]);
    assert_eq!((fallback.max_extension_days, fallback.levels[0].pick), (120, Pick::Hash));
    let bare = RuleSet::parse(&EXAMPLE.replace("  limits: { max_extension: 90d }\n", "")).unwrap();
    assert_eq!(find(&bare, &[]).max_extension_days, 365, "built in");
}

#[test]
fn a_failing_test_says_what_is_different() {
    let text = FULL
        .replace("expect: { rule: fallback }", "expect: { rule: trivial, auto: approve }")
        .replace("- [mona@example.com, nils@example.com]", "- [mona@example.com]");
    let report = RuleSet::parse(&text).unwrap().test();
    assert!(!report.ok);
    let failed: Vec<_> = report.tests.iter().filter(|test| !test.passed).collect();
    let differences: Vec<_> =
        failed[0].differences.iter().map(|d| (d.of.as_str(), d.expected.as_str(), d.actual.as_str())).collect();
    assert_eq!(differences, [("rule", "trivial", "fallback"), ("auto", "approve", "none")]);
    let difference = &failed[1].differences[0];
    assert_eq!(
        (difference.of.as_str(), difference.actual.as_str()),
        ("levels[0]", "[mona@example.com, nils@example.com]")
    );
    assert_eq!(failed.len(), 3);
    assert_eq!(report.unreached, [] as [&str; 0]);
}

#[test]
fn the_rules_nearest_to_the_match_are_explained() {
    let many: String = (0..1_000)
        .map(|n| format!("  - {{ name: rule-{n}, match: {{ ticket.title: \"x{n}\" }}, reviewers: none }}\n"))
        .collect();
    let text = EXAMPLE.replace("  - name: known-exploited", &format!("{many}  - name: known-exploited"));
    let rules = RuleSet::parse(&text).unwrap();
    let mut assignment = find(&rules, &[("ticket.kev", "true")]);
    begin(&rules, &mut assignment, 1, "zoe");
    let explanation = &assignment.explanation;
    let names: Vec<_> = explanation.tried.iter().map(|tried| tried.rule.as_str()).collect();
    let first = 1_001 - names.len();
    let expected: Vec<_> = (first..1_000).map(|n| format!("rule-{n}")).chain(["known-exploited".to_owned()]).collect();
    assert_eq!(names, expected);
    assert!(explanation.truncated && names.len() > 90, "{}", names.len());
    let whole = find(&RuleSet::parse(EXAMPLE).unwrap(), &[]).explanation;
    assert!(!whole.truncated && whole.tried.len() == 4, "all of a short file");
}

/// Read once: a property asks it hundreds of times.
static FULL_RULES: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::parse(FULL).unwrap());

fn submissions() -> impl Strategy<Value = (Json, UserId)> {
    let people = ["ines", "INES", "olga", "mona", "quinn", "exceptions-lead", "sam", "zoe"];
    let asks = prop::sample::select(people.to_vec());
    let manager = prop::option::of(prop::sample::select(people.to_vec()));
    let one_of = |words: &[&'static str]| prop::option::of(prop::sample::select(words.to_vec()));
    let fields = (
        one_of(&["low", "critical"]),
        prop::option::of(any::<bool>()),
        one_of(&["payments-api", "shop"]),
        one_of(&["pci", "regulated", "card-x"]),
        one_of(&["ext-acme", "payments"]),
        one_of(&["change_freeze", "no_fix_yet"]),
    );
    (asks, manager, fields).prop_map(|(asks, manager, (severity, kev, service, tag, team, reason))| {
        let text = |text: &str| Json::Text(text.to_owned());
        let address = |id: &str| text(&format!(" {id}@Example.com"));
        let object = |members: Vec<(&str, Option<Json>)>| {
            let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Json::Object(members.collect())
        };
        let ticket = object(vec![
            ("severity", severity.map(text)),
            ("kev", kev.map(Json::Bool)),
            ("asset", service.map(|service| object(vec![("service", Some(text(service)))]))),
            ("tags", tag.map(|tag| Json::List(vec![text(tag)]))),
            ("cvss", Some(text("3.9"))),
        ]);
        let requester =
            object(vec![("id", Some(address(asks))), ("manager", manager.map(address)), ("team", team.map(text))]);
        let data = object(vec![("ticket", Some(ticket)), ("requester", Some(requester)), ("reason", reason.map(text))]);
        (data, user(asks))
    })
}

proptest! {
    /// Whatever is submitted: the first rule that matches, the same reviewers when asked again, never the requester, and
    /// no level that nobody could complete without triage.
    #[test]
    fn a_request_is_routed_the_same_way_each_time_and_never_to_the_requester(
        (data, requester) in submissions(), extension_days in 1_i64..40, previous_exceptions in 0_i64..2,
    ) {
        let rules = &*FULL_RULES;
        let derived = Derived { extension_days, cumulative_extension_days: 60, previous_exceptions, days_to_due: 10 };
        let facts = Facts { data: &data, derived };
        let exception = ExceptionId::parse("EX-1").unwrap();
        let people = People::default();
        let filling = Filling { exception: &exception, requester: &requester, people: &people, rules };
        let ask = || {
            let (rule, mut assignment) = rules.find(&facts, &requester);
            let count = u32::try_from(assignment.levels.len()).unwrap();
            let levels: Vec<_> = (1..=count).filter_map(|level| assignment.begin(level, filling)).collect();
            (rule.name.clone(), rule.auto, levels, assignment)
        };
        let (name, auto, levels, assignment) = ask();
        let explanation = &assignment.explanation;
        prop_assert!(serde_json::to_string(explanation).unwrap().len() <= explanation.bytes_max());
        prop_assert_eq!(ask(), (name.clone(), auto, levels.clone(), assignment));
        let first = rules.trace(&facts).into_iter().find(|tried| tried.matched);
        prop_assert_eq!(first.map(|tried| tried.rule), Some(name));
        prop_assert!(auto != Some(Auto::Approve) || data.at("ticket.kev") != Some(&Json::Bool(true)));
        for level in levels {
            prop_assert!(!level.reviewers.contains(&requester), "{:?}", level);
            prop_assert!(level.quorum >= 1 && (level.unassigned || level.reviewers.len() >= level.quorum as usize));
        }
    }
}
