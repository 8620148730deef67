//! The operator's desk: what it finds, page by page, and what its marks change.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::str::FromStr;
use std::time::Duration;

use reprieve::domain::dates::{Timestamp, parse_time};
use reprieve::store::desk::{Cursor, Desk, Edit, FailureState, Filter, Limit, Mark, SHOWN_BYTES_MAX};
use reprieve::store::{Changes, End, Failure, Outcome, Retried};
use uuid::Uuid;

use crate::store::material::{digest, failure, write};
use crate::store::place::{Place, sql};

pub(super) fn now() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").expect("a time")
}

pub(super) fn limit(number: &str) -> Limit {
    Limit::from_str(number).expect("a limit")
}

/// Failures by number, three in each second.
pub(super) fn numbered(numbers: std::ops::Range<u8>) -> Vec<Failure> {
    let numbered = |number: u8| Failure {
        received_at: now() + Duration::from_secs(u64::from(number / 3)),
        ..failure(&format!("EX-{number}"), digest(number))
    };
    numbers.map(numbered).collect()
}

pub(super) async fn desk_with(place: &dyn Place, failures: Vec<Failure>) -> Box<dyn Desk> {
    write(&mut place.open().await, &Changes { failures, ..Changes::default() }).await;
    place.desk()
}

pub(super) fn uuids(numbers: &[u8]) -> Vec<Uuid> {
    numbers.iter().map(|number| Uuid::from_bytes([*number; 16])).collect()
}

pub(super) async fn all(desk: &dyn Desk, filter: &Filter, limit: Limit) -> (Vec<Uuid>, Vec<usize>) {
    let (mut ids, mut pages, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = desk.failures(filter, after, limit).await.expect("a page");
        pages.push(page.items.len());
        assert!(pages.len() < 99, "no end: {pages:?}");
        ids.extend(page.items.iter().map(|failure| failure.id));
        // As it comes back from a caller.
        after = page.next.map(|cursor| cursor.to_string().parse::<Cursor>().expect("a cursor"));
        if after.is_none() {
            return (ids, pages);
        }
    }
}

pub(crate) async fn a_list_of_the_desk_is_read_page_by_page(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..7)).await;
    let newest_first = uuids(&[6, 5, 4, 3, 2, 1, 0]);
    for (most, pages) in [("2", vec![2, 2, 2, 1]), ("7", vec![7]), ("6", vec![6, 1]), ("500", vec![7])] {
        assert_eq!(all(&*desk, &Filter::open(), limit(most)).await, (newest_first.clone(), pages), "{most}");
    }
    let large = |failure: Failure| Failure { body: vec![b'x'; 2 * 1024 * 1024], ..failure };
    let large = numbered(20..40).into_iter().map(large).collect();
    write(&mut place.open().await, &Changes { failures: large, ..Changes::default() }).await;
    let filter = Filter { since: Some(now() + Duration::from_secs(6)), ..Filter::default() };
    let ids = uuids(&(20..40).rev().collect::<Vec<u8>>());
    assert_eq!(all(&*desk, &filter, limit("50")).await, (ids, vec![16, 4]), "a page ends at 4 MiB of what is shown");
    assert_eq!(desk.body(uuids(&[20])[0]).await.expect("an answer").map(|body| body.len()), Some(2 * 1024 * 1024));
    let found = desk.failure(uuids(&[20])[0]).await.expect("an answer").expect("a failure");
    assert_eq!((found.body.len(), found.body_bytes), (SHOWN_BYTES_MAX, 2 * 1024 * 1024));
    assert_eq!(found.message.as_str(), "a NUL \u{fffd} in a message");
    assert_eq!(desk.failure(Uuid::from_u128(1)).await.expect("an answer"), None);
}

