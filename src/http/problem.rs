//! Errors as `application/problem+json` (RFC 9457). The details are for the asker: nothing of the inside is in them.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use crate::broker::BrokerError;
use crate::contract::shapes::Problem;

/// One problem, about the path that was asked for.
pub(super) fn problem(status: StatusCode, detail: &str, uri: &Uri) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = Problem { problem_type: "about:blank", title, status: status.as_u16(), detail, instance: uri.path() };
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Outages of the worker's peers are short, and asking again costs little: one second.
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What the broker did not do; `away` is what to say when it does not answer. Its own words are for the log, since they name
/// addresses, exchanges and users: whoever can mend it reads that.
pub(super) fn not_done(error: &BrokerError, away: &str, uri: &Uri) -> Response {
    let path = uri.path();
    tracing::warn!("{path} could not be answered: {error}");
    match error {
        BrokerError::Away(_) => problem(StatusCode::SERVICE_UNAVAILABLE, away, uri),
        BrokerError::Refused(_) => {
            let detail = "the broker says no, and the worker's log says why: asking again helps once that is mended";
            problem(StatusCode::BAD_GATEWAY, detail, uri)
        }
    }
}
