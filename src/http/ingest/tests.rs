//! Every answer to what is handed in, and what is handed on.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::broker::{BrokerError, Ingest};
use crate::http::State as HttpState;
use crate::http::tests::{AWAY, Answer, HERE, LOCAL, send_body, state};

/// Keeps what it is handed, and answers as it was told to: with a turn's outcomes, unless it was told otherwise.
#[derive(Default)]
pub(crate) struct FakeIngest {
    answer: Mutex<Option<Result<Receipt, BrokerError>>>,
    pub(crate) taken: Mutex<Vec<Handed>>,
}

#[async_trait]
impl Ingest for FakeIngest {
    async fn hand_in(&self, messages: Vec<Handed>) -> Result<Receipt, BrokerError> {
        let outcomes = messages.iter().enumerate().map(|(place, message)| match (message.body.len(), place % 5) {
            (_, 0) => Outcome::Applied,
            (_, 1) => Outcome::Repeated,
            (_, 2) => Outcome::Refused("self_approval"),
            (_, 3) => Outcome::Failed("schema"),
            _ => Outcome::Parked,
        });
        let outcomes = outcomes.collect();
        let is_slow = messages.iter().any(|message| message.body.windows(4).any(|bytes| bytes == b"slow"));
        self.taken.lock().unwrap().extend(messages);
        if is_slow {
            std::future::pending::<()>().await;
        }
        self.answer.lock().unwrap().take().unwrap_or(Ok(Receipt::Committed(outcomes)))
    }
}

fn with(answer: Option<Result<Receipt, BrokerError>>) -> (HttpState, Arc<FakeIngest>) {
    let ingest = Arc::new(FakeIngest { answer: Mutex::new(answer), taken: Mutex::default() });
    (HttpState { ingest: Arc::clone(&ingest) as Arc<dyn Ingest>, ..state(None) }, ingest)
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCHED: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const BINARY: (&str, &str) = ("content-type", "application/json");

async fn post(state: &HttpState, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let headers = [&[LOCAL][..], headers].concat();
    send_body(state, "POST", HERE, "/api/v1/events", &headers, body.into()).await
}

fn envelope(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0", "id":"{id}","source":"urn:s","type":"exception.submitted.v1","data":{{"n":1.0}}}}"#
    )
}

#[tokio::test]
async fn what_is_committed_is_told_by_outcome_and_kept_byte_for_byte() {
    let (state, ingest) = with(None);
    let unreadable = r#"{"specversion":"2", "id":"\u0007", "source":"urn:s", "type":"t"}"#;
    let events = [envelope("1"), envelope("2"), unreadable.to_owned(), envelope("4"), envelope("5")];
    let body = format!(" [{} ,\n{}]", events[..4].join(" , "), events[4]);
    let answer = post(&state, &[BATCHED], body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Vec<_> = answer.body.as_array().unwrap().iter().map(|it| (&it["outcome"], &it["code"])).collect();
    let expected = json!([
        ["applied", null],
        ["repeated", null],
        ["refused", "self_approval"],
        ["failed", "schema"],
        ["parked", null]
    ]);
    assert_eq!(json!(told), expected);
    assert_eq!((&answer.body[0]["source"], &answer.body[0]["id"]), (&json!("urn:s"), &json!("1")));
    assert_eq!(answer.body[2]["source"], crate::contract::inbound::UNREADABLE);
    assert_eq!(answer.body[2]["id"].as_str().unwrap().len(), 64);
    let taken = ingest.taken.lock().unwrap();
    assert_eq!(taken.iter().map(|it| str::from_utf8(&it.body).unwrap()).collect::<Vec<_>>(), events);
    assert!(taken.iter().all(|it| it.properties.content_type.as_deref() == Some("application/cloudevents+json")));
}

#[tokio::test]
async fn what_is_queued_is_counted() {
    let (state, ingest) = with(Some(Ok(Receipt::Queued)));
    let answer = post(&state, &[("content-type", "Application/CloudEvents+JSON; charset=UTF-8")], envelope("1")).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({ "accepted": 1 })));
    assert_eq!(ingest.taken.lock().unwrap()[0].body, envelope("1").into_bytes());
}

