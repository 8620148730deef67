//! Events that wait for their submission.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::domain::dates::Timestamp;
use reprieve::store::{Changes, InboxRow, NewParked, Outcome, Waiting, Wanted};

use crate::store::material::{digest, id, key, read, submission, turn, write};
use crate::store::place::{Place, sql};

pub(crate) async fn parked_events_come_in_the_order_they_were_parked(place: &dyn Place) {
    let mut store = place.open().await;
    let now = read(&mut store, &Wanted::default()).await.database_time;
    let parked = |exception: &str, body: &str, seconds| NewParked {
        expires_at: now + Duration::from_hours(1) - Duration::from_secs(seconds),
        ..parked(exception, body, now)
    };
    let events =
        vec![parked("EX-2", "a", 0), parked("EX-1", "b", 0), parked("EX-3", "c", 7_200), parked("EX-1", "d", 7_300)];
    let inbox =
        events.iter().map(|event| InboxRow { key: event.event_key, digest: digest(1), outcome: Outcome::Parked });
    let park = Changes { inbox: inbox.collect(), park: events.clone(), ..Changes::default() };
    write(&mut store, &park).await;

    // A damaged row is given like any other: it must not stop the sweep.
    let damaged = "UPDATE parked SET properties = 'x' WHERE exception_id = 'EX-3'";
    place.tamper(sql(damaged)).await;

    let wanted = Wanted {
        exceptions: BTreeSet::from([id("EX-1"), id("EX-3"), id("EX-9")]),
        submitted: BTreeSet::from([id("EX-1")]),
        expired_max: 10,
        ..Wanted::default()
    };
    let snapshot = read(&mut store, &wanted).await;
    let bodies: Vec<&[u8]> = snapshot.parked.iter().map(|row| row.event.body.as_slice()).collect();
    assert_eq!(bodies, [b"b", b"c", b"d"]);
    assert_eq!(snapshot.parked_count, 4, "counted for what nobody submits");
    assert_eq!(snapshot.parked_for, BTreeMap::from([(id("EX-3"), Waiting { events: 1, bytes: 1 })]));
    let mut expected = events[1..].to_vec();
    expected[1].properties = Properties::default();
    assert_eq!(snapshot.parked.iter().map(|row| row.event.clone()).collect::<Vec<_>>(), expected);
    let end = Changes {
        unpark: snapshot.parked.iter().map(|row| row.id).collect(),
        ended: [("b", Outcome::Applied), ("c", Outcome::Failed("orphaned"))]
            .map(|(name, outcome)| InboxRow { key: key(name), digest: digest(1), outcome })
            .into(),
        ..Changes::default()
    };
    assert_eq!(turn(&mut store, &wanted, |_| end.clone()).await.expect("a turn").expired, 2);
    assert_eq!(place.count("parked").await, 1);
    let stored = place.texts(sql("SELECT concat_ws(' ', outcome, code) FROM inbox ORDER BY 1")).await;
    assert_eq!(stored, ["applied", "failed orphaned", "parked", "parked"]);
}

/// Of many that have expired the ones that did first, and of those the ones that came first.
pub(crate) async fn the_longest_expired_are_given_first(place: &dyn Place) {
    let mut store = place.open().await;
    let now = read(&mut store, &Wanted::default()).await.database_time;
    let expired = |(number, seconds): (usize, u64)| NewParked {
        expires_at: now - Duration::from_secs(seconds),
        ..parked(&format!("EX-{number}"), &number.to_string(), now)
    };
    let park = [10, 50, 30, 50, 20].into_iter().enumerate().map(expired).collect();
    write(&mut store, &Changes { park, ..Changes::default() }).await;
    for (most, bodies) in [(1, "1"), (2, "13"), (3, "123"), (5, "01234"), (9, "01234")] {
        let wanted = Wanted { expired_max: most, ..Wanted::default() };
        let mut found = String::new();
        let committed = turn(&mut store, &wanted, |snapshot| {
            let bodies = snapshot.parked.iter().map(|row| String::from_utf8_lossy(&row.event.body).into_owned());
            found = bodies.collect();
            Changes::default()
        });
        assert_eq!(committed.await.expect("a turn").expired, bodies.len());
        assert_eq!(found, bodies, "at most {most}, in the order of arrival");
    }
}

pub(crate) async fn what_waits_for_a_submission_is_counted(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1"])).await;
    let now = read(&mut store, &Wanted::default()).await.database_time;
    let park = vec![
        parked("EX-2", "12345", now),
        parked("EX-2", "", now),
        parked("EX-2", "é", now),
        parked("EX-3", "1", now),
        parked("EX-1", "1", now),
    ];
    write(&mut store, &Changes { park, ..Changes::default() }).await;
    let counted = async |store: &mut _, exceptions: &[&str], submitted: &[&str]| {
        let ids = |names: &[&str]| names.iter().map(|name| id(name)).collect();
        let wanted = Wanted { exceptions: ids(exceptions), submitted: ids(submitted), ..Wanted::default() };
        let snapshot = read(store, &wanted).await;
        let waiting = |(id, waiting): (_, Waiting)| format!("{id} {} {}", waiting.events, waiting.bytes);
        (snapshot.parked_count, snapshot.parked_for.into_iter().map(waiting).collect::<Vec<_>>())
    };
    assert_eq!(counted(&mut store, &["EX-1"], &[]).await, (0, vec![]), "it is there");
    assert_eq!(counted(&mut store, &["EX-2"], &["EX-2"]).await, (0, vec![]), "it is being submitted");
    assert_eq!(counted(&mut store, &["EX-9"], &[]).await, (5, vec![]));
    let both = vec!["EX-2 3 7".to_owned(), "EX-3 1 1".to_owned()];
    assert_eq!(counted(&mut store, &["EX-1", "EX-2", "EX-3", "EX-9"], &[]).await, (5, both));
}

pub(crate) async fn a_number_of_the_parked_is_never_used_again(place: &dyn Place) {
    let mut store = place.open().await;
    let mut last = 0;
    for _ in 0..3 {
        let now = read(&mut store, &Wanted::default()).await.database_time;
        write(&mut store, &Changes { park: vec![parked("EX-1", "x", now)], ..Changes::default() }).await;
        let wanted = Wanted { submitted: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
        let found: Vec<i64> = read(&mut store, &wanted).await.parked.iter().map(|row| row.id).collect();
        assert!(found.len() == 1 && last < found[0], "{found:?} after {last}");
        last = found[0];
        write(&mut store, &Changes { unpark: found, ..Changes::default() }).await;
        assert_eq!(place.count("parked").await, 0);
        store = place.open().await;
    }
}

fn parked(exception: &str, body: &str, now: Timestamp) -> NewParked {
    NewParked {
        exception_id: id(exception),
        event_key: key(body),
        parked_at: now,
        expires_at: now + Duration::from_hours(1),
        properties: Properties { content_type: Some("text/x".to_owned()), ..Properties::default() },
        body: body.as_bytes().to_vec(),
    }
}
