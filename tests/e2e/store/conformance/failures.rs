//! Failures: kept once, given back when they are marked, and what became of them.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::store::desk::{FailureState, Mark, StoredFailure};
use reprieve::store::{
    Again, Changes, Committed, End, Failure, InboxRow, LastFailure, MARKED_BYTES_MAX, Marked, Outcome, Retried, Wanted,
};
use uuid::Uuid;

use super::desk::{desk_with, numbered, uuids};
use crate::store::material::{digest, failure, key, read, turn, write};
use crate::store::place::Place;

async fn stored(place: &dyn Place, number: u8) -> StoredFailure {
    place.desk().failure(uuids(&[number])[0]).await.expect("an answer").expect("there")
}

fn retried(number: u8, end: End) -> Changes {
    Changes { retried: vec![Retried { id: uuids(&[number])[0], end }], ..Changes::default() }
}

fn again(reason: &'static str) -> End {
    End::Again(Again { reason, message: format!("{reason} \0!"), fingerprint: format!("{reason}/f\0") })
}

fn ids(marked: &[Marked]) -> Vec<Uuid> {
    marked.iter().map(|marked| marked.id).collect()
}

async fn marked(store: &mut impl reprieve::store::Store, most: usize) -> Vec<Marked> {
    let wanted = Wanted { marked_max: most, ..Wanted::default() };
    turn(store, &wanted, |_| Changes::default()).await.expect("a turn").marked
}

