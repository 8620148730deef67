//! The file's own `tests:`: a request, and what the rules are expected to make of it. They look at the rule, at `auto` and
//! at the candidates of each level, the requester and whoever is not eligible left out; never at absences or `pick`, which
//! change from day to day.

use std::collections::BTreeSet;

use chrono::Days;
use serde::Serialize;

use super::matching::{Derived, Facts};
use super::node::{Node, Value};
use super::reader::{Reader, Spot, or};
use super::report::Place;
use super::{Auto, FALLBACK, RuleSet};
use crate::domain::dates::parse_date;
use crate::domain::fields::{self, Kind, SEVERITIES};
use crate::domain::ids::UserId;
use crate::domain::json::Json;

/// What a test's request is where it says nothing.
const NEUTRAL_REQUESTER: &str = "requester@example.invalid";
const NEUTRAL_CURRENT: &str = "2030-01-01";
const NEUTRAL_EXTENSION_DAYS: i64 = 30;
const NEUTRAL_DAYS_TO_DUE: i64 = 30;
/// Longest extension a test may give, in days: more is a slip of the finger.
const EXTENSION_DAYS_MAX: i64 = 100_000;

/// What a test and its expectation may say.
pub(super) const CASE: [&str; 3] = ["name", "request", "expect"];
pub(super) const EXPECT: [&str; 3] = ["rule", "auto", "levels"];

/// How a test says that the rule decides nothing by itself.
pub(super) const NO_AUTO: &str = "none";

/// One test of the file.
#[derive(Clone, Debug)]
pub(super) struct Case {
    name: String,
    at: Place,
    path: String,
    requester: UserId,
    data: Json,
    derived: Derived,
    expect: Expect,
}

#[derive(Clone, Debug, Default)]
struct Expect {
    rule: Option<String>,
    auto: Option<&'static str>,
    levels: Option<Vec<BTreeSet<UserId>>>,
}

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Where it stands.
    #[serde(flatten)]
    pub at: Place,
    /// The way there.
    pub path: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// The rule that matched.
    pub rule: String,
    /// What was not as expected.
    pub differences: Vec<Difference>,
}

/// One thing that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `rule`, `auto` or `levels[n]`.
    pub of: String,
    /// What the test wants.
    pub expected: String,
    /// What there is.
    pub actual: String,
}

/// How all tests went, and what none of them reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Whether all of them passed.
    pub ok: bool,
    /// In the order of the file.
    pub tests: Vec<CaseResult>,
    /// Rules, and the fallback, that no test ended at.
    pub unreached: Vec<String>,
}

impl RuleSet {
    /// Runs the file's own tests.
    pub fn test(&self) -> CaseReport {
        let tests: Vec<_> = self.cases.iter().map(|case| case.run(self)).collect();
        let reached: BTreeSet<&str> = tests.iter().map(|test| test.rule.as_str()).collect();
        let names = self.rules.iter().map(|rule| rule.name.as_str()).chain([FALLBACK]);
        CaseReport {
            ok: tests.iter().all(|test| test.passed),
            unreached: names.filter(|name| !reached.contains(name)).map(str::to_owned).collect(),
            tests,
        }
    }
}

impl Case {
    fn run(&self, rules: &RuleSet) -> CaseResult {
        let facts = Facts { data: &self.data, derived: self.derived };
        let (rule, assignment) = rules.find(&facts, &self.requester);
        let levels: Vec<_> = assignment.levels.iter().map(|level| level.available(&self.requester)).collect();
        let mut differences = Vec::new();
        let mut compare = |of: String, expected: String, actual: String| {
            if expected != actual {
                differences.push(Difference { of, expected, actual });
            }
        };
        if let Some(expected) = &self.expect.rule {
            compare("rule".into(), expected.clone(), rule.name.clone());
        }
        if let Some(expected) = self.expect.auto {
            compare("auto".into(), expected.into(), rule.auto.map_or(NO_AUTO, Auto::word).into());
        }
        if let Some(expected) = &self.expect.levels {
            for at in 0..expected.len().max(levels.len()) {
                compare(format!("levels[{at}]"), people(expected.get(at)), people(levels.get(at)));
            }
        }
        CaseResult {
            name: self.name.clone(),
            at: self.at,
            path: self.path.clone(),
            passed: differences.is_empty(),
            rule: rule.name.clone(),
            differences,
        }
    }
}

fn people(level: Option<&BTreeSet<UserId>>) -> String {
    let Some(level) = level else { return "no such level".to_owned() };
    format!("[{}]", level.iter().map(UserId::as_str).collect::<Vec<_>>().join(", "))
}

