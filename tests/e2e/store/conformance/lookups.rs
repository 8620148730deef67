//! What people look up in lists: each filter, pages without gap or double, tickets and figures.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate, TimeDelta};
use reprieve::domain::dates::{Timestamp, parse_date, parse_time};
use reprieve::domain::exception::{Enforcement, Exception, Status};
use reprieve::domain::ids::TicketId;
use reprieve::store::desk::Limit;
use reprieve::store::lookups::{Newer, Selection, Stats};
use reprieve::store::{Changes, Views, Wanted};

use crate::store::material::{decide, exception, failure, id, ticket_id, turn, user, write};
use crate::store::place::{Place, sql};

pub(super) fn now() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").expect("a time")
}

fn day(text: &str) -> NaiveDate {
    parse_date(text).expect("a date")
}

pub(super) fn limit(number: &str) -> Limit {
    number.parse().expect("a limit")
}

pub(super) fn selection(filters: &[(&str, &str)]) -> Selection {
    let mut selection = Selection::default();
    for (name, value) in filters {
        assert!(selection.set(name, value, now()).expect("a value"), "{name}");
    }
    selection
}

/// One of each state, by number, oldest first: 1 requested, 2 under review, 3 in force, 4 pending, 5 ended, 6 denied, 7 requested.
fn seven() -> Changes {
    let mut all: Vec<Exception> = (1..=7).map(|number| exception(&format!("EX-{number}"))).collect();
    for it in &mut all {
        it.level.reviewers = vec![user("dana")];
        it.request.current_due_date = day("2026-12-01");
    }
    all[1].status = Status::UnderReview;
    all[1].level.reviewers = vec![user("dana.b"), user("bob")];
    decide(&mut all[2], Status::Approved, Enforcement::InForce); // until 2026-12-05
    decide(&mut all[3], Status::Approved, Enforcement::Pending);
    all[3].approved_due_date = Some(day("2027-03-01"));
    decide(&mut all[4], Status::Approved, Enforcement::Ended);
    decide(&mut all[5], Status::Denied, Enforcement::None);
    all[5].ticket_id = ticket_id("EX-7");
    "low".clone_into(&mut all[5].request.severity);
    all[6].request.requester = user("yan@example.com");
    "critical".clone_into(&mut all[6].request.severity);
    all[6].level.unassigned = true;
    all[6].request.current_due_date = day("2027-06-01");
    Changes { exceptions: all, ..Changes::default() }
}

pub(super) async fn all(views: &dyn Views, selection: &Selection, limit: Limit) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut pages, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = views.exceptions(selection, after, limit).await.expect("a page");
        pages.push(page.items.len());
        assert!(pages.len() < 999, "no end: {pages:?}");
        ids.extend(page.items.iter().map(|exception| exception.id.to_string()));
        // As it comes back from a caller.
        after = page.next.map(|cursor| cursor.to_string().parse::<Newer>().expect("a cursor"));
        if after.is_none() {
            return (ids, pages);
        }
    }
}

