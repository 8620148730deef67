//! What turns write and read.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::domain::exception::{Enforcement, Status};
use reprieve::domain::history::{Chain, Hash, link};
use reprieve::domain::rules::{LevelPlan, Pick};
use reprieve::health::Light;
use reprieve::store::postgres::submissions::PostgresSubmissions;
use reprieve::store::postgres::views::PostgresViews;
use reprieve::store::postgres::{PostgresStore, migrate};
use reprieve::store::submissions::Submissions as _;
use reprieve::store::{Changes, Committed, InboxRow, NewParked, Outcome, Snapshot, Views, Waiting, Wanted};
use sqlx::{Row, query_scalar, raw_sql};

use super::material::{
    count, decide, digest, failure, id, key, open, plain, read, submission, ticket_id, turn, user, write,
};

pub(crate) async fn what_a_turn_writes_the_next_one_reads(url: &str) {
    let mut store = open(url).await;
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

pub(crate) async fn a_look_up_shows_the_exception_and_its_chain(url: &str) {
    let views = PostgresViews::new(url).expect("a URL");
    assert!(views.exception(&id("EX-1")).await.is_err(), "no schema yet");
    let mut store = open(url).await;
    let written = submission(&["EX-1"]);
    write(&mut store, &written).await;
    let (exception, entries) = views.exception(&id("EX-1")).await.expect("an answer").expect("there");
    assert_eq!(Some(&exception), written.exceptions.first());
    let mut head: Hash = Chain::default().head;
    for entry in &entries {
        head = link(&head, "EX-1", entry.number, &entry.fields);
        assert_eq!(entry.hash, head);
    }
    assert_eq!((entries.len(), head), (1, exception.chain.head));
    assert!(views.exception(&id("EX-9")).await.expect("an answer").is_none());
}

pub(crate) async fn submissions_are_read_page_by_page(url: &str) {
    let mut store = open(url).await;
    let names: Vec<String> = (0..450).map(|number| format!("EX-{number:03}")).collect();
    write(&mut store, &submission(&names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let submissions = PostgresSubmissions::new(url).expect("a URL");
    let (mut cursor, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let (page, next) = submissions.recent(cursor).await.expect("an answer");
        found.extend(page.into_iter().map(|it| it.exception.id.to_string()));
        pages += 1;
        if next.is_none() {
            break;
        }
        cursor = next;
    }
    assert_eq!((pages, found), (4, names.into_iter().rev().collect()), "the newest first, each once");
    let one = submissions.of(&id("EX-007")).await.expect("an answer").expect("there");
    assert_eq!(one.exception.id, id("EX-007"));
    assert!(submissions.of(&id("EX-7")).await.expect("an answer").is_none());
    assert_eq!(submissions.rule_set("ab").await.expect("an answer").as_deref(), Some("version: 1"));
    assert!(submissions.rule_set("cd").await.expect("an answer").is_none());
}

pub(crate) async fn a_row_in_hand_is_not_claimed_and_a_void_term_is(url: &str) {
    let mut store = open(url).await;
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
    let mut other = plain(url).await;
    raw_sql("UPDATE outbox SET free_at = now() + interval '1 year'").execute(&mut other).await.expect("a jumped clock");
    let all = turn(&mut store, &claim(10), |_| Changes::default()).await.expect("a turn");
    assert_eq!(bodies(&all), ["a", "b", "c", "d", "e", "f"]);

    let [confirmed, unroutable] = [held[0].id, held[1].id];
    let fates = Changes { confirmed: vec![confirmed, confirmed], unroutable: vec![unroutable], ..Changes::default() };
    write(&mut store, &fates).await;
    let row =
        raw_sql("SELECT attempts, extract(epoch FROM free_at - now())::float8 AS wait FROM outbox WHERE unroutable")
            .fetch_one(&mut other)
            .await
            .expect("one row");
    let wait: f64 = row.try_get("wait").expect("a wait");
    assert!(wait > 0.5 && wait < 31.0, "{wait}");
    assert_eq!(count(url, "outbox").await, 5);
    raw_sql("UPDATE outbox SET attempts = 32767, free_at = now()").execute(&mut other).await.expect("tried for ever");
    turn(&mut store, &claim(10), |_| fates.clone()).await.expect("a turn");
}

pub(crate) async fn parked_events_come_in_the_order_they_were_parked(url: &str) {
    let mut store = open(url).await;
    let now = read(&mut store, &Wanted::default()).await.database_time;
    let parked = |exception: &str, body: &str, seconds| NewParked {
        exception_id: id(exception),
        event_key: key(body),
        parked_at: now,
        expires_at: now + Duration::from_hours(1) - Duration::from_secs(seconds),
        properties: Properties { content_type: Some("text/x".to_owned()), ..Properties::default() },
        body: body.as_bytes().to_vec(),
    };
    let events =
        vec![parked("EX-2", "a", 0), parked("EX-1", "b", 0), parked("EX-3", "c", 7_200), parked("EX-1", "d", 7_300)];
    let inbox =
        events.iter().map(|event| InboxRow { key: event.event_key, digest: digest(1), outcome: Outcome::Parked });
    let park = Changes { inbox: inbox.collect(), park: events.clone(), ..Changes::default() };
    write(&mut store, &park).await;

    // A damaged row is given like any other: it must not stop the sweep.
    let damaged = "UPDATE parked SET properties = 'x' WHERE exception_id = 'EX-3'";
    raw_sql(damaged).execute(&mut plain(url).await).await.expect("an update");

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
    assert_eq!(count(url, "parked").await, 1);
    let stored: Vec<String> = query_scalar("SELECT concat_ws(' ', outcome, code) FROM inbox ORDER BY 1")
        .fetch_all(&mut plain(url).await)
        .await
        .expect("the inbox");
    assert_eq!(stored, ["applied", "failed orphaned", "parked", "parked"]);
}

pub(crate) async fn only_what_is_live_on_a_ticket_is_loaded_with_it(url: &str) {
    let mut store = open(url).await;
    let mut all = submission(&["EX-1", "EX-2", "EX-3", "EX-4"]);
    for exception in &mut all.exceptions {
        exception.ticket_id = ticket_id("T");
    }
    decide(&mut all.exceptions[0], Status::Denied, Enforcement::None);
    decide(&mut all.exceptions[1], Status::Approved, Enforcement::Ended);
    decide(&mut all.exceptions[2], Status::Approved, Enforcement::InForce);
    write(&mut store, &all).await;
    let names = |snapshot: Snapshot| snapshot.exceptions.into_keys().map(|id| id.to_string()).collect::<Vec<_>>();
    let by_ticket = Wanted { tickets: BTreeSet::from([ticket_id("T")]), ..Wanted::default() };
    assert_eq!(names(read(&mut store, &by_ticket).await), ["EX-3", "EX-4"]);
    let by_exception = Wanted { exceptions: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
    assert_eq!(names(read(&mut store, &by_exception).await), ["EX-1", "EX-3", "EX-4"]);
}

pub(crate) async fn a_full_outbox_says_so(url: &str) {
    migrate::up(url).await.expect("migrations run");
    let mut store = PostgresStore::new(url, Light::default(), 3).expect("a URL");
    let full = |committed: Committed| committed.outbox_full;
    let one = || Changes { outbox: vec!["x".to_owned()], ..Changes::default() };
    assert!(!full(write(&mut store, &one()).await));
    write(&mut store, &Changes { outbox: vec!["x".to_owned(); 2], ..Changes::default() }).await;
    let mut fresh = PostgresStore::new(url, Light::default(), 3).expect("a URL");
    assert!(full(write(&mut fresh, &Changes::default()).await));
    raw_sql("DELETE FROM outbox WHERE id = 2").execute(&mut plain(url).await).await.expect("one less");
    let mut fresh = PostgresStore::new(url, Light::default(), 3).expect("a URL");
    assert!(!full(write(&mut fresh, &Changes::default()).await), "the bound is not the count");
}

pub(crate) async fn open_assignments_are_kept_by_differences(url: &str) {
    let mut store = open(url).await;
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

    // Somebody has changed a count by hand, and taken one away: a turn goes on.
    let by_hand =
        "UPDATE reviewers SET open_assignments = 0 WHERE id = 'alice'; DELETE FROM reviewers WHERE id = 'chen'";
    raw_sql(by_hand).execute(&mut plain(url).await).await.expect("an update");
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

/// The table as it comes to a database that has been used before.
pub(crate) async fn what_is_open_is_counted_when_the_table_comes(url: &str) {
    let mut store = open(url).await;
    let mut all = submission(&["EX-1", "EX-2", "EX-3"]);
    decide(&mut all.exceptions[2], Status::Denied, Enforcement::None);
    all.exceptions[0].level.reviewers = vec![user("alice"), user("bob")];
    all.exceptions[1].level.reviewers = vec![user("alice")];
    write(&mut store, &all).await;
    let before = "DROP TABLE reviewers; DELETE FROM _sqlx_migrations WHERE version = 16";
    raw_sql(before).execute(&mut plain(url).await).await.expect("the schema before");
    migrate::up(url).await.expect("the table comes");
    let counted: Vec<String> = query_scalar("SELECT concat_ws(' ', id, open_assignments) FROM reviewers ORDER BY id")
        .fetch_all(&mut plain(url).await)
        .await
        .expect("the counts");
    assert_eq!(counted, ["alice 2", "bob 1"]);
}
