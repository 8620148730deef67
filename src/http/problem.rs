//! Errors as `application/problem+json` (RFC 9457). The details are for the asker: nothing of the inside is in them.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use crate::contract::shapes::Problem;

/// One problem, about the path that was asked for.
pub(super) fn problem(status: StatusCode, detail: &str, uri: &Uri) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = Problem { problem_type: "about:blank", title, status: status.as_u16(), detail, instance: uri.path() };
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
