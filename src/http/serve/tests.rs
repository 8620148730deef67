//! Connections as their other ends see them, on a paused clock.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::http::stream::tests::FakeTail;
use crate::http::tests::state;
use crate::http::{State, router};

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Answered after 10 s, with 503.
const SLOW: &str = "GET /api/v1/exceptions/EX-SLOW HTTP/1.1\r\nHost: localhost\r\n\r\n";
const STREAM: &str = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ALIVE: &str = "{\"status\":\"alive\"}";

async fn served(state: State) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, router(state), std::future::pending())))
}

/// Sends it over a connection of its own.
async fn connected(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "ended before {end:?}: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// Nothing is cut off in the middle by age alone.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_lived_long_ends_behind_its_answer() {
    let (address, server) = served(state(None)).await;
    let begun = Instant::now();
    let mut stream = connected(address, LIVEZ).await;
    for _ in 0..11 {
        let answer = read_until(&mut stream, ALIVE).await;
        assert!(!answer.to_lowercase().contains("connection: close"), "it may ask on: {answer}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        if begun.elapsed() < Duration::from_secs(55) {
            stream.write_all(LIVEZ.as_bytes()).await.unwrap();
        }
    }
    // Asked before the end, answered after it.
    stream.write_all(SLOW.as_bytes()).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 503") && rest.contains("no answer within 10 s"), "{rest}");
    assert!(rest.to_lowercase().contains("connection: close"), "{rest}");
    let lived = begun.elapsed();
    assert!((65..67).contains(&lived.as_secs()), "it ended with the answer: {lived:?}");
    server.abort();
}

/// However all places are held by those who ask nothing: a probe is let in, and nobody loses an answer by it.
#[tokio::test(start_paused = true)]
async fn probes_are_answered_while_every_connection_is_held() {
    for idle in ["", "GET /li", LIVEZ] {
        let tail = FakeTail::default();
        let (address, server) = served(State { tail: Arc::new(tail.clone()), ..state(None) }).await;
        // First, so that they have been silent longest.
        let mut busy = Vec::new();
        for _ in 0..3 {
            busy.push(connected(address, SLOW).await);
        }
        let mut streams = Vec::new();
        for _ in 0..32 {
            let mut stream = connected(address, STREAM).await;
            read_until(&mut stream, "retry: 1000").await;
            streams.push(stream);
        }
        let mut held = Vec::new();
        for _ in 0..221 {
            let mut stream = connected(address, idle).await;
            if idle == LIVEZ {
                read_until(&mut stream, ALIVE).await;
            }
            held.push(stream);
        }
        for _ in 0..20 {
            let asked = Instant::now();
            let mut probe = connected(address, LIVEZ).await;
            let answered = tokio::time::timeout(Duration::from_secs(1), read_until(&mut probe, ALIVE)).await;
            assert!(answered.is_ok(), "{idle:?}: no answer within {:?}", asked.elapsed());
            // It is held too.
            held.push(probe);
        }
        for stream in &mut busy {
            assert!(read_until(stream, "no answer within 10 s").await.starts_with("HTTP/1.1 503"), "{idle:?}");
        }
        tail.publish("{\"type\":\"t\"}");
        for stream in &mut streams {
            read_until(stream, "data: {\"type\":\"t\"}").await;
        }
        server.abort();
    }
}
