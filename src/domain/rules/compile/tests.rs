use super::*;

pub(in crate::domain::rules) const FULL: &str = include_str!("../../../../examples/rules-full.yaml");

/// One slip in a file that is right is one error, with its place and what was meant.
#[track_caller]
fn error(from: &str, to: &str, expected: &str) {
    errors(&[(from, to)], &[expected]);
}

#[track_caller]
fn errors(changes: &[(&str, &str)], expected: &[&str]) {
    let mut text = FULL.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let found: Vec<_> = RuleSet::check(&text).report.errors.iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}

/// What stands there, what is written instead, what is said of it.
pub(in crate::domain::rules) const SETTINGS_ROWS: &[(&str, &str, &str)] = &[
    (
        "reprieve/v1",
        "reprieve/v2",
        "3:13: apiVersion: expected reprieve/v1, found \"reprieve/v2\"; did you mean reprieve/v1?",
    ),
    ("apiVersion: reprieve/v1\n", "", "3:1: the key `apiVersion` is missing: say `apiVersion: reprieve/v1`"),
    ("\"2026-11-24.2\"", "\"\"", "4:10: version: expected 1 to 64 characters"),
    ("\"2026-11-24.2\"", "\"1\\0\"", "4:10: version: contains a control, bidirectional or zero-width character"),
    ("\"2026-11-24.2\"", "\" \"", "4:10: version: expected 1 to 64 characters"),
    ("rules: #", "ruels: #", "42:1: ruels: there is no key \"ruels\" here; did you mean rules?"),
    (
        "time_zone: E",
        "time_zon: E",
        "7:3: settings.time_zon: there is no key \"time_zon\" here; did you mean time_zone?",
    ),
    (
        "Europe/Berlin",
        "Europe/Berlyn",
        "7:14: settings.time_zone: \"Europe/Berlyn\" is no zone of the IANA database; did you mean Europe/Berlin?",
    ),
    (
        "triage: [exceptions-lead@example.com, exceptions-deputy@example.com]",
        "triage: []",
        "16:11: settings.triage: name at least one person, who reviews what nobody could be assigned to",
    ),
    (
        "  triage: [exceptions-lead@example.com, exceptions-deputy@example.com] # what nobody could be assigned to\n",
        "",
        "7:3: settings: the key `triage` is missing: who reviews what nobody could be assigned to?",
    ),
    (
        "triage: [exceptions-lead@example.com",
        "triage: [exceptions lead@example.com",
        "16:12: settings.triage[0]: \"exceptions lead@example.com\" is no user id: expected 1 to 128 printable ASCII characters without space",
    ),
    (
        "groups: [platform-leads]\n    teams",
        "groups: [platform-laeds]\n    teams",
        "10:14: settings.may_request.groups[0]: there is no group named platform-laeds; did you mean platform-leads?",
    ),
    (
        "users: [release-bot@example.com]",
        "any: yes",
        "9:10: settings.may_request.any: expected true or false, found text",
    ),
    (
        "users: [release-bot@example.com]",
        "any: true",
        "10:13: settings.may_request.groups: `any: true` lets everybody; leave out one of them",
    ),
    (
        "\"ext-*\"]\n  may_review",
        "\"ext-?*\"]\n  may_review",
        "11:38: settings.may_request.teams[2]: \"ext-?*\": in a glob only `*` has a meaning, it stands for any characters",
    ),
    ("notify: assigned", "notify: everybody", "18:11: settings.notify: expected assigned or all, found \"everybody\""),
    ("[30d, 7d]", "[30d, 1w]", "19:26: settings.expiry_warnings[1]: expected a number of days as in 90d"),
    (
        "{ confirmation: none }",
        "{ confirmation: expected }",
        "20:29: settings.deferral.confirmation: `expected` is not built yet: an approval would be in force before it is confirmed; say `none`",
    ),
    ("[no_fix_yet, change", "[no fix yet, change", "17:13: settings.reasons[0]: expected one word of printable ASCII"),
    (
        "members: [olga@example.com, pavel@example.com]",
        "members: []",
        "25:26: groups.risk-board.members: the group risk-board has no members",
    ),
    (
        "{ members: [olga@example.com, pavel@example.com] }",
        "[olga@example.com, pavel@example.com]",
        "25:15: groups.risk-board: expected a map, found a list",
    ),
    ("version: \"2026-11-24.2\"", "version: \"2026-11-24.2\"\nversion: \"2\"", "5:1: duplicate mapping key: version"),
];

#[test]
fn what_is_wrong_with_the_file_and_its_settings() {
    for (from, to, expected) in SETTINGS_ROWS {
        error(from, to, expected);
    }
}

