//! What is counted, for those who watch: open to everybody, like the probes; it holds numbers and names of kinds, nobody's data.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use crate::metrics;

pub(super) async fn metrics(State(state): State<super::State>) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.text()).into_response()
}