pub(crate) async fn each_filter_of_the_desk_finds_its_failures(place: &dyn Place) {
    let mut failures = numbered(0..4);
    failures[1].reason = "schema";
    "a/t/x".clone_into(&mut failures[1].fingerprint);
    failures[2].event_type = Some("exception.decision.v1".to_owned());
    let desk = desk_with(place, failures).await;
    desk.mark(Mark::Discard, &uuids(&[0])).await.expect("marked");
    for (name, value, found) in [
        ("state", "open", vec![3, 2, 1]),
        ("state", "discarded", vec![0]),
        ("state", "all", vec![3, 2, 1, 0]),
        ("reason", "schema", vec![1]),
        ("type", "exception.decision.v1", vec![2]),
        ("fingerprint", "a/t/x", vec![1]),
        ("exception", "EX-3", vec![3]),
        ("since", "2026-11-24T09:00:01Z", vec![3]),
        ("until", "2026-11-24T09:00:01Z", vec![2, 1]),
    ] {
        let mut filter = Filter::open();
        assert!(filter.set(name, value, now()).expect("a value"));
        assert_eq!(all(&*desk, &filter, Limit::DEFAULT).await.0, uuids(&found), "{name} {value}");
        let tally = desk.count(&filter).await.expect("a count");
        assert_eq!(tally.count, found.len() as u64, "{name} {value}");
    }
    for (states, found) in [
        (vec![FailureState::Open, FailureState::Discarded], vec![3, 2, 1, 0]),
        (vec![FailureState::Retrying, FailureState::Discarded], vec![0]),
        (vec![FailureState::Retrying, FailureState::Resolved], vec![]),
    ] {
        let filter = Filter { states, ..Filter::default() };
        assert_eq!(all(&*desk, &filter, Limit::DEFAULT).await.0, uuids(&found), "{filter:?}");
    }
    let groups = desk.groups(&Filter::open(), Limit::DEFAULT).await.expect("groups");
    let seen: Vec<_> = groups.iter().map(|group| (group.fingerprint.as_str(), group.count, group.example)).collect();
    assert_eq!(seen, [("id_conflict", 2, uuids(&[3])[0]), ("a/t/x", 1, uuids(&[1])[0])], "the most frequent first");
    assert_eq!((groups[0].first_at, groups[0].last_at), (now(), now() + Duration::from_secs(1)));
    assert_eq!(desk.groups(&Filter::default(), limit("1")).await.expect("groups")[0].count, 3, "the largest");
    let until = Filter { until: Some(now() + Duration::from_secs(1)), ..Filter::default() };
    let example = desk.groups(&until, limit("1")).await.expect("groups")[0].example;
    assert_eq!(example, uuids(&[2])[0], "of one moment the last in the list's order");
}

pub(crate) async fn a_mark_of_the_desk_is_made_once(place: &dyn Place) {
    use FailureState::{Discarded, Open, Resolved, Retrying};
    let desk = desk_with(place, numbered(0..4)).await;
    let resolved = vec![Retried { id: uuids(&[3])[0], end: End::Ended(Outcome::Applied) }];
    write(&mut place.open().await, &Changes { retried: resolved, ..Changes::default() }).await;
    let named = uuids(&[0, 1, 2, 3, 9]);
    let states =
        |states: &[FailureState]| uuids(&[0, 1, 2, 3]).into_iter().zip(states.iter().copied()).collect::<Vec<_>>();
    desk.mark(Mark::Discard, &uuids(&[1])).await.expect("marked");
    desk.mark(Mark::Retry, &uuids(&[2])).await.expect("marked");
    assert_eq!(desk.states(&named).await.expect("states"), states(&[Open, Discarded, Retrying, Resolved]));
    let found = desk.mark(Mark::Discard, &named).await.expect("marked");
    assert_eq!(found, states(&[Open, Discarded, Retrying, Resolved]), "as it found them");
    assert_eq!(desk.states(&named).await.expect("states"), states(&[Discarded, Discarded, Retrying, Resolved]));
    for _ in ["once", "twice"] {
        desk.mark(Mark::Retry, &named).await.expect("marked");
        assert_eq!(desk.states(&named).await.expect("states"), states(&[Retrying, Retrying, Retrying, Resolved]));
    }
}

