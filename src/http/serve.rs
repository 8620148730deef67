//! Connections: accepted, bounded in number and time, ended gently. It knows nothing of routes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod life;
mod places;

pub(super) use life::Conversation;
use life::{Life, Watched};
use places::{Place, Places};

/// Longest wait for a request's head, also on a connection kept alive: slow senders must not hold the connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After the shutdown began, running answers have so long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept: it means that the process is out of file descriptors, which does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, then lets running answers end, for a short while.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) {
    let mut places = Places::new();
    let (ending, _) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Reaped as they end, or the set would grow for ever.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &mut places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (router, ending) = (router.clone(), ending.subscribe());
        let life = Life::begin();
        places.taken(&life);
        connections.spawn(async move {
            tokio::select! {
                biased;
                () = converse(stream, peer, router, ending, life.clone()) => {}
                () = life.cut() => tracing::debug!("an HTTP connection lived too long and was cut"),
            }
            drop(place);
        });
    }
    ending.send_replace(());
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        connections.shutdown().await;
    }
}

/// Cancel safe: a connection that is accepted is given out at once.
async fn accept(listener: &TcpListener, places: &mut Places) -> Option<(TcpStream, SocketAddr, Place)> {
    let place = places.free().await?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
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
    let routes = TowerToHyperService::new(router);
    let asked = life.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (in_hand, answering) = (asked.asked(), routes.call(request));
        async move {
            // The answer goes out with its last frame, and takes along what says that it is in hand.
            answering.await.map(|response| response.map(|body| body.map_frame(move |frame| (&in_hand, frame).1)))
        }
    });
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

#[cfg(test)]
mod tests;