/// What stands there, what is written instead, what is said of it.
pub(in crate::domain::rules) const RULE_ROWS: &[(&str, &str, &str)] = &[
    (
        "quorum: 2, review_within",
        "quorum: 5, review_within",
        "48:54: rules[0].levels[0].quorum: 5 approvals cannot come from rules[0].levels[0]: it names 4",
    ),
    (
        "quorum: 2, review_within",
        "quorum: 0, review_within",
        "48:54: rules[0].levels[0].quorum: expected at least 1: an empty level never approves",
    ),
    (
        "quorum: 2, review_within",
        "quorum: most, review_within",
        "48:54: rules[0].levels[0].quorum: expected any, all or a number, found \"most\"",
    ),
    (
        "pick: hash, esc",
        "pick: hush, esc",
        "75:58: rules[3].levels[0].pick: expected all, hash or least_loaded, found \"hush\"; did you mean hash?",
    ),
    (
        "groups: [security] }, quorum: 2, review",
        "groups: [secruity] }, quorum: 2, review",
        "48:33: rules[0].levels[0].reviewers.groups[0]: there is no group named secruity; did you mean security?",
    ),
    (
        "{ groups: [security] }, quorum: 2, review",
        "{}, quorum: 2, review",
        "48:22: rules[0].levels[0].reviewers: name at least one user, group or field",
    ),
    ("auto: deny\n", "auto: refuse\n", "57:11: rules[1].auto: expected approve or deny, found \"refuse\""),
    (
        "    auto: deny\n",
        "    auto: deny\n    reviewers: none\n",
        "57:11: rules[1].auto: a rule has either `levels`, or `reviewers: none`, or `auto`",
    ),
    ("    auto: deny\n", "", "52:5: rules[1]: say who reviews: `levels`, or `reviewers: none` for triage, or `auto`"),
    (
        "reviewers: none # triage",
        "reviewers: nobody # triage",
        "87:16: rules[5].reviewers: expected none, found \"nobody\"",
    ),
    (
        "    match: { requester.team: \"ext-*\" }\n",
        "",
        "85:5: rules[5]: the key `match` is missing: a rule for everything is the fallback",
    ),
    (
        "match: { requester.team: \"ext-*\" }",
        "match: {}",
        "86:12: rules[5].match: without conditions the rule matches everything: say it in the fallback",
    ),
    (
        "max_extension: 21d",
        "max_extension: 3w",
        "50:30: rules[0].limits.max_extension: expected a number of days as in 90d",
    ),
    (
        "max_extension: 21d",
        "max_extension: 0d",
        "50:30: rules[0].limits.max_extension: expected a number of days as in 90d",
    ),
    (
        "max_previous_exceptions: 4",
        "max_previous_exceptions: -1",
        "39:30: defaults.limits.max_previous_exceptions: expected a whole number, 0 or more",
    ),
    (
        "review_within: 8h",
        "review_within: soon",
        "48:72: rules[0].levels[0].review_within: expected a time as in 2d, 12h, 30m or 45s",
    ),
    (
        "on_deadline: cancel",
        "on_deadline: approve",
        "48:89: rules[0].levels[0].on_deadline: expected keep, cancel or deny, found \"approve\"",
    ),
    (
        "require: [justification]",
        "require: [justificaton]",
        "31:13: defaults.require[0]: \"justificaton\" is no field of a submission; did you mean justification?",
    ),
    (
        "fields: [requester.manager]",
        "fields: [requester.manger]",
        "95:31: rules[6].levels[0].reviewers.fields[0]: \"requester.manger\" is no field of a submission; did you mean requester.manager?",
    ),
    (
        "fields: [requester.manager]",
        "fields: [requester.id]",
        "95:31: rules[6].levels[0].reviewers.fields[0]: the requester never reviews",
    ),
    (
        "fields: [requester.manager]",
        "fields: [ticket.kev]",
        "95:31: rules[6].levels[0].reviewers.fields[0]: ticket.kev names no person",
    ),
    (
        "fallback:\n  levels: [{ reviewers: { groups: [security] }, pick: hash }]",
        "",
        "3:1: the key `fallback` is missing: it says who reviews what no rule matches; `reviewers: none` leaves that to triage",
    ),
    (
        "  levels: [{ reviewers: { groups: [security] }, pick: hash }]",
        "  auto: approve",
        "100:9: fallback.auto: the fallback takes known-exploited tickets too: it cannot approve by itself",
    ),
    (
        "\n      - { reviewers: { groups: [risk-board] }, quorum: all }",
        "",
        "49:49: rules[0].limits.kev_due_date: `ignore` needs two levels or more: nobody passes a mandated date alone, and rules[0] has 1",
    ),
];