pub(crate) async fn marks_of_many_go_step_by_step_from_the_oldest(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..7)).await;
    desk.mark(Mark::Discard, &uuids(&[1])).await.expect("marked");
    let mut after = None;
    let retrying = Filter { states: vec![FailureState::Retrying], ..Filter::default() };
    for (changed, all_retrying) in [(3, vec![3, 2, 0]), (3, vec![6, 5, 4, 3, 2, 0]), (0, vec![6, 5, 4, 3, 2, 0])] {
        let step = desk.mark_next(Mark::Retry, &Filter::open(), after, limit("3")).await.expect("a step");
        assert_eq!((step.changed, step.next.is_some()), (changed, changed == 3));
        after = step.next;
        assert_eq!(all(&*desk, &retrying, Limit::MAX).await.0, uuids(&all_retrying));
    }
    // What failed again while they are marked is not taken a second time.
    let reopen = "UPDATE failures SET state = 'open' WHERE state = 'retrying'";
    place.tamper(sql(reopen)).await;
    let after = Some(Cursor { received_at: now() + Duration::from_secs(1), id: uuids(&[4])[0] });
    let step = desk.mark_next(Mark::Discard, &Filter::open(), after, limit("3")).await.expect("a step");
    assert_eq!((step.changed, step.next), (2, None));
    assert_eq!(desk.count(&Filter::open()).await.expect("a count").count, 4);
    // Whatever the filter says, only what the mark is for.
    let step = desk.mark_next(Mark::Discard, &Filter::default(), None, Limit::MAX).await.expect("a step");
    assert_eq!(step.changed, 4);
}

/// The page begins where the last one ended, and the filter's own ends stay.
pub(crate) async fn a_filter_and_a_place_go_together(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..9)).await;
    let second = |number| Some(now() + Duration::from_secs(number));
    for (since, until, found) in [
        (second(1), None, vec![8, 7, 6, 5, 4, 3]),
        (None, second(2), vec![5, 4, 3, 2, 1, 0]),
        (second(1), second(2), vec![5, 4, 3]),
        (second(2), second(1), vec![]),
        (None, None, vec![8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ] {
        let filter = Filter { since, until, ..Filter::open() };
        for most in ["1", "2", "3", "500"] {
            assert_eq!(all(&*desk, &filter, limit(most)).await.0, uuids(&found), "{filter:?}, {most} at a time");
        }
        // The other way round, as marks go; each once.
        let (mut marked, mut after) = (0, None);
        for _ in 0..9 {
            let step = desk.mark_next(Mark::Discard, &filter, after, limit("2")).await.expect("a step");
            (marked, after) = (marked + step.changed, step.next);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((marked, after), (found.len() as u64, None), "{filter:?}");
        place.tamper(sql("UPDATE failures SET state = 'open'")).await;
    }
}

/// What is not for this mark takes no place in a step.
pub(crate) async fn a_step_of_marks_passes_over_what_is_not_meant(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..6)).await;
    desk.mark(Mark::Discard, &uuids(&[0, 1, 3])).await.expect("marked");
    let step = desk.mark_next(Mark::Discard, &Filter::default(), None, limit("2")).await.expect("a step");
    assert_eq!((step.changed, step.next.map(|next| next.id)), (2, Some(uuids(&[4])[0])));
    let step = desk.mark_next(Mark::Discard, &Filter::default(), step.next, limit("2")).await.expect("a step");
    assert_eq!((step.changed, step.next), (1, None));
    assert_eq!(desk.count(&Filter::open()).await.expect("a count").count, 0);
}

/// What a turn has read cannot change under it.
pub(crate) async fn a_mark_of_the_desk_waits_for_the_turn(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..2)).await;
    let mut turn = place.hand().await;
    let edit = Edit { body: b"{}".to_vec(), content_type: None };
    for kind in ["named", "many", "edit"] {
        turn.lock().await;
        let ids = uuids(&[0]);
        let mark = async {
            match kind {
                "named" => desk.mark(Mark::Discard, &ids).await.map(|_| ()),
                "many" => desk.mark_next(Mark::Discard, &Filter::open(), None, Limit::MAX).await.map(|_| ()),
                _ => desk.edit(ids[0], &edit).await.map(|_| ()),
            }
        };
        let mut mark = std::pin::pin!(mark);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut mark).await;
        assert!(early.is_err(), "{kind} does not wait");
        desk.count(&Filter::default()).await.expect("looking waits for nobody");
        turn.unlock().await;
        mark.await.expect("marked");
    }
}
