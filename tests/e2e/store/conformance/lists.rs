//! Lists against a plain filter in memory: combinations of filters at random, paged through to the end, looking as far as is good and hardly at
//! all. The keys lie so far apart that a list leads through several blocks.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use reprieve::domain::dates::parse_date;
use reprieve::domain::exception::{Enforcement, Exception, Status};
use reprieve::domain::fields::SEVERITIES;
use reprieve::store::lookups::Bounds;
use reprieve::store::{Changes, Views};

use super::lookups::{all, limit, now, selection};
use crate::store::material::{decide, exception, ticket_id, user, write};
use crate::store::place::{Place, Sql, sql};

const ROWS: usize = 400;
const QUESTIONS: usize = 50;

/// The same numbers each time for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.get(self.below(words.len())).copied().expect("a word")
    }
}

/// One of any state; the first third has ids of another year than the rest, and dates drift with the age.
fn any(dice: &mut Dice, number: usize) -> Exception {
    let year = ["EX-2024", "EX-2025", "EX-2025"].get(number * 3 / ROWS).copied().expect("a third");
    let mut it = exception(&format!("{year}-{number:03}"));
    it.ticket_id = ticket_id(&format!("{}", number - dice.below(3).min(number)));
    dice.of(&SEVERITIES).clone_into(&mut it.request.severity);
    it.request.requester =
        user(dice.of(&["zoe", "zoe", "zoe", "zoe", "person-1", "person-12", "person-2", "ex-2024-bot"]));
    it.level.reviewers = vec![user(dice.of(&["dana", "bob"])), user(dice.of(&["eve", "mallory"]))];
    let first = parse_date("2026-06-01").expect("a date");
    let day = |dice: &mut Dice| first + Days::new((number / 2 + dice.below(90)) as u64);
    it.request.current_due_date = day(dice);
    match dice.below(12) {
        0 => it.status = Status::UnderReview,
        1 => {}
        2..=4 => decide(&mut it, Status::Denied, Enforcement::None),
        5 => decide(&mut it, Status::Cancelled, Enforcement::None),
        6 => decide(&mut it, Status::Approved, Enforcement::Pending),
        7..=8 => decide(&mut it, Status::Approved, Enforcement::InForce),
        _ => decide(&mut it, Status::Approved, Enforcement::Ended),
    }
    if it.is_open() {
        it.ticket_id = ticket_id(&format!("open-{number}"));
    }
    it.approved_due_date = it.approved_due_date.map(|_| day(dice) + Days::new(30));
    it
}

/// Each name once at most, each rarely.
fn question(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut filters = Vec::new();
    for (name, values) in [
        ("status", &["requested,under_review", "denied", "cancelled", "approved,denied", "approved"][..]),
        ("enforcement", &["in_force", "pending", "ended", "none", "pending,in_force"]),
        ("severity", &["critical", "high,info", "low", "medium"]),
        ("reviewer", &["dana", "eve", "nobody"]),
        ("requester", &["zoe", "zoe", "person-1", "ex-2024-bot", "nobody"]),
        ("ticket", &["T-17", "T-230", "T-nothing"]),
        ("due_before", &["2026-07-15", "2026-09-01", "2026-12-01", "2020-01-01", "2100-01-01"]),
        ("expiring_within", &["7d", "30d", "365d"]),
        ("q", &["EX-2024", "EX-2025-2", "EX", "T-", "T-1", "person-1", "zoe", "zzz", "T-open-39"]),
    ] {
        if dice.below(if name == "ticket" { 15 } else { 4 }) == 0 {
            filters.push((name, dice.of(values).to_owned()));
        }
    }
    filters
}

