use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;

use chrono::{NaiveDate, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, query_scalar, raw_sql};

use super::log::{SqliteLog, announcements};
use super::scratch::{Scratch, read, turn, write};
use super::*;
use crate::domain::actor::{Actor, ActorKind};
use crate::domain::dates::to_microseconds;
use crate::domain::exception::{Cause, Enforcement, Exception, Request, Status};
use crate::domain::history::{Chain, EntryOutcome, EventRef, Happening};
use crate::domain::ids::{Digest, ExceptionId, TicketId, UserId};
use crate::domain::rules::{Assignment, Level};
use crate::domain::ticket::Ticket;
use crate::store::{InboxRow, Outcome, RuleSetRow};

const OUTBOX: Outlet = Outlet::Outbox { max: 1_000_000 };

/// Everything that JSON could change on its way.
const AWKWARD: &str = "{\"é\\u0000\\\"\\\\ as text\": \"\u{2028}\u{1f600} \u{1}\u{7f} \\ud83d\\u0000\", 'x': \"\t\n\"}";

fn open(scratch: &Scratch) -> SqliteStore {
    SqliteStore::new(scratch.file(), Light::default(), OUTBOX)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn id(name: &str) -> ExceptionId {
    ExceptionId::parse(name).unwrap()
}

fn ticket_id(name: &str) -> TicketId {
    TicketId::parse(&format!("T-{name}")).unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 16])
}

fn key(name: &str) -> Digest {
    Digest(*uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).as_bytes())
}

fn date() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 12, 5).unwrap()
}

fn exception(name: &str) -> Exception {
    let at = crate::domain::dates::parse_time("2026-11-24T09:00:00.123456Z").unwrap();
    Exception {
        id: id(name),
        ticket_id: ticket_id(name),
        submission: digest(1),
        request: Request {
            ticket_title: AWKWARD.to_owned(),
            severity: "high".to_owned(),
            requester: user("zoe@example.com"),
            team: None,
            reason: "fix_unavailable".to_owned(),
            original_due_date: date(),
            current_due_date: date(),
            requested_due_date: date(),
            previous_exception_id: None,
            batch_id: None,
        },
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 1,
        assignment: Assignment { rule: "default".to_owned(), max_extension_days: 365, ..Assignment::default() },
        level: Level { number: 1, reviewers: vec![user("o'neil,{x}\"\\u@example.com")], quorum: 1, unassigned: false },
        votes: Vec::new(),
        decisions: BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain: Chain::default(),
        created_at: at,
        updated_at: at,
        decided_at: None,
    }
}

/// All that a submission writes.
fn submission(names: &[&str]) -> Changes {
    let mut changes = Changes { held: true, ..Changes::default() };
    for name in names {
        let mut exception = exception(name);
        let happening = Happening {
            at: exception.created_at,
            kind: "submitted",
            actor: Actor { id: "zoe@example.com".to_owned(), kind: ActorKind::User },
            event: Some(EventRef { source: "s".to_owned(), id: (*name).to_owned(), event_type: "t".to_owned() }),
            outcome: EntryOutcome::Applied,
            code: None,
            revision: 1,
            body: AWKWARD.to_owned(),
        };
        changes.history.push(exception.chain.append(&exception.id, happening));
        changes.exceptions.push(exception);
        let last_event_at = Some(now());
        changes.tickets.push(Ticket { id: ticket_id(name), earliest_due_date: date(), approved: 0, last_event_at });
        changes.inbox.push(InboxRow { key: key(name), digest: digest(1), outcome: Outcome::Applied });
        changes.outbox.push(format!("{name}: {AWKWARD}"));
        changes.outcomes.push(Outcome::Applied);
    }
    let body = AWKWARD.to_owned();
    changes.rule_set = Some(RuleSetRow { hash: "ab".to_owned(), version: "1".to_owned(), body });
    changes
}

fn now() -> Timestamp {
    to_microseconds(Utc::now())
}