pub(crate) async fn each_filter_finds_its_exceptions(place: &dyn Place) {
    write(&mut place.open().await, &seven()).await;
    let views = place.views();
    for (filters, found) in [
        (&[][..], "7 6 5 4 3 2 1"),
        (&[("status", "requested")], "7 1"),
        (&[("status", "under_review,denied")], "6 2"),
        (&[("status", "cancelled")], ""),
        (&[("enforcement", "in_force,ended")], "5 3"),
        (&[("enforcement", "none")], "7 6 2 1"),
        (&[("status", "denied"), ("enforcement", "ended")], ""),
        (&[("severity", "critical,low")], "7 6"),
        (&[("severity", "info")], ""),
        (&[("reviewer", "Dana")], "7 1"),
        (&[("reviewer", "bob")], "2"),
        (&[("reviewer", "dan")], ""),
        (&[("requester", "yan@example.com")], "7"),
        (&[("ticket", "T-EX-7")], "7 6"),
        (&[("ticket", "T-EX")], ""),
        (&[("due_before", "2026-12-01")], ""),
        (&[("due_before", "2026-12-02")], "6 5 2 1"),
        (&[("due_before", "2026-12-06")], "6 5 3 2 1"),
        (&[("expiring_within", "11d")], "3"),
        (&[("expiring_within", "10d")], ""),
        (&[("expiring_within", "100d")], "4 3"),
        (&[("q", "EX-")], "7 6 5 4 3 2 1"),
        (&[("q", "EX-4")], "4"),
        (&[("q", "T-EX-7")], "7 6"),
        (&[("q", "Y")], "7"),
        (&[("q", "X")], ""),
        (&[("status", "requested"), ("reviewer", "dana"), ("severity", "high")], "1"),
        (&[("status", "requested"), ("due_before", "2027-01-01")], "1"),
        (&[("requester", "zoe@example.com"), ("enforcement", "none"), ("severity", "high")], "2 1"),
        (&[("q", "EX-"), ("expiring_within", "365d"), ("due_before", "2027-01-01")], "3"),
        (&[("ticket", "T-EX-7"), ("status", "denied")], "6"),
    ] {
        let expected: Vec<String> = found.split_whitespace().map(|number| format!("EX-{number}")).collect();
        for most in ["1", "2", "50"] {
            let found = all(&*views, &selection(filters), limit(most)).await.0;
            assert_eq!(found, expected, "{filters:?} by {most}");
        }
    }
    // What an older program wrote has no date beside it; nothing else is hidden by that.
    place.tamper(sql("UPDATE exceptions SET runs_until = NULL WHERE id = 'EX-1'")).await;
    assert_eq!(all(&*views, &Selection::default(), Limit::DEFAULT).await.0.len(), 7);
    let (one, shown) =
        (seven().exceptions.swap_remove(6), views.exceptions(&Selection::default(), None, limit("1")).await);
    assert_eq!(shown.expect("a page").items, [one], "whole, as it was written");
}

/// More than are looked at for one page, so that both ways of finding one are gone.
pub(crate) async fn lists_have_no_gap_and_no_double_however_many_there_are(place: &dyn Place) {
    const ROWS: usize = 5_600;
    let mut store = place.open().await;
    let make = |number: usize| {
        let mut it = exception(&format!("EX-{number:05}"));
        ["low", "medium"][number % 2].clone_into(&mut it.request.severity);
        if number.is_multiple_of(700) {
            it.request.requester = user("rare");
            it.request.current_due_date = day("2020-01-01");
        }
        it
    };
    for numbers in (0..ROWS).collect::<Vec<_>>().chunks(700) {
        let exceptions = numbers.iter().map(|number| make(*number)).collect();
        write(&mut store, &Changes { exceptions, ..Changes::default() }).await;
    }
    let views = place.views();
    let numbered = |numbers: &mut dyn Iterator<Item = usize>| {
        let mut ids: Vec<String> = numbers.map(|number| format!("EX-{number:05}")).collect();
        ids.reverse();
        ids
    };
    let everything = numbered(&mut (0..ROWS));
    let rare = numbered(&mut (0..ROWS).step_by(700));
    for (filters, expected) in [
        (&[][..], &everything),
        (&[("status", "requested")], &everything),
        (&[("q", "EX-")], &everything),
        (&[("reviewer", "dana@example.com")], &everything),
        (&[("due_before", "2100-01-01")], &everything),
        (
            &[("requester", "zoe@example.com"), ("q", "T-")],
            &numbered(&mut (0..ROWS).filter(|it| !it.is_multiple_of(700))),
        ),
        (&[("severity", "low"), ("due_before", "2021-01-01")], &rare),
        (&[("requester", "rare"), ("q", "EX")], &rare),
        (&[("status", "requested"), ("q", "EX-"), ("severity", "medium")], &numbered(&mut (1..ROWS).step_by(2))),
    ] {
        let (found, pages) = all(&*views, &selection(filters), limit("500")).await;
        assert_eq!(found.len(), expected.len(), "{filters:?} {pages:?}");
        assert_eq!(&found, expected, "{filters:?} {pages:?}");
    }

    // What comes in between is newer than every page but the first, and changes none of those that follow.
    let selection = selection(&[("q", "EX-"), ("status", "requested")]);
    let first = views.exceptions(&selection, None, limit("500")).await.expect("a page");
    write(&mut store, &Changes { exceptions: (ROWS..ROWS + 50).map(make).collect(), ..Changes::default() }).await;
    let mut seen: Vec<String> = first.items.iter().map(|it| it.id.to_string()).collect();
    let mut after = first.next;
    while let Some(cursor) = after {
        let page = views.exceptions(&selection, Some(cursor), limit("500")).await.expect("a page");
        seen.extend(page.items.iter().map(|it| it.id.to_string()));
        after = page.next;
    }
    assert_eq!(seen, everything);
}

