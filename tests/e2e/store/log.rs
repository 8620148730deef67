//! The log of a data file, which takes the place of the outbox where nobody else publishes: every event that a turn tells is in it
//! once, in the order of turns, whatever became of the processes that wrote it.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use reprieve::health::Light;
use reprieve::store::sqlite::log::{SqliteLog, announcements};
use reprieve::store::sqlite::{Outlet, SqliteStore};
use reprieve::store::{Changes, Committed, Wanted};
use tokio::sync::watch::Receiver;

use super::material::{submission, turn, write};
use super::place::sqlite::SqlitePlace;
use super::place::{Place, sql};

fn store(place: &SqlitePlace) -> (SqliteStore, Receiver<i64>) {
    let (writer, newest) = announcements();
    (SqliteStore::new(place.file(), Light::default(), Outlet::Log(writer)), newest)
}

fn tells(bodies: &[&str]) -> Changes {
    Changes { held: true, outbox: bodies.iter().map(|body| (*body).to_owned()).collect(), ..Changes::default() }
}

/// As whoever follows reads it, a few at a time.
async fn told(place: &SqlitePlace) -> Vec<String> {
    let log = SqliteLog::new(place.file());
    let (mut after, mut told) = (0, Vec::new());
    loop {
        let page = log.page(after, 7).await.expect("a page");
        assert!(page.len() <= 7 && page.iter().all(|row| row.id > after) && page.is_sorted_by_key(|row| row.id));
        let Some(last) = page.last() else { return told };
        after = last.id;
        told.extend(page.into_iter().map(|row| row.body));
    }
}

pub(crate) async fn what_turns_tell_is_in_the_log_in_order_and_once() {
    let place = SqlitePlace::new("log");
    place.migrate().await;
    let mut expected = Vec::new();
    for life in 0..3 {
        let ((mut first, mut newest), (mut second, _)) = (store(&place), store(&place));
        for number in 0..5 {
            let names = [format!("EX-{life}-{number}"), format!("EX-{life}-{number}b")];
            let changes = submission(&[&names[0], &names[1]]);
            expected.extend(changes.outbox.clone());
            let committed = write(if number % 2 == 0 { &mut first } else { &mut second }, &changes).await;
            assert_eq!(
                (committed.outgoing, committed.outbox_full),
                (vec![], false),
                "nothing is for anybody to publish"
            );
            let twice = Changes { outbox: tells(&["never"]).outbox, ..submission(&["X", "X"]) };
            turn(&mut first, &Wanted::default(), |_| twice.clone()).await.expect_err("refused");
        }
        assert!(newest.has_changed().expect("the store is there"));
        let known = *newest.borrow_and_update();
        assert_eq!(known, SqliteLog::new(place.file()).newest().await.expect("an answer"), "the last turn was its own");
        write(&mut first, &Changes::default()).await;
        assert!(!newest.has_changed().expect("the store is there"), "nothing was told");
    }
    assert_eq!(told(&place).await, expected);
    assert_eq!(place.count("outbox").await, 0);
}

/// The files as they are when a turn has ended, taken away under the store: whoever begins with them goes on where it ended.
pub(crate) async fn what_is_committed_is_in_the_files() {
    let place = SqlitePlace::new("log_files");
    place.migrate().await;
    let (mut first, _) = store(&place);
    let mut expected = Vec::new();
    for number in 0..5 {
        let changes = submission(&[&format!("EX-{number}")]);
        expected.extend(changes.outbox.clone());
        write(&mut first, &changes).await;
        let copy = SqlitePlace::new(&format!("log_files_{number}"));
        for end in ["", "-wal"] {
            let name = |place: &SqlitePlace| format!("{}{end}", place.file().display());
            std::fs::copy(name(&place), name(&copy)).expect("copied");
        }
        assert_eq!((told(&copy).await, copy.count("exceptions").await), (expected.clone(), number + 1));
        let (mut next, _) = store(&copy);
        write(&mut next, &tells(&["next"])).await;
        assert_eq!(told(&copy).await.last().map(String::as_str), Some("next"));
    }
}

