//! The operator's desk against a real server: what it finds, page by page, and what its marks change.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::str::FromStr;
use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::domain::dates::{Timestamp, parse_time};
use reprieve::domain::ids::Digest;
use reprieve::store::desk::{
    Cursor, Desk, Edit, Edited, FailureState, Filter, Limit, Mark, OutboxState, SHOWN_BYTES_MAX,
};
use reprieve::store::postgres::desk::{PostgresDesk, statements};
use reprieve::store::{Changes, Failure, NewParked};
use sqlx::{Executor as _, query, raw_sql};
use uuid::Uuid;

use super::material::{count, digest, failure, id, key, open, plain, write};

fn now() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").expect("a time")
}

fn limit(number: &str) -> Limit {
    Limit::from_str(number).expect("a limit")
}

/// Failures by number, three in each second.
fn numbered(numbers: std::ops::Range<u8>) -> Vec<Failure> {
    let numbered = |number: u8| Failure {
        received_at: now() + Duration::from_secs(u64::from(number / 3)),
        ..failure(&format!("EX-{number}"), digest(number))
    };
    numbers.map(numbered).collect()
}

async fn desk_with(url: &str, failures: Vec<Failure>) -> PostgresDesk {
    write(&mut open(url).await, &Changes { failures, ..Changes::default() }).await;
    PostgresDesk::new(url).expect("a URL")
}

fn uuids(numbers: &[u8]) -> Vec<Uuid> {
    numbers.iter().map(|number| Uuid::from_bytes([*number; 16])).collect()
}

async fn all(desk: &PostgresDesk, filter: &Filter, limit: Limit) -> (Vec<Uuid>, Vec<usize>) {
    let (mut ids, mut pages, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = desk.failures(filter, after, limit).await.expect("a page");
        pages.push(page.items.len());
        ids.extend(page.items.iter().map(|failure| failure.id));
        // As it comes back from a caller.
        after = page.next.map(|cursor| cursor.to_string().parse::<Cursor>().expect("a cursor"));
        if after.is_none() {
            return (ids, pages);
        }
    }
}

pub(crate) async fn every_statement_of_the_desk_is_good(url: &str) {
    drop(open(url).await);
    let mut connection = plain(url).await;
    for sql in statements() {
        let prepared = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await;
        assert!(prepared.is_ok(), "{sql}\n{:?}", prepared.err());
    }
}

pub(crate) async fn a_list_of_the_desk_is_read_page_by_page(url: &str) {
    let desk = desk_with(url, numbered(0..7)).await;
    let newest_first = uuids(&[6, 5, 4, 3, 2, 1, 0]);
    for (most, pages) in [("2", vec![2, 2, 2, 1]), ("7", vec![7]), ("6", vec![6, 1]), ("500", vec![7])] {
        assert_eq!(all(&desk, &Filter::open(), limit(most)).await, (newest_first.clone(), pages), "{most}");
    }
    let large = |failure: Failure| Failure { body: vec![b'x'; 2 * 1024 * 1024], ..failure };
    let large = numbered(20..40).into_iter().map(large).collect();
    write(&mut open(url).await, &Changes { failures: large, ..Changes::default() }).await;
    let filter = Filter { since: Some(now() + Duration::from_secs(6)), ..Filter::default() };
    let ids = uuids(&(20..40).rev().collect::<Vec<u8>>());
    assert_eq!(all(&desk, &filter, limit("50")).await, (ids, vec![16, 4]), "a page ends at 4 MiB of what is shown");
    assert_eq!(desk.body(uuids(&[20])[0]).await.expect("an answer").map(|body| body.len()), Some(2 * 1024 * 1024));
    let found = desk.failure(uuids(&[20])[0]).await.expect("an answer").expect("a failure");
    assert_eq!((found.body.len(), found.body_bytes), (SHOWN_BYTES_MAX, 2 * 1024 * 1024));
    assert_eq!(found.message.as_str(), "a NUL \u{fffd} in a message");
    assert_eq!(desk.failure(Uuid::from_u128(1)).await.expect("an answer"), None);
}

