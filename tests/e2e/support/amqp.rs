//! Upstream and downstream of the worker, spoken by the AMQP crate directly.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use super::stage::Stage;

/// Confirms take milliseconds; a broker that is restarting is waited for by the case, not here.
const CONFIRM_TIME_MAX: Duration = Duration::from_secs(30);

/// A message as some upstream might send it, well-formed or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) routing_key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

impl Message {
    /// A body with a routing key and nothing else.
    pub(crate) fn raw(routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        let properties = BasicProperties::default().with_delivery_mode(2);
        Self { routing_key: routing_key.to_owned(), body: body.into(), properties }
    }

    /// A structured `CloudEvent`: the body is the envelope, and its type the routing key.
    pub(crate) fn structured(envelope: &serde_json::Value) -> Self {
        let routing_key = envelope.get("type").and_then(serde_json::Value::as_str).unwrap_or("exception.unknown");
        Self::raw(routing_key, envelope.to_string()).content_type("application/cloudevents+json")
    }

    pub(crate) fn content_type(mut self, value: &str) -> Self {
        self.properties = self.properties.with_content_type(value.into());
        self
    }

    pub(crate) fn content_encoding(mut self, value: &str) -> Self {
        self.properties = self.properties.with_content_encoding(value.into());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: AMQPValue) -> Self {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert(name.into(), value);
        self.properties = self.properties.with_headers(headers);
        self
    }
}

/// One event the worker published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) routing_key: String,
    pub(crate) message_id: String,
    /// The header `traceparent`.
    pub(crate) trace: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Event {
    /// The envelope.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the worker publishes JSON")
    }
}

/// A connection for the case's own use.
pub(crate) struct Client {
    connection: Connection,
    publisher: Channel,
    prefix: String,
}

impl Client {
    /// Straight to the broker of the stage.
    pub(crate) async fn connect(stage: &Stage) -> Self {
        Self::connect_to(stage, &stage.amqp_url()).await
    }

    /// To the broker of the stage by another address, such as one with another user.
    pub(crate) async fn connect_to(stage: &Stage, url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await;
        let connection = connection.expect("the broker is ready");
        let publisher = connection.create_channel().await.expect("the broker is ready");
        publisher.confirm_select(ConfirmSelectOptions::default()).await.expect("the broker is ready");
        Self { connection, publisher, prefix: stage.prefix() }
    }

    /// A new channel, for what this client does not offer.
    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.expect("the connection is open")
    }

    /// Publishes to the inbound exchange and waits for every confirm.
    pub(crate) async fn publish(&self, messages: &[Message]) {
        let exchange = format!("{}exceptions.inbound", self.prefix);
        self.publish_to(&exchange, messages).await;
    }

    /// Publishes to any exchange and waits for every confirm.
    pub(crate) async fn publish_to(&self, exchange: &str, messages: &[Message]) {
        let confirms = join_all(messages.iter().map(async |message| {
            let (key, options) = (message.routing_key.as_str().into(), BasicPublishOptions::default());
            let (body, properties) = (message.body.as_slice(), message.properties.clone());
            self.publisher.basic_publish(exchange.into(), key, options, body, properties).await?.await
        }));
        let confirms = tokio::time::timeout(CONFIRM_TIME_MAX, confirms).await.expect("the broker confirms in time");
        for confirm in confirms {
            let confirm = confirm.unwrap_or_else(|error| panic!("publishing to {exchange}: {error}"));
            assert!(matches!(confirm, Confirmation::Ack(_)), "{exchange} refused a message: {confirm:?}");
        }
    }

    /// Listens to everything the worker publishes from now on.
    pub(crate) async fn events(&self) -> Events {
        self.events_matching("#").await
    }

    /// Listens to the events whose routing key matches.
    pub(crate) async fn events_matching(&self, pattern: &str) -> Events {
        let exchange = format!("{}exceptions.events", self.prefix);
        let channel = self.channel().await;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("an exclusive queue");
        let name = queue.name().clone();
        let bound = channel.queue_bind(
            name.clone(),
            exchange.as_str().into(),
            pattern.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap_or_else(|error| panic!("cannot listen to {exchange}: {error}"));
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await;
        Events { consumer: consumer.expect("the queue is ours"), seen: Vec::new(), _channel: channel }
    }

    /// Messages ready in a queue, by the name without its prefix; `None` where there is no such queue.
    pub(crate) async fn depth(&self, queue: &str) -> Option<u32> {
        let name = format!("{}{queue}", self.prefix);
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        // The broker answers a missing queue by closing the channel, so each question has its own.
        let channel = self.channel().await;
        let queue = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.ok()?;
        channel.close(200, "asked".into()).await.expect("the channel is open");
        Some(queue.message_count())
    }
}

/// What the worker published since [`Client::events`].
pub(crate) struct Events {
    consumer: Consumer,
    seen: Vec<Event>,
    _channel: Channel,
}

impl Events {
    /// Collects until `enough` holds for all events so far, in the order of their arrival, and returns them. The
    /// deadline fails the case and shows what came.
    pub(crate) async fn until(&mut self, deadline: Duration, enough: impl Fn(&[Event]) -> bool) -> &[Event] {
        let ends = tokio::time::Instant::now() + deadline;
        while !enough(&self.seen) {
            let next = tokio::time::timeout_at(ends, self.consumer.next()).await;
            let keys: Vec<&str> = self.seen.iter().map(|event| event.routing_key.as_str()).collect();
            let Ok(next) = next else { panic!("not the expected events in {} s: {keys:?}", deadline.as_secs()) };
            let delivery = next.expect("the queue is ours").expect("the connection is open");
            // Whatever a case is about: all that the worker publishes is what its schema says. Nobody but the harness's own
            // case publishes here by another hand, and without the worker's name.
            if delivery.properties.app_id().is_some() {
                super::schemas::check(&serde_json::from_slice(&delivery.data).expect("the worker publishes JSON"));
            }
            let headers = delivery.properties.headers().as_ref();
            let trace = headers.and_then(|headers| headers.inner().get("traceparent"));
            self.seen.push(Event {
                routing_key: delivery.routing_key.to_string(),
                message_id: delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
                trace: trace.and_then(|trace| trace.as_long_string()).map(ToString::to_string),
                body: delivery.data,
            });
        }
        &self.seen
    }

    /// Collects whatever comes until nothing came for `quiet`.
    pub(crate) async fn settle(&mut self, quiet: Duration) -> &[Event] {
        let mut count = self.seen.len();
        loop {
            let ends =
                tokio::time::timeout(quiet, self.until(Duration::from_hours(1), |seen| seen.len() > count)).await;
            if ends.is_err() {
                return &self.seen;
            }
            count = self.seen.len();
        }
    }
}
