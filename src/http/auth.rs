//! Who may ask the API: with a token configured, whoever shows it; without one, this machine. There are no users here.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::problem;
use crate::config::Secret;

/// Lets a request through, or says why not.
pub(super) async fn guard(State(state): State<super::State>, request: Request, next: Next) -> Response {
    if let Some(token) = &state.token {
        if shows(request.headers(), token) {
            return next.run(request).await;
        }
        let detail = "send the configured token as Authorization: Bearer TOKEN";
        let mut response = problem(StatusCode::UNAUTHORIZED, detail, request.uri());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"reprieve\""));
        return response;
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) {
        let detail = "without http.token the API answers to this machine only: configure a token";
        return problem(StatusCode::FORBIDDEN, detail, request.uri());
    }
    if !is_addressed_here(&request) {
        // A page of another site can make its own name point here (DNS rebinding), but then its name is in `Host`.
        let detail = "without http.token the API answers only when it is called localhost, 127.0.0.1 or [::1]";
        return problem(StatusCode::FORBIDDEN, detail, request.uri());
    }
    if !request.method().is_safe() && !is_sent_from_here(request.headers()) {
        // A page of another site can have a browser on this machine send a POST here without asking. A token it could not know.
        let detail = "without http.token the API takes no changes from pages of another origin";
        return problem(StatusCode::FORBIDDEN, detail, request.uri());
    }
    next.run(request).await
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
    let Some((scheme, shown)) = value.as_bytes().split_at_checked(b"Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && token.matches(shown)
}

/// Whether no page of another origin is behind a request: browsers name the origin of every one that can change something, and
/// other programs name none.
fn is_sent_from_here(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    headers.get_all(header::ORIGIN).iter().all(|origin| origin.as_bytes().strip_prefix(b"http://") == Some(host))
        && headers.get_all("sec-fetch-site").iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether every name the request gives this server is a name of this machine; one it has to give.
fn is_addressed_here(request: &Request) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter();
    let mut names = hosts.map(|host| Authority::try_from(host.as_bytes()).ok()).collect::<Vec<_>>();
    names.extend(request.uri().authority().cloned().map(Some));
    let is_local = |name: &Option<Authority>| {
        let host = name.as_ref().map_or("", Authority::host);
        host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "[::1]")
    };
    !names.is_empty() && names.iter().all(is_local)
}