pub(crate) async fn each_filter_of_the_desk_finds_its_failures(url: &str) {
    let mut failures = numbered(0..4);
    failures[1].reason = "schema";
    "schema/t/x".clone_into(&mut failures[1].fingerprint);
    failures[2].event_type = Some("exception.decision.v1".to_owned());
    let desk = desk_with(url, failures).await;
    desk.mark(Mark::Discard, &uuids(&[0])).await.expect("marked");
    for (name, value, found) in [
        ("state", "open", vec![3, 2, 1]),
        ("state", "discarded", vec![0]),
        ("state", "all", vec![3, 2, 1, 0]),
        ("reason", "schema", vec![1]),
        ("type", "exception.decision.v1", vec![2]),
        ("fingerprint", "schema/t/x", vec![1]),
        ("exception", "EX-3", vec![3]),
        ("since", "2026-11-24T09:00:01Z", vec![3]),
        ("until", "2026-11-24T09:00:01Z", vec![2, 1]),
    ] {
        let mut filter = Filter::open();
        assert!(filter.set(name, value, now()).expect("a value"));
        assert_eq!(all(&desk, &filter, Limit::DEFAULT).await.0, uuids(&found), "{name} {value}");
        let tally = desk.count(&filter).await.expect("a count");
        assert_eq!(tally.count, found.len() as u64, "{name} {value}");
    }
    let groups = desk.groups(&Filter::open(), Limit::DEFAULT).await.expect("groups");
    let seen: Vec<_> = groups.iter().map(|group| (group.fingerprint.as_str(), group.count, group.example)).collect();
    assert_eq!(seen, [("id_conflict", 2, uuids(&[3])[0]), ("schema/t/x", 1, uuids(&[1])[0])]);
    assert_eq!((groups[0].first_at, groups[0].last_at), (now(), now() + Duration::from_secs(1)));
    assert_eq!(desk.groups(&Filter::default(), limit("1")).await.expect("groups")[0].count, 3, "the largest");
}

pub(crate) async fn a_mark_of_the_desk_is_made_once(url: &str) {
    use FailureState::{Discarded, Open, Resolved, Retrying};
    let desk = desk_with(url, numbered(0..4)).await;
    let resolve = query("UPDATE failures SET state = 'resolved' WHERE id = $1").bind(uuids(&[3])[0]);
    resolve.execute(&mut plain(url).await).await.expect("as the worker does");
    let named = uuids(&[0, 1, 2, 3, 9]);
    let states =
        |states: &[FailureState]| uuids(&[0, 1, 2, 3]).into_iter().zip(states.iter().copied()).collect::<Vec<_>>();
    desk.mark(Mark::Discard, &uuids(&[1])).await.expect("marked");
    desk.mark(Mark::Retry, &uuids(&[2])).await.expect("marked");
    assert_eq!(desk.states(&named).await.expect("states"), states(&[Open, Discarded, Retrying, Resolved]));
    let found = desk.mark(Mark::Discard, &named).await.expect("marked");
    assert_eq!(found, states(&[Open, Discarded, Retrying, Resolved]), "as it found them");
    assert_eq!(desk.states(&named).await.expect("states"), states(&[Discarded, Discarded, Retrying, Resolved]));
    for _ in ["once", "twice"] {
        desk.mark(Mark::Retry, &named).await.expect("marked");
        assert_eq!(desk.states(&named).await.expect("states"), states(&[Retrying, Retrying, Retrying, Resolved]));
    }
}

