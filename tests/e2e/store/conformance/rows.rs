//! Exceptions, tickets, the inbox and the count of open assignments: what turns write and read of them.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::{BTreeMap, BTreeSet};

use reprieve::domain::exception::{Enforcement, Status};
use reprieve::domain::rules::{LevelPlan, Pick};
use reprieve::store::{Changes, Snapshot, Wanted};

use crate::store::material::{date, decide, digest, failure, id, key, read, submission, ticket_id, turn, user, write};
use crate::store::place::{Place, sql};

pub(crate) async fn what_a_turn_writes_the_next_one_reads(place: &dyn Place) {
    let mut store = place.open().await;
    let written = submission(&["EX-1", "EX-2"]);
    let committed = write(&mut store, &written).await;
    assert_eq!(committed.outcomes, written.outcomes);
    assert_eq!(committed.outgoing.iter().map(|row| row.body.as_str()).collect::<Vec<_>>(), ["out-EX-1", "out-EX-2"]);
    assert!(committed.outgoing.is_sorted_by_key(|row| row.id));
    assert!(!committed.outbox_full);

    let wanted = Wanted {
        events: BTreeMap::from([(key("EX-1"), BTreeSet::from([digest(7), digest(8)])), (key("none"), BTreeSet::new())]),
        exceptions: BTreeSet::from([id("EX-1"), id("EX-3"), id("EX-9")]),
        tickets: BTreeSet::from([ticket_id("EX-2")]),
        ..Wanted::default()
    };
    let snapshot = read(&mut store, &wanted).await;
    let behind = chrono::Utc::now() - snapshot.database_time;
    assert!((-60..60).contains(&behind.num_seconds()), "the clock of this machine");
    assert_eq!(snapshot.exceptions.values().collect::<Vec<_>>(), written.exceptions.iter().collect::<Vec<_>>());
    assert_eq!(snapshot.tickets.values().collect::<Vec<_>>(), written.tickets.iter().collect::<Vec<_>>());
    let seen = snapshot.seen.get(&key("EX-1")).expect("seen");
    assert_eq!((snapshot.seen.len(), seen.digest, seen.conflicts.len()), (1, digest(1), 0));

    let mut changed = written.exceptions.clone();
    for exception in &mut changed {
        exception.revision += 1;
        exception.status = Status::UnderReview;
    }
    changed.reverse();
    let failure = failure("EX-1", digest(7));
    let again = Changes { exceptions: changed.clone(), failures: vec![failure.clone(), failure], ..Changes::default() };
    turn(&mut store, &wanted, |_| again.clone()).await.expect("a turn");
    let snapshot = read(&mut store, &wanted).await;
    changed.reverse();
    assert_eq!(snapshot.exceptions.into_values().collect::<Vec<_>>(), changed);
    let conflicts = &snapshot.seen.get(&key("EX-1")).expect("seen").conflicts;
    assert_eq!(*conflicts, BTreeSet::from([digest(7)]), "only what was recorded");
}

