use super::assignment::EXPLANATION_BYTES_MAX;
use super::*;
use crate::domain::json::Json;

const EXAMPLE: &str = include_str!("../../../examples/rules.yaml");

fn user(id: &str) -> UserId {
    UserId::parse(&format!("{id}@example.com")).unwrap()
}

fn find(rules: &RuleSet, fields: &[(&str, &str)]) -> Assignment {
    let text = |text: &str| Json::Text(text.to_owned());
    let of = |prefix: &str| {
        let own = fields.iter().filter_map(|(k, v)| {
            Some((k.strip_prefix(prefix)?.to_owned(), if *v == "true" { Json::Bool(true) } else { text(v) }))
        });
        Json::Object(own.collect())
    };
    let mut ticket = of("ticket.");
    if let Json::Object(members) = &mut ticket {
        members.push(("asset".to_owned(), of("asset.")));
    }
    let data = Json::Object(vec![("ticket".to_owned(), ticket), ("requester".to_owned(), of("requester."))]);
    rules.find(&Facts { data: &data, derived: Derived::default() }, &user("dana")).1
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
fn an_assignment_explains_itself() {
    let rules = RuleSet::parse(EXAMPLE).unwrap();
    let mut assignment = find(&rules, &[("ticket.severity", "high"), ("asset.service", "payments-api")]);
    let level = assignment.begin(1, &user("dana")).unwrap();
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
fn an_explanation_has_a_bound() {
    let many: String = (0..500)
        .map(|n| format!("  - {{ name: rule-{n}, match: {{ ticket.severity: \"x{n}\" }}, reviewers: none }}\n"))
        .collect();
    let crowd: String = (0..900).map(|n| format!("person-with-a-long-name-{n}@example.com,")).collect();
    let text = EXAMPLE
        .replace("  - name: known-exploited", &format!("{many}  - name: known-exploited"))
        .replace("[faye@example.com]", &format!("[{crowd}faye@example.com]"));
    let mut assignment = find(&RuleSet::parse(&text).unwrap(), &[("ticket.kev", "true")]);
    assignment.begin(2, &user("zoe")).unwrap();
    let explanation = &assignment.explanation;
    assert!(explanation.truncated);
    assert!(serde_json::to_string(explanation).unwrap().len() <= EXPLANATION_BYTES_MAX);
    assert!(explanation.tried.last().is_some_and(|tried| tried.matched), "the matched rule stays");
}

#[track_caller]
fn check(from: &str, to: &str, line: u64, message: &str) {
    assert!(EXAMPLE.contains(from), "{from}");
    let errors = RuleSet::parse(&EXAMPLE.replacen(from, to, 1)).expect_err(to);
    assert!(errors.iter().any(|e| e.line == line && e.message.contains(message)), "{to}: {errors:?}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    check("reprieve/v1", "reprieve/v2", 2, "expected reprieve/v1");
    check("time_zone: UTC", "time_zone: Moon/Base", 6, "no zone");
    check("time_zone: UTC", "time_zon: UTC", 6, "time_zon");
    check("triage: [vm-lead@example.com]", "triage: []", 9, "name at least one person");
    check("triage: [vm-lead@example.com]", "triage: [\"a b\"]", 9, "no user id");
    check("members: [faye@example.com]", "members: []", 15, "has no members");
    check("quorum: 2", "quorum: 4", 27, "expected 1 to 3");
    check("quorum: 2", "quorum: 0", 27, "expected 1 to 3");
    check("quorum: 2", "quorum: most", 27, "expected any, all or a whole number");
    check("groups: [ciso-office]", "groups: [ciso]", 28, "no group named ciso");
    check("name: payments-critical", "name: known-exploited", 31, "another rule named");
    check("name: payments-critical", "name: fallback", 31, "another rule named");
    check("ticket.kev: true", "ticket.kve: true", 25, "no field of a submission");
    check("max_extension: 14d", "max_extension: 2w", 29, "number of days");
    check("require: [justification]", "require: [justify]", 19, "no field of a submission");
    check("    reviewers: none", "    levels: []", 39, "say who reviews");
    check("match: { ticket.kev: true }", "match: {}", 23, "matches everything");
    check("fallback:\n  levels: [{ reviewers: { groups: [appsec] } }]", "", 22, "missing field `fallback`");
}

#[test]
fn what_is_not_built_yet_is_an_error_that_says_so() {
    check("quorum: any", "pick: hash", 18, "not built yet");
    check("quorum: any", "remind_after: 2d", 18, "not built yet");
    check("ticket.kev: true", "ticket.cvss: { gt: 7 }", 25, "not built yet");
    check("ticket.kev: true", "ticket.tags: [pci]", 25, "not built yet");
    check("    reviewers: none", "    auto: approve", 41, "not built yet");
    check("groups: [ciso-office] }", "fields: [requester.manager] }", 28, "not built yet");
    check("{ max_extension: 14d }", "{ kev_due_date: ignore }", 29, "not built yet");
    check("fallback:", "tests: []\nfallback:", 43, "not built yet");
    check("may_request: { any: true }", "may_review: { any: false }", 7, "only `true` is built");
    check("may_request: { any: true }", "may_review: { users: [a@example.com] }", 7, "not built yet");
}

#[test]
fn who_may_request_is_a_list_of_people_and_teams() {
    let text =
        EXAMPLE.replace("{ any: true }", "{ users: [Zoe@example.com], groups: [appsec], teams: [\"platform-*\"] }");
    let rules = RuleSet::parse(&text).unwrap();
    assert!(rules.may_request(&user("zoe"), None) && rules.may_request(&user("bob"), Some("x")));
    assert!(rules.may_request(&user("mallory"), Some("Platform-Core")));
    assert!(!rules.may_request(&user("mallory"), Some("x")) && !rules.may_request(&user("mallory"), None));
}
