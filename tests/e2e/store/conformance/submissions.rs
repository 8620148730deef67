//! What people look up: one exception with its chain, and what was submitted, page by page.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveDate;
use reprieve::domain::exception::{Enforcement, Exception, Status};
use reprieve::domain::history::{Chain, EntryOutcome, Happening, Hash, link};
use reprieve::store::submissions::Submitted;
use reprieve::store::{Changes, RuleSetRow, Wanted};

use crate::store::material::{date, decide, exception, happening, id, submission, ticket_id, turn, write};
use crate::store::place::{Place, sql};

pub(crate) async fn a_look_up_shows_the_exception_and_its_chain(place: &dyn Place) {
    let views = place.views();
    assert!(views.exception(&id("EX-1")).await.is_err(), "no schema yet");
    let mut store = place.open().await;
    let written = submission(&["EX-1", "EX-2"]);
    write(&mut store, &written).await;
    // Two more entries in one turn, and one more in another.
    let mut last = written.exceptions[0].clone();
    for entries in [2, 1] {
        let entry = |number| happening(&last, &format!("later {number}"));
        let entries: Vec<_> = (0..entries).map(entry).collect();
        let wanted = Wanted { exceptions: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
        let history = entries.into_iter().map(|it| last.chain.append(&last.id, it)).collect();
        let changes = Changes { history, exceptions: vec![last.clone()], ..Changes::default() };
        turn(&mut store, &wanted, |_| changes.clone()).await.expect("a turn");
    }
    let view = views.exception(&id("EX-1")).await.expect("an answer").expect("there");
    assert_eq!((view.exception, view.before.is_none()), (last.clone(), true));
    assert_eq!(view.submitted.as_ref(), Some(&written.history[0].happening.body));
    let bodies = [written.history[0].happening.body.clone(), "later 0".into(), "later 1".into(), "later 0".into()];
    let mut head: Hash = Chain::default().head;
    for ((entry, number), body) in view.newest.iter().zip(1..).zip(bodies) {
        let fields: Vec<String> = entry.fields.iter().cloned().chain([body]).collect();
        head = link(&head, "EX-1", entry.number, &fields);
        assert_eq!((entry.number, entry.hash.as_slice()), (number, head.as_slice()));
    }
    assert_eq!((view.newest.len(), head), (4, last.chain.head));
    let rest = views.history(&id("EX-1"), 2).await.expect("an answer").expect("there");
    assert_eq!(rest.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3, 4]);
    assert!(views.exception(&id("EX-9")).await.expect("an answer").is_none());
    assert!(views.history(&id("EX-9"), 0).await.expect("an answer").is_none());
    // A turn in between: the entries go as far as the exception that was read says.
    place.tamper(sql("UPDATE exceptions SET entries = 3 WHERE id = 'EX-1'")).await;
    assert_eq!(views.exception(&id("EX-1")).await.expect("an answer").expect("there").newest.len(), 3);
}

/// A refusal is kept with the bytes of its event, which nobody is shown.
pub(crate) async fn large_refusals_are_looked_up_without_their_bytes(place: &dyn Place) {
    let mut store = place.open().await;
    let mut changes = submission(&["EX-1"]);
    let large = "x".repeat(240_000);
    for _ in 0..40 {
        let it = &mut changes.exceptions[0];
        let mut refusal = happening(it, &large);
        (refusal.outcome, refusal.code) = (EntryOutcome::Refused, Some("exception_exists"));
        changes.history.push(it.chain.append(&id("EX-1"), refusal));
    }
    write(&mut store, &changes).await;
    let found = place.views().exception(&id("EX-1")).await.expect("an answer").expect("there");
    let bytes = format!("{found:?}").len();
    assert!(bytes < 200_000, "{bytes} bytes");
}

/// An entry of every shape: by a timer, refused, of a time before 1970 and of one to the microsecond.
pub(crate) async fn every_field_of_an_entry_comes_back(place: &dyn Place) {
    let mut store = place.open().await;
    let mut it = exception("EX-1");
    let mut all = vec![happening(&it, "{}"), happening(&it, ""), happening(&it, "refused"), happening(&it, "old")];
    all[1].event = None;
    all[2].outcome = EntryOutcome::Refused;
    all[2].code = Some("not_a_reviewer");
    all[2].revision = 7;
    all[3].at = reprieve::domain::dates::parse_time("1969-12-31T23:59:59.999999Z").expect("a time");
    let history = all.iter().map(Happening::fields).collect::<Vec<_>>();
    let entries = all.into_iter().map(|happening| it.chain.append(&id("EX-1"), happening)).collect();
    write(&mut store, &Changes { history: entries, exceptions: vec![it], ..Changes::default() }).await;
    let view = place.views().exception(&id("EX-1")).await.expect("an answer").expect("there");
    let shown: Vec<_> = view.newest.iter().map(|entry| entry.fields.as_slice()).collect();
    assert_eq!(shown, history.iter().map(|fields| &fields[..10]).collect::<Vec<_>>());
}