/// What the words mean, by the exception alone. Of some the day is not stored beside them.
fn fits(it: &Exception, name: &str, value: &str) -> bool {
    let status = match it.status {
        Status::Requested => "requested",
        Status::UnderReview => "under_review",
        Status::Approved => "approved",
        Status::Denied => "denied",
        Status::Cancelled => "cancelled",
    };
    let enforcement = match it.enforcement {
        Enforcement::None => "none",
        Enforcement::Pending => "pending",
        Enforcement::InForce => "in_force",
        Enforcement::Ended => "ended",
    };
    let until = (!it.id.as_str().ends_with('7')).then(|| match it.enforcement {
        Enforcement::Pending | Enforcement::InForce => it.approved_due_date.expect("approved"),
        _ => it.request.current_due_date,
    });
    let today = now().date_naive();
    let last = |days: &str| today + Days::new(days.trim_end_matches('d').parse().expect("days"));
    match name {
        "status" => value.split(',').any(|word| word == status),
        "enforcement" => value.split(',').any(|word| word == enforcement),
        "severity" => value.split(',').any(|word| word == it.request.severity),
        "reviewer" => it.is_open() && it.level.reviewers.iter().any(|reviewer| reviewer.as_str() == value),
        "requester" => it.request.requester.as_str() == value,
        "ticket" => it.ticket_id.as_str() == value,
        "due_before" => until.is_some_and(|day: NaiveDate| day < parse_date(value).expect("a date")),
        "expiring_within" => {
            matches!(it.enforcement, Enforcement::Pending | Enforcement::InForce)
                && until.is_some_and(|day| today <= day && day <= last(value))
        }
        // People are stored in small letters.
        "q" => {
            it.id.as_str().starts_with(value)
                || it.ticket_id.as_str().starts_with(value)
                || it.request.requester.as_str().starts_with(&value.to_ascii_lowercase())
        }
        other => panic!("no filter {other}"),
    }
}

async fn fill(place: &dyn Place, dice: &mut Dice) -> Vec<Exception> {
    let mut store = place.open().await;
    let far = "ALTER TABLE exceptions ALTER COLUMN key SET INCREMENT BY 97";
    place.tamper(Sql { postgres: far, sqlite: "SELECT 1" }).await;
    let exceptions: Vec<Exception> = (0..ROWS).map(|number| any(dice, number)).collect();
    let mut load = BTreeMap::new();
    for reviewer in exceptions.iter().flat_map(Exception::assigned) {
        *load.entry(reviewer.clone()).or_insert(0) += 1;
    }
    write(&mut store, &Changes { exceptions: exceptions.clone(), load, ..Changes::default() }).await;
    let far = "UPDATE exceptions SET key = -97 * key; UPDATE exceptions SET key = -key";
    place.tamper(Sql { postgres: "SELECT 1", sqlite: far }).await;
    place.tamper(sql("UPDATE exceptions SET runs_until = NULL WHERE id LIKE '%7'")).await;
    exceptions
}

pub(crate) async fn every_combination_finds_what_a_plain_filter_finds(place: &dyn Place) {
    let seed = 20_261_125;
    let mut dice = Dice(seed);
    let exceptions = fill(place, &mut dice).await;
    let ways: [(Box<dyn Views>, &str); 4] = [
        (place.views(), "50"),
        (place.views_within(Bounds { looked_at: 1_000, blocks: 3, few: 5 }), "7"),
        (place.views_within(Bounds { looked_at: 11, blocks: 100, few: 3 }), "500"),
        (place.views_within(Bounds { looked_at: 60, blocks: 2, few: 40 }), "20"),
    ];
    let mut found_some = 0;
    for number in 0..QUESTIONS {
        let filters = question(&mut dice);
        let filters: Vec<(&str, &str)> = filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let meant = exceptions.iter().rev().filter(|it| filters.iter().all(|(name, value)| fits(it, name, value)));
        let expected: Vec<String> = meant.map(|it| it.id.to_string()).collect();
        found_some += usize::from(!expected.is_empty());
        for (views, most) in &ways {
            let (found, pages) = all(&**views, &selection(&filters), limit(most)).await;
            assert_eq!(found, expected, "seed {seed}, question {number}: {filters:?} by {most}, pages {pages:?}");
        }
    }
    assert!(found_some > QUESTIONS / 3, "only {found_some} questions have an answer");
}
