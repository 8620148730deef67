//! Rules that can never match, because an earlier one takes whatever they would. The answer is sound and not complete:
//! a rule that is named here never matches, but not every rule that never matches is named. An earlier rule covers a later
//! one if each of its conditions follows from one condition of the later rule on the same field. Several earlier rules
//! that cover a later one only together are not seen, nor are conditions that contradict each other; of a very large file only
//! the first rules are looked at.

use super::matching::{Actual, Comparison, Order, Test};
use super::reader::Spot;
use super::report::Finding;
use super::{Auto, Rule, RuleSet};
use crate::domain::json::Json;

/// A warning for each rule that an earlier one covers.
pub(super) fn covered(rules: &RuleSet, spots: &[Spot<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sizes: Vec<usize> = rules.rules.iter().map(size).collect();
    let mut left = COMPARISONS_MAX;
    for (at, (rule, spot)) in rules.rules.iter().zip(spots).enumerate() {
        let own = sizes.get(at).copied().unwrap_or(0);
        let work: usize = sizes.iter().take(at).map(|size| size.saturating_mul(own)).sum();
        let Some(rest) = left.checked_sub(work) else { break };
        left = rest;
        let mut earlier = rules.rules.iter().zip(spots).take(at);
        let Some((covering, above)) = earlier.find(|(earlier, _)| covers(earlier, rule)) else { continue };
        let message = format!(
            "the rule {} can never match: {} in line {} takes whatever it would",
            rule.name,
            covering.name,
            above.at().line
        );
        findings.push(Finding { at: spot.at(), path: spot.path.clone(), message, suggestion: None });
    }
    findings
}

/// Most comparisons in a file; what is left then is not looked at. A reload waits for them, and long lists are compared each
/// with each.
const COMPARISONS_MAX: usize = 10_000_000;

/// How many comparisons a rule takes part in with each of another one's.
fn size(rule: &Rule) -> usize {
    1 + rule.comparisons.iter().map(|comparison| size_of_test(&comparison.test)).sum::<usize>()
}

fn size_of_test(test: &Test) -> usize {
    match test {
        Test::OneOf(parts) | Test::Every(parts) | Test::Any(parts) | Test::All(parts) => {
            parts.iter().map(size_of_test).sum::<usize>()
        }
        Test::Not(test) => size_of_test(test),
        _ => 1,
    }
}

fn covers(earlier: &Rule, later: &Rule) -> bool {
    // A rule that approves lets known-exploited tickets pass, so it leaves something to a rule that does not.
    if earlier.auto == Some(Auto::Approve) && later.auto != Some(Auto::Approve) {
        return false;
    }
    let follows = |wanted: &Comparison| {
        later.comparisons.iter().any(|own| own.field == wanted.field && implies(&own.test, &wanted.test))
    };
    earlier.comparisons.iter().all(follows)
}

/// Whether the second holds wherever the first does.
fn implies(a: &Test, b: &Test) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        (Test::OneOf(each), b) => each.iter().all(|a| implies(a, b)),
        (Test::Every(parts), b) if parts.iter().any(|a| implies(a, b)) => true,
        (a, Test::Every(parts)) => parts.iter().all(|b| implies(a, b)),
        (a, Test::OneOf(each)) => each.iter().any(|b| implies(a, b)),
        (Test::Not(a), Test::Not(b)) => implies(b, a),
        (a, Test::Not(b)) => excludes(a, b),
        (Test::Not(_) | Test::Every(_) | Test::Present(_), _) => false,
        // Everything else is false for a missing field.
        (_, Test::Present(true)) => true,
        (Test::Flag(value), b) => b.holds(&Actual::Flag(*value)),
        // Of two words, lower-cased both, it is enough to compare them: lists may be long.
        (Test::Text(_), Test::Text(_)) => false,
        (Test::Text(text), b) => b.holds(&Actual::of(Some(&Json::Text(text.clone())))),
        (Test::Number(a), Test::Than(order, b)) => order.holds(&a.value, &b.value),
        (Test::Than(a_order, a), Test::Than(b_order, b)) => {
            let strict = |order| matches!(order, Order::Gt | Order::Lt);
            let upward = |order| matches!(order, Order::Gt | Order::Gte);
            let at_least_as_far = if upward(*a_order) { a.value >= b.value } else { a.value <= b.value };
            let enough = a.value != b.value || strict(*a_order) || !strict(*b_order);
            upward(*a_order) == upward(*b_order) && at_least_as_far && enough
        }
        (Test::Before(a), Test::Before(b)) => a <= b,
        (Test::After(a), Test::After(b)) => a >= b,
        (Test::Any(a), Test::Any(b)) => a.iter().all(|a| b.iter().any(|b| implies(a, b))),
        (Test::All(a), Test::All(b)) => b.iter().all(|b| a.iter().any(|a| implies(a, b))),
        (Test::All(a), Test::Any(b)) => a.iter().any(|a| b.iter().any(|b| implies(a, b))),
        _ => false,
    }
}