fn events(bodies: &[&str]) -> Changes {
    Changes { outbox: bodies.iter().map(|body| (*body).to_owned()).collect(), held: true, ..Changes::default() }
}

fn all_of(names: &[&str]) -> Wanted {
    Wanted {
        events: names.iter().map(|name| (key(name), BTreeSet::from([digest(1), digest(2)]))).collect(),
        exceptions: names.iter().map(|name| id(name)).collect(),
        ..Wanted::default()
    }
}

#[tokio::test]
async fn refused_content_leaves_nothing_and_the_session_stays() {
    let scratch = Scratch::migrated().await;
    let light = Light::default();
    let mut store = SqliteStore::new(scratch.file(), light.clone(), OUTBOX);
    write(&mut store, &submission(&["A"])).await;

    let mut wrong = vec![submission(&["B"]); 6];
    wrong[0].inbox[0].key = key("A");
    wrong[1].outbox = vec!["a NUL \0 in a text".to_owned()];
    wrong[2].exceptions[0].decided_at = Some(now());
    wrong[3].history[0].exception_id = id("nobody");
    wrong[4].exceptions[0].votes.push(crate::domain::exception::Vote {
        reviewer: user("zoe@example.com"),
        level: 1,
        approved_due_date: date(),
        at: now(),
    });
    wrong[5].inbox[0].outcome = Outcome::Repeated;
    for changes in &wrong {
        let refused = turn(&mut store, &Wanted::default(), |_| changes.clone()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
        assert!(light.is_on(), "a refusal ends well");
    }
    for table in ["exceptions", "history", "inbox", "outbox", "tickets"] {
        assert_eq!(scratch.count(table).await, 1, "{table}");
    }
    write(&mut store, &submission(&["B"])).await;
}

#[tokio::test]
async fn a_plan_that_panics_leaves_nothing_open() {
    let scratch = Scratch::migrated().await;
    let mut store = open(&scratch);
    let panicked = tokio::spawn(async move {
        turn(&mut store, &Wanted::default(), |_| std::panic::resume_unwind(Box::new("on purpose"))).await.map(|_| ())
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let mut store = open(&scratch);
    write(&mut store, &submission(&["A"])).await;
}

/// Polls a turn so many times, then goes away. Each poll is at most one answer of the connection's thread.
async fn dropped_after(store: &mut SqliteStore, changes: &Changes, polls: usize) -> bool {
    let mut plan = |_| changes.clone();
    let wanted = Wanted::default();
    let mut turn = store.turn(&wanted, &mut plan);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match turn.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_dropped_turn_is_whole_or_nothing() {
    let scratch = Scratch::migrated().await;
    let mut store = open(&scratch);
    let mut finished = 0;
    for polls in 1..60 {
        let name = format!("E{polls}");
        let done = dropped_after(&mut store, &submission(&[&name]), polls).await;
        finished += usize::from(done);
        let there = read(&mut store, &all_of(&[&name])).await.exceptions.len();
        for table in ["exceptions", "history", "inbox", "outbox", "tickets"] {
            let sql = match table {
                "exceptions" => format!("SELECT count(*) FROM exceptions WHERE id = '{name}'"),
                "history" => format!("SELECT count(*) FROM history WHERE event_id = '{name}'"),
                "inbox" => format!("SELECT count(*) FROM inbox WHERE hex(key) = upper('{}')", key(&name)),
                "outbox" => format!("SELECT count(*) FROM outbox WHERE body LIKE '{name}:%'"),
                _ => format!("SELECT count(*) FROM tickets WHERE id = 'T-{name}'"),
            };
            let rows: i64 = query_scalar(AssertSqlSafe(sql)).fetch_one(&mut scratch.plain().await).await.unwrap();
            assert_eq!(rows, i64::try_from(there).unwrap(), "{table} after {polls} polls");
        }
        assert!(!done || there == 1, "what was answered is there");
    }
    assert!(finished > 0, "the last ones come to their end");
}

#[tokio::test]
async fn the_light_is_on_from_the_first_good_turn_until_one_goes_wrong() {
    let scratch = Scratch::migrated().await;
    let light = Light::default();
    let mut store = SqliteStore::new(scratch.file(), light.clone(), OUTBOX);
    assert!(!light.is_on());
    write(&mut store, &Changes::default()).await;
    assert!(light.is_on());
    scratch.run("ALTER TABLE outbox RENAME TO away").await;
    let error = turn(&mut store, &Wanted::default(), |_| events(&["x"])).await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)) && !light.is_on(), "{error}");
    scratch.run("ALTER TABLE away RENAME TO outbox").await;
    write(&mut store, &events(&["x"])).await;
    assert!(light.is_on());
}

#[tokio::test]
async fn a_file_that_has_vanished_is_away_and_not_begun_anew() {
    let scratch = Scratch::new();
    let error = turn(&mut open(&scratch), &Wanted::default(), |_| Changes::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error}");
    assert!(!scratch.file().exists());
}

#[tokio::test]
async fn a_full_disk_is_away_and_work_goes_on_when_there_is_room() {
    let scratch = Scratch::migrated().await;
    let mut store = open(&scratch);
    write(&mut store, &submission(&["A"])).await;
    let session = &mut store.held.as_mut().unwrap().connection;
    let pages: i64 = query_scalar("PRAGMA page_count").fetch_one(&mut *session).await.unwrap();
    let cap = AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
    raw_sql(cap).execute(session).await.unwrap();
    let large = events(&["x".repeat(100_000).as_str()]);
    let error = turn(&mut store, &Wanted::default(), |_| large.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)) && error.to_string().contains("make room on the disk"), "{error}");
    write(&mut store, &large).await;
    assert_eq!(scratch.count("outbox").await, 2);
}