pub(crate) async fn a_ticket_is_shown_with_its_newest_exceptions(place: &dyn Place) {
    let mut store = place.open().await;
    let mut changes = seven();
    for it in &mut changes.exceptions[2..6] {
        it.ticket_id = ticket_id("T");
    }
    changes.tickets = crate::store::material::submission(&["T", "EX-1"]).tickets;
    write(&mut store, &changes).await;
    let views = place.views();
    let ticket = views.ticket(&ticket_id("T"), limit("3")).await.expect("an answer").expect("there");
    let ids: Vec<_> = ticket.exceptions.items.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(
        (ticket.id, ticket.current_due_date),
        (ticket_id("T"), day("2027-03-01")),
        "of the newest that is enforced"
    );
    assert_eq!((ids.join(" "), ticket.exceptions.next.is_some()), ("EX-6 EX-5 EX-4".to_owned(), true));
    let plain = views.ticket(&ticket_id("EX-1"), Limit::DEFAULT).await.expect("an answer").expect("there");
    assert_eq!((plain.current_due_date, plain.exceptions.next), (day("2026-12-01"), None), "of its newest request");
    assert!(
        views.ticket(&TicketId::parse("SEC-9").expect("an id"), Limit::DEFAULT).await.expect("an answer").is_none()
    );
}

pub(crate) async fn figures_are_kept_by_turns(place: &dyn Place) {
    let mut store = place.open().await;
    let views = place.views();
    let today = day("2026-11-24");
    assert_eq!(views.stats(today).await.expect("figures"), Stats::default());
    let mut changes = seven();
    changes.failures = vec![failure("EX-1", crate::store::material::digest(1))];
    changes.outbox = vec!["out".to_owned()];
    changes.exceptions[0].created_at = now() - TimeDelta::days(9);
    for it in &mut changes.exceptions[2..6] {
        it.decided_at = Some(it.created_at + TimeDelta::hours(3));
    }
    write(&mut store, &changes).await;
    let stats = views.stats(today).await.expect("figures");
    let expected = Stats {
        open: 3,
        unassigned: 1,
        oldest_open_days: Some(9),
        decided_30d: 4,
        approved_30d: 3,
        median_hours_to_decision: Some(3),
        in_force: 1,
        expiring_30d: 1,
        failures_open: 1,
        outbox: stats.outbox,
        ..Stats::default()
    };
    assert_eq!((&stats, stats.outbox.pending), (&expected, 1));

    // The oldest and the unassigned one are denied a month later, and what was in force has ended.
    let later = today + Days::new(32);
    let named: BTreeSet<_> = ["EX-1", "EX-3", "EX-7"].map(id).into();
    turn(&mut store, &Wanted { exceptions: named, ..Wanted::default() }, |snapshot| {
        let mut exceptions: Vec<_> = snapshot.exceptions.into_values().collect();
        for it in &mut exceptions {
            if it.is_open() {
                decide(it, Status::Denied, Enforcement::None);
                it.decided_at = Some(now() + TimeDelta::days(32));
            } else {
                it.enforcement = Enforcement::Ended;
            }
        }
        Changes { exceptions, ..Changes::default() }
    })
    .await
    .expect("a turn");
    let stats = views.stats(later).await.expect("figures");
    let expected = Stats {
        open: 1,
        oldest_open_days: Some(32),
        decided_30d: 2,
        median_hours_to_decision: stats.median_hours_to_decision,
        failures_open: 1,
        outbox: stats.outbox,
        ..Stats::default()
    };
    assert_eq!(stats, expected);
    assert_eq!(stats.median_hours_to_decision, Some(32 * 24 - 24), "by whole days: 31 days and some hours");
}
