use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::domain::rules::Timers;

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings: { triage: [lead@x.com], may_review: { users: [a@x.com, b@x.com, c@x.com, d@x.com, e@x.com, f@x.com] } }
fallback: { reviewers: none }
"#;

static RULE_SET: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::parse(RULES).unwrap());

fn user(id: &str) -> UserId {
    UserId::parse(&format!("{id}@x.com")).unwrap()
}

fn users(ids: &str) -> Vec<UserId> {
    ids.split_whitespace().map(user).collect()
}

fn assignment(candidates: &str, quorum: Quorum, pick: Pick, escalate_to: &str) -> Assignment {
    let plan = LevelPlan {
        candidates: users(candidates),
        quorum,
        pick,
        escalate_to: users(escalate_to),
        not_eligible: users("stranger"),
        timers: Timers::default(),
    };
    Assignment { levels: vec![plan], triage: users("lead"), ..Assignment::default() }
}

fn fill(assignment: &Assignment, exception: &str, requester: &str, people: &People) -> Level {
    let exception = ExceptionId::parse(exception).unwrap();
    let requester = user(requester);
    let filling = Filling { exception: &exception, requester: &requester, people, rules: &RULE_SET };
    assignment.clone().begin(1, filling).unwrap()
}

fn away(rows: &[(&str, Option<&str>)]) -> People {
    let away = rows.iter().map(|(who, delegate)| (user(who), delegate.map(user))).collect();
    People { away, load: BTreeMap::new() }
}

/// Candidates, quorum, `escalate_to`, requester, away; then reviewers, quorum, unassigned.
type Row<'a> = (&'a str, Quorum, &'a str, &'a str, &'a [(&'a str, Option<&'a str>)], &'a str, u32, bool);

#[test]
fn who_is_left_reviews_then_who_is_escalated_to_then_triage() {
    let rows: [Row<'_>; 13] = [
        ("a b c", Quorum::Any, "", "z", &[], "a b c", 1, false),
        ("a b c", Quorum::All, "", "b", &[], "a c", 2, false),
        ("a stranger", Quorum::All, "", "z", &[], "a", 1, false),
        ("a b c", Quorum::Number(2), "", "z", &[("a", Some("d"))], "d b c", 2, false),
        ("a b", Quorum::All, "", "z", &[("a", Some("b"))], "b", 1, false),
        ("a b", Quorum::Number(2), "d", "a", &[], "b d", 2, false),
        ("a", Quorum::Any, "a stranger", "a", &[], "lead", 1, true),
        ("a b", Quorum::Number(2), "b", "a", &[], "b lead", 2, true),
        ("a", Quorum::All, "c d", "a", &[], "c d", 2, false),
        ("a", Quorum::Any, "c", "z", &[("a", None), ("c", Some("d"))], "d", 1, false),
        ("", Quorum::Any, "", "z", &[], "lead", 1, true),
        ("", Quorum::All, "", "lead", &[], "", 1, true),
        ("lead", Quorum::Number(1), "", "lead", &[], "", 1, true),
    ];
    for row in rows {
        let (candidates, quorum, escalate_to, requester, absent, reviewers, needed, unassigned) = row;
        let level = fill(&assignment(candidates, quorum, Pick::All, escalate_to), "EX-1", requester, &away(absent));
        let expected = Level { number: 1, reviewers: users(reviewers), quorum: needed, unassigned };
        assert_eq!(level, expected, "{row:?}");
    }
}

#[test]
fn a_row_of_delegates_has_an_end() {
    for (absent, stands_in) in [
        (&[("a", Some("b")), ("b", Some("c")), ("c", Some("d"))][..], "d"),
        (&[("a", Some("b")), ("b", Some("c")), ("c", Some("d")), ("d", Some("e"))], ""),
        (&[("a", Some("b")), ("b", Some("a"))], ""),
        (&[("a", Some("a"))], ""),
        (&[("a", None)], ""),
        (&[("a", Some("stranger"))], ""),
        (&[("a", Some("z"))], ""),
        // The requester would choose who reviews the own request.
        (&[("a", Some("z")), ("z", Some("c"))], ""),
        (&[("a", Some("f")), ("f", Some("c"))], "c"),
    ] {
        let level = fill(&assignment("a", Quorum::Any, Pick::All, ""), "EX-1", "z", &away(absent));
        let expected = if stands_in.is_empty() { users("lead") } else { users(stands_in) };
        assert_eq!(level.reviewers, expected, "{absent:?}");
    }
}

