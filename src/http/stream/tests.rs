//! The stream as its readers see it, with a broker that keeps what it has published.

use std::sync::Mutex;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;
use crate::broker::{BrokerError, Tail};
use crate::http::tests::{HERE, LOCAL, ask, state};
use crate::http::{State as HttpState, router, serve};

/// What is published and when it grows; it notes from where it is followed.
#[derive(Clone, Default)]
pub(crate) struct FakeTail(Arc<Log>);

#[derive(Default)]
struct Log {
    events: Mutex<Vec<String>>,
    grown: Notify,
    ended: Mutex<bool>,
}

impl FakeTail {
    pub(crate) fn publish(&self, event: &str) {
        self.0.events.lock().unwrap().push(event.to_owned());
        self.0.grown.notify_waiters();
    }

    pub(crate) fn end(&self) {
        *self.0.ended.lock().unwrap() = true;
        self.0.grown.notify_waiters();
    }
}

#[async_trait]
impl Tail for FakeTail {
    async fn follow(&self, after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError> {
        match after {
            Some(404) => Err(BrokerError::Away("password=hunter2".into())),
            Some(403) => Err(BrokerError::Refused("password=hunter2".into())),
            _ => {
                let next = after.map_or(self.0.events.lock().unwrap().len(), |after| usize::try_from(after).unwrap());
                Ok(Box::new(FakeFollow { log: Arc::clone(&self.0), next }))
            }
        }
    }
}

struct FakeFollow {
    log: Arc<Log>,
    next: usize,
}

#[async_trait]
impl Follow for FakeFollow {
    async fn next(&mut self) -> Option<Published> {
        loop {
            let log = Arc::clone(&self.log);
            let grown = log.grown.notified();
            if let Some(body) = self.log.events.lock().unwrap().get(self.next).cloned() {
                self.next += 1;
                return Some(Published { position: Position::try_from(self.next).ok(), body });
            }
            if *self.log.ended.lock().unwrap() {
                return None;
            }
            grown.await;
        }
    }
}

const ONE: &str = r#"{"type":"exception.assigned.v1","n":1.0}"#;
const TWO: &str = r#"{ "type":"event.rejected.v1" }"#;

fn with(events: &[&str]) -> (HttpState, FakeTail) {
    let tail = FakeTail::default();
    for event in events {
        tail.publish(event);
    }
    (HttpState { tail: Arc::new(tail.clone()), ..state(None) }, tail)
}

/// Opens a stream; the body is read piece by piece.
async fn open(state: &HttpState, path: &str, headers: &[(&str, &str)]) -> Body {
    let mut request = Request::builder().uri(path);
    for (name, value) in [&[LOCAL][..], headers].concat() {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(HERE.parse::<std::net::SocketAddr>().unwrap()));
    let response = router(state.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(piece(&mut body).await.unwrap(), "retry: 1000\n\n");
    body
}

async fn piece(body: &mut Body) -> Option<String> {
    Some(String::from_utf8(body.frame().await?.unwrap().into_data().unwrap().to_vec()).unwrap())
}

fn first() -> String {
    format!("id: 1\nevent: exception.assigned.v1\ndata: {ONE}\n\n")
}

fn second() -> String {
    format!("id: 2\nevent: event.rejected.v1\ndata: {TWO}\n\n")
}

#[tokio::test]
async fn what_is_kept_is_replayed_and_what_is_new_follows() {
    let (state, tail) = with(&[ONE]);
    let mut all = open(&state, "/api/v1/events?after=0", &[]).await;
    assert_eq!(piece(&mut all).await.unwrap(), first());
    let mut new = open(&state, "/api/v1/events", &[]).await;
    let mut again = open(&state, "/api/v1/events?after=0", &[("last-event-id", "1")]).await;
    let mut empty = open(&state, "/api/v1/events", &[("last-event-id", "")]).await;
    tail.publish(TWO);
    for body in [&mut all, &mut new, &mut again, &mut empty] {
        assert_eq!(piece(body).await.unwrap(), second());
    }
    tail.end();
    assert_eq!(piece(&mut all).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_filter_passes_over_and_a_silent_stream_gives_a_sign_of_life() {
    let (state, tail) = with(&[ONE, TWO, "no event"]);
    let mut body = open(&state, "/api/v1/events?after=0&type=event.*", &[]).await;
    assert_eq!(piece(&mut body).await.unwrap(), second());
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(piece(&mut body).await.unwrap(), ":\n\n");
        assert_eq!(began.elapsed().as_secs(), HEARTBEAT.as_secs());
    }
    tail.publish(TWO);
    assert!(piece(&mut body).await.unwrap().starts_with("id: 4\n"));
}

#[test]
fn an_envelope_on_several_lines_is_put_together_by_the_reader() {
    let published = Published { position: None, body: "{\r\n\"a\":\n1}\r".into() };
    assert_eq!(frame(&published, "a\nb"), "data: {\ndata: \"a\":\ndata: 1}\ndata: \n\n");
}

#[tokio::test]
async fn what_cannot_begin_is_told_and_there_are_only_so_many() {
    let (state, _) = with(&[]);
    for (path, last, status) in [
        ("/api/v1/events?after=x", "", 400),
        ("/api/v1/events?after=-1", "", 400),
        ("/api/v1/events?before=1", "", 400),
        ("/api/v1/events", "1x", 400),
        ("/api/v1/events?after=404", "", 503),
        ("/api/v1/events", "403", 502),
    ] {
        let answer = ask(&state, HERE, path, &[LOCAL, ("last-event-id", last)]).await;
        assert_eq!((answer.status, answer.retry_after.is_some()), (status, status == 503), "{path} {last}");
        assert!(!answer.body.to_string().contains("hunter2"));
    }
    assert_eq!(ask(&super::tests::state(Some("t")), HERE, "/api/v1/events", &[LOCAL]).await.status, 401);
}

async fn connect(address: std::net::SocketAddr) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    stream
}

async fn read_until(stream: &mut tokio::net::TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "ended before {end:?}: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_other_connections_and_ends_at_once_with_the_shutdown() {
    let (state, tail) = with(&[ONE]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router(state), async move {
        stopped.await.ok();
    }));
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(connect(address).await);
    }
    for stream in &mut streams {
        read_until(stream, ONE).await;
    }
    assert!(read_until(&mut connect(address).await, "\r\n").await.starts_with("HTTP/1.1 503"), "one too many");
    let began = Instant::now();
    let mut stream = streams.pop().unwrap();
    drop(streams);
    while began.elapsed() < Duration::from_secs(200) {
        read_until(&mut stream, ":\n\n").await;
    }
    tail.publish(TWO);
    read_until(&mut stream, TWO).await;
    let ending = Instant::now();
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(ending.elapsed() < Duration::from_secs(1), "the shutdown waits for nobody");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "it ends as a whole answer does");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_cut() {
    let large = format!(r#"{{"type":"t","text":"{}"}}"#, "x".repeat(1 << 20));
    let (state, tail) = with(&[]);
    for _ in 0..32 {
        tail.publish(&large);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router(state), std::future::pending()));
    let mut stream = connect(address).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    let mut read = Vec::new();
    // What was under way is lost with the connection: the end may be an error.
    stream.read_to_end(&mut read).await.ok();
    assert!(read.len() < 32 << 20, "all of it came, {} bytes", read.len());
    server.abort();
}