pub(crate) async fn submissions_are_read_page_by_page(place: &dyn Place) {
    let mut store = place.open().await;
    let names: Vec<String> = (0..450).map(|number| format!("EX-{number:03}")).collect();
    write(&mut store, &submission(&names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let submissions = place.submissions();
    let (mut cursor, mut found, mut pages) = (None, Vec::new(), Vec::new());
    loop {
        let (page, next) = submissions.recent(cursor).await.expect("an answer");
        pages.push(page.len());
        assert!(pages.len() < 9, "no end: {pages:?}");
        found.extend(page.into_iter().map(|it| it.exception.id.to_string()));
        if next.is_none() {
            break;
        }
        cursor = next;
    }
    assert_eq!(pages, [200, 200, 50, 0]);
    assert_eq!(found, names.into_iter().rev().collect::<Vec<_>>(), "the newest first, each once");
    let one = submissions.of(&id("EX-007")).await.expect("an answer").expect("there");
    let expected = submission(&["EX-007"]);
    assert_eq!(one.exception, expected.exceptions[0]);
    assert_eq!((one.at, &one.data), (one.exception.created_at, &expected.history[0].happening.body));
    assert!(submissions.of(&id("EX-7")).await.expect("an answer").is_none());
    assert_eq!(submissions.rule_set("ab").await.expect("an answer").as_deref(), Some("version: 1"));
    assert!(submissions.rule_set("cd").await.expect("an answer").is_none());
}

/// Three requests of one ticket: the first was approved before the third came, and gave the earliest date.
pub(crate) async fn a_submission_shows_its_ticket_as_it_was(place: &dyn Place) {
    let mut store = place.open().await;
    let mut all = submission(&["EX-1", "EX-2", "EX-3"]);
    all.tickets.truncate(1);
    all.tickets[0].id = ticket_id("T");
    all.tickets[0].approved = 2;
    all.tickets[0].earliest_due_date = day(1);
    let dates = [day(3), day(1), date()];
    for ((exception, entry), (due, hour)) in
        all.exceptions.iter_mut().zip(&mut all.history).zip(dates.into_iter().zip([0, 2, 4]))
    {
        exception.ticket_id = ticket_id("T");
        exception.request.original_due_date = due;
        let mut again = happening(exception, "submitted");
        again.at += Duration::from_hours(hour);
        exception.chain = Chain::default();
        exception.updated_at += Duration::from_hours(hour + 1);
        *entry = exception.chain.append(&exception.id.clone(), again);
    }
    decide(&mut all.exceptions[0], Status::Approved, Enforcement::Ended);
    decide(&mut all.exceptions[1], Status::Approved, Enforcement::InForce);
    write(&mut store, &all).await;
    let submissions = place.submissions();
    let shown = |it: Submitted| (it.exception.id.to_string(), it.ticket.approved, it.ticket.earliest_due_date);
    let expected = [("EX-3", 2, day(1)), ("EX-2", 1, day(1)), ("EX-1", 0, day(3))];
    let expected = expected.map(|(name, approved, due)| (name.to_owned(), approved, due));
    let page = submissions.recent(None).await.expect("an answer").0;
    assert_eq!(page.into_iter().map(shown).collect::<Vec<_>>(), expected);
    for expected in expected {
        let one = submissions.of(&id(&expected.0)).await.expect("an answer").expect("there");
        assert_eq!(one.ticket.id, ticket_id("T"));
        assert_eq!(shown(one), expected);
    }
}

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 12, day).expect("a date")
}

pub(crate) async fn a_rule_set_is_kept_once(place: &dyn Place) {
    let rules = |hash: &str, body: &str| {
        let rules = RuleSetRow { hash: hash.to_owned(), version: body.to_owned(), body: body.to_owned() };
        Changes { rule_set: Some(rules), ..Changes::default() }
    };
    let (mut first, mut second) = (place.open().await, place.open().await);
    write(&mut first, &rules("aa", "one")).await;
    write(&mut second, &rules("aa", "not it")).await;
    write(&mut first, &rules("bb", "two")).await;
    write(&mut first, &rules("aa", "not it")).await;
    assert_eq!(place.count("rule_sets").await, 2);
    let submissions = place.submissions();
    for (hash, body) in [("aa", "one"), ("bb", "two")] {
        assert_eq!(submissions.rule_set(hash).await.expect("an answer").as_deref(), Some(body));
    }
}

/// A turn that is refused keeps nothing, and the next one does not believe that it did.
pub(crate) async fn a_rule_set_of_a_refused_turn_comes_with_the_next(place: &dyn Place) {
    let mut store = place.open().await;
    let good = submission(&["EX-1"]);
    let unapproved = |mut exception: Exception| {
        exception.status = Status::Approved;
        exception
    };
    let wrong = Changes { exceptions: good.exceptions.iter().cloned().map(unapproved).collect(), ..good.clone() };
    turn(&mut store, &Wanted::default(), |_| wrong.clone()).await.expect_err("refused");
    assert_eq!(place.count("rule_sets").await, 0);
    write(&mut store, &good).await;
    assert_eq!(place.count("rule_sets").await, 1);
}