#[test]
fn what_is_wrong_with_rules_and_levels() {
    for (from, to, expected) in RULE_ROWS {
        error(from, to, expected);
    }
    errors(
        &[("quorum: any #", "quorum: 3 #")],
        &[
            "29:11: defaults.quorum: 3 approvals cannot come from rules[3].levels[0]: it names 2",
            "29:11: defaults.quorum: 3 approvals cannot come from rules[6].levels[0]: it names 1",
        ],
    );
    errors(
        &[("name: trivial\n", "name: hopeless\n"), ("expect: { rule: trivial, ", "expect: { ")],
        &["59:11: rules[2].name: the rule of line 52 is named hopeless too"],
    );
    errors(
        &[("name: hopeless\n", "name: fallback\n"), ("expect: { rule: hopeless, ", "expect: { ")],
        &["52:11: rules[1].name: the name fallback is taken by the fallback"],
    );
}

/// A condition, and what is said of it.
pub(in crate::domain::rules) const CONDITION_ROWS: &[(&str, &str)] = &[
    (
        "ticket.kve: true",
        "45:14: rules[0].match.ticket.kve: \"ticket.kve\" is no field of a submission; your own fields are `custom.<name>`; did you mean ticket.kev?",
    ),
    ("ticket.kev: \"yes\"", "45:26: rules[0].match.ticket.kev: ticket.kev holds true or false"),
    ("ticket.kev: \"t*\"", "45:26: rules[0].match.ticket.kev: ticket.kev holds true or false"),
    (
        "ticket.kev: ~",
        "45:26: rules[0].match.ticket.kev: ticket.kev holds true or false; for a missing field ask `{ present: false }`",
    ),
    (
        "ticket.severity: hihg",
        "45:31: rules[0].match.ticket.severity: \"hihg\" is no severity: expected critical, high, medium, low or info; did you mean high?",
    ),
    (
        "ticket.severity: { gt: 3 }",
        "45:37: rules[0].match.ticket.severity.gt: ticket.severity holds a severity; `gt` cannot be asked of it",
    ),
    (
        "reason: no_fix",
        "45:22: rules[0].match.reason: \"no_fix\" is none of settings.reasons; did you mean no_fix_yet?",
    ),
    (
        "ticket.title: 7",
        "45:28: rules[0].match.ticket.title: ticket.title holds text; write it in quotes if it looks like something else",
    ),
    (
        "ticket.title: { lt: 7 }",
        "45:34: rules[0].match.ticket.title.lt: ticket.title holds text; write it in quotes if it looks like something else; `lt` cannot be asked of it",
    ),
    (
        "ticket.tags: pci",
        "45:27: rules[0].match.ticket.tags: ticket.tags holds a list: ask `{ any: [...] }` or `{ all: [...] }` of it",
    ),
    (
        "ticket.tags: [pci]",
        "45:27: rules[0].match.ticket.tags: ticket.tags holds a list: ask `{ any: [...] }` or `{ all: [...] }` of it",
    ),
    ("ticket.tags: { any: [] }", "45:34: rules[0].match.ticket.tags.any: an empty list matches nothing"),
    ("ticket.tags: { any: pci }", "45:34: rules[0].match.ticket.tags.any: expected a list, found text"),
    (
        "ticket.cvss: high",
        "45:27: rules[0].match.ticket.cvss: ticket.cvss holds a number: compare it with one, or with `gt`, `gte`, `lt` and `lte`",
    ),
    ("ticket.cvss: { gte: high }", "45:34: rules[0].match.ticket.cvss.gte: expected a decimal number as in 7.5"),
    (
        "extension_days: { after: 2027-01-01 }",
        "45:39: rules[0].match.extension_days.after: extension_days holds a number: compare it with one, or with `gt`, `gte`, `lt` and `lte`; `after` cannot be asked of it",
    ),
    (
        "requested_due_date: { gt: 30 }",
        "45:40: rules[0].match.requested_due_date.gt: requested_due_date holds a date: compare it with one as in 2027-06-30, or with `before` and `after`; `gt` cannot be asked of it",
    ),
    (
        "requested_due_date: { after: 30d }",
        "45:43: rules[0].match.requested_due_date.after: expected a date as in 2027-06-30",
    ),
    (
        "ticket.asset: web",
        "45:28: rules[0].match.ticket.asset: ticket.asset holds no plain value: only `present` can be asked of it",
    ),
    (
        "ticket.title: { presnt: true }",
        "45:30: rules[0].match.ticket.title.presnt: there is no operator \"presnt\"; there are not, any, all, gt, gte, lt, lte, before, after or present; did you mean present?",
    ),
    (
        "ticket.title: { present: 1 }",
        "45:39: rules[0].match.ticket.title.present: expected true or false, found a number",
    ),
    ("ticket.title: {}", "45:28: rules[0].match.ticket.title: without an operator nothing is compared"),
    (
        "ticket.title: \"[ab]*\"",
        "45:28: rules[0].match.ticket.title: \"[ab]*\": in a glob only `*` has a meaning, it stands for any characters",
    ),
    (
        "requester.id: \"a b\"",
        "45:28: rules[0].match.requester.id: requester.id is a person, and \"a b\" is no user id: expected 1 to 128 printable ASCII characters without space",
    ),
];