pub(crate) async fn marks_of_many_go_step_by_step_from_the_oldest(url: &str) {
    let desk = desk_with(url, numbered(0..7)).await;
    desk.mark(Mark::Discard, &uuids(&[1])).await.expect("marked");
    let mut after = None;
    let retrying = Filter { states: vec![FailureState::Retrying], ..Filter::default() };
    for (changed, all_retrying) in [(3, vec![3, 2, 0]), (3, vec![6, 5, 4, 3, 2, 0]), (0, vec![6, 5, 4, 3, 2, 0])] {
        let step = desk.mark_next(Mark::Retry, &Filter::open(), after, limit("3")).await.expect("a step");
        assert_eq!((step.changed, step.next.is_some()), (changed, changed == 3));
        after = step.next;
        assert_eq!(all(&desk, &retrying, Limit::MAX).await.0, uuids(&all_retrying));
    }
    // What failed again while they are marked is not taken a second time.
    let reopen = "UPDATE failures SET state = 'open' WHERE state = 'retrying'";
    raw_sql(reopen).execute(&mut plain(url).await).await.expect("as the worker does");
    let after = Some(Cursor { received_at: now() + Duration::from_secs(1), id: uuids(&[4])[0] });
    let step = desk.mark_next(Mark::Discard, &Filter::open(), after, limit("3")).await.expect("a step");
    assert_eq!((step.changed, step.next), (2, None));
    assert_eq!(desk.count(&Filter::open()).await.expect("a count").count, 4);
    // Whatever the filter says, only what the mark is for.
    let step = desk.mark_next(Mark::Discard, &Filter::default(), None, Limit::MAX).await.expect("a step");
    assert_eq!(step.changed, 4);
}

/// What a turn has read cannot change under it.
pub(crate) async fn a_mark_of_the_desk_waits_for_the_turn(url: &str) {
    let desk = desk_with(url, numbered(0..2)).await;
    let mut turn = plain(url).await;
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(5937275320454706789)";
    let edit = Edit { body: b"{}".to_vec(), content_type: None };
    for kind in ["named", "many", "edit"] {
        raw_sql(lock).execute(&mut turn).await.expect("a turn");
        let ids = uuids(&[0]);
        let mark = async {
            match kind {
                "named" => desk.mark(Mark::Discard, &ids).await.map(|_| ()),
                "many" => desk.mark_next(Mark::Discard, &Filter::open(), None, Limit::MAX).await.map(|_| ()),
                _ => desk.edit(ids[0], &edit).await.map(|_| ()),
            }
        };
        let mut mark = std::pin::pin!(mark);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut mark).await;
        assert!(early.is_err(), "{kind} does not wait");
        desk.count(&Filter::default()).await.expect("looking waits for nobody");
        raw_sql("COMMIT").execute(&mut turn).await.expect("the turn is over");
        mark.await.expect("marked");
    }
}

