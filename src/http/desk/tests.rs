//! The desk's routes as their callers see them; other modules' tests use the sample too.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::contract::message::Properties;
use crate::domain::dates::parse_time;
use crate::domain::ids::ExceptionId;
use crate::http::tests::{AWAY, HERE, LOCAL, ask, send, state};
use crate::store::ParkedId;
use crate::store::desk::{
    Cursor, Edit, Edited, FailureState, FilterCount, Group, Limit, OutboxState, Page, ParkedEvent, Step, StoredFailure,
};

/// An open failure with a header and a body.
pub(crate) fn failure() -> StoredFailure {
    let headers = [("ce-id".to_owned(), "e-1".to_owned())].into();
    StoredFailure {
        id: Uuid::from_u128(7),
        state: FailureState::Open,
        reason: "schema".into(),
        message: "data.reason: expected a string".into(),
        fingerprint: "schema/exception.submitted.v1/data.reason".into(),
        source: "urn:test".into(),
        event_id: "e-1".into(),
        event_type: Some("exception.submitted.v1".into()),
        exception_id: None,
        attempts: 0,
        body_bytes: 14,
        outcome: None,
        code: None,
        received_at: parse_time("2026-11-24T09:00:00Z").unwrap(),
        edited_from: None,
        edited_to: Some(Uuid::from_u128(8)),
        properties: Properties { content_type: Some("application/json".into()), headers, ..Properties::default() },
        body: br#"{"reason": 7 }"#.to_vec(),
    }
}

/// A desk with four failures, whose ids are their states' places among all states, and which notes what it is asked.
pub(crate) struct FakeDesk {
    states: Mutex<[FailureState; 4]>,
    asked: Mutex<Vec<String>>,
}

impl Default for FakeDesk {
    fn default() -> Self {
        Self { states: Mutex::new(FailureState::ALL), asked: Mutex::default() }
    }
}