#[test]
fn what_is_wrong_with_conditions() {
    let exploited = "match: { ticket.kev: true }";
    let condition = |to: &str, expected: &str| error(exploited, &format!("match: {{ {to} }}"), expected);
    for (to, expected) in CONDITION_ROWS {
        condition(to, expected);
    }
    let deep = format!("ticket.title: {}x{}", "{ not: ".repeat(9), " }".repeat(9));
    condition(
        &deep,
        "45:84: rules[0].match.ticket.title.not.not.not.not.not.not.not.not: conditions within conditions: at most 8",
    );
}

/// What stands there, what is written instead, what is said of it.
pub(in crate::domain::rules) const TEST_ROWS: &[(&str, &str, &str)] = &[
    (
        "expect: { rule: hopeless, auto: deny }",
        "expect: { rule: hopeles, auto: deny }",
        "112:21: tests[1].expect.rule: there is no rule named hopeles; did you mean hopeless?",
    ),
    (
        "expect: { rule: hopeless, auto: deny }",
        "expect: {}",
        "112:13: tests[1].expect: nothing is expected: name the rule, `auto` or the levels",
    ),
    (
        "ticket: { kev: true, severity: low }",
        "ticket: { kve: true, severity: low }",
        "104:63: tests[0].request.ticket.kve: \"ticket.kve\" is no field of a submission; did you mean kev?",
    ),
    (
        "kev: true, severity: low }",
        "kev: true, severity: lo }",
        "104:84: tests[0].request.ticket.severity: expected critical, high, medium, low or info, found text",
    ),
    (
        "request: { extension_days: 14, previous",
        "request: { extension_days: two, previous",
        "120:32: tests[4].request.extension_days: expected a whole number of days, or of exceptions",
    ),
    (
        "request: { extension_days: 14, previous",
        "request: { extension_days: 0, previous",
        "119:5: tests[4]: extension_days is 0: expected 1 to 100000",
    ),
    (
        "name: two weeks for a trifle need nobody",
        "name: far too long, and there is a fix",
        "113:11: tests[2].name: there is another test named \"far too long, and there is a fix\"",
    ),
];

#[test]
fn what_is_wrong_with_the_tests_of_the_file() {
    for (from, to, expected) in TEST_ROWS {
        error(from, to, expected);
    }
}

#[test]
fn all_faults_are_told_at_once_and_in_the_order_of_the_file() {
    errors(
        &[
            ("time_zone: E", "timezone: E"),
            ("groups: [risk-board] }, quorum: all", "groups: [riskboard] }, quorum: all"),
            ("reviewers: none # triage", "reviewers: triage # triage"),
        ],
        &[
            "7:3: settings.timezone: there is no key \"timezone\" here; did you mean time_zone?",
            "49:33: rules[0].levels[1].reviewers.groups[0]: there is no group named riskboard; did you mean risk-board?",
            "87:16: rules[5].reviewers: expected none, found \"triage\"",
        ],
    );
}

#[track_caller]
fn warning(from: &str, to: &str, expected: &str) {
    assert!(FULL.contains(from), "{from}");
    let warnings = |text: &str| {
        let report = RuleSet::check(text).report;
        assert_eq!(report.errors, []);
        report.warnings.iter().map(Finding::to_string).collect::<Vec<_>>()
    };
    let found = warnings(&FULL.replacen(from, to, 1));
    assert!(found.iter().any(|found| found == expected), "{found:#?}");
    assert!(warnings(FULL).iter().all(|found| found != expected));
}