/// Whether the two never hold together, as far as single values show it.
fn excludes(a: &Test, b: &Test) -> bool {
    match a {
        Test::OneOf(each) => each.iter().all(|a| excludes(a, b)),
        Test::Flag(value) => !b.holds(&Actual::Flag(*value)),
        Test::Text(text) => !b.holds(&Actual::of(Some(&Json::Text(text.clone())))),
        Test::Present(false) => !b.holds(&Actual::Missing),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::rules::decimal::Decimal;
    use crate::domain::rules::matching::Amount;

    fn amount(number: i8) -> Amount {
        let written = number.to_string();
        Amount { value: Decimal::parse(&written).unwrap(), written }
    }

    fn values() -> Vec<Option<Json>> {
        let text = |text: &str| Json::Text(text.to_owned());
        let mut values = vec![None, Some(Json::Bool(true)), Some(Json::Bool(false)), Some(Json::List(vec![]))];
        values.extend((-3..4).map(|number| Some(Json::Number(number.to_string()))));
        values.extend((-3..4).map(|number| Some(Json::Number(format!("{number}.5")))));
        values.extend(["a", "ab", "b", "2", "2.0", "2026-01-02", "2026-01-03"].map(|word| Some(text(word))));
        values.push(Some(Json::List(vec![text("a")])));
        values.push(Some(Json::List(vec![text("a"), text("b")])));
        values.push(Some(Json::List(vec![text("ab"), Json::Number("2".into())])));
        values
    }

    fn tests() -> impl Strategy<Value = Test> {
        let day = |day: u32| chrono::NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
        let leaf = prop_oneof![
            any::<bool>().prop_map(Test::Flag),
            (-2_i8..3).prop_map(|number| Test::Number(amount(number))),
            prop::sample::select(vec!["a", "ab", "b", "2"]).prop_map(|text| Test::Text(text.into())),
            prop::sample::select(vec!["a*", "*", "*b"]).prop_map(|text| Test::Glob(text.into())),
            (prop::sample::select(vec![Order::Gt, Order::Gte, Order::Lt, Order::Lte]), -2_i8..3)
                .prop_map(|(order, number)| Test::Than(order, amount(number))),
            (1_u32..5).prop_map(move |number| Test::Before(day(number))),
            (1_u32..5).prop_map(move |number| Test::After(day(number))),
            any::<bool>().prop_map(Test::Present),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|test| Test::Not(Box::new(test))),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Test::OneOf),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Test::Every),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Test::Any),
                prop::collection::vec(inner, 1..3).prop_map(Test::All),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_follows_holds_wherever_the_other_does(a in tests(), b in tests()) {
            if implies(&a, &b) {
                for value in values() {
                    let actual = Actual::of(value.as_ref());
                    prop_assert!(!a.holds(&actual) || b.holds(&actual), "{a} / {b}: {value:?}");
                }
            }
        }
    }

    #[test]
    fn what_obviously_follows_is_seen() {
        let text = |text: &str| Test::Text(text.into());
        let than = |order, number| Test::Than(order, amount(number));
        for (a, b) in [
            (text("high"), Test::OneOf(vec![text("critical"), text("high")])),
            (Test::OneOf(vec![text("high")]), Test::OneOf(vec![text("critical"), text("high")])),
            (text("payments-api"), Test::Glob("payments-*".into())),
            (than(Order::Gt, 30), than(Order::Gte, 14)),
            (than(Order::Gt, 14), than(Order::Gte, 14)),
            (Test::Number(amount(30)), than(Order::Gt, 14)),
            (Test::All(vec![text("pci"), text("prod")]), Test::Any(vec![text("prod"), text("x")])),
            (Test::Flag(false), Test::Not(Box::new(Test::Flag(true)))),
            (text("x"), Test::Present(true)),
        ] {
            assert!(implies(&a, &b), "{a} / {b}");
            assert!(!implies(&b, &a), "{b} / {a}");
        }
    }
}