impl FakeDesk {
    fn place(id: Uuid) -> Option<usize> {
        usize::try_from(id.as_u128()).ok().filter(|place| *place < 4)
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

#[async_trait]
impl Desk for FakeDesk {
    async fn failures(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Page<StoredFailure, Cursor>, DeskError> {
        if filter.fingerprint.as_deref() == Some("away") {
            return Err(DeskError("password=hunter2".into()));
        }
        self.note(format!("{filter:?} {after:?} {}", limit.get()));
        let next = Cursor { received_at: failure().received_at, id: failure().id };
        Ok(Page { items: vec![failure()], next: Some(next) })
    }

    async fn failure(&self, id: Uuid) -> Result<Option<StoredFailure>, DeskError> {
        let states = self.states.lock().unwrap();
        Ok(Self::place(id).map(|place| StoredFailure { id, state: states[place], ..failure() }))
    }

    async fn body(&self, _: Uuid) -> Result<Option<Vec<u8>>, DeskError> {
        Ok(None)
    }

    async fn groups(&self, filter: &Filter, limit: Limit) -> Result<Vec<Group>, DeskError> {
        self.note(format!("{filter:?} {}", limit.get()));
        let (at, fingerprint) = (failure().received_at, failure().fingerprint);
        let (reason, example) = (failure().reason, failure().id);
        Ok(vec![Group { fingerprint, reason, count: 3, first_at: at, last_at: at, example }])
    }

    async fn parked(
        &self,
        exception: Option<&ExceptionId>,
        after: Option<ParkedId>,
        limit: Limit,
    ) -> Result<Page<ParkedEvent, ParkedId>, DeskError> {
        self.note(format!("{exception:?} {after:?} {}", limit.get()));
        let at = failure().received_at;
        let event = ParkedEvent {
            id: 5,
            source: "urn:test".into(),
            event_id: "e-2".into(),
            event_type: None,
            exception_id: "EX-1".into(),
            parked_at: at,
            expires_at: at,
        };
        Ok(Page { items: vec![event], next: None })
    }

    async fn outbox(&self) -> Result<OutboxState, DeskError> {
        Ok(OutboxState { pending: 2, unroutable: 1, oldest_age_s: None })
    }

    async fn count(&self, _: &Filter) -> Result<FilterCount, DeskError> {
        unreachable!("the API changes one failure at a time")
    }

    async fn states(&self, _: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        unreachable!("the API changes one failure at a time")
    }

    async fn mark(&self, mark: Mark, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        let mut states = self.states.lock().unwrap();
        let found = ids.iter().filter_map(|id| {
            let state = &mut states[Self::place(*id)?];
            let before = *state;
            if mark.effect(before) == MarkEffect::Changed {
                *state = mark.makes();
            }
            Some((*id, before))
        });
        Ok(found.collect())
    }

    async fn mark_next(&self, _: Mark, _: &Filter, _: Option<Cursor>, _: Limit) -> Result<Step, DeskError> {
        unreachable!("the API changes one failure at a time")
    }

    async fn edit(&self, _: Uuid, _: &Edit) -> Result<Edited, DeskError> {
        unreachable!("the API does not edit yet")
    }
}

async fn get(desk: &Arc<FakeDesk>, path: &str) -> (u16, Value) {
    let state = super::super::State { desk: desk.clone(), ..state(None) };
    let answer = ask(&state, HERE, path, &[LOCAL]).await;
    (answer.status, answer.body)
}

async fn post(desk: &Arc<FakeDesk>, path: &str) -> (u16, Value) {
    let state = super::super::State { desk: desk.clone(), ..state(None) };
    let answer = send(&state, "POST", HERE, path, &[LOCAL]).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn the_shapes_are_those_of_the_contract() {
    let desk = Arc::default();
    let (_, body) = get(&desk, "/api/v1/failures").await;
    let expected = json!({
        "items": [{
            "failure_id": "00000000-0000-0000-0000-000000000007", "state": "open", "reason": "schema",
            "message": "data.reason: expected a string", "event_source": "urn:test", "event_id": "e-1",
            "event_type": "exception.submitted.v1", "exception_id": null,
            "fingerprint": "schema/exception.submitted.v1/data.reason", "attempts": 0, "outcome": null, "code": null, "body_bytes": 14,
            "received_at": "2026-11-24T09:00:00Z", "edited_from": null,
            "edited_to": "00000000-0000-0000-0000-000000000008", "body_base64": "eyJyZWFzb24iOiA3IH0=",
            "headers": { "ce-id": "e-1" },
        }],
        "next_cursor": "1795510800000000.00000000000000000000000000000007",
    });
    assert_eq!(body, expected);
    let (_, body) = get(&desk, "/api/v1/failure-groups").await;
    let expected = json!({
        "items": [{
            "fingerprint": "schema/exception.submitted.v1/data.reason", "reason": "schema", "count": 3,
            "first_at": "2026-11-24T09:00:00Z", "last_at": "2026-11-24T09:00:00Z",
            "example_failure_id": "00000000-0000-0000-0000-000000000007",
        }],
        "next_cursor": null,
    });
    assert_eq!(body, expected);
    let (_, body) = get(&desk, "/api/v1/parked").await;
    let expected = json!({
        "items": [{
            "event_source": "urn:test", "event_id": "e-2", "event_type": null, "exception_id": "EX-1",
            "parked_at": "2026-11-24T09:00:00Z", "expires_at": "2026-11-24T09:00:00Z",
        }],
        "next_cursor": null,
    });
    assert_eq!(body, expected);
    let (_, body) = get(&desk, "/api/v1/outbox").await;
    assert_eq!(body, json!({ "pending": 2, "unroutable": 1, "oldest_age_s": null }));
}

#[tokio::test]
async fn parameters_become_the_question() {
    let desk: Arc<FakeDesk> = Arc::default();
    let cursor = Cursor { received_at: failure().received_at, id: Uuid::from_u128(1) };
    let path = format!("/api/v1/failures?state=all&reason=schema&type=a%2Fb&cursor={cursor}&limit=7");
    assert_eq!(get(&desk, &path).await.0, 200);
    let filter = Filter { reason: Some("schema".into()), event_type: Some("a/b".into()), ..Filter::default() };
    let asked = |desk: &FakeDesk| desk.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked(&desk), format!("{filter:?} {:?} 7", Some(cursor)));
    get(&desk, "/api/v1/failures").await;
    assert_eq!(asked(&desk), format!("{:?} None 50", Filter::open()));
    get(&desk, "/api/v1/failure-groups?exception=EX-1&limit=500").await;
    let filter = Filter { exception_id: ExceptionId::parse("EX-1").ok(), ..Filter::open() };
    assert_eq!(asked(&desk), format!("{filter:?} 500"));
    get(&desk, "/api/v1/parked?exception=EX-1&cursor=4&limit=2").await;
    assert_eq!(asked(&desk), format!("{:?} Some(4) 2", ExceptionId::parse("EX-1").ok()));
}

#[tokio::test]
async fn a_question_that_is_not_understood_is_not_answered_as_another() {
    let desk = Arc::default();
    for (path, said) in [
        ("/api/v1/failures?stat=open", "\"stat\" is not known"),
        ("/api/v1/failures?reason=schema&reason=bad_json", "\"reason\" stands there twice"),
        ("/api/v1/failures?state=shut", "parameter state: \"shut\""),
        ("/api/v1/failures?reason=nonsense", "parameter reason"),
        ("/api/v1/failures?since=soon", "parameter since"),
        ("/api/v1/failures?type=%00", "parameter type"),
        ("/api/v1/failures?limit=501", "parameter limit"),
        ("/api/v1/failures?cursor=5", "parameter cursor"),
        ("/api/v1/failure-groups?cursor=5", "\"cursor\" is not known"),
        ("/api/v1/parked?state=open", "\"state\" is not known"),
        ("/api/v1/parked?cursor=x", "parameter cursor"),
        ("/api/v1/outbox?limit=1", "expected none"),
        ("/api/v1/failures/7", "not a failure id"),
        ("/api/v1/failures/%ff", "not a failure id"),
    ] {
        let (status, body) = get(&desk, path).await;
        assert_eq!(status, 400, "{path}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    let (status, body) = get(&desk, "/api/v1/failures?fingerprint=away").await;
    assert!(status == 503 && !body.to_string().contains("hunter2"), "{body}");
    assert!(desk.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mark_is_made_once_and_answered_with_the_failure() {
    use FailureState::{Discarded, Open, Resolved, Retrying};
    let path = |state: FailureState, verb: &str| {
        let place = FailureState::ALL.iter().position(|known| *known == state).unwrap();
        format!("/api/v1/failures/{}/{verb}", Uuid::from_u128(place as u128))
    };
    for (verb, state, status, after) in [
        ("retry", Open, 200, "retrying"),
        ("retry", Discarded, 200, "retrying"),
        ("retry", Retrying, 200, "retrying"),
        ("retry", Resolved, 200, "resolved"),
        ("discard", Open, 200, "discarded"),
        ("discard", Discarded, 200, "discarded"),
        ("discard", Retrying, 409, "retrying"),
        ("discard", Resolved, 409, "resolved"),
    ] {
        let desk = Arc::default();
        let path = path(state, verb);
        for click in ["first", "second"] {
            let (answered, body) = post(&desk, &path).await;
            assert_eq!(answered, status, "{click} {verb} of {state}");
            let (_, failure) = get(&desk, path.trim_end_matches(verb).trim_end_matches('/')).await;
            assert_eq!(failure["state"], after, "{click} {verb} of {state}");
            assert!(status != 200 || body == failure);
        }
    }
    let unknown = format!("/api/v1/failures/{}/retry", Uuid::from_u128(9));
    assert_eq!(post(&Arc::default(), &unknown).await.0, 404);
    assert_eq!(post(&Arc::default(), "/api/v1/failures/7/retry").await.0, 400);
    assert_eq!(get(&Arc::default(), &path(Open, "retry")).await.0, 405, "a link changes nothing");
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let path = format!("/api/v1/failures/{}/retry", Uuid::from_u128(0));
    let open = state(None);
    for (header, status) in [
        (("origin", "http://localhost:8080"), 200),
        (("origin", "http://localhost:3000"), 403),
        (("origin", "https://localhost:8080"), 403),
        (("origin", "http://evil.example"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "same-origin"), 200),
        (("sec-fetch-site", "none"), 200),
        (("sec-fetch-site", "same-site"), 403),
        (("sec-fetch-site", "cross-site"), 403),
    ] {
        assert_eq!(send(&open, "POST", HERE, &path, &[LOCAL, header]).await.status, status, "{header:?}");
    }
    let looked = ask(&open, HERE, "/api/v1/outbox", &[LOCAL, ("origin", "http://evil.example")]).await;
    assert_eq!(looked.status, 200, "the browser shows the answer to nobody");
    assert_eq!(send(&open, "POST", AWAY, &path, &[LOCAL]).await.status, 403);
    assert_eq!(send(&open, "POST", HERE, &path, &[("host", "evil.example")]).await.status, 403);
    let locked = state(Some("t0ken"));
    let shown = ("authorization", "Bearer t0ken");
    assert_eq!(send(&locked, "POST", AWAY, &path, &[shown, ("origin", "https://desk.example")]).await.status, 200);
    assert_eq!(send(&locked, "POST", HERE, &path, &[LOCAL]).await.status, 401);
}
