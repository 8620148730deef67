//! `GET /api/v1/events`: what is published, as server-sent events, each envelope as it is stored. A stream lasts as long as it is read
//! and the worker runs; who was cut off goes on with `Last-Event-ID`, where the broker keeps what it has published.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::desk::query::Query;
use super::problem::{not_done, problem};
use super::serve::Conversation;
use crate::broker::{Follow, Position, Published};
use crate::contract::trust::fits;

/// Most streams at a time. Each costs a connection and a place to buffer; who needs more puts a broker in between.
const STREAMS_MAX: usize = 32;
/// Pause after which a sign of life is sent: proxies cut a silent connection after 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a stream begins with: the reader waits a second before it comes again.
const BEGINNING: &[u8] = b"retry: 1000\n\n";

/// Places for those who follow.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// `GET /api/v1/events`
pub(super) async fn events(
    State(state): State<super::State>,
    Extension(places): Extension<Places>,
    conversation: Option<Extension<Conversation>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (after, pattern) = match asked(&uri, &headers) {
        Ok(asked) => asked,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why, &uri),
    };
    let Ok(place) = places.0.try_acquire_owned() else {
        let detail = format!("{STREAMS_MAX} streams are open, which is all there may be: close one");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &detail, &uri);
    };
    let follow = match state.tail.follow(after).await {
        Ok(follow) => follow,
        Err(error) => return not_done(&error, "the broker does not answer: try again later", &uri),
    };
    let conversation = conversation.map(|Extension(conversation)| conversation);
    if let Some(conversation) = &conversation {
        conversation.lasts();
    }
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reading = Reading { follow, pattern, heartbeat, conversation, _place: place };
    let beginning = stream::iter([Bytes::from_static(BEGINNING)]);
    let frames = stream::StreamExt::chain(beginning, stream::unfold(reading, Reading::next));
    let frames = stream::StreamExt::map(frames, Ok::<_, Infallible>);
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // The connection was let live for the stream; nothing else is asked over it.
        (header::CONNECTION, "close"),
    ];
    (head, Body::from_stream(frames)).into_response()
}

/// Where to begin, and which types are wanted. The header comes before the parameter: who is cut off and asks for the same address
/// again knows more by then.
fn asked(uri: &Uri, headers: &HeaderMap) -> Result<(Option<Position>, Option<String>), String> {
    let query = Query::read(uri, &["after", "type"])?;
    let after = query.parsed::<String>("after")?.map(|text| position("parameter after", &text)).transpose()?;
    let last = match headers.get("last-event-id") {
        Some(value) if !value.is_empty() => Some(position("header Last-Event-ID", value.to_str().unwrap_or("?"))?),
        _ => None,
    };
    Ok((last.or(after), query.parsed("type")?))
}

fn position(name: &str, text: &str) -> Result<Position, String> {
    let read = text.parse::<Position>().ok().filter(|position| *position >= 0);
    read.ok_or_else(|| format!("{name}: expected a position, the id of an event of this stream"))
}

/// One stream that is being read.
struct Reading {
    follow: Box<dyn Follow>,
    pattern: Option<String>,
    heartbeat: Interval,
    conversation: Option<Conversation>,
    _place: OwnedSemaphorePermit,
}

impl Reading {
    /// The next piece; `None` when there will be none any more.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let published = tokio::select! {
                biased;
                () = ended(self.conversation.as_mut()) => return None,
                _ = self.heartbeat.tick() => return Some((Bytes::from_static(b":\n\n"), self)),
                published = self.follow.next() => published?,
            };
            let event_type = type_of(&published.body);
            if self.pattern.as_deref().is_none_or(|pattern| fits(pattern, &event_type)) {
                let frame = frame(&published, &event_type);
                return Some((Bytes::from(frame), self));
            }
        }
    }
}

async fn ended(conversation: Option<&mut Conversation>) {
    match conversation {
        Some(conversation) => conversation.ended().await,
        None => std::future::pending().await,
    }
}

fn type_of(envelope: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Cow<'a, str>,
    }
    serde_json::from_str::<Envelope<'_>>(envelope).map(|envelope| envelope.event_type).unwrap_or_default()
}

/// One event on the wire. Envelopes are one line; if one were not, the reader would put its lines together again.
fn frame(published: &Published, event_type: &str) -> String {
    let body = published.body.replace("\r\n", "\n");
    let position = published.position.map(|position| format!("id: {position}\n"));
    let is_one_line = !event_type.is_empty() && !event_type.contains(['\n', '\r']);
    let event_type = is_one_line.then(|| format!("event: {event_type}\n"));
    let data = body.split(['\n', '\r']).map(|line| format!("data: {line}\n"));
    position.into_iter().chain(event_type).chain(data).chain(["\n".to_owned()]).collect()
}

#[cfg(test)]
pub(crate) mod tests;
