//! Connections: accepted, bounded in number and time, ended gently. It knows nothing of routes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

mod life;

pub(super) use life::Conversation;
use life::{Life, Watched};

/// Most connections at a time; the next ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Longest wait for a request's head, also on a connection kept alive: slow senders must not hold the connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has lived long enough answers what is in hand; longer than any answer may take, it is cut.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(12);
/// After the shutdown began, running answers have so long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept: it means that the process is out of file descriptors, which does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, then lets running answers end, for a short while.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (ending, _) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Reaped as they end, or the set would grow for ever.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &free) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (router, ending) = (router.clone(), ending.subscribe());
        connections.spawn(async move {
            let life = Life::begin();
            tokio::select! {
                biased;
                () = converse(stream, peer, router, ending, life.clone()) => {}
                () = async { life.over().await; tokio::time::sleep(LAST_ANSWER_MAX).await } => {
                    tracing::debug!("an HTTP connection lived too long and was cut");
                }
            }
            drop(permit);
        });
    }
    ending.send_replace(());
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        connections.shutdown().await;
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(free).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!("cannot accept an HTTP connection: {error}; if it stays, raise the limit of open files");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, mut ending: watch::Receiver<()>, life: Life) {
    let (over, conversation) = (life.clone(), Conversation::new(life.clone(), ending.clone()));
    let router = router.layer(Extension(ConnectInfo(peer))).layer(Extension(conversation));
    let service = TowerToHyperService::new(router);
    let stream = Watched { stream, life };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        _ = ending.changed() => None,
        () = over.over() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        // What is in hand is answered, and nothing after it is asked: an answer that is not heard is asked for again.
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!("an HTTP connection ended early: {error}");
    }
}
