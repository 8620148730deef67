//! Content that the database refuses: whatever a plan decides, these rows cannot come to be, and the store goes on.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use reprieve::domain::exception::{Enforcement, Exception, Status, Vote};
use reprieve::store::desk::Limit;
use reprieve::store::lookups::Selection;
use reprieve::store::{Changes, InboxRow, Outcome, StoreError, ViewError, Wanted};

use crate::store::material::{
    date, decide, digest, exception, happening, id, key, submission, ticket_id, turn, user, write,
};
use crate::store::place::Place;

/// Each, on a database with the request EX-1: refused, and nothing of it is there.
#[track_caller]
fn check(refused: &Result<reprieve::store::Committed, StoreError>, what: &str) {
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{what}: {refused:?}");
}

pub(crate) async fn refused_content_writes_nothing_and_the_store_goes_on(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1"])).await;
    let no_exception = Changes { exceptions: Vec::new(), ..submission(&["EX-3"]) };
    let again = Changes { outbox: vec!["x".to_owned()], ..known("EX-1", |_| ()) };
    for (what, changes) in [
        ("the same twice", submission(&["EX-2", "EX-2"])),
        ("history of nothing", no_exception),
        ("an id that is there", again),
        ("an event that is there", Changes { inbox: vec![seen("EX-1", Outcome::Applied)], ..submission(&["EX-4"]) }),
        ("a repeat as a new event", Changes { inbox: vec![seen("EX-5", Outcome::Repeated)], ..submission(&["EX-5"]) }),
        ("a repeat as an end", Changes { ended: vec![seen("EX-1", Outcome::Repeated)], ..submission(&["EX-5"]) }),
    ] {
        check(&turn(&mut store, &Wanted::default(), |_| changes.clone()).await, what);
        for table in ["exceptions", "history", "tickets", "inbox", "outbox"] {
            assert_eq!(place.count(table).await, 1, "{what}: {table}");
        }
    }
    write(&mut store, &submission(&["EX-6"])).await;
    assert_eq!(place.count("history").await, 2);
}