fn logging(scratch: &Scratch) -> (SqliteStore, tokio::sync::watch::Receiver<i64>) {
    let (writer, newest) = announcements();
    (SqliteStore::new(scratch.file(), Light::default(), Outlet::Log(writer)), newest)
}

#[tokio::test]
async fn an_event_in_the_log_is_published_in_order_and_announced() {
    let scratch = Scratch::migrated().await;
    let (mut store, newest) = logging(&scratch);
    let log = SqliteLog::new(scratch.file());
    assert_eq!(log.newest().await.unwrap(), 0);
    let committed = write(&mut store, &events(&["a", AWKWARD])).await;
    assert!(committed.outgoing.is_empty() && !committed.outbox_full);
    assert_eq!(*newest.borrow(), 2);
    write(&mut store, &events(&["c"])).await;
    assert_eq!((*newest.borrow(), log.newest().await.unwrap()), (3, 3));

    let rows = log.page(1, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.id, row.body.as_str())).collect::<Vec<_>>(), [(2, AWKWARD), (3, "c")]);
    assert!((now() - rows[0].at).num_seconds() < 60);
    assert_eq!(log.page(0, 1).await.unwrap().len(), 1);
    assert!(log.page(3, 10).await.unwrap().is_empty());

    let (mut again, newest) = logging(&scratch);
    write(&mut again, &Changes::default()).await;
    assert_eq!(*newest.borrow(), 3, "what stood there before is announced by the first turn");
    let refused = turn(&mut again, &Wanted::default(), |_| events(&["a NUL \0"])).await;
    assert!(refused.is_err() && *newest.borrow() == 3);
}