/// Another process was to publish them, and had some of them in hand; one found no queue.
pub(crate) async fn what_an_outbox_has_left_is_moved_into_the_log() {
    let place = SqlitePlace::new("log_moved");
    let mut before = place.open().await;
    let held = write(&mut before, &tells(&["a", "b"])).await.outgoing;
    write(&mut before, &Changes { unroutable: vec![held[0].id], held: false, ..tells(&["c"]) }).await;
    drop(before);
    let (mut next, newest) = store(&place);
    let claim = Wanted { claims_max: 10, ..Wanted::default() };
    let committed: Committed = turn(&mut next, &claim, |_| tells(&["d"])).await.expect("a turn");
    assert_eq!((committed.outgoing, committed.claims_full), (vec![], false));
    assert_eq!(told(&place).await, ["a", "b", "c", "d"]);
    assert_eq!((*newest.borrow(), place.count("outbox").await), (4, 0));
    drop(next);
    let (mut last, newest) = store(&place);
    write(&mut last, &Changes::default()).await;
    assert_eq!(*newest.borrow(), 4, "a new process says where the log ends");
    write(&mut last, &tells(&["e"])).await;
    assert_eq!(told(&place).await, ["a", "b", "c", "d", "e"]);
}

/// More than one turn moves: what is told meanwhile comes after what was told before.
pub(crate) async fn many_that_are_left_are_moved_before_what_is_told_later() {
    let place = SqlitePlace::new("log_many");
    let mut before = place.open().await;
    let names: Vec<String> = (0..2_300).map(|number| number.to_string()).collect();
    write(&mut before, &Changes { outbox: names.clone(), ..Changes::default() }).await;
    drop(before);
    let (mut next, newest) = store(&place);
    let claim = Wanted { claims_max: 10, ..Wanted::default() };
    let mut turns = 0;
    let later: Vec<String> = loop {
        turns += 1;
        assert!(turns < 9, "no end");
        let committed = turn(&mut next, &claim, |_| tells(&[&format!("later {turns}")])).await.expect("a turn");
        if !committed.claims_full {
            break (1..=turns).map(|turn| format!("later {turn}")).collect();
        }
    };
    assert_eq!(turns, 3, "a turn says that there is more");
    assert_eq!(told(&place).await, [names, later].concat());
    assert_eq!(place.count("outbox").await, 0);
    assert_eq!(*newest.borrow(), 2_303);
}

/// What everybody has had the time to read goes, and its numbers are not given again.
pub(crate) async fn what_is_old_leaves_the_log_and_nothing_else_does() {
    let place = SqlitePlace::new("log_old");
    place.migrate().await;
    let (mut next, _) = store(&place);
    let tick = Wanted { expired_max: 1, ..Wanted::default() };
    write(&mut next, &tells(&["a", "b", "c"])).await;
    let day: i64 = 86_400_000_000;
    for (id, age) in [(1, 7 * day + 60_000_000), (2, 7 * day - 60_000_000)] {
        let sql = format!("UPDATE log SET at = at - {age} WHERE id = {id}");
        place.hand().await.run(&sql).await.expect("older");
    }
    turn(&mut next, &Wanted::default(), |_| Changes::default()).await.expect("a turn");
    assert_eq!(told(&place).await, ["a", "b", "c"], "no tick, no housekeeping");
    turn(&mut next, &tick, |_| Changes::default()).await.expect("a turn");
    assert_eq!(told(&place).await, ["b", "c"]);
    place.tamper(sql("UPDATE log SET at = 0")).await;
    turn(&mut next, &tick, |_| Changes::default()).await.expect("a turn");
    assert_eq!(told(&place).await, [] as [&str; 0]);
    write(&mut next, &tells(&["d"])).await;
    assert_eq!(place.texts(sql("SELECT CAST(id AS text) FROM log")).await, ["4"]);
}