#[test]
fn who_was_dropped_is_explained() {
    let mut assignment = assignment("a b c stranger", Quorum::Any, Pick::All, "");
    assignment.explanation.levels = vec![assignment.levels[0].explained(1, &user("b"))];
    let people = away(&[("a", Some("d"))]);
    let exception = ExceptionId::parse("EX-1").unwrap();
    let requester = user("b");
    assignment.begin(1, Filling { exception: &exception, requester: &requester, people: &people, rules: &RULE_SET });
    let explained = &assignment.explanation.levels[0];
    let dropped: Vec<_> = explained.dropped.iter().map(|d| (d.id.as_str(), d.why.as_str())).collect();
    assert_eq!(dropped, [("a@x.com", "away"), ("b@x.com", "requester"), ("stranger@x.com", "not_eligible")]);
    assert_eq!((explained.reviewers.clone(), explained.quorum), (users("d c"), Some(1)));
}

#[test]
fn the_least_loaded_are_picked_and_ties_go_by_hash() {
    let people = People { load: BTreeMap::from([(user("a"), 2), (user("b"), 1)]), ..People::default() };
    let two = assignment("a b c", Quorum::Number(2), Pick::LeastLoaded, "");
    assert_eq!(fill(&two, "EX-1", "z", &people).reviewers, users("b c"));
    let one = assignment("a b c d", Quorum::Any, Pick::LeastLoaded, "");
    let by_hash = assignment("c d", Quorum::Any, Pick::Hash, "");
    for number in 0..20 {
        let id = format!("EX-{number}");
        let (loaded, hashed) = (fill(&one, &id, "z", &people), fill(&by_hash, &id, "z", &people));
        assert_eq!(loaded.reviewers, hashed.reviewers, "{id}");
    }
}

/// Made by an independent program: SHA-256 over the lengths and texts.
#[test]
fn a_rank_never_changes() {
    let exception = ExceptionId::parse("EX-2026-000123").unwrap();
    let rank = rank(&exception, 2, &user("dana"));
    assert_eq!(crate::domain::ids::hex(&rank), VECTOR);
}

const VECTOR: &str = "14e3bfb859bd21e5b36f6b5125d987e97ba665d1cd4342e5716e604473cdf26d";

proptest! {
    #[test]
    fn the_choice_is_the_same_when_asked_again_and_has_as_many_as_the_quorum(
        id in "[A-Z0-9-]{1,20}", quorum in 1_u32..5, load in prop::collection::vec(0_u32..3, 6), least in any::<bool>(),
    ) {
        let pick = if least { Pick::LeastLoaded } else { Pick::Hash };
        let names = ["a", "b", "c", "d", "e", "f"];
        let load = names.iter().zip(load).map(|(name, load)| (user(name), load)).collect();
        let people = People { load, ..People::default() };
        let plan = assignment("a b c d e f", Quorum::Number(quorum), pick, "");
        let first = fill(&plan, &id, "z", &people);
        prop_assert_eq!(&first, &fill(&plan, &id, "z", &people));
        // The order in which the file names them does not choose.
        let turned = fill(&assignment("f e d c b a", Quorum::Number(quorum), pick, ""), &id, "z", &people);
        let set = |level: &Level| level.reviewers.iter().cloned().collect::<BTreeSet<_>>();
        prop_assert_eq!(set(&first), set(&turned));
        prop_assert_eq!(first.reviewers.len(), quorum as usize);
    }

    #[test]
    fn the_requester_never_reviews_and_an_empty_level_never_approves(
        candidates in prop::sample::subsequence(vec!["a", "b", "c", "lead", "stranger"], 0..=5),
        escalate_to in prop::sample::subsequence(vec!["a", "d"], 0..=2),
        quorum in prop::sample::select(vec![Quorum::Any, Quorum::All, Quorum::Number(0), Quorum::Number(3)]),
        pick in prop::sample::select(vec![Pick::All, Pick::Hash, Pick::LeastLoaded]),
        requester in prop::sample::select(vec!["a", "A", " a", "lead", "LEAD", "d"]),
        away in prop::collection::btree_map(
            prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(user),
            prop::option::of(prop::sample::select(vec!["a", "b", "c", "d", "z"]).prop_map(user)),
            0..4,
        ),
    ) {
        let people = People { away, ..People::default() };
        let level = fill(&assignment(&candidates.join(" "), quorum, pick, &escalate_to.join(" ")), "EX-1", requester, &people);
        prop_assert!(!level.reviewers.contains(&user(requester)), "{level:?}");
        prop_assert!(level.quorum >= 1);
        let enough = level.reviewers.len() >= level.quorum as usize;
        prop_assert!(enough || level.unassigned, "{level:?}");
        let distinct: BTreeSet<_> = level.reviewers.iter().collect();
        prop_assert_eq!(distinct.len(), level.reviewers.len());
    }
}