/// Reads `tests:`. `rules` are the names there are, if that is known.
pub(super) fn read(reader: &mut Reader, spot: &Spot<'_>, rules: Option<&[&str]>) -> Vec<Case> {
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for spot in reader.list(spot) {
        let Some(case) = reader.members(&spot, &CASE) else { continue };
        let name = reader.required(&case, "name", "what does the test show?");
        let name = name.and_then(|name| reader.text(&name).map(|text| (name, text)));
        if let Some((at, text)) = name.as_ref().filter(|(_, text)| !names.insert((*text).to_owned())) {
            reader.error(at, format!("there is another test named {text:?}"));
        }
        let expect = reader.required(&case, "expect", "what should come of it?");
        let expect = expect.map(|expect| read_expect(reader, &expect, rules)).unwrap_or_default();
        let asked =
            case.get("request").map_or_else(|| Json::Object(Vec::new()), |request| read_request(reader, &request));
        let (requester, data, derived) = merged(reader, &spot, &asked);
        cases.push(Case {
            name: name.map_or_else(String::new, |(_, text)| text.to_owned()),
            at: spot.at(),
            path: spot.path,
            requester,
            data,
            derived,
            expect,
        });
    }
    cases
}

fn read_expect(reader: &mut Reader, spot: &Spot<'_>, rules: Option<&[&str]>) -> Expect {
    let Some(expect) = reader.members(spot, &EXPECT) else { return Expect::default() };
    if expect.all().next().is_none() {
        reader.error(spot, "nothing is expected: name the rule, `auto` or the levels");
    }
    let rule = expect.get("rule").and_then(|spot| {
        let name = reader.text(&spot)?;
        if let Some(known) = rules.filter(|known| !known.contains(&name)) {
            reader.unknown(&spot, format!("there is no rule named {name}"), name, known.iter().copied());
        }
        Some(name.to_owned())
    });
    let words = [Auto::Approve.word(), Auto::Deny.word(), NO_AUTO].map(|word| (word, word));
    let auto = expect.get("auto").and_then(|spot| reader.word(&spot, &words));
    let levels = expect.get("levels").map(|spot| {
        let levels = reader.list(&spot);
        levels.iter().map(|level| reader.users(level).into_iter().collect()).collect()
    });
    Expect { rule, auto, levels }
}

/// A request as it is written, its fields checked like those of a submission.
fn read_request(reader: &mut Reader, spot: &Spot<'_>) -> Json {
    let Some(request) = reader.map(spot) else { return Json::Object(Vec::new()) };
    let mut members = Vec::new();
    for (key, value) in request.all() {
        if fields::DERIVED.contains(&key.name.as_str()) {
            if !matches!(&value.node.value, Value::Number(text) if text.parse::<i32>().is_ok()) {
                reader.error(&value, "expected a whole number of days, or of exceptions");
                continue;
            }
        } else {
            check_field(reader, key, &value, &key.name);
        }
        members.push((key.name.clone(), json(value.node)));
    }
    Json::Object(members)
}

fn check_field(reader: &mut Reader, key: &super::node::Key, spot: &Spot<'_>, path: &str) {
    let Some(field) = fields::submission_field(path) else {
        let known: Vec<_> = fields::SUBMISSION.iter().map(|field| field.path).chain(fields::DERIVED).collect();
        let nearest = super::report::nearest(path, known.into_iter());
        let last = nearest.as_deref().map(|meant| meant.rsplit('.').next().unwrap_or(meant));
        reader.unknown_key(key, &spot.path, format!("{path:?} is no field of a submission"), last.into_iter());
        return;
    };
    let value = &spot.node.value;
    let fits = match field.kind {
        _ if matches!(value, Value::Null) => true,
        Kind::Object => {
            for (key, inner) in reader.map(spot).iter().flat_map(super::reader::Members::all) {
                check_field(reader, key, &inner, &format!("{path}.{}", key.name));
            }
            true
        }
        Kind::Bool => matches!(value, Value::Bool(_)),
        Kind::Date => matches!(value, Value::Text(text) if parse_date(text).is_some()),
        Kind::Severity => matches!(value, Value::Text(text) if SEVERITIES.contains(&text.to_lowercase().as_str())),
        Kind::User => matches!(value, Value::Text(text) if UserId::parse(text).is_ok()),
        Kind::Score => match value {
            Value::Number(_) => true,
            Value::Text(text) => super::decimal::Decimal::parse(text).is_some(),
            _ => false,
        },
        Kind::TextList | Kind::ObjectList => matches!(value, Value::List(_)),
        Kind::Custom => matches!(value, Value::Map(_)),
        Kind::Count => matches!(value, Value::Number(_)),
        Kind::Id | Kind::Word | Kind::Verdict | Kind::Text | Kind::LongText | Kind::Time => {
            matches!(value, Value::Text(_) | Value::Number(_))
        }
    };
    if !fits {
        let expected = match field.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Date => "a date as in 2027-06-30".to_owned(),
            Kind::Severity => or(&SEVERITIES),
            Kind::User => "a user id".to_owned(),
            Kind::Score | Kind::Count => "a decimal number".to_owned(),
            Kind::TextList | Kind::ObjectList => "a list".to_owned(),
            Kind::Object | Kind::Custom => "a map".to_owned(),
            Kind::Id | Kind::Word | Kind::Verdict | Kind::Text | Kind::LongText | Kind::Time => "text".to_owned(),
        };
        reader.error(spot, format!("expected {expected}, found {}", spot.node.kind()));
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(text) => Json::Number(text.clone()),
        Value::Text(text) => Json::Text(text.clone()),
        Value::List(items) => Json::List(items.iter().map(json).collect()),
        Value::Map(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.name.clone(), json(value))).collect())
        }
    }
}

