//! What goes wrong inside a turn, or leaves in the middle of it: never half a turn, never an open transaction.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use reprieve::domain::exception::Status;
use reprieve::domain::ticket::Ticket;
use reprieve::health::Light;
use reprieve::store::postgres::{PostgresStore, migrate, turn_options};
use reprieve::store::{Changes, StoreError, Wanted};
use sqlx::{ConnectOptions, PgConnection, query, query_scalar, raw_sql};

use super::material::{count, date, id, open, plain, read, submission, ticket_id, turn, write};

pub(crate) async fn a_panic_in_the_plan_leaves_nothing_open_and_nothing_written(url: &str) {
    let light = Light::default();
    migrate::up(url).await.expect("migrations run");
    let mut store = PostgresStore::new(url, light.clone(), 1_000).expect("a URL");
    write(&mut store, &submission(&["EX-1"])).await;
    assert!(light.is_on());
    let claim = Wanted { claims_max: 10, ..Wanted::default() };
    let caught = AssertUnwindSafe(turn(&mut store, &claim, |_| std::panic::resume_unwind(Box::new("planned"))));
    assert!(caught.catch_unwind().await.is_err());
    assert!(!light.is_on());
    nothing_is_open(&mut plain(url).await).await;
    write(&mut store, &submission(&["EX-2"])).await;
    assert!(light.is_on());
    assert_eq!(count(url, "exceptions").await, 2);
}

/// A turn is dropped at every point where it waits: it was committed whole, or not at all, and the next ones are not lost.
pub(crate) async fn a_turn_dropped_anywhere_is_whole_or_nothing(url: &str) {
    let mut store = open(url).await;
    let mut other = plain(url).await;
    let mut expected = 0;
    for polls in 1..200 {
        let changes = submission(&[&format!("DROPPED-{polls}")]);
        let wanted = Wanted::default();
        let ended = {
            let mut future = pin!(turn(&mut store, &wanted, |_| changes.clone()));
            poll_at_most(polls, future.as_mut()).await.is_some()
        };
        if !ended {
            nothing_is_open(&mut other).await;
        }
        write(&mut store, &submission(&[&format!("KEPT-{polls}")])).await;
        expected += 1;
        let [rows, entries, outgoing, seen]: [i64; 4] = counts(&mut other).await;
        assert!(rows == expected || rows == expected + 1, "after {polls} polls: {rows} of {expected}");
        assert_eq!((rows, rows, rows), (entries, outgoing, seen), "after {polls} polls");
        expected = rows;
        if ended {
            return;
        }
    }
    unreachable!("every turn was dropped: the later points were not tried");
}

pub(crate) async fn refused_content_writes_nothing_and_the_store_goes_on(url: &str) {
    let mut store = open(url).await;
    write(&mut store, &submission(&["EX-1"])).await;
    let session = backends(&mut plain(url).await).await;
    let mut wrong =
        vec![submission(&["EX-2", "EX-2"]), submission(&["EX-3"]), submission(&["EX-4"]), submission(&["EX-5"])];
    let second_open = submission(&["EX-1"]).exceptions.pop().map(|mut exception| {
        exception.id = id("EX-1b");
        exception
    });
    wrong.push(Changes { exceptions: second_open.into_iter().collect(), ..Changes::default() });
    wrong[1].outbox = vec!["NUL \0 in a text".to_owned()];
    wrong[2].exceptions[0].status = Status::Approved;
    wrong[3].exceptions.clear();
    for changes in wrong {
        let refused = turn(&mut store, &Wanted::default(), |_| changes.clone()).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(count(url, "exceptions").await, 1);
    }
    write(&mut store, &submission(&["EX-6"])).await;
    assert_eq!(count(url, "history").await, 2);
    assert_eq!(backends(&mut plain(url).await).await, session, "the session was kept");
}

pub(crate) async fn a_lost_session_is_an_outage_and_the_next_turn_has_a_new_one(url: &str) {
    let mut store = open(url).await;
    write(&mut store, &submission(&["EX-1"])).await;
    for pid in backends(&mut plain(url).await).await {
        let mut other = plain(url).await;
        query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut other).await.expect("terminated");
    }
    let changes = submission(&["EX-2"]);
    let away = turn(&mut store, &Wanted::default(), |_| changes.clone()).await;
    assert!(matches!(away, Err(StoreError::Away(_))), "{away:?}");
    write(&mut store, &changes).await;
    assert_eq!(count(url, "exceptions").await, 2);
}

pub(crate) async fn a_second_store_waits_for_the_first(url: &str) {
    let (mut first, mut second) = (open(url).await, open(url).await);
    write(&mut first, &submission(&["EX-1"])).await;
    write(&mut second, &submission(&["EX-2"])).await;
    let mut holder = plain(url).await;
    raw_sql("BEGIN; SELECT pg_advisory_xact_lock(5937275320454706789)").execute(&mut holder).await.expect("the lock");
    let changes = submission(&["EX-3"]);
    let wanted = Wanted { exceptions: BTreeSet::from([id("EX-3")]), ..Wanted::default() };
    let other = submission(&["EX-4"]);
    let waiting = async {
        tokio::join!(turn(&mut first, &wanted, |_| changes.clone()), turn(&mut second, &wanted, |_| other.clone()))
    };
    let mut waiting = pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await.is_err(), "both wait");
    raw_sql("COMMIT").execute(&mut holder).await.expect("released");
    let (one, two) = waiting.await;
    one.expect("a turn");
    two.expect("a turn");
    assert_eq!(count(url, "exceptions").await, 4);
}

pub(crate) async fn a_writer_that_stands_still_is_ended_and_the_next_goes_on(url: &str) {
    let mut store = open(url).await;
    let mut frozen = turn_options(url).expect("a URL").connect().await.expect("a session");
    raw_sql("BEGIN; SELECT pg_advisory_xact_lock(5937275320454706789)").execute(&mut frozen).await.expect("the lock");
    let begun = Instant::now();
    write(&mut store, &submission(&["EX-1"])).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(raw_sql("COMMIT").execute(&mut frozen).await.is_err(), "its late commit changes nothing");
}

pub(crate) async fn two_stores_count_without_losing_one(url: &str) {
    let (mut first, mut second) = (open(url).await, open(url).await);
    tokio::join!(count_up(&mut first, 50), count_up(&mut second, 50));
    let wanted = Wanted { tickets: BTreeSet::from([ticket_id("N")]), ..Wanted::default() };
    let approved = read(&mut first, &wanted).await.tickets.into_values().next().map(|ticket| ticket.approved);
    assert_eq!(approved, Some(100));
}

async fn count_up(store: &mut PostgresStore, times: u32) {
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

async fn counts(connection: &mut PgConnection) -> [i64; 4] {
    let sql = "SELECT ARRAY[(SELECT count(*) FROM exceptions), (SELECT count(*) FROM history), \
        (SELECT count(*) FROM outbox), (SELECT count(*) FROM inbox)]";
    let counts: Vec<i64> = query_scalar(sql).fetch_one(connection).await.expect("counts");
    counts.try_into().expect("four of them")
}

/// The sessions that run turns.
async fn backends(connection: &mut PgConnection) -> Vec<i32> {
    query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'reprieve' ORDER BY pid",
    )
    .fetch_all(connection)
    .await
    .expect("the sessions")
}

/// Waits, with a deadline, until the server has noticed that the session of a turn is gone.
async fn nothing_is_open(connection: &mut PgConnection) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !backends(connection).await.is_empty() {
        assert!(Instant::now() < deadline, "a session is still there");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