pub(crate) async fn an_edit_keeps_the_old_bytes(url: &str) {
    let headers = [("ce-id", "e-1"), ("ce-source", "urn:up"), ("ce-type", "exception.decision.v1")];
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        user_id: Some("upstream".to_owned()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let mut failures = numbered(0..2);
    failures[0].properties = properties.clone();
    let desk = desk_with(url, failures).await;
    let (old, other) = (uuids(&[0])[0], uuids(&[1])[0]);
    let edit = |body: &str| Edit { body: body.as_bytes().to_vec(), content_type: None };
    let body = r#"{"exception_id": "EX-7"}"#;

    let Edited::Made(new, _) = desk.edit(old, &edit(body)).await.expect("an answer") else { panic!("not made") };
    let before = desk.failure(old).await.expect("an answer").expect("still there");
    assert_eq!(
        (before.state, before.body.as_slice(), before.edited_to),
        (FailureState::Discarded, &[0, 255][..], Some(new))
    );
    let after = desk.failure(new).await.expect("an answer").expect("there");
    assert_eq!(
        (after.state, after.body.as_slice(), after.edited_from),
        (FailureState::Retrying, body.as_bytes(), Some(old))
    );
    assert_eq!((after.source.as_str(), after.event_id.as_str()), ("urn:up", "e-1"), "as the new bytes are read");
    assert_eq!(
        (after.event_type.as_deref(), after.exception_id.as_deref()),
        (Some("exception.decision.v1"), Some("EX-7"))
    );
    assert_eq!(
        (&after.reason, &after.fingerprint, &after.message),
        (&before.reason, &before.fingerprint, &before.message)
    );
    assert_eq!((after.attempts, after.properties), (0, Properties { content_encoding: None, ..properties }));
    assert!(after.received_at > before.received_at);
    let stored: (Uuid, Uuid) = sqlx::query_as("SELECT event_key, digest FROM failures WHERE id = $1")
        .bind(new)
        .fetch_one(&mut plain(url).await)
        .await
        .expect("a row");
    let event_key = reprieve::contract::digest::event_key("urn:up", "e-1");
    assert_eq!(stored.0.as_bytes(), &event_key.0);
    assert_ne!(Digest(*stored.1.as_bytes()), digest(0));

    assert_eq!(desk.edit(old, &edit(body)).await.expect("an answer"), Edited::Already(new), "a second click");
    let spaced = edit(r#"{ "exception_id":"EX-7"}"#);
    assert_eq!(desk.edit(old, &spaced).await.expect("an answer"), Edited::Already(new), "the same content");
    assert_eq!(desk.edit(new, &edit("{}")).await.expect("an answer"), Edited::Forbidden(FailureState::Retrying));
    assert_eq!(desk.edit(Uuid::from_u128(1), &edit("{}")).await.expect("an answer"), Edited::Unknown);
    let typed = Edit { content_type: Some("text/plain".to_owned()), ..edit("{}") };
    let Edited::Made(typed, _) = desk.edit(other, &typed).await.expect("an answer") else { panic!("not made") };
    let typed = desk.failure(typed).await.expect("an answer").expect("there");
    assert_eq!(typed.properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(count(url, "failures").await, 4);
    let again = desk.edit(old, &edit("{}")).await.expect("what is discarded can be edited once more");
    let Edited::Made(newer, _) = again else { panic!("{again:?}") };
    assert_eq!(desk.failure(old).await.expect("an answer").expect("there").edited_to, Some(newer), "the last one");
}

pub(crate) async fn parked_events_and_the_outbox_are_shown(url: &str) {
    let mut store = open(url).await;
    let desk = PostgresDesk::new(url).expect("a URL");
    let empty = OutboxState { pending: 0, unroutable: 0, oldest_age_s: None };
    assert_eq!(desk.outbox().await.expect("an answer"), empty);
    let park = |name: &str, exception: &str| NewParked {
        exception_id: id(exception),
        event_key: key(name),
        parked_at: now(),
        expires_at: now() + Duration::from_secs(60),
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            headers: [("ce-id", name), ("ce-source", "urn:up"), ("ce-type", "t")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Properties::default()
        },
        body: b"{}".to_vec(),
    };
    let park = vec![park("a", "EX-1"), park("b", "EX-2"), park("c", "EX-1")];
    let committed =
        write(&mut store, &Changes { park, outbox: vec!["x".into(), "y".into()], held: true, ..Changes::default() })
            .await;
    let unroutable = vec![committed.outgoing[0].id];
    write(&mut store, &Changes { unroutable, ..Changes::default() }).await;
    let outbox = desk.outbox().await.expect("an answer");
    assert_eq!((outbox.pending, outbox.unroutable), (2, 1));
    assert!(outbox.oldest_age_s.is_some_and(|age| age < 60));

    let first = desk.parked(None, None, limit("2")).await.expect("a page");
    let rest = desk.parked(None, first.next, limit("2")).await.expect("a page");
    let shown: Vec<_> = first.items.iter().chain(&rest.items).map(|event| event.event_id.as_str()).collect();
    assert_eq!((shown, first.items.len(), rest.next), (vec!["a", "b", "c"], 2, None));
    let event = &first.items[1];
    assert_eq!(
        (event.source.as_str(), event.event_type.as_deref(), event.exception_id.as_str()),
        ("urn:up", Some("t"), "EX-2")
    );
    assert_eq!((event.parked_at, event.expires_at), (now(), now() + Duration::from_secs(60)));
    let one = desk.parked(Some(&id("EX-1")), None, Limit::MAX).await.expect("a page");
    assert_eq!(one.items.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}