type Bug = (&'static str, Box<dyn Fn(&mut Exception)>);

/// As if the plan had a bug.
pub(crate) async fn a_request_that_contradicts_itself_is_refused(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1"])).await;
    let vote = |reviewer: &str, it: &Exception| Vote {
        reviewer: user(reviewer),
        level: 1,
        approved_due_date: date(),
        at: it.created_at,
    };
    let bugs: Vec<Bug> = vec![
        ("a second open request", Box::new(|it| it.ticket_id = ticket_id("EX-1"))),
        ("approved without a date", Box::new(|it| it.status = Status::Approved)),
        ("a date without an approval", Box::new(|it| it.approved_due_date = Some(date()))),
        ("in force without an approval", Box::new(|it| it.enforcement = Enforcement::InForce)),
        ("approved and not enforced", Box::new(|it| decide(it, Status::Approved, Enforcement::None))),
        ("denied without a time", Box::new(|it| it.status = Status::Denied)),
        ("open with a time", Box::new(|it| it.decided_at = Some(it.created_at))),
        ("no revision", Box::new(|it| it.revision = 0)),
        ("approved by the requester", Box::new(move |it| it.votes = vec![vote("zoe@example.com", it)])),
        (
            "approved by others and the requester",
            Box::new(move |it| it.votes = ["a", "zoe@example.com", "b"].map(|name| vote(name, it)).into()),
        ),
    ];
    for (what, bug) in bugs {
        let changes = known("EX-2", bug);
        check(&turn(&mut store, &Wanted::default(), |_| changes.clone()).await, what);
        assert_eq!(place.count("exceptions").await, 1, "{what}");
    }
    // Whose name only contains the requester's may approve.
    let others = known("EX-2", |it| {
        it.votes = ["xzoe@example.com", "zoe@example.comx", "zoe"].map(|name| vote(name, it)).into();
    });
    write(&mut store, &others).await;

    // A change is looked at like a new one.
    let wanted = Wanted { exceptions: [id("EX-2")].into(), ..Wanted::default() };
    let mut changes = Changes::default();
    let refused = turn(&mut store, &wanted, |snapshot| {
        changes.exceptions = snapshot.exceptions.into_values().collect();
        changes.exceptions[0].votes = vec![vote("zoe@example.com", &changes.exceptions[0])];
        changes.clone()
    });
    check(&refused.await, "approved by the requester, later");
    assert_eq!(
        place.views().exception(&id("EX-2")).await.expect("an answer").expect("there").exception,
        others.exceptions[0]
    );
}

/// The request that ends makes room for the next one of its ticket in the same turn.
pub(crate) async fn one_request_of_a_ticket_may_follow_another(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1"])).await;
    let wanted = Wanted { exceptions: [id("EX-1")].into(), ..Wanted::default() };
    let next = known("EX-2", |it| it.ticket_id = ticket_id("EX-1"));
    let both = |snapshot: reprieve::store::Snapshot| {
        let mut ended: Vec<Exception> = snapshot.exceptions.into_values().collect();
        decide(&mut ended[0], Status::Denied, Enforcement::None);
        Changes { exceptions: [next.exceptions.clone(), ended].concat(), ..next.clone() }
    };
    turn(&mut store, &wanted, both).await.expect("a turn");
    assert_eq!(place.count("exceptions").await, 2);
}

/// History is not written over, not even with what stands there.
pub(crate) async fn an_entry_that_is_there_is_refused(place: &dyn Place) {
    let mut store = place.open().await;
    let written = submission(&["EX-1"]);
    write(&mut store, &written).await;
    let wanted = Wanted { exceptions: [id("EX-1")].into(), ..Wanted::default() };
    let changes = Changes { exceptions: written.exceptions, history: written.history, ..Changes::default() };
    check(&turn(&mut store, &wanted, |_| changes.clone()).await, "the same entry");
    assert_eq!(place.count("history").await, 1);
}

/// A damaged row is said to be the fault of what names it; the others go on.
pub(crate) async fn a_damaged_row_is_refused_and_a_newer_one_is_an_outage(place: &dyn Place) {
    let mut store = place.open().await;
    write(&mut store, &submission(&["EX-1", "EX-2"])).await;
    let wanted = |name: &str| Wanted { exceptions: [id(name)].into(), ..Wanted::default() };
    place.tamper(crate::store::place::sql("UPDATE exceptions SET document = '{}' WHERE id = 'EX-1'")).await;
    check(&turn(&mut store, &wanted("EX-1"), |_| Changes::default()).await, "damaged");
    turn(&mut store, &wanted("EX-2"), |_| Changes::default()).await.expect("a turn");
    check_unreadable(place, "restore the row from a backup").await;
    place.tamper(crate::store::place::sql("UPDATE exceptions SET document = '{\"v\":99}' WHERE id = 'EX-1'")).await;
    let newer = turn(&mut store, &wanted("EX-1"), |_| Changes::default()).await;
    assert!(matches!(newer, Err(StoreError::Away(_))), "{newer:?}");
    check_unreadable(place, "run the newer program").await;
    turn(&mut store, &wanted("EX-2"), |_| Changes::default()).await.expect("a turn");
}

/// Whoever looks is told which row it is, alone and in a list.
async fn check_unreadable(place: &dyn Place, expected: &str) {
    let views = place.views();
    let one = views.exception(&id("EX-1")).await.map(drop);
    let history = views.history(&id("EX-1"), 0).await.map(drop);
    let list = views.exceptions(&Selection::default(), None, Limit::DEFAULT).await.map(drop);
    for found in [one, history, list] {
        let Err(ViewError::Unreadable { row, remedy, .. }) = found else { panic!("{found:?}") };
        assert_eq!((row.as_str(), remedy), ("the stored exception EX-1 cannot be read", expected));
    }
}

fn seen(name: &str, outcome: Outcome) -> InboxRow {
    InboxRow { key: key(name), digest: digest(1), outcome }
}

/// One new exception with its history, and nothing beside it.
fn known(name: &str, change: impl Fn(&mut Exception)) -> Changes {
    let mut it = exception(name);
    change(&mut it);
    let entry = happening(&it, "{}");
    let history = vec![it.chain.append(&it.id.clone(), entry)];
    Changes { exceptions: vec![it], history, ..Changes::default() }
}