/// The request over the neutral one: dates and derived values follow from each other where only one of them is given.
fn merged(reader: &mut Reader, spot: &Spot<'_>, asked: &Json) -> (UserId, Json, Derived) {
    let number = |path: &str| match asked.at(path)? {
        Json::Number(text) => text.parse::<i64>().ok(),
        _ => None,
    };
    let date = |path: &str| parse_date(asked.text_at(path)?);
    let neutral = parse_date(NEUTRAL_CURRENT).expect("a constant that is a date");
    let current = date("ticket.current_due_date").unwrap_or(neutral);
    let requested = date("requested_due_date");
    let extension_days = number("extension_days")
        .or(requested.map(|requested| (requested - current).num_days()))
        .unwrap_or(NEUTRAL_EXTENSION_DAYS);
    if !(1..=EXTENSION_DAYS_MAX).contains(&extension_days) {
        reader.error(spot, format!("extension_days is {extension_days}: expected 1 to {EXTENSION_DAYS_MAX}"));
    }
    let days = Days::new(extension_days.clamp(1, EXTENSION_DAYS_MAX).unsigned_abs());
    let requested = requested.or(current.checked_add_days(days)).unwrap_or(current);
    let original = date("ticket.original_due_date").unwrap_or(current);
    let derived = Derived {
        extension_days,
        cumulative_extension_days: number("cumulative_extension_days")
            .unwrap_or_else(|| (current - original).num_days() + extension_days),
        previous_exceptions: number("previous_exceptions").unwrap_or(0),
        days_to_due: number("days_to_due").unwrap_or(NEUTRAL_DAYS_TO_DUE),
    };
    let requester = asked.text_at("requester.id").unwrap_or(NEUTRAL_REQUESTER);
    let requester = UserId::parse(requester)
        .unwrap_or_else(|_| UserId::parse(NEUTRAL_REQUESTER).expect("a constant that is a user id"));
    let text = |text: &str| Json::Text(text.to_owned());
    let neutral = Json::Object(vec![
        ("exception_id".into(), text("EX-TEST")),
        (
            "ticket".into(),
            Json::Object(vec![
                ("id".into(), text("TICKET-TEST")),
                ("title".into(), text("a test")),
                ("severity".into(), text("medium")),
                ("current_due_date".into(), text(&current.to_string())),
                ("original_due_date".into(), text(&original.to_string())),
            ]),
        ),
        ("requester".into(), Json::Object(vec![("id".into(), text(requester.as_str()))])),
        ("reason".into(), text("other")),
        ("justification".into(), text("a test")),
        ("requested_due_date".into(), text(&requested.to_string())),
    ]);
    (requester, over(asked, neutral), derived)
}

/// Objects are merged member by member; anything else replaces what was there.
fn over(asked: &Json, neutral: Json) -> Json {
    match (asked, neutral) {
        (Json::Object(own), Json::Object(mut members)) => {
            for (name, value) in own {
                match members.iter_mut().find(|(known, _)| known == name) {
                    Some((_, there)) => *there = over(value, std::mem::replace(there, Json::Null)),
                    None => members.push((name.clone(), value.clone())),
                }
            }
            Json::Object(members)
        }
        (asked, _) => asked.clone(),
    }
}