#[tokio::test]
async fn in_binary_mode_the_headers_are_decoded() {
    let (state, ingest) = with(None);
    let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let headers = [
        BINARY,
        ("ce-specversion", "1.0"),
        ("ce-id", "50%25 %C3%BC"),
        ("ce-source", r#""urn:\"s\"""#),
        ("CE-Type", "exception.submitted.v1"),
        trace,
        ("x-other", "no"),
    ];
    let answer = post(&state, &headers, r#"{"n":1}"#).await;
    assert_eq!((answer.status, &answer.body[0]["id"]), (200, &json!("50% ü")), "{}", answer.body);
    let taken = ingest.taken.lock().unwrap();
    let found: Vec<_> = taken[0].properties.headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let expected = [
        ("ce-id", "50% ü"),
        ("ce-source", r#"urn:"s""#),
        ("ce-specversion", "1.0"),
        ("ce-type", "exception.submitted.v1"),
        trace,
    ];
    assert_eq!(found, expected);
    assert_eq!(taken[0].body, br#"{"n":1}"#);
}

#[tokio::test]
async fn what_is_bad_but_an_event_goes_through_the_door() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let deep = format!(r#"{{"specversion":"7","id":"\ud83d\ude00","source":"s","type":"t","data":{deep}}}"#);
    let twice = r#"{"id":"1","id":"2","specversion":"1.0","source":"s","type":"t","data":"\ud800"}"#;
    for body in [deep.as_str(), twice, &envelope(&"x".repeat(1_000))] {
        let (state, ingest) = with(None);
        assert_eq!(post(&state, &[STRUCTURED], body.to_owned()).await.status, 200, "{body:.100}");
        assert_eq!(ingest.taken.lock().unwrap().len(), 1);
    }
    let headers = [BINARY, ("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
    let (state, _) = with(None);
    assert_eq!(post(&state, &headers, "no json").await.status, 200);
}

/// Nothing may be handed in, and the detail says what it is.
#[track_caller]
fn check(answer: &Answer, ingest: &FakeIngest, status: u16, says: &str) {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(
        answer.status == status && detail.contains(says),
        "{} {}: expected {status} {says}",
        answer.status,
        answer.body
    );
    assert!(ingest.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_event_is_told_and_nothing_is_handed_in() {
    let (state, ingest) = with(None);
    let good = envelope("1");
    for (mode, body, says) in [
        (STRUCTURED, "", "no JSON"),
        (STRUCTURED, "{", "no JSON"),
        (STRUCTURED, "{} {}", "more than one JSON document"),
        (STRUCTURED, "{} x", "no JSON"),
        (STRUCTURED, "42", "no JSON object"),
        (STRUCTURED, "{}", "specversion is missing"),
        (STRUCTURED, r#"{"specversion":1.0,"id":"1","source":"s","type":"t"}"#, "specversion is missing, or no text"),
        (STRUCTURED, r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "id is missing"),
        (STRUCTURED, r#"{"specversion":"1.0","id":"1","source":null,"type":"t"}"#, "source is missing"),
        (STRUCTURED, r#"{"specversion":"1.0","id":"1","source":"s"}"#, "type is missing"),
        (BATCHED, "[]", "empty"),
        (BATCHED, &good, "no JSON array"),
        (BATCHED, "[{}", "no JSON"),
        (BATCHED, "[] x", "no JSON"),
        (BATCHED, &format!("[{good},{good},{{}}]"), "[2] of the batch is no CloudEvent: specversion"),
        (BATCHED, &format!("[{good},7]"), "[1] of the batch is no CloudEvent: it is no JSON object"),
        (BINARY, &good, "header ce-specversion is missing"),
    ] {
        check(&post(&state, &[mode], body.to_owned()).await, &ingest, 400, says);
    }
    check(&post(&state, &[STRUCTURED], &b"{\"id\":\"\xff\"}"[..]).await, &ingest, 400, "no JSON");
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_told() {
    let (state, ingest) = with(None);
    let rest = [BINARY, ("ce-specversion", "1.0"), ("ce-source", "s"), ("ce-type", "t")];
    let long = "x".repeat(1_025);
    for (id, status, says) in [
        ("", 400, "ce-id is missing"),
        ("50%", 400, "header ce-id holds a %"),
        ("%zz", 400, "%25"),
        ("%+1", 400, "%25"),
        ("%ff", 400, "no UTF-8"),
        ("a%00", 400, "U+0000"),
        ("ü", 400, "percent-encode"),
        (long.as_str(), 431, "1024 bytes"),
    ] {
        let headers = [&rest[..], &[("ce-id", id)]].concat();
        check(&post(&state, &headers, "{}").await, &ingest, status, says);
    }
    let twice = [&rest[..], &[("ce-id", "1"), ("ce-id", "1")]].concat();
    check(&post(&state, &twice, "{}").await, &ingest, 400, "header ce-id stands there twice");
    check(
        &post(&state, &[STRUCTURED, STRUCTURED], envelope("1")).await,
        &ingest,
        400,
        "content-type stands there twice",
    );
    for (headers, says) in [
        (vec![], "expected application/cloudevents+json"),
        (vec![("content-type", "text/plain")], "text/plain"),
        (vec![("content-type", "application/cloudevents+json;charset=latin1")], "only utf-8"),
        (vec![STRUCTURED, ("content-encoding", "gzip")], "nothing is decompressed"),
    ] {
        check(&post(&state, &headers, envelope("1")).await, &ingest, 415, says);
    }
    assert_eq!(post(&state, &[STRUCTURED, ("content-encoding", "identity")], envelope("1")).await.status, 200);
}

#[tokio::test]
async fn what_is_too_much_is_told() {
    let (state, ingest) = with(None);
    let large = envelope(&"x".repeat(BODY_BYTES_MAX));
    check(&post(&state, &[STRUCTURED], large.clone()).await, &ingest, 413, "262144");
    let announced = [STRUCTURED, ("content-length", "300000")];
    check(&post(&state, &announced, Body::empty()).await, &ingest, 413, "262144");
    check(&post(&state, &[BATCHED], format!("[{},{large}]", envelope("1"))).await, &ingest, 413, "[1] of the batch");
    check(&post(&state, &[BATCHED], " ".repeat(BATCHED_BYTES_MAX + 1)).await, &ingest, 413, "4194304");
    let many = vec![envelope("1"); BATCHED_EVENTS_MAX + 1].join(",");
    check(&post(&state, &[BATCHED], format!("[{many}]")).await, &ingest, 413, "1001 events");
    let fits = envelope(&"x".repeat(BODY_BYTES_MAX - envelope("").len()));
    assert_eq!(post(&state, &[STRUCTURED], fits).await.status, 200);
}

/// A body that must not be read.
fn untouchable() -> Body {
    let frames =
        futures_util::stream::once(async { panic!("the body was read") as Result<Bytes, std::convert::Infallible> });
    Body::from_stream(frames)
}

#[tokio::test]
async fn who_may_not_is_told_before_the_body_is_read() {
    let guarded = state(Some("t"));
    let asked = |headers: Vec<(&'static str, &'static str)>| {
        let state = guarded.clone();
        async move { send_body(&state, "POST", AWAY, "/api/v1/events", &headers, untouchable()).await.status }
    };
    assert_eq!(asked(vec![STRUCTURED]).await, 401);
    assert_eq!(asked(vec![STRUCTURED, ("authorization", "Bearer x")]).await, 401);
    let open = state(None);
    let foreign = [LOCAL, STRUCTURED, ("origin", "http://evil.example")];
    assert_eq!(send_body(&open, "POST", HERE, "/api/v1/events", &foreign, untouchable()).await.status, 403);
    assert_eq!(send_body(&open, "POST", AWAY, "/api/v1/events", &[LOCAL, STRUCTURED], untouchable()).await.status, 403);
    let (state, ingest) = with(None);
    let state = HttpState { senders: Senders::Vouched, ..state };
    check(&post(&state, &[STRUCTURED], untouchable()).await, &ingest, 403, "[trust]");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_said_so() {
    for (answer, status) in [
        (Err(BrokerError::Away("password=hunter2".into())), 503),
        (Err(BrokerError::Refused("password=hunter2".into())), 502),
        (Ok(Receipt::Committed(Vec::new())), 500),
    ] {
        let (state, _) = with(Some(answer));
        let answer = post(&state, &[STRUCTURED], envelope("1")).await;
        assert_eq!((answer.status, answer.retry_after.as_deref()), (status, (status == 503).then_some("1")));
        assert!(!answer.body.to_string().contains("hunter2"));
        assert_eq!(answer.body["detail"].as_str().unwrap().contains("not known"), status != 502);
    }
    let (state, _) = with(None);
    let answer = post(&state, &[STRUCTURED], envelope("slow")).await;
    assert!(answer.status == 503 && answer.body["detail"].as_str().unwrap().contains("not known"), "{}", answer.body);
    assert!(answer.retry_after.is_some());
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>());
    let (state, ingest) = with(None);
    check(&post(&state, &[STRUCTURED], never).await, &ingest, 408, "nothing was taken");
}
