use proptest::prelude::*;

use super::*;
use crate::domain::dates::parse_date;

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, text, fits) in [
        ("payments-*", "payments-api", true),
        ("payments-*", "payments-", true),
        ("payments-*", "payment-api", false),
        ("*-api", "a-b-api", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbY", false),
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
    }
}

fn amount(written: &str) -> Amount {
    Amount { written: written.to_owned(), value: Decimal::parse(written).unwrap() }
}

fn text(text: &str) -> Test {
    Test::Text(text.to_owned())
}

fn not(test: Test) -> Test {
    Test::Not(Box::new(test))
}

fn day(text: &str) -> NaiveDate {
    parse_date(text).unwrap()
}

/// What a rule looks at, with one field that is missing and one that is null.
fn data() -> Json {
    let text = |text: &str| Json::Text(text.to_owned());
    Json::Object(vec![
        ("reason".into(), text("Other")),
        ("null".into(), Json::Null),
        ("requester".into(), Json::Object(vec![("id".into(), text(" Zoe@Example.com"))])),
        (
            "custom".into(),
            Json::Object(vec![("score".into(), Json::Number("7.50".into())), ("day".into(), text("soon"))]),
        ),
        (
            "ticket".into(),
            Json::Object(vec![
                ("cvss".into(), text("8.10")),
                ("kev".into(), Json::Bool(false)),
                ("current_due_date".into(), text("2027-01-01")),
                ("tags".into(), Json::List(vec![text("PCI"), text("prod-eu")])),
            ]),
        ),
    ])
}

#[track_caller]
fn check(field: &str, test: Test, holds: bool) {
    let data = data();
    let derived =
        Derived { extension_days: 30, cumulative_extension_days: 40, previous_exceptions: 2, days_to_due: -3 };
    let facts = Facts { data: &data, derived };
    let shown = test.to_string();
    let actuals = Actuals::of(&[field.to_owned()], &facts);
    let condition = Comparison::new(field, 0, test).shown(&actuals);
    assert_eq!(condition.holds, holds, "{field} {shown}: {:?}", condition.actual);
}

#[test]
fn each_operator_compares_as_written() {
    let than = |order, number| Test::Than(order, amount(number));
    check("reason", text("other"), true);
    check("reason", Test::Glob("o*r".into()), true);
    check("reason", Test::OneOf(vec![text("whim"), text("other")]), true);
    check("requester.id", text("zoe@example.com"), true);
    check("ticket.kev", Test::Flag(false), true);
    check("ticket.cvss", Test::Number(amount("8.1")), true);
    check("ticket.cvss", than(Order::Gt, "8.1"), false);
    check("ticket.cvss", than(Order::Gte, "8.1"), true);
    check("ticket.cvss", than(Order::Lt, "10"), true);
    check("ticket.cvss", than(Order::Lte, "8.09999"), false);
    check("custom.score", than(Order::Gt, "7"), true);
    check("ticket.current_due_date", Test::Before(day("2027-01-02")), true);
    check("ticket.current_due_date", Test::Before(day("2027-01-01")), false);
    check("ticket.current_due_date", Test::After(day("2026-12-31")), true);
    check("ticket.current_due_date", Test::After(day("2027-01-01")), false);
    check("ticket.tags", Test::Any(vec![text("pci"), text("x")]), true);
    check("ticket.tags", Test::Any(vec![text("x")]), false);
    check("ticket.tags", Test::All(vec![text("pci"), Test::Glob("prod*".into())]), true);
    check("ticket.tags", Test::All(vec![text("pci"), text("x")]), false);
    check("extension_days", Test::Every(vec![than(Order::Gt, "29"), than(Order::Lt, "31")]), true);
    check("extension_days", Test::Every(vec![than(Order::Gt, "29"), than(Order::Lt, "30")]), false);
    for (field, number) in [("cumulative_extension_days", "40"), ("previous_exceptions", "2"), ("days_to_due", "-3")] {
        check(field, Test::Number(amount(number)), true);
    }
}

