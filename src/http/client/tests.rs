//! The client against the real routes, on a real port.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::http::stream::tests::FakeTail;
use crate::http::tests::state;
use crate::http::{State, router, serve};

async fn served(state: State) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, router(state), std::future::pending())))
}

fn envelope(id: usize) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#)
}

#[tokio::test]
async fn what_is_taken_is_counted_by_outcome() {
    let (address, server) = served(state(None)).await;
    let client = Client::new(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), None);
    let envelopes: Vec<_> = (0..7).map(envelope).collect();
    let counts = [("applied", 2), ("repeated", 2), ("refused", 1), ("failed", 1), ("parked", 1)];
    let counts = counts.into_iter().map(|(outcome, count)| (outcome.to_owned(), count)).collect();
    assert_eq!(client.publish(&envelopes).await.unwrap(), HandedIn::Committed(counts));
    server.abort();
}

#[track_caller]
fn check<T>(result: Result<T, BrokerError>, is_away: bool, says: &str) {
    let error = result.err().unwrap();
    assert!(matches!(error, BrokerError::Away(_)) == is_away && error.to_string().contains(says), "{error:?}");
}

#[tokio::test]
async fn every_no_has_its_remedy() {
    let (address, server) = served(state(Some("t0ken"))).await;
    let client = |token: Option<&str>| Client::new(address, token.map(Secret::new));
    check(client(None).publish(&[envelope(1)]).await, false, "wants a token: set REPRIEVE_HTTP__TOKEN");
    check(client(Some("x")).follow(None).await, false, "wants another token");
    check(client(Some("t0ken")).publish(&["{}".into()]).await, false, "[0] of the batch is no CloudEvent");
    check(client(Some("t0ken")).follow(Some(404)).await, true, "the broker does not answer");
    check(client(Some("t0ken")).follow(Some(403)).await, false, "the broker says no");
    server.abort();
    server.await.ok();
    check(client(Some("t0ken")).publish(&[envelope(1)]).await, true, "start `reprieve run` or `reprieve dev`");
}

#[tokio::test]
async fn what_is_published_is_followed_and_can_be_gone_on_with() {
    let tail = FakeTail::default();
    let (address, server) = served(State { tail: Arc::new(tail.clone()), ..state(None) }).await;
    let client = Client::new(address, None);
    tail.publish(r#"{"type":"a"}"#);
    let mut follow = client.follow(Some(0)).await.unwrap();
    let published = |position, body: &str| Published { position: Some(position), body: body.into() };
    assert_eq!(follow.next().await.unwrap(), published(1, r#"{"type":"a"}"#));
    tail.publish(r#"{"type":"b"}"#);
    assert_eq!(follow.next().await.unwrap(), published(2, r#"{"type":"b"}"#));
    assert_eq!(client.follow(Some(1)).await.unwrap().next().await.unwrap(), published(2, r#"{"type":"b"}"#));
    tail.end();
    assert_eq!(follow.next().await, None);
    server.abort();
}

#[tokio::test]
async fn who_is_no_worker_is_told_apart() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for (answer, is_away, says) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", false, "is no worker (404 Not Found)"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", true, "none of a worker"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nno", true, "broke off"),
        ("SSH-2.0\r\n", true, "broke off"),
        ("", true, "broke off"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap(), None);
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        check(client.publish(&[envelope(1)]).await, is_away, says);
        server.await.unwrap();
    }
}
