//! `POST /api/v1/events`: events that come over HTTP, in the three modes of the `CloudEvents` binding. What is no event at all is
//! told at once and nothing of it is kept; everything else goes through the same door as what comes over the broker, and whether
//! it is good is decided there. What makes an event is in [`read`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, body::Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::problem::{not_done, problem};
use super::{REQUEST_TIMEOUT, Senders};
use crate::broker::{Handed, Receipt};
use crate::contract::inbound::{BODY_BYTES_MAX, Message, decode};
use crate::domain::outcome::Outcome;

mod read;

use read::Mode;

/// Most events in one batch: as many as make two turns of the worker.
pub const BATCHED_EVENTS_MAX: usize = 1_000;
/// Most bytes of one batch, so that a thousand large events do not become one huge transaction.
pub const BATCHED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most requests that are read and handed in at a time, so that bodies take at most 256 MiB. The next ones wait.
const AT_A_TIME_MAX: usize = 64;
/// Earlier than the end of all patience, so that the answer can say what is known of the events.
const ANSWER_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_sub(Duration::from_millis(500));

const NOT_KNOWN: &str =
    "it is not known whether the events were taken: send them again, which does no harm, since repeats have no effect";

/// Places for those who hand in.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME_MAX)))
    }
}

/// Why nothing was taken.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    status: StatusCode,
    detail: String,
}

impl Fault {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// What became of one event.
#[derive(Serialize)]
struct Told {
    source: String,
    id: String,
    outcome: &'static str,
    code: Option<&'static str>,
}

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

/// `POST /api/v1/events`
pub(super) async fn events(
    State(state): State<super::State>,
    Extension(places): Extension<Places>,
    request: Request,
) -> Response {
    let uri = request.uri().clone();
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    if state.senders == Senders::Vouched {
        let detail =
            "[trust] is configured, and over HTTP no broker vouches for a user: publish over AMQP, or remove [trust]";
        return problem(StatusCode::FORBIDDEN, detail, &uri);
    }
    let mode = match read::mode(request.headers()) {
        Ok(mode) => mode,
        Err(fault) => return problem(fault.status, &fault.detail, &uri),
    };
    let Ok(Ok(_place)) = timeout_at(deadline, places.0.acquire()).await else {
        let detail = "too many hand in events at a time: nothing was taken, send them again";
        return problem(StatusCode::SERVICE_UNAVAILABLE, detail, &uri);
    };
    let (parts, body) = request.into_parts();
    let late = |_| {
        let seconds = ANSWER_TIMEOUT.as_secs_f32();
        let detail = format!("the body did not arrive within {seconds} s: nothing was taken, send it again");
        Fault::new(StatusCode::REQUEST_TIMEOUT, detail)
    };
    let body = timeout_at(deadline, bytes(mode, &parts.headers, body)).await.map_err(late).flatten();
    let read = body.and_then(|body| read::messages(mode, &parts.headers, &body));
    match read {
        Ok(messages) => hand_in(&state, messages, deadline, &uri).await,
        Err(fault) => problem(fault.status, &fault.detail, &uri),
    }
}

/// The body, if it is not over the limit.
async fn bytes(mode: Mode, headers: &HeaderMap, body: Body) -> Result<Bytes, Fault> {
    let (bytes_max, what) = match mode {
        Mode::Structured | Mode::Binary => (BODY_BYTES_MAX, "event"),
        Mode::Batched => (BATCHED_BYTES_MAX, "batch"),
    };
    let too_large = || {
        Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the {what} has more than {bytes_max} bytes: send less at a time"),
        )
    };
    // Said before it is sent, where it can be.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Fault::new(StatusCode::BAD_REQUEST, "the body broke off: nothing was taken")),
    }
}

async fn hand_in(state: &super::State, messages: Vec<Handed>, deadline: Instant, uri: &Uri) -> Response {
    let count = messages.len();
    let receipt = match timeout_at(deadline, state.ingest.hand_in(messages.clone())).await {
        Ok(Ok(receipt)) => receipt,
        Ok(Err(error)) => return not_done(&error, NOT_KNOWN, uri),
        Err(_) => {
            let detail = format!("no answer within {} s: {NOT_KNOWN}", ANSWER_TIMEOUT.as_secs_f32());
            return problem(StatusCode::SERVICE_UNAVAILABLE, &detail, uri);
        }
    };
    match receipt {
        Receipt::Queued => (StatusCode::ACCEPTED, Json(Accepted { accepted: count })).into_response(),
        Receipt::Committed(outcomes) if outcomes.len() == count => {
            let told = messages.iter().zip(outcomes).map(|(message, outcome)| told(message, outcome));
            Json(told.collect::<Vec<_>>()).into_response()
        }
        Receipt::Committed(outcomes) => {
            tracing::error!("{count} events were handed in, and {} outcomes came back", outcomes.len());
            problem(StatusCode::INTERNAL_SERVER_ERROR, NOT_KNOWN, uri)
        }
    }
}

fn told(message: &Handed, outcome: Outcome) -> Told {
    // Read again as the worker has read it, so that the sender learns which key its event has.
    let read = decode(&Message::of(&message.properties, &message.body));
    let (outcome, code) = match outcome {
        Outcome::Applied => ("applied", None),
        Outcome::Repeated => ("repeated", None),
        Outcome::Refused(code) => ("refused", Some(code)),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Parked => ("parked", None),
    };
    Told { source: read.source, id: read.id, outcome, code }
}

#[cfg(test)]
pub(crate) mod tests;