#[test]
fn a_missing_field_makes_the_innermost_comparison_false_and_not_turns_that_round() {
    let every: [Test; 10] = [
        Test::Flag(true),
        Test::Flag(false),
        Test::Number(amount("0")),
        text("null"),
        Test::Glob("*".into()),
        Test::OneOf(vec![text("a"), not(Test::Flag(true))]),
        Test::Than(Order::Lt, amount("9")),
        Test::Before(day("2030-01-01")),
        Test::Any(vec![text("a")]),
        Test::All(vec![text("a")]),
    ];
    for field in ["null", "nowhere", "ticket.asset.internet_facing"] {
        for test in &every {
            // The innermost comparison of the one list holds a `not` already.
            let holds = matches!(test, Test::OneOf(_));
            check(field, test.clone(), holds);
            check(field, not(test.clone()), !holds);
            check(field, not(not(test.clone())), holds);
        }
        check(field, Test::Present(true), false);
        check(field, Test::Present(false), true);
        check(field, not(Test::Present(true)), true);
    }
    check("reason", not(text("other")), false);
    check("reason", not(text("x")), true);
    check("reason", Test::Present(true), true);
}

#[test]
fn what_cannot_be_compared_is_false() {
    check("custom.day", Test::After(day("2000-01-01")), false);
    check("custom.day", Test::Than(Order::Gt, amount("0")), false);
    check("reason", Test::Any(vec![text("other")]), false);
    check("ticket.tags", text("pci"), false);
    check("ticket.kev", text("false"), false);
}

#[test]
fn a_ticket_is_known_exploited_when_it_says_so_or_has_a_mandated_date() {
    let with = |kev: Option<bool>, date: Option<&str>| {
        let mut ticket = Vec::new();
        ticket.extend(kev.map(|kev| ("kev".to_owned(), Json::Bool(kev))));
        ticket.extend(date.map(|date| ("kev_due_date".to_owned(), Json::Text(date.to_owned()))));
        let data = Json::Object(vec![("ticket".into(), Json::Object(ticket))]);
        Facts { data: &data, derived: Derived::default() }.is_known_exploited()
    };
    assert!(with(Some(true), None) && with(None, Some("2027-01-01")));
    assert!(!with(Some(false), Some("2027-01-01")) && !with(None, None));
}

/// What the guide says of a missing field, in as few words: a comparison is false, and `not` turns round what is within it.
fn of_a_missing_field(test: &Test) -> bool {
    match test {
        Test::Not(test) => !of_a_missing_field(test),
        Test::OneOf(tests) => tests.iter().any(of_a_missing_field),
        Test::Every(tests) => tests.iter().all(of_a_missing_field),
        Test::Present(wanted) => !wanted,
        _ => false,
    }
}

fn nested() -> impl Strategy<Value = Test> {
    let leaf = prop::sample::select(vec![
        Test::Flag(false),
        Test::Number(amount("8.1")),
        text("other"),
        Test::Glob("*".into()),
        Test::Than(Order::Lt, amount("9")),
        Test::After(day("2026-01-01")),
        Test::Any(vec![not(text("pci"))]),
        Test::All(vec![text("pci")]),
        Test::Present(true),
        Test::Present(false),
    ]);
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(not),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Test::OneOf),
            prop::collection::vec(inner, 1..3).prop_map(Test::Every),
        ]
    })
}

proptest! {
    #[test]
    fn not_is_the_opposite_and_a_missing_field_is_as_written(
        test in nested(),
        field in prop::sample::select(vec!["reason", "ticket.tags", "ticket.cvss", "ticket.kev", "nowhere", "null"]),
    ) {
        let data = data();
        let facts = Facts { data: &data, derived: Derived::default() };
        let actual = Actual::of(facts.value(field).as_ref());
        prop_assert_eq!(not(test.clone()).holds(&actual), !test.holds(&actual), "{}", test);
        prop_assert_eq!(test.holds(&Actual::Missing), of_a_missing_field(&test), "{}", test);
    }
}
