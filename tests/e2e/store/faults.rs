//! What goes wrong with a session: what is lost with it, and what is not.

use std::time::{Duration, Instant};

use reprieve::store::postgres::turn_options;
use reprieve::store::{StoreError, Wanted};
use sqlx::{ConnectOptions, query, raw_sql};

use super::material::{backends, count, open, plain, submission, turn, write};

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

pub(crate) async fn a_writer_that_stands_still_is_ended_and_the_next_goes_on(url: &str) {
    let mut store = open(url).await;
    let mut frozen = turn_options(url).expect("a URL").connect().await.expect("a session");
    raw_sql("BEGIN; SELECT pg_advisory_xact_lock(5937275320454706789)").execute(&mut frozen).await.expect("the lock");
    let begun = Instant::now();
    write(&mut store, &submission(&["EX-1"])).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(raw_sql("COMMIT").execute(&mut frozen).await.is_err(), "its late commit changes nothing");
}

pub(crate) async fn refused_content_costs_no_session(url: &str) {
    let mut store = open(url).await;
    write(&mut store, &submission(&["EX-1"])).await;
    let sessions = backends(&mut plain(url).await).await;
    let twice = submission(&["EX-2", "EX-2"]);
    let refused = turn(&mut store, &Wanted::default(), |_| twice.clone()).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    write(&mut store, &submission(&["EX-3"])).await;
    assert_eq!(backends(&mut plain(url).await).await, sessions);
}
