//! What goes wrong inside a turn, or leaves in the middle of it: never half a turn, never an open transaction, never a lost one.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use reprieve::domain::ticket::Ticket;
use reprieve::health::Light;
use reprieve::store::{Changes, Store, StoreError, Wanted};

use crate::store::material::{date, id, key, read, submission, ticket_id, turn, write};
use crate::store::place::{OUTBOX_MAX, Place};

pub(crate) async fn a_panic_in_the_plan_leaves_nothing_open_and_nothing_written(place: &dyn Place) {
    let light = Light::default();
    place.migrate().await;
    let mut store = place.store(light.clone(), OUTBOX_MAX);
    write(&mut store, &submission(&["EX-1"])).await;
    assert!(light.is_on());
    let claim = Wanted { claims_max: 10, ..Wanted::default() };
    let caught = AssertUnwindSafe(turn(&mut store, &claim, |_| std::panic::resume_unwind(Box::new("planned"))));
    assert!(caught.catch_unwind().await.is_err());
    assert!(!light.is_on());
    place.nothing_is_open().await;
    write(&mut store, &submission(&["EX-2"])).await;
    assert!(light.is_on());
    assert_eq!(place.count("exceptions").await, 2);
}

/// A turn is dropped at every point where it waits: it was committed whole, or not at all, and the next ones are not lost.
pub(crate) async fn a_turn_dropped_anywhere_is_whole_or_nothing(place: &dyn Place) {
    let mut store = place.open().await;
    let mut expected = 0;
    for polls in 1..200 {
        let changes = submission(&[&format!("DROPPED-{polls}")]);
        let wanted = Wanted::default();
        let ended = {
            let mut future = pin!(turn(&mut store, &wanted, |_| changes.clone()));
            poll_at_most(polls, future.as_mut()).await.is_some()
        };
        if !ended {
            place.nothing_is_open().await;
        }
        write(&mut store, &submission(&[&format!("KEPT-{polls}")])).await;
        expected += 1;
        let [rows, entries, outgoing, seen]: [i64; 4] = counts(place).await;
        assert!(rows == expected || rows == expected + 1, "after {polls} polls: {rows} of {expected}");
        assert_eq!((rows, rows, rows), (entries, outgoing, seen), "after {polls} polls");
        expected = rows;
        if ended {
            return;
        }
    }
    unreachable!("every turn was dropped: the later points were not tried");
}

/// Of two processes on one database, each sees at once what the other has committed; look-ups do too.
pub(crate) async fn what_is_committed_is_seen_at_once(place: &dyn Place) {
    let (mut first, mut second, views) = (place.open().await, place.open().await, place.views());
    for number in 0..20 {
        let name = format!("EX-{number}");
        let (writer, reader) = if number % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        write(writer, &submission(&[&name])).await;
        assert!(views.exception(&id(&name)).await.expect("an answer").is_some(), "{name}");
        let wanted = Wanted {
            exceptions: BTreeSet::from([id(&name)]),
            events: [(key(&name), BTreeSet::new())].into(),
            ..Wanted::default()
        };
        let snapshot = read(reader, &wanted).await;
        assert_eq!((snapshot.exceptions.len(), snapshot.tickets.len(), snapshot.seen.len()), (1, 1, 1), "{name}");
    }
}

/// Ended without a word, and begun again.
pub(crate) async fn what_was_committed_is_there_for_the_next_store(place: &dyn Place) {
    for number in 0..3 {
        let mut store = place.open().await;
        write(&mut store, &submission(&[&format!("EX-{number}")])).await;
        drop(store);
        assert_eq!(counts(place).await, [number + 1; 4]);
    }
}

pub(crate) async fn a_second_store_waits_for_the_first(place: &dyn Place) {
    let (mut first, mut second) = (place.open().await, place.open().await);
    write(&mut first, &submission(&["EX-1"])).await;
    write(&mut second, &submission(&["EX-2"])).await;
    let mut holder = place.hand().await;
    holder.lock().await;
    let changes = submission(&["EX-3"]);
    let wanted = Wanted { exceptions: BTreeSet::from([id("EX-3")]), ..Wanted::default() };
    let other = submission(&["EX-4"]);
    let waiting = async {
        tokio::join!(turn(&mut first, &wanted, |_| changes.clone()), turn(&mut second, &wanted, |_| other.clone()))
    };
    let mut waiting = pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await.is_err(), "both wait");
    holder.unlock().await;
    let (one, two) = waiting.await;
    one.expect("a turn");
    two.expect("a turn");
    assert_eq!(place.count("exceptions").await, 4);
}

/// Somebody holds the lock for longer than a turn waits.
pub(crate) async fn a_lock_that_is_held_for_long_is_an_outage_and_passes(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1"])).await;
    let mut holder = place.hand().await;
    holder.lock().await;
    let changes = submission(&["EX-2"]);
    let away = turn(&mut store, &Wanted::default(), |_| changes.clone()).await;
    assert!(matches!(away, Err(StoreError::Away(_))), "{away:?}");
    holder.unlock().await;
    assert_eq!(counts(place).await, [1; 4]);
    write(&mut store, &changes).await;
    assert_eq!(counts(place).await, [2; 4]);
}

pub(crate) async fn two_stores_count_without_losing_one(place: &dyn Place) {
    let (mut first, mut second) = (place.open().await, place.open().await);
    tokio::join!(count_up(&mut first, 50), count_up(&mut second, 50));
    let wanted = Wanted { tickets: BTreeSet::from([ticket_id("N")]), ..Wanted::default() };
    let approved = read(&mut first, &wanted).await.tickets.into_values().next().map(|ticket| ticket.approved);
    assert_eq!(approved, Some(100));
}

async fn count_up(store: &mut impl Store, times: u32) {
    let wanted = Wanted { tickets: BTreeSet::from([ticket_id("N")]), ..Wanted::default() };
    for _ in 0..times {
        turn(store, &wanted, |snapshot| {
            let before = snapshot.tickets.get(&ticket_id("N")).map_or(0, |ticket| ticket.approved);
            let ticket =
                Ticket { id: ticket_id("N"), earliest_due_date: date(), approved: before + 1, last_event_at: None };
            Changes { tickets: vec![ticket], ..Changes::default() }
        })
        .await
        .expect("a turn");
    }
}

/// `None` when it is not ready after so many polls; it is then for the caller to drop it.
async fn poll_at_most<F: Future>(polls: usize, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn counts(place: &dyn Place) -> [i64; 4] {
    let count = |table| place.count(table);
    [count("exceptions").await, count("history").await, count("outbox").await, count("inbox").await]
}