#[tokio::test]
async fn what_another_broker_has_left_goes_before_what_is_new() {
    let scratch = Scratch::migrated().await;
    let mut before = open(&scratch);
    let bodies: Vec<String> = (0..1500).map(|number| number.to_string()).collect();
    write(&mut before, &Changes { outbox: bodies.clone(), held: true, ..Changes::default() }).await;
    let (mut store, newest) = logging(&scratch);
    let wanted = Wanted { claims_max: 1, ..Wanted::default() };
    let first = turn(&mut store, &wanted, |_| Changes::default()).await.unwrap();
    assert!(first.claims_full && first.outgoing.is_empty(), "there is more");
    assert_eq!((*newest.borrow(), scratch.count("outbox").await), (1000, 500));
    let second = turn(&mut store, &wanted, |_| events(&["new"])).await.unwrap();
    assert!(!second.claims_full);
    assert_eq!(scratch.count("outbox").await, 0);
    let rows = SqliteLog::new(scratch.file()).page(0, 2000).await.unwrap();
    let found: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    assert!(found.iter().copied().eq(bodies.iter().map(String::as_str).chain(["new"])));
}

#[tokio::test]
async fn what_is_old_is_forgotten_by_ticks_alone() {
    let scratch = Scratch::migrated().await;
    let (mut store, _newest) = logging(&scratch);
    write(&mut store, &submission(&["A", "B"])).await;
    let ago = |days, minutes| (now() - TimeDelta::days(days) + TimeDelta::minutes(minutes)).timestamp_micros();
    let age = format!(
        "UPDATE log SET at = {} WHERE id = 1; UPDATE log SET at = {} WHERE id = 2;
         UPDATE inbox SET at = {} WHERE id = 1; UPDATE inbox SET at = {} WHERE id = 2",
        ago(7, -1),
        ago(7, 1),
        ago(45, -1),
        ago(45, 1)
    );
    scratch.run(&age).await;
    write(&mut store, &Changes::default()).await;
    assert_eq!((scratch.count("log").await, scratch.count("inbox").await), (2, 2));
    read(&mut store, &Wanted { expired_max: 1, ..Wanted::default() }).await;
    assert_eq!((scratch.count("log").await, scratch.count("inbox").await), (1, 1));
    let left = read(&mut store, &all_of(&["A", "B"])).await.seen;
    assert!(left.contains_key(&key("B")), "the younger one");
}

#[tokio::test]
async fn an_operators_mark_is_waited_for() {
    let scratch = Scratch::migrated().await;
    let mut store = open(&scratch);
    write(&mut store, &Changes::default()).await;
    let mut other = scratch.plain().await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let marked = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    let changes = submission(&["A"]);
    let ((), _) = tokio::join!(marked, write(&mut store, &changes));
}

/// Which statements may read a table from one end: a few rows in the order of its numbers, or all of a small index.
const MAY_SCAN: [(&str, &str); 8] = [
    ("UPDATE outbox SET free_at", "SCAN outbox USING COVERING INDEX outbox_free"),
    ("SELECT count(*) FROM outbox", "SCAN outbox USING COVERING INDEX outbox_free"),
    ("SELECT count(*) FROM parked", "SCAN parked USING COVERING INDEX parked_expires"),
    ("INSERT INTO log (at, body) SELECT ?1, body FROM outbox", "SCAN outbox"),
    ("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox", "SCAN outbox USING COVERING INDEX outbox_free"),
    ("SELECT id, octet_length(body) FROM failures", "SCAN failures USING INDEX failures_retrying"),
    ("DELETE FROM log", "SCAN log"),
    ("DELETE FROM inbox", "SCAN inbox"),
];

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let scratch = Scratch::migrated().await;
    let mut connection = scratch.plain().await;
    let mut wrong = Vec::new();
    for statement in statements() {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
        for (.., step) in steps.iter().filter(|(.., step)| step.starts_with("SCAN")) {
            let no_table =
                step.contains("VIRTUAL TABLE") || step.starts_with("SCAN (subquery") || step.contains("CONSTANT ROW");
            let allowed = MAY_SCAN.iter().any(|(begin, scan)| statement.starts_with(begin) && step == scan);
            if !no_table && !allowed {
                wrong.push((statement, steps.clone()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(statements().count() > 30, "all of them were asked for");
}
