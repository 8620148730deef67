//! The outbox: who has a row in hand, how rows are given back, and their numbers.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use reprieve::health::Light;
use reprieve::store::{Changes, Committed, Wanted};

use crate::store::material::{turn, write};
use crate::store::place::{Place, Sql, sql};

pub(crate) async fn a_row_in_hand_is_not_claimed_and_a_void_term_is(place: &dyn Place) {
    let mut store = place.open().await;
    let outbox = |held, bodies: &[&str]| Changes {
        held,
        outbox: bodies.iter().map(|body| (*body).to_owned()).collect(),
        ..Changes::default()
    };
    let held = write(&mut store, &outbox(true, &["a", "b"])).await.outgoing;
    assert_eq!(write(&mut store, &outbox(false, &["c", "d", "e"])).await.outgoing, []);
    let claim = |most| Wanted { claims_max: most, ..Wanted::default() };
    let bodies = |committed: &Committed| committed.outgoing.iter().map(|row| row.body.clone()).collect::<Vec<_>>();

    let first = turn(&mut store, &claim(2), |_| Changes::default()).await.expect("a turn");
    assert_eq!((bodies(&first), first.claims_full), (vec!["c".to_owned(), "d".to_owned()], true));
    let second = turn(&mut store, &claim(2), |_| outbox(true, &["f"])).await.expect("a turn");
    assert_eq!((bodies(&second), second.claims_full), (vec!["e".to_owned(), "f".to_owned()], false));
    let jumped = Sql {
        postgres: "UPDATE outbox SET free_at = now() + interval '1 year'",
        sqlite: "UPDATE outbox SET free_at = free_at + 31536000000000",
    };
    place.tamper(jumped).await;
    let all = turn(&mut store, &claim(10), |_| Changes::default()).await.expect("a turn");
    assert_eq!(bodies(&all), ["a", "b", "c", "d", "e", "f"]);

    let [confirmed, unroutable] = [held[0].id, held[1].id];
    let fates = Changes { confirmed: vec![confirmed, confirmed], unroutable: vec![unroutable], ..Changes::default() };
    let before = attempts(place).await;
    write(&mut store, &fates).await;
    assert_eq!(place.count("outbox").await, 5);
    assert_eq!(attempts(place).await - before, 1);
    // It waits for a moment, and twice as long each time, but never longer than a term that counts.
    for seconds in [2, 4, 8, 16, 30, 30] {
        let waits = wait(place).await;
        assert!((seconds - 1..=seconds).contains(&waits), "{waits} for {seconds}");
        write(&mut store, &fates).await;
    }
    // Tried for ever.
    place
        .tamper(Sql {
            postgres: "UPDATE outbox SET attempts = 32767, free_at = now()",
            sqlite: "UPDATE outbox SET attempts = 32767, free_at = 0",
        })
        .await;
    let last = turn(&mut store, &claim(10), |_| fates.clone()).await.expect("a turn");
    assert_eq!(bodies(&last), ["b", "c", "d", "e", "f"]);
    assert_eq!(bodies(&turn(&mut store, &claim(10), |_| Changes::default()).await.expect("a turn")), [] as [&str; 0]);
}

/// How often the unroutable row was tried.
async fn attempts(place: &dyn Place) -> i64 {
    let sum = sql("SELECT CAST(sum(attempts) AS text) FROM outbox WHERE body = 'b'");
    place.texts(sum).await[0].parse().expect("a number")
}

/// Seconds until it is tried again.
async fn wait(place: &dyn Place) -> i64 {
    let wait = Sql {
        postgres: "SELECT round(extract(epoch FROM free_at - now()))::bigint::text FROM outbox WHERE unroutable",
        sqlite: "SELECT CAST(CAST(round(free_at / 1e6 - unixepoch('subsec')) AS int) AS text) FROM outbox WHERE unroutable",
    };
    place.texts(wait).await[0].parse().expect("a number")
}

/// A fate that comes late must not be taken for that of another row.
pub(crate) async fn a_number_of_the_outbox_is_never_used_again(place: &dyn Place) {
    let mut store = place.open().await;
    let two = Changes { held: true, outbox: vec!["x".to_owned(), "y".to_owned()], ..Changes::default() };
    let mut last = 0;
    for _ in 0..3 {
        let ids: Vec<i64> = write(&mut store, &two).await.outgoing.iter().map(|row| row.id).collect();
        assert!(ids.len() == 2 && last < ids[0] && ids[0] < ids[1], "{ids:?} after {last}");
        last = ids[1];
        write(&mut store, &Changes { confirmed: ids, ..Changes::default() }).await;
        assert_eq!(place.count("outbox").await, 0);
        store = place.open().await;
    }
}

pub(crate) async fn a_full_outbox_says_so(place: &dyn Place) {
    place.migrate().await;
    let fresh = || place.store(Light::default(), 3);
    let mut store = fresh();
    let full = |committed: Committed| committed.outbox_full;
    let one = || Changes { outbox: vec!["x".to_owned()], ..Changes::default() };
    assert!(!full(write(&mut store, &one()).await));
    write(&mut store, &Changes { outbox: vec!["x".to_owned(); 2], ..Changes::default() }).await;
    assert!(full(write(&mut fresh(), &Changes::default()).await));
    place.tamper(sql("DELETE FROM outbox WHERE id = 2")).await;
    assert!(!full(write(&mut fresh(), &Changes::default()).await), "the bound is not the count");
    assert!(full(write(&mut fresh(), &one()).await), "the turn's own rows count");
}
