use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _, query, raw_sql};
use uuid::Uuid;

use super::super::scratch::Scratch;
use super::*;
use crate::domain::dates::{Timestamp, parse_time};
use crate::store::desk::SHOWN_BYTES_MAX;

const MIB: usize = 1024 * 1024;

fn at(seconds: u64) -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").unwrap() + Duration::from_secs(seconds)
}

fn uuids(numbers: &[u8]) -> Vec<Uuid> {
    numbers.iter().map(|number| Uuid::from_bytes([*number; 16])).collect()
}

fn limit(text: &str) -> Limit {
    text.parse().unwrap()
}

/// Failures by number, three in each second, in each state by turns.
async fn numbered(scratch: &Scratch, numbers: std::ops::Range<u8>, body: usize) {
    let mut connection = scratch.plain().await;
    raw_sql("PRAGMA synchronous = OFF; BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    for number in numbers {
        let insert = "
            INSERT INTO failures (id, event_key, digest, reason, message, fingerprint, source, event_id, event_type,
              exception_id, state, received_at, properties, body)
            VALUES (?1, ?1, ?1, ?2, 'm', ?3, 's', 'e', ?4, ?5, 'open', ?6, '{}', zeroblob(?7))";
        let odd = number % 2 == 1;
        query(insert)
            .bind(Uuid::from_bytes([number; 16]))
            .bind(if odd { "schema" } else { "id_conflict" })
            .bind(if odd { "schema/-/x" } else { "id_conflict" })
            .bind(odd.then_some("exception.decision.v1"))
            .bind(format!("EX-{number}"))
            .bind(at(u64::from(number / 3)).timestamp_micros())
            .bind(i64::try_from(body).unwrap())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    raw_sql("COMMIT").execute(&mut connection).await.unwrap();
}

async fn desk_with(failures: u8) -> (Scratch, SqliteDesk) {
    let scratch = Scratch::migrated().await;
    numbered(&scratch, 0..failures, 2).await;
    let desk = SqliteDesk::new(scratch.file());
    (scratch, desk)
}

async fn all(desk: &SqliteDesk, filter: &Filter, limit: Limit) -> (Vec<Uuid>, Vec<usize>) {
    let (mut ids, mut pages, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = desk.failures(filter, after, limit).await.unwrap();
        pages.push(page.items.len());
        ids.extend(page.items.iter().map(|failure| failure.id));
        after = page.next;
        if after.is_none() {
            return (ids, pages);
        }
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let (scratch, desk) = desk_with(7).await;
    let newest_first = uuids(&[6, 5, 4, 3, 2, 1, 0]);
    for filter in [Filter::open(), Filter::default()] {
        for (most, pages) in [("2", vec![2, 2, 2, 1]), ("7", vec![7]), ("6", vec![6, 1]), ("500", vec![7])] {
            assert_eq!(all(&desk, &filter, limit(most)).await, (newest_first.clone(), pages), "{most}");
        }
    }
    numbered(&scratch, 20..40, 2 * MIB).await;
    let filter = Filter { since: Some(at(6)), ..Filter::default() };
    let ids = uuids(&(20..40).rev().collect::<Vec<u8>>());
    assert_eq!(all(&desk, &filter, limit("50")).await, (ids, vec![16, 4]), "a page ends at 4 MiB of what is shown");
    let large = uuids(&[20])[0];
    assert_eq!(desk.body(large).await.unwrap().map(|body| body.len()), Some(2 * MIB));
    let found = desk.failure(large).await.unwrap().unwrap();
    assert_eq!((found.body.len(), found.body_bytes), (SHOWN_BYTES_MAX, 2 * 1024 * 1024));
    assert_eq!((found.received_at, found.state, found.edited_to), (at(6), FailureState::Open, None));
    assert_eq!(desk.failure(Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(desk.body(Uuid::from_u128(1)).await.unwrap(), None);
}

#[tokio::test]
async fn each_filter_finds_its_failures() {
    let (_scratch, desk) = desk_with(4).await;
    desk.mark(Mark::Discard, &uuids(&[0])).await.unwrap();
    for (name, value, found) in [
        ("state", "open", vec![3, 2, 1]),
        ("state", "discarded", vec![0]),
        ("state", "all", vec![3, 2, 1, 0]),
        ("reason", "schema", vec![3, 1]),
        ("type", "exception.decision.v1", vec![3, 1]),
        ("fingerprint", "schema/-/x", vec![3, 1]),
        ("exception", "EX-3", vec![3]),
        ("since", "2026-11-24T09:00:01Z", vec![3]),
        ("until", "2026-11-24T09:00:01Z", vec![2, 1]),
    ] {
        let mut filter = Filter::open();
        assert!(filter.set(name, value, at(0)).unwrap());
        assert_eq!(all(&desk, &filter, Limit::DEFAULT).await.0, uuids(&found), "{name} {value}");
        assert_eq!(desk.count(&filter).await.unwrap().count, found.len() as u64, "{name} {value}");
    }
    let two = Filter { states: vec![FailureState::Discarded, FailureState::Open], ..Filter::default() };
    assert_eq!(desk.count(&two).await.unwrap().count, 4);
    let none = Filter { since: Some(at(1)), until: Some(at(1)), ..Filter::default() };
    assert_eq!(desk.count(&none).await.unwrap().count, 0);

    let groups = desk.groups(&Filter::open(), Limit::DEFAULT).await.unwrap();
    let seen: Vec<_> = groups.iter().map(|group| (group.fingerprint.as_str(), group.count, group.example)).collect();
    assert_eq!(seen, [("schema/-/x", 2, uuids(&[3])[0]), ("id_conflict", 1, uuids(&[2])[0])]);
    assert_eq!((groups[0].first_at, groups[0].last_at, groups[0].reason.as_str()), (at(0), at(1), "schema"));
    let groups = desk.groups(&Filter::default(), limit("1")).await.unwrap();
    assert_eq!((groups.len(), groups[0].fingerprint.as_str()), (1, "id_conflict"), "of equals the first by name");
}

#[tokio::test]
async fn a_mark_is_made_once() {
    use FailureState::{Discarded, Open, Resolved, Retrying};
    let (scratch, desk) = desk_with(4).await;
    scratch.run("UPDATE failures SET state = 'resolved' WHERE event_id = 'e' AND exception_id = 'EX-3'").await;
    let named = uuids(&[3, 0, 1, 2, 9]);
    let states = |states: [FailureState; 4]| uuids(&[0, 1, 2, 3]).into_iter().zip(states).collect::<Vec<_>>();
    desk.mark(Mark::Discard, &uuids(&[1])).await.unwrap();
    desk.mark(Mark::Retry, &uuids(&[2])).await.unwrap();
    let found = desk.mark(Mark::Discard, &named).await.unwrap();
    assert_eq!(found, states([Open, Discarded, Retrying, Resolved]), "as it found them");
    assert_eq!(desk.states(&named).await.unwrap(), states([Discarded, Discarded, Retrying, Resolved]));
    for _ in ["once", "twice"] {
        desk.mark(Mark::Retry, &named).await.unwrap();
        assert_eq!(desk.states(&named).await.unwrap(), states([Retrying, Retrying, Retrying, Resolved]));
    }
    assert_eq!(desk.states(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn marks_of_many_go_step_by_step_from_the_oldest() {
    let (scratch, desk) = desk_with(7).await;
    desk.mark(Mark::Discard, &uuids(&[1])).await.unwrap();
    let mut after = None;
    let retrying = Filter { states: vec![FailureState::Retrying], ..Filter::default() };
    for (changed, all_retrying) in [(3, vec![3, 2, 0]), (3, vec![6, 5, 4, 3, 2, 0]), (0, vec![6, 5, 4, 3, 2, 0])] {
        let step = desk.mark_next(Mark::Retry, &Filter::open(), after, limit("3")).await.unwrap();
        assert_eq!((step.changed, step.next.is_some()), (changed, changed == 3));
        after = step.next;
        assert_eq!(all(&desk, &retrying, Limit::MAX).await.0, uuids(&all_retrying));
    }
    // What failed again while they are marked is not taken a second time.
    scratch.run("UPDATE failures SET state = 'open' WHERE state = 'retrying'").await;
    let after = Some(Cursor { received_at: at(1), id: uuids(&[4])[0] });
    let step = desk.mark_next(Mark::Discard, &Filter::open(), after, limit("3")).await.unwrap();
    assert_eq!((step.changed, step.next), (2, None));
    // Whatever the filter says, only what the mark is for.
    let step = desk.mark_next(Mark::Discard, &Filter::default(), None, Limit::MAX).await.unwrap();
    assert_eq!(step.changed, 4);
}

#[tokio::test]
async fn a_mark_waits_for_the_turn_and_a_look_for_nobody() {
    let (scratch, desk) = desk_with(1).await;
    let mut turn = scratch.plain().await;
    raw_sql("BEGIN IMMEDIATE; UPDATE failures SET attempts = 7").execute(&mut turn).await.unwrap();
    let ids = uuids(&[0]);
    let mut mark = std::pin::pin!(desk.mark(Mark::Discard, &ids));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut mark).await.is_err(), "it does not wait");
    assert_eq!(desk.failure(ids[0]).await.unwrap().unwrap().attempts, 0);
    raw_sql("COMMIT").execute(&mut turn).await.unwrap();
    assert_eq!(mark.await.unwrap(), [(ids[0], FailureState::Open)]);
}

#[tokio::test]
async fn an_edit_keeps_the_old_bytes() {
    let (scratch, desk) = desk_with(2).await;
    scratch
        .run(
            r#"UPDATE failures SET properties = '{"content_type":"application/json","content_encoding":"gzip","user_id":"u",
               "headers":{"ce-id":"e-1","ce-source":"urn:up","ce-type":"exception.decision.v1"}}', announced = 'schema'"#,
        )
        .await;
    let (old, other) = (uuids(&[0])[0], uuids(&[1])[0]);
    let edit = |body: &str| Edit { body: body.as_bytes().to_vec(), content_type: None };
    let body = r#"{"exception_id": "EX-7"}"#;

    let Edited::Made(new, wrong) = desk.edit(old, &edit(body)).await.unwrap() else { panic!("not made") };
    assert!(wrong.is_some(), "a decision has more than that");
    let before = desk.failure(old).await.unwrap().unwrap();
    assert_eq!((before.state, before.body.len(), before.edited_to), (FailureState::Discarded, 2, Some(new)));
    let after = desk.failure(new).await.unwrap().unwrap();
    assert_eq!((after.state, after.body.as_slice()), (FailureState::Retrying, body.as_bytes()));
    assert_eq!((after.edited_from, after.attempts, after.outcome.as_deref()), (Some(old), 0, None));
    assert_eq!((after.source.as_str(), after.event_id.as_str()), ("urn:up", "e-1"), "as the new bytes are read");
    assert_eq!(
        (after.event_type.as_deref(), after.exception_id.as_deref()),
        (Some("exception.decision.v1"), Some("EX-7"))
    );
    assert_eq!((&after.reason, &after.fingerprint), (&before.reason, &before.fingerprint));
    assert_eq!(after.properties.content_encoding, None);
    let event_key = crate::contract::digest::event_key("urn:up", "e-1");
    let select = query("SELECT event_key, announced FROM failures WHERE id = ?1").bind(new);
    let row = select.fetch_one(&mut scratch.plain().await).await.unwrap();
    assert_eq!((row.get::<Vec<u8>, _>(0), row.get::<String, _>(1)), (event_key.0.to_vec(), String::new()));

    assert_eq!(desk.edit(old, &edit(body)).await.unwrap(), Edited::Already(new), "a second click");
    assert_eq!(desk.edit(other, &edit(body)).await.unwrap(), Edited::ChangesNothing(new));
    assert_eq!(desk.edit(new, &edit("{}")).await.unwrap(), Edited::Forbidden(FailureState::Retrying));
    assert_eq!(desk.edit(Uuid::from_u128(1), &edit("{}")).await.unwrap(), Edited::Unknown);
    let Edited::Made(newer, _) = desk.edit(old, &edit("{}")).await.unwrap() else { panic!("not made") };
    assert_eq!(desk.failure(old).await.unwrap().unwrap().edited_to, Some(newer), "the last one");
}

#[tokio::test]
async fn parked_events_and_the_outbox_are_shown() {
    let (scratch, desk) = desk_with(0).await;
    let empty = OutboxState { pending: 0, unroutable: 0, oldest_age_s: None };
    assert_eq!(desk.outbox().await.unwrap(), empty);
    for (name, exception) in [("a", "EX-1"), ("b", "EX-2"), ("c", "EX-1")] {
        let insert = format!(
            r#"INSERT INTO parked (exception_id, event_key, parked_at, expires_at, properties, body) VALUES ('{exception}', x'00',
               {}, {}, '{{"content_type":"application/json","headers":{{"ce-id":"{name}","ce-source":"urn:up","ce-type":"t"}}}}',
               CAST('{{}}' AS BLOB))"#,
            at(0).timestamp_micros(),
            at(60).timestamp_micros()
        );
        scratch.run(&insert).await;
    }
    let old = look::now().timestamp_micros() - 90_000_000;
    let insert = "INSERT INTO outbox (free_at, created_at, unroutable, body) VALUES";
    scratch.run(&format!("{insert} (0, {old}, 1, 'x'), (0, {}, 0, 'y')", old + 1)).await;
    let outbox = desk.outbox().await.unwrap();
    assert_eq!((outbox.pending, outbox.unroutable), (2, 1));
    assert!(outbox.oldest_age_s.is_some_and(|age| (90..100).contains(&age)), "{outbox:?}");

    let first = desk.parked(None, None, limit("2")).await.unwrap();
    let rest = desk.parked(None, first.next, limit("2")).await.unwrap();
    let shown: Vec<_> = first.items.iter().chain(&rest.items).map(|event| event.event_id.as_str()).collect();
    assert_eq!((shown, first.items.len(), rest.next), (vec!["a", "b", "c"], 2, None));
    let event = &first.items[1];
    assert_eq!((event.source.as_str(), event.exception_id.as_str()), ("urn:up", "EX-2"));
    assert_eq!((event.parked_at, event.expires_at), (at(0), at(60)));
    let id = ExceptionId::parse("EX-1").unwrap();
    let one = desk.parked(Some(&id), None, Limit::MAX).await.unwrap();
    assert_eq!(one.items.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    scratch.run("UPDATE parked SET body = zeroblob(5000000)").await;
    assert_eq!(desk.parked(None, None, Limit::MAX).await.unwrap().items.len(), 1, "the first always fits");
}

/// Whatever the tables hold: `SQLite` has no numbers about them, so its plans are always these.
#[tokio::test]
async fn every_list_finds_its_rows_by_index() {
    let scratch = Scratch::migrated().await;
    let mut connection = scratch.plain().await;
    for statement in statements() {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = query(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let outbox = statement.contains("FROM outbox");
        let scans = |step: &String| ["SCAN f", "SCAN e", "SCAN x", "SCAN parked"].iter().any(|it| step.starts_with(it));
        assert!(outbox || !plan.iter().any(scans), "{statement}\n{plan:#?}");
        if statement.contains("f.state = ?1") {
            let by_state = "INDEX failures_state (state=? AND (received_at,id)";
            assert!(plan.iter().any(|step| step.contains(by_state)), "{statement}\n{plan:#?}");
        }
        if statement.contains("instr(?1,") {
            let by_time = "INDEX failures_received ((received_at,id)";
            assert!(plan.iter().any(|step| step.contains(by_time)), "{statement}\n{plan:#?}");
        }
    }
}

#[tokio::test]
async fn looking_makes_no_file_and_writes_nothing() {
    let nothing = Scratch::new();
    let desk = SqliteDesk::new(nothing.file());
    for error in [desk.outbox().await.unwrap_err(), desk.mark(Mark::Retry, &[]).await.unwrap_err()] {
        let said = error.to_string();
        assert!(said.contains("there is no data file ") && said.contains("run `reprieve migrate up`"), "{said}");
    }
    assert!(!nothing.file().exists());

    let (_scratch, desk) = desk_with(1).await;
    let written = desk.lend(Access::Look, async |connection: &mut SqliteConnection| {
        Ok(raw_sql("DELETE FROM failures").execute(connection).await?)
    });
    assert!(written.await.unwrap_err().to_string().contains("readonly"), "a look wrote");
}

#[tokio::test]
async fn what_nobody_waits_for_is_interrupted_and_undone() {
    let (_scratch, desk) = desk_with(1).await;
    let endless = desk.lend(Access::Mark, async |connection: &mut SqliteConnection| {
        raw_sql("BEGIN IMMEDIATE; UPDATE failures SET attempts = 9").execute(&mut *connection).await?;
        let endless = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
        Ok(raw_sql(endless).execute(connection).await?)
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
    let id = uuids(&[0]);
    assert_eq!(desk.mark(Mark::Discard, &id).await.unwrap(), [(id[0], FailureState::Open)], "the lock is free again");
    assert_eq!(desk.failure(id[0]).await.unwrap().unwrap().attempts, 0);
}
