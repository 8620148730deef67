//! The look-ups of the API, version 1.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::desk::list;
use super::desk::query::Query;
use super::problem::problem;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::shapes;
use crate::store::ViewError;
use crate::store::desk::Limit;
use crate::store::lookups::Selection;

/// `GET /api/v1/exceptions`
pub(super) async fn exceptions(State(state): State<super::State>, uri: Uri) -> Response {
    let read = Query::read_several(&uri, &[&Selection::NAMES, &["cursor", "limit"][..]].concat(), &Selection::SEVERAL)
        .and_then(|query| Ok((query.selection()?, query.parsed("cursor")?, query.limit()?)));
    let (selection, after, limit) = match read {
        Ok(read) => read,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why, &uri),
    };
    match state.views.exceptions(&selection, after, limit).await {
        Ok(page) => list(&shapes::exceptions(&page), page.next.map(|cursor| cursor.to_string()).as_deref()),
        Err(error) => unanswered(&error, &uri),
    }
}

/// `GET /api/v1/tickets/{id}`
pub(super) async fn ticket(
    State(state): State<super::State>,
    uri: Uri,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let id = match path
        .map_err(|_| "is no UTF-8".to_owned())
        .and_then(|Path(text)| TicketId::parse(&text).map_err(|error| error.to_string()))
    {
        Ok(id) => id,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &format!("not a ticket id: {why}"), &uri),
    };
    match state.views.ticket(&id, Limit::DEFAULT).await {
        Ok(Some(ticket)) => Json(shapes::ticket(&ticket)).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("no exception has named the ticket {id}"), &uri),
        Err(error) => unanswered(&error, &uri),
    }
}

/// `GET /api/v1/stats`
pub(super) async fn stats(State(state): State<super::State>, uri: Uri) -> Response {
    if let Err(why) = Query::read(&uri, &[]) {
        return problem(StatusCode::BAD_REQUEST, &why, &uri);
    }
    match state.views.stats(chrono::Utc::now().date_naive()).await {
        Ok(stats) => Json(shapes::stats(&stats)).into_response(),
        Err(error) => unanswered(&error, &uri),
    }
}

/// `GET /api/v1/exceptions/{id}`
pub(super) async fn exception(
    State(state): State<super::State>,
    uri: Uri,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let id = match path
        .map_err(|_| "is no UTF-8".to_owned())
        .and_then(|Path(text)| ExceptionId::parse(&text).map_err(|error| error.to_string()))
    {
        Ok(id) => id,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &format!("not an exception id: {why}"), &uri),
    };
    match state.views.exception(&id).await {
        Ok(Some(view)) => match shapes::detail(&view) {
            Ok(detail) => Json(detail).into_response(),
            Err(error) => {
                tracing::error!(exception.id = %id, "{error}");
                problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), &uri)
            }
        },
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("no exception has the id {id}"), &uri),
        Err(error) => unanswered(&error, &uri),
    }
}

/// A database that is away comes back; a row that cannot be read stays as it is until somebody does what is said here. Why it cannot be
/// read is for the log: it may show what is in the row.
fn unanswered(error: &ViewError, uri: &Uri) -> Response {
    let path = uri.path();
    match error {
        ViewError::Away(_) => {
            tracing::warn!("{path} could not be answered: {error}");
            problem(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer: try again later", uri)
        }
        ViewError::Unreadable { row, remedy, .. } => {
            tracing::error!("{path} could not be answered: {error}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{row}: {remedy}; the worker's log says why"), uri)
        }
    }
}
