//! A rules file: read twice it is the same or the same errors, each with words and a place in the file; one that is accepted
//! answers every submission, within a bounded time, without losing the triage.

use std::time::{Duration, Instant};

use crate::domain::ids::UserId;
use crate::domain::json::Json;
use crate::domain::rules::{Derived, Facts, RuleSet};

/// A file of 64 KiB, instrumented.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The bytes are a rules file.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let begun = Instant::now();
    let first = RuleSet::parse(text);
    let second = RuleSet::parse(text);
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "read twice it differs");
    match first {
        Ok(rules) => asked(&rules),
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a word");
            // YAML breaks lines at either.
            let lines = u64::try_from(text.matches(['\r', '\n']).count()).unwrap_or(u64::MAX) + 1;
            for error in errors {
                assert!(!error.message.is_empty(), "an error without words");
                assert!(error.line <= lines, "line {} of {lines}: {}", error.line, error.message);
            }
        }
    }
    assert!(begun.elapsed() <= TIME_MAX, "it takes {} ms", begun.elapsed().as_millis());
}

fn asked(rules: &RuleSet) {
    let text = |text: &str| Json::Text(text.to_owned());
    let ticket = vec![
        ("id".to_owned(), text("SEC-1")),
        ("severity".to_owned(), text("critical")),
        ("epss".to_owned(), Json::Number("0.42".to_owned())),
        ("kev".to_owned(), Json::Bool(true)),
        ("title".to_owned(), text(&"ab".repeat(2_000))),
    ];
    let members = vec![
        ("ticket".to_owned(), Json::Object(ticket)),
        ("reason".to_owned(), text("other")),
        ("custom".to_owned(), Json::Object(vec![("x".to_owned(), Json::List(vec![Json::Null]))])),
    ];
    let data = Json::Object(members);
    let derived = Derived { extension_days: 57, cumulative_extension_days: 57, previous_exceptions: 0, days_to_due: -3 };
    let requester = UserId::parse("zoe@example.com").expect("a user id");
    for team in [None, Some("payments")] {
        rules.may_request(&requester, team);
    }
    let facts = Facts { data: &data, derived };
    let (rule, mut assignment) = rules.find(&facts, &requester);
    assert_eq!(rule.name, assignment.rule);
    assert!(!assignment.levels.is_empty() && !assignment.triage.is_empty(), "nobody would ever be told");
    assert!(assignment.max_extension_days > 0);
    let levels = u32::try_from(assignment.levels.len()).expect("a file has fewer");
    for number in 1..=levels {
        let level = assignment.begin(number, &requester).expect("the level is there");
        assert!(!level.reviewers.contains(&requester), "the requester would review");
    }
    assert_eq!(assignment.begin(levels + 1, &requester).is_none(), true, "a level too many");
    let (_, again) = rules.find(&facts, &requester);
    assert_eq!(format!("{:?}", again.explanation), format!("{:?}", rules.find(&facts, &requester).1.explanation));
}
