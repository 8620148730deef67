//! The operator's desk: bytes that are edited, and what waits.
#![expect(clippy::indexing_slicing, reason = "a test that finds less than it made should fail there")]

use std::time::Duration;

use reprieve::broker::Properties;
use reprieve::store::desk::{Edit, Edited, FailureState, Limit, OutboxState};
use reprieve::store::{Changes, NewParked};
use uuid::Uuid;

use super::desk::{desk_with, limit, now, numbered, uuids};
use crate::store::material::{digest, id, key, write};
use crate::store::place::{Place, Sql};

pub(crate) async fn an_edit_keeps_the_old_bytes(place: &dyn Place) {
    let headers = [("ce-id", "e-1"), ("ce-source", "urn:up"), ("ce-type", "exception.decision.v1")];
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        user_id: Some("upstream".to_owned()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let mut failures = numbered(0..2);
    failures[0].properties = properties.clone();
    let desk = desk_with(place, failures).await;
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
    let key = reprieve::contract::digest::event_key("urn:up", "e-1");
    let stored = place
        .texts(Sql {
            postgres: "SELECT replace(event_key::text || ' ' || digest::text, '-', '') FROM failures WHERE edited_from IS NOT NULL",
            sqlite: "SELECT lower(hex(event_key) || ' ' || hex(digest)) FROM failures WHERE edited_from IS NOT NULL",
        })
        .await;
    let stored = stored[0].split_once(' ').expect("two digests");
    assert_eq!((stored.0, stored.1 == digest(0).to_string()), (key.to_string().as_str(), false));

    assert_eq!(desk.edit(old, &edit(body)).await.expect("an answer"), Edited::Already(new), "a second click");
    let spaced = edit(r#"{ "exception_id":"EX-7"}"#);
    assert_eq!(desk.edit(old, &spaced).await.expect("an answer"), Edited::Already(new), "the same content");
    assert_eq!(desk.edit(new, &edit("{}")).await.expect("an answer"), Edited::Forbidden(FailureState::Retrying));
    assert_eq!(desk.edit(Uuid::from_u128(1), &edit("{}")).await.expect("an answer"), Edited::Unknown);
    let typed = Edit { content_type: Some("text/plain".to_owned()), ..edit("{}") };
    let Edited::Made(typed, _) = desk.edit(other, &typed).await.expect("an answer") else { panic!("not made") };
    let typed = desk.failure(typed).await.expect("an answer").expect("there");
    assert_eq!(typed.properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(place.count("failures").await, 4);
    let again = desk.edit(old, &edit("{}")).await.expect("what is discarded can be edited once more");
    let Edited::Made(newer, _) = again else { panic!("{again:?}") };
    assert_eq!(desk.failure(old).await.expect("an answer").expect("there").edited_to, Some(newer), "the last one");
}

pub(crate) async fn parked_events_and_the_outbox_are_shown(place: &dyn Place) {
    let mut store = place.open().await;
    let desk = place.desk();
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
