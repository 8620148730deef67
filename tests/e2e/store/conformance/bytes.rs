//! What is stored comes back as it was: every byte, every microsecond, however much of it.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::domain::actor::{Actor, ActorKind};
use reprieve::domain::dates::{Timestamp, parse_date, parse_time};
use reprieve::domain::exception::Status;
use reprieve::domain::history::EventRef;
use reprieve::domain::ticket::Ticket;
use reprieve::store::desk::{Filter, Limit, Mark};
use reprieve::store::{Changes, Failure, InboxRow, NewParked, Outcome, RuleSetRow, StoreError, Wanted};

use super::desk::uuids;
use crate::store::material::{
    digest, exception, failure, happening, id, key, read, submission, ticket_id, turn, write,
};
use crate::store::place::Place;

/// Quotes of all kinds, escapes that are no escapes, 1 to 4 bytes a character, ends of line, what looks like parameters and arrays,
/// a byte order mark, spaces at both ends.
const TEXT: &str = " \u{feff}'\"`''$$ \\u0000 \\0 \\n %s ?1 $1 :a @b {a,\"b\"} NULL é \u{7ff} \u{ffff} 🦀 \u{1f9d1}\u{200d}\u{1f692} \
    a\u{301} \u{1}\u{7f}\u{85}\r\n\t-- /* ; DROP TABLE x\n ";

pub(crate) async fn texts_come_back_byte_for_byte(place: &dyn Place) {
    let mut store = place.open().await;
    let mut it = exception("EX-1");
    TEXT.clone_into(&mut it.request.ticket_title);
    it.request.team = Some(TEXT.to_owned());
    TEXT.clone_into(&mut it.request.severity);
    TEXT.clone_into(&mut it.assignment.rule);
    let event = EventRef { source: TEXT.to_owned(), id: TEXT.to_owned(), event_type: TEXT.to_owned() };
    let actor = Actor { id: TEXT.to_owned(), kind: ActorKind::User };
    let entry = reprieve::domain::history::Happening { actor, event: Some(event), ..happening(&it, TEXT) };
    let fields = entry.fields();
    let history = vec![it.chain.append(&it.id.clone(), entry)];
    let ticket = Ticket {
        id: it.ticket_id.clone(),
        earliest_due_date: it.request.original_due_date,
        approved: 0,
        last_event_at: None,
    };
    let rules = RuleSetRow { hash: "h".to_owned(), version: TEXT.to_owned(), body: TEXT.to_owned() };
    let outbox = vec![TEXT.to_owned(), String::new(), TEXT.repeat(1_000)];
    let (exceptions, tickets) = (vec![it.clone()], vec![ticket]);
    let changes =
        Changes { exceptions, tickets, history, outbox: outbox.clone(), rule_set: Some(rules), ..Changes::default() };
    write(&mut store, &changes).await;

    let wanted = Wanted { exceptions: BTreeSet::from([id("EX-1")]), claims_max: 9, ..Wanted::default() };
    let snapshot = read(&mut store, &wanted).await;
    assert_eq!(snapshot.exceptions[&id("EX-1")], it);
    assert_eq!(snapshot.claimed.into_iter().map(|row| row.body).collect::<Vec<_>>(), outbox);
    let view = place.views().exception(&id("EX-1")).await.expect("an answer").expect("there");
    assert_eq!((view.exception, view.newest[0].fields.as_slice()), (it.clone(), &fields[..10]));
    let submissions = place.submissions();
    assert_eq!(submissions.rule_set("h").await.expect("an answer").as_deref(), Some(TEXT));
    assert_eq!(submissions.of(&id("EX-1")).await.expect("an answer").expect("there").data, TEXT);
}

pub(crate) async fn bytes_and_properties_come_back_as_they_came(place: &dyn Place) {
    let mut store = place.open().await;
    let text = || Some(TEXT.to_owned());
    let properties = Properties {
        content_type: text(),
        content_encoding: text(),
        user_id: text(),
        headers: [(TEXT.to_owned(), TEXT.to_owned()), (String::new(), String::new())].into(),
    };
    let all_bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    let failure = Failure {
        message: TEXT.to_owned(),
        fingerprint: TEXT.to_owned(),
        source: TEXT.to_owned(),
        event_id: TEXT.to_owned(),
        event_type: text(),
        properties: properties.clone(),
        body: all_bytes.clone(),
        ..failure("EX-1", digest(1))
    };
    let park = parked("a", &properties, all_bytes.clone());
    write(&mut store, &Changes { failures: vec![failure.clone()], park: vec![park.clone()], ..Changes::default() })
        .await;
    let desk = place.desk();
    let found = desk.failure(failure.id).await.expect("an answer").expect("there");
    assert_eq!(
        (found.message, found.fingerprint, found.source, found.event_id),
        (TEXT.into(), TEXT.into(), TEXT.into(), TEXT.into())
    );
    assert_eq!((found.event_type, &found.properties, &found.body), (text(), &properties, &all_bytes));
    desk.mark(Mark::Retry, &[failure.id]).await.expect("marked");
    let wanted = Wanted { submitted: BTreeSet::from([id("EX-1")]), marked_max: 1, ..Wanted::default() };
    let mut waiting = Vec::new();
    let committed = turn(&mut store, &wanted, |snapshot| {
        waiting = snapshot.parked;
        Changes::default()
    });
    let marked = committed.await.expect("a turn").marked;
    assert_eq!((&marked[0].properties, &marked[0].body), (&properties, &all_bytes));
    assert_eq!(waiting[0].event, park);
}

