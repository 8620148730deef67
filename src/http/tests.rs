//! The routes as their callers see them, and one real connection.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::*;
use crate::contract::shapes::tests::{BODY, light, sample};
use crate::domain::exception::Status;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::store::ViewError;
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{ExceptionView, Exceptions, Newer, Selection, Stats, StoredEntry, TicketView};
use chrono::NaiveDate;

struct Stored;

#[async_trait]
impl Views for Stored {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<ExceptionView>, ViewError> {
        match id.as_str() {
            "EX-1" => {
                let (exception, entries) = sample();
                let stored = entries.iter().map(|entry| StoredEntry {
                    number: entry.number,
                    fields: light(entry),
                    hash: entry.hash.to_vec(),
                });
                let newest = stored.collect();
                Ok(Some(ExceptionView { exception, submitted: Some(BODY.into()), before: None, newest }))
            }
            "EX-SLOW" => std::future::pending().await,
            "EX-ODD" => {
                let (row, why) = ("the stored exception EX-ODD cannot be read".into(), "password=hunter2".into());
                Err(ViewError::Unreadable { row, why, remedy: "restore it" })
            }
            "EX-AWAY" => Err(ViewError::Away("password=hunter2".into())),
            _ => Ok(None),
        }
    }

    async fn history(&self, _: &ExceptionId, _: u32) -> Result<Option<Vec<StoredEntry>>, ViewError> {
        Ok(None)
    }

    /// Pages whose cursor is what was asked after, and one more.
    async fn exceptions(
        &self,
        selection: &Selection,
        after: Option<Newer>,
        limit: Limit,
    ) -> Result<Exceptions, ViewError> {
        if selection.beginning.as_deref() == Some("AWAY") {
            return Err(ViewError::Away("password=hunter2".into()));
        }
        let expected = Selection {
            statuses: vec![Status::Requested, Status::UnderReview],
            severities: vec!["high"],
            ..Selection::default()
        };
        if *selection == expected {
            let next = if after.is_none() { "7".parse().ok() } else { None };
            return Ok(Page { items: vec![sample().0], next });
        }
        assert_eq!((selection, limit), (&Selection::default(), Limit::DEFAULT));
        Ok(Page { items: Vec::new(), next: after })
    }

    async fn ticket(&self, id: &TicketId, _: Limit) -> Result<Option<TicketView>, ViewError> {
        let (exception, _) = sample();
        let exceptions = Page { items: vec![exception.clone()], next: None };
        let view = TicketView { id: id.clone(), current_due_date: exception.runs_until(), exceptions };
        Ok((*id == exception.ticket_id).then_some(view))
    }

    async fn stats(&self, _: NaiveDate) -> Result<Stats, ViewError> {
        Ok(Stats { open: 5, decided_30d: 3, approved_30d: 2, ..Stats::default() })
    }
}

pub(crate) fn state(token: Option<&str>) -> State {
    let desk = Arc::new(desk::tests::FakeDesk::default());
    let metrics = crate::metrics::Metrics::new();
    State {
        health: Health::default(),
        views: Arc::new(Stored),
        desk,
        ingest: Arc::new(ingest::tests::FakeIngest::default()),
        tail: Arc::new(stream::tests::FakeTail::default()),
        senders: Senders::Any,
        metrics,
        gauges: Sampler::new(Arc::new(super::metrics::tests::FakeGauges::default())),
        token: token.map(Secret::new),
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    content_type: String,
    challenge: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: serde_json::Value,
}

pub(crate) async fn ask(state: &State, peer: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(state, "GET", peer, path, headers).await
}

pub(crate) async fn send(state: &State, method: &str, peer: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send_body(state, method, peer, path, headers, Body::empty()).await
}

pub(crate) async fn send_body(
    state: &State,
    method: &str,
    peer: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    let response = router(state.clone()).oneshot(request).await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, challenge) = (response.status().as_u16(), header("www-authenticate"));
    let content_type = header("content-type").unwrap();
    let retry_after = header("retry-after");
    let body = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap();
    Answer { status, content_type, challenge, retry_after, body }
}

pub(crate) const HERE: &str = "127.0.0.1:5000";
pub(crate) const AWAY: &str = "192.0.2.7:5000";
pub(crate) const LOCAL: (&str, &str) = ("host", "localhost:8080");

#[tokio::test]
async fn probes_are_open_and_say_what_is_missing() {
    let state = state(Some("t"));
    assert_eq!(ask(&state, AWAY, "/livez", &[]).await.body["status"], "alive");
    for light in [&state.health.broker_consume, &state.health.broker_publish, &state.health.serving] {
        light.on();
    }
    let answer = ask(&state, AWAY, "/readyz", &[]).await;
    assert_eq!((answer.status, &answer.body["missing"][0]), (503, &"database".into()));
    state.health.database.on();
    let answer = ask(&state, AWAY, "/readyz", &[]).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &"ready".into()));
}

#[tokio::test]
async fn with_a_token_whoever_shows_it_may_ask() {
    let state = state(Some("t0ken"));
    for (header, status) in [
        ("Bearer t0ken", 200),
        ("bearer t0ken", 200),
        ("Bearer t0ke", 401),
        ("Bearer t0ken2", 401),
        ("Bearer ", 401),
        ("Basic t0ken", 401),
        ("t0ken", 401),
    ] {
        let answer = ask(&state, AWAY, "/api/v1/exceptions/EX-1", &[("authorization", header)]).await;
        assert_eq!(answer.status, status, "{header}");
        assert_eq!(answer.challenge.is_some(), status == 401);
    }
    assert_eq!(ask(&state, HERE, "/api/v1/exceptions/EX-1", &[LOCAL]).await.status, 401);
    assert_eq!(ask(&state, HERE, "/api/v1/nothing", &[LOCAL]).await.status, 401);
}

