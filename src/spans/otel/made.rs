//! What the worker tells, as spans: names, kinds, attributes and links after the semantic conventions for messaging, in development when
//! this was written; `docs/operations.md` lists them. A span is made when what it stands for is over, so none is ever open.
//!
//! An event's span has the trace context that came with the event as its parent, and keeps its sampling. Events that go out carry
//! the context of what caused them and are never rewritten: the span of sending one has the same parent, as its sibling.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span;
use serde::Deserialize;
use tokio::time::Instant;

use super::Otel;
use crate::domain::outcome::Outcome;
use crate::spans::{Processed, Sent, Turn};

const SYSTEM: &str = "messaging.system";
const OPERATION_NAME: &str = "messaging.operation.name";
const OPERATION_TYPE: &str = "messaging.operation.type";
const DESTINATION: &str = "messaging.destination.name";
const MESSAGE_ID: &str = "messaging.message.id";
const ERROR: &str = "error.type";

impl Otel {
    /// A span for each event that is sampled; of several events one more for the batch, linked both ways.
    pub(super) fn make_turn(&self, turn: &Turn<'_>) {
        let (began, ended) = period(turn.began);
        let queue = turn.queue.and_then(|queue| self.places.queues.get(usize::from(queue))).map(String::as_str);
        let mut made: Vec<_> = turn
            .events
            .iter()
            .map(|event| self.processed(event, queue, began))
            .filter(|(span, _)| span.is_recording())
            .collect();
        if turn.events.len() > 1 && !made.is_empty() {
            let batch = self.batch(turn.events.len(), &made, queue, (began, ended));
            for (span, _) in &mut made {
                span.add_link(batch.clone(), Vec::new());
            }
        }
        for (mut span, _) in made {
            span.end_with_timestamp(ended);
        }
    }

    /// One event, with the context it came with.
    fn processed(&self, event: &Processed<'_>, queue: Option<&str>, began: SystemTime) -> (Span, SpanContext) {
        let parent = context(event.traceparent);
        let attributes = self.operation("process", queue);
        let builder = self.events.span_builder(named("process", queue)).with_kind(SpanKind::Consumer);
        let builder = builder.with_start_time(began).with_attributes(attributes).with_links(link(&parent));
        let mut span = self.events.build_with_context(builder, &parent);
        if span.is_recording() {
            describe(&mut span, event);
        }
        (span, parent.span().span_context().clone())
    }

    /// The batch that the events were taken and committed in.
    fn batch(
        &self,
        count: usize,
        made: &[(Span, SpanContext)],
        queue: Option<&str>,
        (began, ended): (SystemTime, SystemTime),
    ) -> SpanContext {
        let mut attributes = self.operation("process", queue);
        attributes.push(KeyValue::new("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX)));
        // An event that came without a context is found by the trace that it begins. The SDK keeps 128 and counts the rest.
        let links = made.iter().map(|(span, parent)| {
            Link::with_context(if parent.is_valid() { parent.clone() } else { span.span_context().clone() })
        });
        let builder = self.batches.span_builder(named("process", queue)).with_kind(SpanKind::Consumer);
        let builder = builder.with_start_time(began).with_attributes(attributes).with_links(links.collect());
        let mut span = self.batches.build_with_context(builder, &Context::new());
        span.end_with_timestamp(ended);
        span.span_context().clone()
    }

    /// A span for each event whose cause is sampled. They are sent together, so all of them take as long.
    pub(super) fn make_sent(&self, began: Instant, events: &[Sent<'_>]) {
        let (began, ended) = period(began);
        for event in events {
            let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(event.envelope) else { continue };
            let parent = context(envelope.traceparent.as_deref());
            let place = format!("{}:{}", self.places.exchange, envelope.kind);
            // The context in the message is its sender's, not this span's: then the conventions have it a client's.
            let builder = self.events.span_builder(named("send", Some(&place))).with_kind(SpanKind::Client);
            let attributes = self.operation("send", Some(&place));
            let builder = builder.with_start_time(began).with_attributes(attributes).with_links(link(&parent));
            let mut span = self.events.build_with_context(builder, &parent);
            if !span.is_recording() {
                continue;
            }
            span.set_attribute(text(MESSAGE_ID, &envelope.id));
            if !self.places.commit_publishes {
                span.set_attribute(text("messaging.rabbitmq.destination.routing_key", &envelope.kind));
            }
            if let Some(exception_id) = &envelope.correlationid {
                span.set_attribute(text("messaging.message.conversation_id", exception_id));
                span.set_attribute(text("reprieve.exception.id", exception_id));
            }
            if let Some(error) = event.error {
                fail(&mut span, error);
            }
            span.end_with_timestamp(ended);
        }
    }

    fn operation(&self, operation: &'static str, place: Option<&str>) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(SYSTEM, self.places.system),
            KeyValue::new(OPERATION_NAME, operation),
            KeyValue::new(OPERATION_TYPE, operation),
        ];
        attributes.extend(place.map(|place| text(DESTINATION, place)));
        attributes
    }
}

/// The attributes of an outgoing event that are shown.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    correlationid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

fn describe(span: &mut Span, event: &Processed<'_>) {
    span.set_attribute(text(MESSAGE_ID, event.id));
    span.set_attribute(text("cloudevents.event_source", event.source));
    if let Some(event_type) = event.event_type {
        span.set_attribute(text("cloudevents.event_type", event_type));
    }
    if let Some(exception_id) = event.exception_id {
        span.set_attribute(text("reprieve.exception.id", exception_id));
    }
    if let Some(failure) = event.failure {
        span.set_attribute(KeyValue::new("reprieve.failure.id", failure.to_string()));
    }
    let (outcome, code) = match event.outcome {
        Outcome::Applied => ("applied", None),
        Outcome::Repeated => ("repeated", None),
        Outcome::Refused(code) => ("refused", Some(code)),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::Parked => ("parked", None),
    };
    span.set_attribute(KeyValue::new("reprieve.outcome", outcome));
    if let Some(code) = code {
        span.set_attribute(KeyValue::new("reprieve.code", code));
    }
    // A refusal is an answer. Only what could not be processed is an error.
    if let Outcome::Failed(reason) = event.outcome {
        fail(span, reason);
    }
}

fn fail(span: &mut Span, error: &'static str) {
    span.set_attribute(KeyValue::new(ERROR, error));
    span.set_status(Status::error(error));
}

fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, value.to_owned())
}

fn named(operation: &'static str, place: Option<&str>) -> Cow<'static, str> {
    place.map_or(Cow::Borrowed(operation), |place| Cow::Owned(format!("{operation} {place}")))
}

/// Beside the parent: some tools only know links between who made a message and who has it.
fn link(parent: &Context) -> Vec<Link> {
    let context = parent.span().span_context().clone();
    if context.is_valid() { vec![Link::with_context(context)] } else { Vec::new() }
}

/// From a moment of the worker's clock, which the wall clock does not share, until now.
fn period(began: Instant) -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    (now.checked_sub(began.elapsed()).unwrap_or(now), now)
}

/// The context a message carries, if it carries a valid one.
fn context(traceparent: Option<&str>) -> Context {
    struct Header<'a>(&'a str);
    impl Extractor for Header<'_> {
        fn get(&self, name: &str) -> Option<&str> {
            (name == "traceparent").then_some(self.0)
        }

        fn keys(&self) -> Vec<&str> {
            vec!["traceparent"]
        }
    }
    let none = Context::new();
    match traceparent {
        Some(text) => TraceContextPropagator::new().extract_with_context(&none, &Header(text)),
        None => none,
    }
}