/// The largest that a broker hands over is kept whole, among small ones.
pub(crate) async fn a_large_body_is_kept_whole(place: &dyn Place) {
    const LARGE: usize = 5 * 1024 * 1024;
    let mut store = place.open().await;
    let mut large: Vec<u8> = (0..LARGE).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    large[LARGE - 1] = 255;
    let bodies = [b"small".to_vec(), large.clone(), Vec::new()];
    let failures =
        (1..).zip(&bodies).map(|(number, body)| Failure { body: body.clone(), ..failure("EX-1", digest(number)) });
    let park =
        ["a", "b", "c"].iter().zip(&bodies).map(|(name, body)| parked(name, &Properties::default(), body.clone()));
    let changes = Changes { failures: failures.collect(), park: park.collect(), ..Changes::default() };
    write(&mut store, &changes).await;
    let desk = place.desk();
    for (id, body) in uuids(&[1, 2, 3]).into_iter().zip(&bodies) {
        assert!(desk.body(id).await.expect("an answer").as_ref() == Some(body), "{} bytes", body.len());
    }
    let wanted = Wanted { submitted: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
    let waiting = read(&mut store, &wanted).await.parked;
    assert!(waiting.iter().map(|row| &row.event.body).eq(&bodies));
    let wanted = Wanted { exceptions: BTreeSet::from([id("EX-1")]), ..Wanted::default() };
    assert_eq!(read(&mut store, &wanted).await.parked_for[&id("EX-1")].bytes, LARGE as u64 + 5);
    desk.mark(Mark::Retry, &uuids(&[2])).await.expect("marked");
    let wanted = Wanted { marked_max: 9, ..Wanted::default() };
    let marked = turn(&mut store, &wanted, |_| Changes::default()).await.expect("a turn").marked;
    assert!(marked.len() == 1 && marked[0].body == large);
    let page = desk.parked(None, None, Limit::MAX).await.expect("a page");
    assert_eq!(page.items.len() + usize::from(page.next.is_some()), 3, "a page ends after what is too long for one");
}

pub(crate) async fn a_turn_of_many_is_one_turn(place: &dyn Place) {
    const MANY: usize = 500;
    let mut store = place.open().await;
    let names: Vec<String> = (0..MANY).map(|number| format!("EX-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = submission(&names);
    let now = read(&mut store, &Wanted::default()).await.database_time;
    all.load = (0..MANY).map(|number| (crate::store::material::user(&format!("u{number}")), 1)).collect();
    all.park = names
        .iter()
        .map(|name| NewParked { expires_at: now, ..parked(name, &Properties::default(), b"x".to_vec()) })
        .collect();
    let of = |number: usize| digest_of(u128::try_from(number).expect("small"));
    all.failures = (0..MANY)
        .map(|number| Failure { id: uuid::Uuid::from_u128(number as u128), ..failure("EX-1", of(number)) })
        .collect();
    all.notes = Vec::new();
    let outgoing = write(&mut store, &all).await.outgoing;
    assert_eq!(outgoing.iter().map(|row| row.body.clone()).collect::<Vec<_>>(), all.outbox);
    for table in ["exceptions", "tickets", "history", "inbox", "outbox", "parked", "failures", "reviewers"] {
        assert_eq!(place.count(table).await, 500, "{table}");
    }

    let wanted = Wanted {
        events: names.iter().map(|name| (key(name), (0..4).map(of).collect())).collect(),
        exceptions: names.iter().map(|name| id(name)).collect(),
        submitted: BTreeSet::from([id("EX-1")]),
        tickets: names.iter().map(|name| ticket_id(name)).collect(),
        expired_max: MANY,
        claims_max: MANY,
        marked_max: MANY,
        load: all.load.keys().cloned().collect(),
        failures: all.failures.iter().map(|failure| failure.id).collect(),
        notes: names.iter().map(|name| key(name)).collect(),
    };
    let mut found = None;
    let committed = turn(&mut store, &wanted, |snapshot| {
        let mut exceptions: Vec<_> = snapshot.exceptions.values().cloned().collect();
        for it in &mut exceptions {
            it.status = Status::UnderReview;
        }
        let ended = names.iter().map(|name| InboxRow { key: key(name), digest: digest(2), outcome: Outcome::Parked });
        let changes = Changes {
            exceptions,
            ended: ended.collect(),
            confirmed: outgoing.iter().map(|row| row.id).collect(),
            unpark: snapshot.parked.iter().map(|row| row.id).collect(),
            tickets: snapshot.tickets.values().cloned().collect(),
            ..Changes::default()
        };
        found = Some(snapshot);
        changes
    });
    assert_eq!(committed.await.expect("a turn").expired, MANY);
    let found = found.expect("the plan was asked");
    assert_eq!(
        (found.exceptions.len(), found.tickets.len(), found.seen.len(), found.load.len()),
        (MANY, MANY, MANY, MANY)
    );
    assert_eq!(found.exceptions.into_values().collect::<Vec<_>>(), all.exceptions);
    assert_eq!((place.count("outbox").await, place.count("parked").await), (0, 0));
    let after = read(&mut store, &wanted).await;
    assert!(after.exceptions.values().all(|it| it.status == Status::UnderReview));
    assert!(after.seen.values().all(|seen| seen.digest == digest(2)));
}

/// As far as the calendar goes, and to the microsecond.
pub(crate) async fn times_and_dates_come_back_exactly(place: &dyn Place) {
    let mut store = place.open().await;
    let times = [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "2026-11-24T09:00:00.000001Z",
        "9999-12-31T23:59:59.999999Z",
    ];
    let dates = ["0001-01-01", "1969-12-31", "2028-02-29", "9999-12-31"];
    let mut all = submission(&["EX-0", "EX-1", "EX-2", "EX-3"]);
    for (number, (time, day)) in times.iter().zip(dates).enumerate() {
        let (time, day) = (parse_time(time).expect("a time"), parse_date(day).expect("a date"));
        let it = &mut all.exceptions[number];
        (it.created_at, it.updated_at) = (time, time);
        (it.request.original_due_date, it.request.requested_due_date) = (day, day);
        let mut entry = happening(it, "{}");
        entry.at = time;
        it.chain = reprieve::domain::history::Chain::default();
        all.history[number] = it.chain.append(&it.id.clone(), entry);
        all.tickets[number].last_event_at = Some(time);
        all.tickets[number].earliest_due_date = day;
        all.tickets[number].approved = u32::try_from(i32::MAX).expect("positive");
        all.failures.push(Failure {
            received_at: time,
            ..failure(&format!("EX-{number}"), digest(u8::try_from(number).expect("small")))
        });
    }
    write(&mut store, &all).await;
    let ids = all.exceptions.iter().map(|it| it.id.clone()).collect();
    let snapshot = read(&mut store, &Wanted { exceptions: ids, ..Wanted::default() }).await;
    assert_eq!(snapshot.exceptions.into_values().collect::<Vec<_>>(), all.exceptions);
    assert_eq!(snapshot.tickets.into_values().collect::<Vec<_>>(), all.tickets);
    for (it, entry) in all.exceptions.iter().zip(&all.history) {
        let view = place.views().exception(&it.id).await.expect("an answer").expect("there");
        assert_eq!(view.newest[0].fields.as_slice(), &entry.happening.fields()[..10]);
        assert_eq!(place.submissions().of(&it.id).await.expect("an answer").expect("there").at, entry.happening.at);
    }
    let page = place.desk().failures(&Filter::default(), None, Limit::MAX).await.expect("a page");
    let shown: BTreeMap<Timestamp, uuid::Uuid> = page.items.iter().map(|it| (it.received_at, it.id)).collect();
    assert_eq!(shown, all.failures.iter().map(|it| (it.received_at, it.id)).collect());
    assert_eq!(
        page.items.iter().rev().map(|it| it.id).collect::<Vec<_>>(),
        all.failures.iter().map(|it| it.id).collect::<Vec<_>>()
    );
}

/// No envelope holds a NUL; if one did, it would be refused or kept, and never be cut there.
pub(crate) async fn a_nul_is_refused_or_kept(place: &dyn Place) {
    let mut store = place.open().await;
    let text = "before \0 after".to_owned();
    let changes = Changes { outbox: vec![text.clone()], ..Changes::default() };
    match turn(&mut store, &Wanted::default(), |_| changes.clone()).await {
        Err(StoreError::Refused(_)) => assert_eq!(place.count("outbox").await, 0),
        Err(away) => panic!("{away}"),
        Ok(_) => {
            let claimed = read(&mut store, &Wanted { claims_max: 1, ..Wanted::default() }).await.claimed;
            assert_eq!(claimed[0].body, text);
        }
    }
}

fn digest_of(number: u128) -> reprieve::domain::ids::Digest {
    reprieve::domain::ids::Digest(number.to_be_bytes())
}

fn parked(name: &str, properties: &Properties, body: Vec<u8>) -> NewParked {
    let now = exception("EX-1").created_at;
    NewParked {
        exception_id: id("EX-1"),
        event_key: key(name),
        parked_at: now,
        expires_at: now + Duration::from_hours(24 * 365 * 20),
        properties: properties.clone(),
        body,
    }
}