/// What stands there, what is written instead, what is said of it.
pub(in crate::domain::rules) const WARNING_ROWS: &[(&str, &str, &str)] = &[
    (
        "groups:\n  security",
        "groups:\n  crypto: { members: [tom@example.com] }\n  security",
        "23:3: groups.crypto: the group crypto is used nowhere",
    ),
    (
        "[olga@example.com, pavel@example.com]",
        "[olga@example.com, pavel@example.com, Olga@example.com]",
        "25:64: groups.risk-board.members[2]: olga@example.com is named twice",
    ),
    (
        "quorum: 2, review_within",
        "quorum: 4, review_within",
        "48:9: rules[0].levels[0]: a request by ines@example.com leaves fewer reviewers than the quorum; name more, or `escalate_to`",
    ),
    (
        "        escalate_to: { groups: [security] }\n",
        "",
        "95:9: rules[6].levels[0]: without requester.manager, or where it is the requester, too few are left; name `escalate_to`",
    ),
    (
        "match: { requester.team: \"ext-*\" }",
        "match: { ticket.kev: true, requester.team: \"ext-*\" }",
        "85:5: rules[5]: the rule outside-staff can never match: exploited-in-the-wild in line 43 takes whatever it would",
    ),
    (
        "on_deadline: keep",
        "on_deadline: deny",
        "35:16: defaults.on_deadline: on_deadline is checked and kept, but does not act yet",
    ),
];

#[test]
fn what_is_unwise_is_a_warning() {
    for (from, to, expected) in WARNING_ROWS {
        warning(from, to, expected);
    }
}

#[test]
fn who_cannot_request_cannot_empty_a_level() {
    let only = FULL.replacen("    teams: [\"platform\", \"payments*\", \"ext-*\"]\n", "", 1);
    let text = only.replacen("quorum: 2, review_within", "quorum: 4, review_within", 1);
    let warnings = RuleSet::check(&text).report.warnings;
    assert!(warnings.iter().all(|warning| !warning.message.contains("fewer reviewers")), "{warnings:#?}");
}

#[track_caller]
fn mentioned(text: &str, words: &str, times: usize) {
    let Report { errors, warnings } = RuleSet::check(text).report;
    let found: Vec<_> = errors.iter().chain(&warnings).filter(|finding| finding.message.contains(words)).collect();
    assert_eq!(found.len(), times, "{found:#?}");
}

#[test]
fn a_misspelt_group_is_told_once() {
    let small = "apiVersion: reprieve/v1\nversion: \"1\"\nsettings: { triage: [t@x.com] }\n\
        groups: { security: { members: [a@x.com, b@x.com] } }\nfallback: { levels: [{ reviewers: { groups: [secruity] } }] }\n";
    mentioned(small, "sec", 1);
    mentioned(&small.replace("secruity", "security"), "sec", 0);
}

#[test]
fn an_automatic_approval_leaves_known_exploited_tickets_to_the_rule_below() {
    let condition = "match: { ticket.title: x }";
    let pair = |second: &str| {
        let rules = format!(
            "rules:\n  - {{ name: first, {condition}, auto: approve }}\n  - {{ name: second, {condition}, {second} }}\n"
        );
        let settings = "apiVersion: reprieve/v1\nversion: \"1\"\nsettings: { triage: [t@x.com] }\n";
        format!("{settings}{rules}fallback: {{ reviewers: none }}\n")
    };
    mentioned(&pair("reviewers: none"), "can never match", 0);
    mentioned(&pair("auto: approve"), "can never match", 1);
}

#[test]
fn whatever_is_no_rules_file_has_an_error_and_no_panic() {
    let deep = "[".repeat(5_000);
    for text in ["", "[]", "a", "rules", "- - - x", "{", "\u{0}", "a: &a [*a]", "settings: [", &deep] {
        let checked = RuleSet::check(text);
        assert!(checked.rules.is_none() && !checked.report.errors.is_empty(), "{text:.20}");
    }
}

/// What is left when all below a key is commented out: it must not come to mean everybody.
#[test]
fn a_key_without_a_value_is_no_key_left_out() {
    let text = "apiVersion: reprieve/v1\nversion: \"1\"\nsettings:\n  triage: [a@x.com]\n  may_request:\nfallback: { reviewers: none }\n";
    let found: Vec<_> = RuleSet::check(text).report.errors.iter().map(Finding::to_string).collect();
    assert_eq!(found, ["5:3: settings.may_request: may_request has no value: give it one, or leave it out"]);
}

#[test]
fn a_group_that_is_named_as_a_person_is_warned_of() {
    let text = "apiVersion: reprieve/v1\nversion: \"1\"\nsettings: { triage: [g] }\ngroups: { g: { members: [a@x.com] } }\nfallback: { levels: [{ reviewers: { groups: [g] } }] }\n";
    let found: Vec<_> = RuleSet::check(text).report.warnings.iter().map(Finding::to_string).collect();
    assert!(found.iter().any(|said| said.contains("is the name of a group too")), "{found:?}");
}