pub(crate) async fn only_what_is_live_on_a_ticket_is_loaded_with_it(place: &dyn Place) {
    let mut store = place.open().await;
    let mut all = submission(&["EX-1", "EX-2", "EX-3", "EX-4", "EX-5"]);
    for exception in &mut all.exceptions {
        exception.ticket_id = ticket_id("T");
    }
    decide(&mut all.exceptions[0], Status::Denied, Enforcement::None);
    decide(&mut all.exceptions[1], Status::Approved, Enforcement::Ended);
    decide(&mut all.exceptions[2], Status::Approved, Enforcement::InForce);
    decide(&mut all.exceptions[3], Status::Approved, Enforcement::Pending);
    write(&mut store, &all).await;
    let names = |snapshot: Snapshot| snapshot.exceptions.into_keys().map(|id| id.to_string()).collect::<Vec<_>>();
    let by_ticket = Wanted { tickets: BTreeSet::from([ticket_id("T")]), ..Wanted::default() };
    let by_exception = Wanted { exceptions: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
    for status in [Status::Requested, Status::UnderReview] {
        let mut open = all.exceptions[4].clone();
        open.status = status;
        let changes = Changes { exceptions: vec![open], ..Changes::default() };
        turn(&mut store, &by_ticket, |_| changes.clone()).await.expect("a turn");
        assert_eq!(names(read(&mut store, &by_ticket).await), ["EX-3", "EX-4", "EX-5"], "{status:?}");
        assert_eq!(names(read(&mut store, &by_exception).await), ["EX-1", "EX-3", "EX-4", "EX-5"], "{status:?}");
    }
}

pub(crate) async fn a_ticket_that_is_written_again_is_changed(place: &dyn Place) {
    let mut store = place.open().await;
    let written = submission(&["EX-1", "EX-2"]);
    write(&mut store, &written).await;
    let mut tickets = written.tickets.clone();
    tickets[1].earliest_due_date = date() - chrono::Days::new(1);
    tickets[1].approved = 3;
    tickets[1].last_event_at = Some(written.exceptions[0].created_at);
    write(&mut store, &Changes { tickets: tickets[1..].to_vec(), ..Changes::default() }).await;
    let wanted = Wanted { tickets: tickets.iter().map(|ticket| ticket.id.clone()).collect(), ..Wanted::default() };
    assert_eq!(read(&mut store, &wanted).await.tickets.into_values().collect::<Vec<_>>(), tickets);
}

pub(crate) async fn open_assignments_are_kept_by_differences(place: &dyn Place) {
    let mut store = place.open().await;
    let by = |differences: &[(&str, i64)]| Changes {
        load: differences.iter().map(|(name, difference)| (user(name), *difference)).collect(),
        ..Changes::default()
    };
    write(&mut store, &by(&[("alice", 2), ("bob", 1)])).await;
    write(&mut store, &by(&[("alice", -1), ("bob", 3), ("chen", 1)])).await;
    write(&mut store, &by(&[("bob", -4)])).await;
    let wanted = Wanted { load: ["alice", "bob", "chen", "dee"].map(user).into(), ..Wanted::default() };
    let load =
        |snapshot: Snapshot| snapshot.load.into_iter().map(|(user, load)| format!("{user} {load}")).collect::<Vec<_>>();
    assert_eq!(load(read(&mut store, &wanted).await), ["alice 1", "bob 0", "chen 1"]);
    assert_eq!(load(read(&mut store, &Wanted::default()).await), [] as [String; 0], "nobody asked");

    // Whatever is in a name.
    let odd = ["o'neil,{x}\"@example.com", "back\\slash", "a/$.a[0]"];
    for difference in [3, -1] {
        write(&mut store, &by(&odd.map(|name| (name, difference)))).await;
    }
    let those = Wanted { load: odd.map(user).into(), ..Wanted::default() };
    let mut expected = odd.map(|name| format!("{name} 2"));
    expected.sort();
    assert_eq!(load(read(&mut store, &those).await), expected);

    // Somebody has changed a count by hand, and taken one away: a turn goes on.
    let by_hand =
        "UPDATE reviewers SET open_assignments = 0 WHERE id = 'alice'; DELETE FROM reviewers WHERE id = 'chen'";
    place.tamper(sql(by_hand)).await;
    write(&mut store, &by(&[("alice", -1), ("chen", -1)])).await;
    assert_eq!(load(read(&mut store, &wanted).await), ["alice 0", "bob 0"]);

    // Whom the stored levels to come of an exception pick by load is read with it.
    let mut planned = submission(&["EX-1", "EX-2"]);
    let level = |names: &[&str]| LevelPlan {
        candidates: names.iter().map(|name| user(name)).collect(),
        pick: Pick::LeastLoaded,
        ..LevelPlan::default()
    };
    for exception in &mut planned.exceptions {
        exception.assignment.levels = vec![level(&["alice"]), level(&["bob", "dee"])];
    }
    decide(&mut planned.exceptions[1], Status::Denied, Enforcement::None);
    write(&mut store, &Changes { load: by(&[("bob", 5)]).load, ..planned }).await;
    let named = |name: &str| Wanted { exceptions: BTreeSet::from([id(name)]), ..Wanted::default() };
    assert_eq!(load(read(&mut store, &named("EX-1")).await), ["bob 5"]);
    assert_eq!(load(read(&mut store, &named("EX-2")).await), [] as [String; 0], "no level is to come");
}