#[tokio::test]
async fn without_a_token_this_machine_may_ask_by_its_own_name() {
    let state = state(None);
    for (peer, host, status) in [
        (HERE, "localhost:8080", 200),
        (HERE, "127.0.0.1", 200),
        ("[::1]:5000", "[::1]:8080", 200),
        ("[::ffff:127.0.0.1]:5000", "LOCALHOST", 200),
        (HERE, "evil.example:8080", 403),
        (HERE, "localhost.evil.example", 403),
        (HERE, "user@localhost@evil", 403),
        (AWAY, "localhost", 403),
    ] {
        let answer = ask(&state, peer, "/api/v1/exceptions/EX-1", &[("host", host)]).await;
        assert_eq!(answer.status, status, "{peer} {host}");
    }
    assert_eq!(ask(&state, HERE, "/api/v1/exceptions/EX-1", &[]).await.status, 403, "no name at all");
    assert_eq!(ask(&state, HERE, "http://evil.example/api/v1/exceptions/EX-1", &[LOCAL]).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn errors_are_problems_and_tell_nothing_of_the_inside() {
    let state = state(None);
    for (path, status) in [
        ("/api/v1/exceptions/EX-2", 404),
        ("/api/v1/exceptions/a%20b", 400),
        ("/api/v1/exceptions/%ff", 400),
        ("/api/v1/exceptions/EX-AWAY", 503),
        ("/api/v1/exceptions/EX-ODD", 500),
        ("/api/v1/exceptions/EX-SLOW", 503),
        ("/api/v1/banana", 404),
        ("/api", 404),
        ("/", 404),
    ] {
        let answer = ask(&state, HERE, path, &[LOCAL]).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (status, "application/problem+json"), "{path}");
        assert_eq!((&answer.body["status"], &answer.body["instance"]), (&status.into(), &path.into()));
        assert!(!answer.body.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn the_detail_is_the_shape_of_the_contract() {
    let answer = ask(&state(None), HERE, "/api/v1/exceptions/EX-1", &[LOCAL]).await;
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(answer.body["history"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_real_connection_knows_its_peer_and_ends_with_the_shutdown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router(state(None)), async move {
        stopped.await.ok();
    }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /api/v1/exceptions/EX-1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    server.await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_ended_before_and_after_an_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router(state(None)), std::future::pending()));
    for request in [&b"GET /li"[..], b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{:?} holds the connection", String::from_utf8_lossy(request));
        let answered = answer.starts_with(b"HTTP/1.1 200 OK") && answer.ends_with(br#"{"status":"alive"}"#);
        assert_eq!(answered, request.ends_with(b"\r\n\r\n"));
    }
    server.abort();
}

#[tokio::test]
async fn exceptions_are_listed_by_what_is_asked() {
    let state = state(None);
    let get = async |path: &str| ask(&state, HERE, &format!("/api/v1/{path}"), &[LOCAL]).await;
    for path in [
        "exceptions?status=requested,under_review&severity=HIGH&limit=3",
        "exceptions?status=requested&status=under_review&severity=high&limit=3",
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, &answer.body["next_cursor"]), (200, &"7".into()), "{path}");
        assert_eq!(answer.body["items"][0]["exception_id"], "EX-1");
        let last = get(&format!("{path}&cursor=7")).await;
        assert_eq!((last.status, &last.body["next_cursor"]), (200, &serde_json::Value::Null));
    }
    let short = get("exceptions?cursor=9").await;
    assert_eq!((&short.body["items"], &short.body["next_cursor"]), (&serde_json::json!([]), &"9".into()));
    for (query, said) in [
        ("colour=red", "parameter \"colour\" is not known here: expected status, enforcement, reviewer, requester"),
        ("status=open", "parameter status: \"open\": expected one or more of requested"),
        ("enforcement=on", "parameter enforcement: "),
        ("severity=", "parameter severity: "),
        ("reviewer=a%20b", "parameter reviewer: "),
        ("requester=", "parameter requester: "),
        ("ticket=a/b", "parameter ticket: "),
        ("ticket=a&ticket=b", "parameter \"ticket\" stands there twice"),
        ("due_before=soon", "parameter due_before: "),
        ("expiring_within=30", "parameter expiring_within: "),
        ("q=", "parameter q: "),
        ("cursor=-1", "parameter cursor: "),
        ("limit=0", "parameter limit: "),
    ] {
        let answer = get(&format!("exceptions?{query}")).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(answer.status == 400 && detail.starts_with(said), "{query}: {detail}");
    }
    let away = get("exceptions?q=AWAY").await;
    assert!(away.status == 503 && !away.body.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_ticket_and_the_figures_are_shown() {
    let state = state(None);
    let get = async |path: &str| ask(&state, HERE, &format!("/api/v1/{path}"), &[LOCAL]).await;
    let ticket = get("tickets/SEC-812").await.body;
    assert_eq!((&ticket["ticket_id"], &ticket["current_due_date"]), (&"SEC-812".into(), &"2026-12-05".into()));
    assert_eq!(ticket["exceptions"][0]["exception_id"], "EX-1");
    assert_eq!((get("tickets/SEC-1").await.status, get("tickets/a%20b").await.status), (404, 400));
    let stats = get("stats").await.body;
    assert_eq!((&stats["open"], &stats["approval_rate"]), (&5.into(), &serde_json::json!(0.67)));
    assert_eq!(stats.as_object().unwrap().len(), 11);
    assert_eq!(get("stats?x=1").await.status, 400);
}