pub(crate) async fn every_field_of_a_failure_comes_back(place: &dyn Place) {
    let headers = [("ce-id", "é"), ("x", "\"'\\")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let all = Properties {
        content_type: Some("a/b".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        user_id: Some("u".to_owned()),
        headers,
    };
    let written = Failure {
        message: "m\0".to_owned(),
        fingerprint: "f\0".to_owned(),
        source: "s\0".to_owned(),
        event_id: "e\0".to_owned(),
        event_type: Some("t\0".to_owned()),
        properties: all,
        ..failure("EX-1", digest(1))
    };
    let bare = Failure { exception_id: None, body: Vec::new(), ..failure("EX-2", digest(2)) };
    let _desk = desk_with(place, vec![written.clone(), bare.clone()]).await;
    let expected = |failure: &Failure| StoredFailure {
        id: failure.id,
        state: FailureState::Open,
        reason: failure.reason.to_owned(),
        message: failure.message.replace('\0', "\u{fffd}"),
        fingerprint: failure.fingerprint.replace('\0', "\u{fffd}"),
        source: failure.source.replace('\0', "\u{fffd}"),
        event_id: failure.event_id.replace('\0', "\u{fffd}"),
        event_type: failure.event_type.as_ref().map(|text| text.replace('\0', "\u{fffd}")),
        exception_id: failure.exception_id.as_ref().map(ToString::to_string),
        attempts: 0,
        outcome: None,
        code: None,
        received_at: failure.received_at,
        edited_from: None,
        edited_to: None,
        properties: failure.properties.clone(),
        body: failure.body.clone(),
        body_bytes: failure.body.len() as u64,
    };
    assert_eq!(stored(place, 1).await, expected(&written));
    assert_eq!(stored(place, 2).await, expected(&bare));
}

/// What comes a second time changes nothing, unless its event was let in and the submission it waited for never came.
pub(crate) async fn a_failure_is_kept_once(place: &dyn Place) {
    let mut store = place.open().await;
    let write_again = Failure {
        reason: "orphaned",
        message: "later".to_owned(),
        fingerprint: "orphaned/f".to_owned(),
        body: b"other".to_vec(),
        ..failure("EX-1", digest(1))
    };
    let (first, second) = (
        Changes { failures: vec![failure("EX-1", digest(1))], ..Changes::default() },
        Changes { failures: vec![write_again], ..Changes::default() },
    );
    write(&mut store, &first).await;
    let before = stored(place, 1).await;
    write(&mut store, &second).await;
    assert_eq!(stored(place, 1).await, before, "open");
    for mark in [Mark::Discard, Mark::Retry] {
        place.desk().mark(mark, &uuids(&[1])).await.expect("marked");
        let before = stored(place, 1).await;
        write(&mut store, &second).await;
        assert_eq!(stored(place, 1).await, before, "{:?}", before.state);
    }
    write(&mut store, &retried(1, End::Ended(Outcome::Parked))).await;
    write(&mut store, &second).await;
    let after = stored(place, 1).await;
    let expected = StoredFailure {
        reason: "orphaned".to_owned(),
        message: "later".to_owned(),
        fingerprint: "orphaned/f".to_owned(),
        attempts: 1,
        ..before
    };
    assert_eq!(after, expected, "open again, with the bytes that it had");
    assert_eq!(place.count("failures").await, 1);
    place.desk().mark(Mark::Retry, &uuids(&[1])).await.expect("marked");
    let wanted = Wanted { failures: uuids(&[1]).into_iter().collect(), ..Wanted::default() };
    let announced = BTreeSet::from(["id_conflict".to_owned(), "orphaned".to_owned()]);
    let known = LastFailure { reason: "orphaned".to_owned(), announced };
    assert_eq!(read(&mut store, &wanted).await.marked, BTreeMap::from([(uuids(&[1])[0], known)]));
}

pub(crate) async fn marked_failures_are_given_back_the_longest_known_first(place: &dyn Place) {
    // The larger the number, the longer it is known.
    let older = |failure: Failure| Failure {
        received_at: failure.received_at - Duration::from_secs(u64::from(failure.digest.0[0])),
        properties: Properties { user_id: Some(failure.digest.to_string()), ..Properties::default() },
        body: failure.digest.0.to_vec(),
        ..failure
    };
    let failures: Vec<Failure> = (0..5).map(|number| older(failure("EX-1", digest(number)))).collect();
    let desk = desk_with(place, failures.clone()).await;
    let mut store = place.open().await;
    assert_eq!(marked(&mut store, 9).await, []);
    desk.mark(Mark::Retry, &uuids(&[0, 1, 3, 4])).await.expect("marked");
    assert_eq!(marked(&mut store, 0).await, []);
    for (most, found) in [(1, &[4][..]), (3, &[4, 3, 1]), (4, &[4, 3, 1, 0]), (9, &[4, 3, 1, 0])] {
        assert_eq!(ids(&marked(&mut store, most).await), uuids(found), "at most {most}");
    }
    let expected =
        Marked { id: failures[4].id, properties: failures[4].properties.clone(), body: failures[4].body.clone() };
    assert_eq!(marked(&mut store, 1).await, [expected], "whole");

    // What this turn settles is not given back by it.
    let wanted = Wanted { marked_max: 9, failures: uuids(&[4, 2, 9]).into_iter().collect(), ..Wanted::default() };
    let mut known = BTreeMap::new();
    let committed: Committed = turn(&mut store, &wanted, |snapshot| {
        known = snapshot.marked;
        let end = |number, end| retried(number, end).retried;
        let retried = [end(4, again("schema")), end(3, End::Ended(Outcome::Applied))].concat();
        Changes { retried, ..Changes::default() }
    })
    .await
    .expect("a turn");
    assert_eq!(known.into_keys().collect::<Vec<_>>(), uuids(&[4]), "only those that are marked");
    assert_eq!(ids(&committed.marked), uuids(&[1, 0]));
}

pub(crate) async fn marked_failures_come_up_to_their_bytes(place: &dyn Place) {
    let sized = |(number, bytes): (u8, usize)| Failure {
        received_at: failure("EX-1", digest(1)).received_at + Duration::from_secs(u64::from(number)),
        body: vec![number; bytes],
        ..failure("EX-1", digest(number))
    };
    let half = MARKED_BYTES_MAX / 2;
    let sizes = [(0, MARKED_BYTES_MAX + 1), (1, half), (2, half - 1), (3, 1), (4, 1)];
    let desk = desk_with(place, sizes.into_iter().map(sized).collect()).await;
    let mut store = place.open().await;
    desk.mark(Mark::Retry, &uuids(&[0, 1, 2, 3, 4])).await.expect("marked");
    let found = marked(&mut store, 9).await;
    assert_eq!((ids(&found), found[0].body.len()), (uuids(&[0]), MARKED_BYTES_MAX + 1), "one, however large");
    write(&mut store, &retried(0, End::Ended(Outcome::Applied))).await;
    assert_eq!(ids(&marked(&mut store, 9).await), uuids(&[1, 2, 3]), "the fourth begins where there is no room");
    assert_eq!(ids(&marked(&mut store, 2).await), uuids(&[1, 2]));
}

pub(crate) async fn what_became_of_a_failure_is_told(place: &dyn Place) {
    let desk = desk_with(place, numbered(0..6)).await;
    let mut store = place.open().await;
    desk.mark(Mark::Retry, &uuids(&[0, 1, 2, 3, 4, 5])).await.expect("marked");
    for (number, end, outcome, code) in [
        (0, Outcome::Applied, Some("applied"), None),
        (1, Outcome::Refused("not_a_reviewer"), Some("refused"), Some("not_a_reviewer")),
        (2, Outcome::Parked, Some("parked"), None),
        (3, Outcome::Repeated, Some("repeated"), None),
    ] {
        let before = stored(place, number).await;
        write(&mut store, &retried(number, End::Ended(end))).await;
        let (outcome, code) = (outcome.map(str::to_owned), code.map(str::to_owned));
        let expected = StoredFailure { state: FailureState::Resolved, outcome, code, ..before };
        assert_eq!(stored(place, number).await, expected);
    }
    let mut announced = BTreeSet::from(["id_conflict".to_owned()]);
    for (attempts, reason) in [(1, "schema"), (2, "orphaned"), (3, "schema"), (4, "id_conflict")] {
        let before = stored(place, 4).await;
        write(&mut store, &retried(4, again(reason))).await;
        let expected = StoredFailure {
            state: FailureState::Open,
            attempts,
            reason: reason.to_owned(),
            message: format!("{reason} \u{fffd}!"),
            fingerprint: format!("{reason}/f\u{fffd}"),
            ..before
        };
        assert_eq!(stored(place, 4).await, expected);
        announced.insert(reason.to_owned());
        desk.mark(Mark::Retry, &uuids(&[4])).await.expect("marked");
        let wanted = Wanted { failures: uuids(&[4]).into_iter().collect(), ..Wanted::default() };
        let known = LastFailure { reason: reason.to_owned(), announced: announced.clone() };
        assert_eq!(read(&mut store, &wanted).await.marked, BTreeMap::from([(uuids(&[4])[0], known)]));
    }
    assert_eq!(stored(place, 5).await.state, FailureState::Retrying, "nobody spoke of it");
}

/// Events that are in the inbox get another outcome, and another content.
pub(crate) async fn an_event_that_ends_is_seen_as_it_ended(place: &dyn Place) {
    let mut store = place.open().await;
    let row = |name: &str, byte, outcome| InboxRow { key: key(name), digest: digest(byte), outcome };
    let inbox = vec![
        row("a", 1, Outcome::Parked),
        row("b", 1, Outcome::Failed("schema")),
        row("c", 1, Outcome::Failed("schema")),
        row("d", 1, Outcome::Refused("x")),
    ];
    // A failure whose content is the first is no conflict, and what is recorded of one event is not said of another.
    let failures =
        vec![failure("a", digest(1)), failure("a", digest(5)), Failure { id: id_of(6), ..failure("b", digest(5)) }];
    write(&mut store, &Changes { inbox, failures, ..Changes::default() }).await;
    let seen = async |store: &mut _| {
        let every = BTreeSet::from([digest(1), digest(2), digest(5)]);
        let events = [
            ("a", every.clone()),
            ("b", BTreeSet::from([digest(2)])),
            ("c", every.clone()),
            ("d", every),
            ("e", BTreeSet::new()),
        ];
        let events = events.map(|(name, digests)| (key(name), digests)).into();
        let seen = read(store, &Wanted { events, ..Wanted::default() }).await.seen;
        ["a", "b", "c", "d", "e"].map(|name| {
            let seen = seen.get(&key(name))?;
            Some((seen.digest.0[0], seen.failed, seen.conflicts.iter().map(|digest| digest.0[0]).collect::<Vec<_>>()))
        })
    };
    let expected =
        [Some((1, false, vec![5])), Some((1, true, vec![])), Some((1, true, vec![])), Some((1, false, vec![])), None];
    assert_eq!(seen(&mut store).await, expected);
    let ended = vec![
        row("a", 1, Outcome::Failed("orphaned")),
        row("b", 2, Outcome::Applied),
        row("d", 3, Outcome::Parked),
        row("e", 4, Outcome::Applied),
    ];
    write(&mut store, &Changes { ended, ..Changes::default() }).await;
    let expected =
        [Some((1, true, vec![5])), Some((2, false, vec![])), Some((1, true, vec![])), Some((3, false, vec![])), None];
    assert_eq!(seen(&mut store).await, expected, "what is not there is not made");
    let words = crate::store::place::sql("SELECT concat_ws(' ', outcome, code) FROM inbox ORDER BY 1");
    assert_eq!(place.texts(words).await, ["applied", "failed orphaned", "failed schema", "parked"]);
}

fn id_of(number: u8) -> Uuid {
    uuids(&[number])[0]
}
