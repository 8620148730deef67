//! The worker's HTTP side: probes for the orchestrator, metrics for who watches, look-ups for people, and the marks an operator
//! makes; events come in through `ingest` and are followed through `stream`. No pages yet. Who may ask is decided in `auth`, what is
//! answered in [`api`], [`desk`] and `probes`. [`client`] is the other end, for the command line.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Extension, Router};

use crate::broker::{Ingest, Tail};
use crate::config::Secret;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::Views;
use crate::store::desk::Desk;

pub mod api;
mod auth;
pub mod client;
pub mod desk;
mod ingest;
mod metrics;
mod probes;
mod problem;
mod serve;
mod stream;

pub use ingest::{BATCHED_BYTES_MAX, BATCHED_EVENTS_MAX};
pub use metrics::Sampler;
pub use serve::serve;

use problem::problem;

/// Longest time for one answer; every statement behind it has a shorter limit of its own, so it is only reached when the
/// database is in trouble.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body that is read, of what is not handed in as events.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Whom events are taken from over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Whoever may ask the API.
    Any,
    /// Users that a broker vouches for, as `[trust]` wants it: over HTTP there is none.
    Vouched,
}

/// What the answers are made of.
#[derive(Clone)]
pub struct State {
    /// What is up.
    pub health: Health,
    /// The look-ups.
    pub views: Arc<dyn Views>,
    /// The operator's desk.
    pub desk: Arc<dyn Desk>,
    /// Takes events.
    pub ingest: Arc<dyn Ingest>,
    /// Lets what is published be followed.
    pub tail: Arc<dyn Tail>,
    /// Whom events are taken from.
    pub senders: Senders,
    /// What is counted.
    pub metrics: Metrics,
    /// What the database counts.
    pub gauges: Sampler,
    /// The bearer token of the API; without one it answers to loopback only.
    pub token: Option<Secret>,
}

/// All routes. The peer's address has to be among the request's extensions, as [`serve()`] puts it there.
pub fn router(state: State) -> Router {
    let api = Router::new()
        .route("/api/v1/exceptions", get(api::exceptions))
        .route("/api/v1/exceptions/{id}", get(api::exception))
        .route("/api/v1/tickets/{id}", get(api::ticket))
        .route("/api/v1/stats", get(api::stats))
        .route("/api/v1/failures", get(desk::failures))
        .route("/api/v1/failures/{id}", get(desk::failure))
        .route("/api/v1/failures/{id}/retry", post(desk::retry))
        .route("/api/v1/failures/{id}/discard", post(desk::discard))
        .route("/api/v1/failure-groups", get(desk::groups))
        .route("/api/v1/parked", get(desk::parked))
        .route("/api/v1/outbox", get(desk::outbox))
        .route("/api/v1/events", get(stream::events).post(ingest::events))
        // Unknown paths are guarded too: whoever may not ask does not learn what there is.
        .route("/api", any(not_found))
        .route("/api/", any(not_found))
        .route("/api/{*rest}", any(not_found))
        .method_not_allowed_fallback(not_allowed)
        .layer(Extension(ingest::Places::new()))
        .layer(Extension(stream::Places::new()))
        // Last, so that it is first: whoever may not ask is told before anything is read.
        .layer(middleware::from_fn_with_state(state.clone(), auth::guard));
    Router::new()
        .merge(api)
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn(timeout))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

async fn not_found(request: Request) -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this path", request.uri())
}

async fn not_allowed(request: Request) -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not answer to this method", request.uri())
}

async fn timeout(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let seconds = REQUEST_TIMEOUT.as_secs();
        problem(StatusCode::SERVICE_UNAVAILABLE, &format!("no answer within {seconds} s: try again later"), &uri)
    })
}

#[cfg(test)]
pub(crate) mod tests;
