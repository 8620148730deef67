//! The operator's desk in the API, version 1. The command line shows the same objects and makes them with the same functions, those of [`shapes`].

pub(super) mod query;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use uuid::Uuid;

use super::problem::problem;
use crate::contract::shapes::desk::ListShape;
use crate::shapes;
use crate::store::desk::{Desk, DeskError, Filter, Mark, MarkEffect};
use query::Query;

/// `GET /api/v1/failures`
pub(super) async fn failures(State(state): State<super::State>, uri: Uri) -> Response {
    let read = Query::read(&uri, &[&Filter::NAMES, &["cursor", "limit"][..]].concat())
        .and_then(|query| Ok((query.filter()?, query.parsed("cursor")?, query.limit()?)));
    let (filter, after, limit) = match read {
        Ok(read) => read,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why, &uri),
    };
    match state.desk.failures(&filter, after, limit).await {
        Ok(page) => {
            let items: Vec<_> = page.items.iter().map(shapes::failure).collect();
            list(&items, page.next.map(|cursor| cursor.to_string()).as_deref())
        }
        Err(error) => away(&error, &uri),
    }
}

/// `GET /api/v1/failure-groups`
pub(super) async fn groups(State(state): State<super::State>, uri: Uri) -> Response {
    let read = Query::read(&uri, &[&Filter::NAMES, &["limit"][..]].concat())
        .and_then(|query| Ok((query.filter()?, query.limit()?)));
    let (filter, limit) = match read {
        Ok(read) => read,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why, &uri),
    };
    match state.desk.groups(&filter, limit).await {
        Ok(groups) => list(&groups.iter().map(shapes::group).collect::<Vec<_>>(), None),
        Err(error) => away(&error, &uri),
    }
}

/// `GET /api/v1/parked`
pub(super) async fn parked(State(state): State<super::State>, uri: Uri) -> Response {
    let read = Query::read(&uri, &["exception", "cursor", "limit"])
        .and_then(|query| Ok((query.filter()?.exception_id, query.parsed("cursor")?, query.limit()?)));
    let (exception, after, limit) = match read {
        Ok(read) => read,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why, &uri),
    };
    match state.desk.parked(exception.as_ref(), after, limit).await {
        Ok(page) => {
            let items: Vec<_> = page.items.iter().map(shapes::parked).collect();
            list(&items, page.next.map(|cursor| cursor.to_string()).as_deref())
        }
        Err(error) => away(&error, &uri),
    }
}

/// `GET /api/v1/outbox`
pub(super) async fn outbox(State(state): State<super::State>, uri: Uri) -> Response {
    if let Err(why) = Query::read(&uri, &[]) {
        return problem(StatusCode::BAD_REQUEST, &why, &uri);
    }
    match state.desk.outbox().await {
        Ok(outbox) => Json(shapes::outbox(outbox)).into_response(),
        Err(error) => away(&error, &uri),
    }
}

type FailurePath = Result<Path<String>, PathRejection>;

/// `GET /api/v1/failures/{id}`
pub(super) async fn failure(State(state): State<super::State>, uri: Uri, path: FailurePath) -> Response {
    match id(path, &uri) {
        Ok(id) => show(&state.desk, id, &uri).await,
        Err(response) => response,
    }
}

/// `POST /api/v1/failures/{id}/retry`
pub(super) async fn retry(State(state): State<super::State>, uri: Uri, path: FailurePath) -> Response {
    mark(&state.desk, Mark::Retry, path, &uri).await
}

/// `POST /api/v1/failures/{id}/discard`
pub(super) async fn discard(State(state): State<super::State>, uri: Uri, path: FailurePath) -> Response {
    mark(&state.desk, Mark::Discard, path, &uri).await
}

async fn mark(desk: &Arc<dyn Desk>, mark: Mark, path: FailurePath, uri: &Uri) -> Response {
    let id = match id(path, uri) {
        Ok(id) => id,
        Err(response) => return response,
    };
    let found = match desk.mark(mark, &[id]).await {
        Ok(found) => found.first().map(|(_, state)| *state),
        Err(error) => return away(&error, uri),
    };
    match found.map(|state| (mark.effect(state), state)) {
        Some((MarkEffect::Forbidden, state)) => {
            let detail = format!("failure {id} is {state}: only what is open can be {}", mark.makes());
            problem(StatusCode::CONFLICT, &detail, uri)
        }
        Some((MarkEffect::Changed, state)) => {
            let now = mark.makes();
            tracing::info!(failure.id = %id, "failure {id} was {state} and is marked over HTTP: {now}");
            show(desk, id, uri).await
        }
        Some((MarkEffect::Already, _)) | None => show(desk, id, uri).await,
    }
}

async fn show(desk: &Arc<dyn Desk>, id: Uuid, uri: &Uri) -> Response {
    match desk.failure(id).await {
        Ok(Some(failure)) => Json(shapes::failure(&failure)).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("no failure has the id {id}"), uri),
        Err(error) => away(&error, uri),
    }
}

#[expect(clippy::result_large_err, reason = "the answer is moved once, and only to be sent")]
fn id(path: FailurePath, uri: &Uri) -> Result<Uuid, Response> {
    let id = path.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
    id.ok_or_else(|| problem(StatusCode::BAD_REQUEST, "not a failure id: expected a UUID", uri))
}

pub(super) fn list<T: Serialize>(items: &[T], next_cursor: Option<&str>) -> Response {
    Json(ListShape { items, next_cursor }).into_response()
}

fn away(error: &DeskError, uri: &Uri) -> Response {
    let path = uri.path();
    tracing::warn!("{path} could not be answered: {error}");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer: try again later", uri)
}

#[cfg(test)]
pub(crate) mod tests;
