//! The look-ups of the API, version 1.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::problem::problem;
use crate::contract::shapes::{self, Detail, Row, ShapeError};
use crate::domain::exception::Exception;
use crate::domain::ids::ExceptionId;
use crate::store::StoredEntry;

/// The contract's `detail` of what the look-up found; the command line shows the same.
pub fn detail<'a>(exception: &'a Exception, entries: &'a [StoredEntry]) -> Result<Detail<'a>, ShapeError> {
    let rows = entries.iter().map(|entry| Row { number: entry.number, fields: &entry.fields, hash: &entry.hash });
    shapes::detail(exception, rows)
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
        Ok(Some((exception, entries))) => match detail(&exception, &entries) {
            Ok(detail) => Json(detail).into_response(),
            Err(error) => {
                tracing::error!(exception.id = %id, "{error}");
                problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), &uri)
            }
        },
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("no exception has the id {id}"), &uri),
        Err(error) => {
            tracing::warn!(exception.id = %id, "exception {id} could not be looked up: {error}");
            problem(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer: try again later", &uri)
        }
    }
}
