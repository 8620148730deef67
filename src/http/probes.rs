//! What the orchestrator asks: is the process alive, and may it count on the worker. Open to everybody; neither asks
//! broker or database, so a probe can never hang on them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Liveness {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    missing: Vec<&'static str>,
}

pub(super) async fn livez() -> Response {
    Json(Liveness { status: "alive" }).into_response()
}

pub(super) async fn readyz(State(state): State<super::State>) -> Response {
    let missing = state.health.missing();
    if missing.is_empty() {
        Json(Readiness { status: "ready", missing }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { status: "not ready", missing })).into_response()
    }
}
