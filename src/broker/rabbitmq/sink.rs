//! [`Sink`] over `RabbitMQ`: a connection of its own, because while the broker blocks a publishing connection nothing at all
//! can be written on it; one channel with publisher confirms. It never resends by itself: the outbox does.
//!
//! Next: `header` makes the properties, `link` reconnects.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use tracing::error;

use super::connection::{answer, channel, connect, explain, unconfirmed};
use super::guard::Wire;
use super::header::{Header, HeaderError};
use super::link::{Lasting, Link};
use super::topology::EVENTS;
use super::{RabbitError, SILENCE_MAX, Settings};
use crate::broker::{Fate, Outgoing, Sink};
use crate::health::Light;

/// How often a blocked connection is looked at.
const BLOCKED_POLL: Duration = Duration::from_millis(100);

/// Where events go: the exchange `exceptions.events`.
pub struct RabbitSink {
    link: Lasting<Publisher>,
}

impl RabbitSink {
    /// Connects when [`Sink::ready`] is first called. The light is on while the connection is there and not blocked.
    pub fn new(settings: Settings, light: Light) -> Self {
        Self { link: Lasting::new(settings, light) }
    }
}

#[async_trait]
impl Sink for RabbitSink {
    async fn ready(&mut self) {
        loop {
            let publisher = self.link.up().await;
            if !publisher.alive() {
                self.link.lose(&RabbitError::Unreachable {
                    action: "publish".into(),
                    why: "the connection or its channel was closed".into(),
                });
            } else if publisher.connection.status().blocked() {
                tokio::time::sleep(BLOCKED_POLL).await;
            } else if publisher.unanswered {
                // Kept only to learn when the broker unblocks: late confirms of an earlier hand would be taken for ours.
                self.link.drop_link();
            } else {
                return;
            }
        }
    }

    async fn publish(&mut self, events: &[Outgoing]) -> Vec<Fate> {
        let Some((publisher, _)) = self.link.current() else { return vec![Fate::Unknown; events.len()] };
        let hand: Vec<_> = events.iter().map(Prepared::new).collect();
        let (answers, failed) = publisher.publish(&hand).await;
        match failed {
            None if answers.iter().any(Option::is_some) => self.link.prove(),
            None => {}
            Some(_) if publisher.alive() && publisher.connection.status().blocked() => publisher.unanswered = true,
            Some(why) => {
                if why.is_lasting_refusal() {
                    self.link.doubt();
                }
                self.link.lose(&why);
            }
        }
        fates(&hand, &answers)
    }
}

/// The channel to publish on.
struct Publisher {
    connection: Wire,
    channel: Channel,
    exchange: ShortString,
    /// Whether something of an earlier hand may still be confirmed.
    unanswered: bool,
}

#[async_trait]
impl Link for Publisher {
    const PURPOSE: &'static str = "publish";

    async fn open(settings: &Settings) -> Result<Self, RabbitError> {
        let connection = connect(settings, Self::PURPOSE).await?;
        let (channel, exchange) = publishing_channel(&connection, settings, EVENTS).await?;
        Ok(Self { connection, channel, exchange, unanswered: false })
    }

    fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// A channel with confirms, to an exchange that is there: publishing to a missing one is only noticed much later.
pub(super) async fn publishing_channel(
    connection: &Connection,
    settings: &Settings,
    exchange: &str,
) -> Result<(Channel, ShortString), RabbitError> {
    let exchange = settings.name(exchange);
    let name = ShortString::try_new(exchange.as_str()).map_err(|error| RabbitError::Refused {
        action: "publish".into(),
        why: error.to_string(),
        remedy: "choose a shorter amqp.prefix",
    })?;
    let channel = channel(connection).await?;
    let action = format!("publish to exchange {exchange}");
    let look = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let looked = channel.exchange_declare(name.clone(), ExchangeKind::Topic, look, FieldTable::default());
    answer(action.as_str(), looked).await?;
    answer(action, channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok((channel, name))
}

impl Publisher {
    fn alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Sends a hand and collects what the broker says to each message, and what went wrong, if anything did. Where several things do,
    /// the broker's own no is the one that explains the rest: it closes the channel under all others.
    async fn publish(&self, hand: &[Prepared<'_>]) -> (Vec<Option<Confirmation>>, Option<RabbitError>) {
        let mut answers: Vec<Option<Confirmation>> = hand.iter().map(|_| None).collect();
        let action = format!("publish to exchange {}", self.exchange);
        let mut failed: Option<RabbitError> = None;
        // Polled in this order at first, and that is when lapin queues them: events go out in the order of the outbox.
        let mut asked: FuturesUnordered<_> = hand
            .iter()
            .enumerate()
            .filter_map(|(place, prepared)| Some((place, prepared.message.as_ref()?)))
            .map(|(place, message)| async move { (place, self.send(message).await) })
            .collect();
        loop {
            match tokio::time::timeout(SILENCE_MAX, asked.next()).await {
                Ok(Some((place, Ok(confirmation)))) => {
                    if let Some(answer) = answers.get_mut(place) {
                        *answer = Some(confirmation);
                    }
                }
                Ok(Some((_, Err(error)))) => {
                    let error = explain(action.as_str(), &error);
                    if failed.is_none() || error.is_lasting_refusal() {
                        failed = Some(error);
                    }
                }
                Ok(None) => return (answers, failed),
                Err(_) => return (answers, Some(failed.unwrap_or_else(|| unconfirmed(action, SILENCE_MAX)))),
            }
        }
    }

    async fn send(&self, message: &Message<'_>) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        self.channel
            .basic_publish(
                self.exchange.clone(),
                message.routing_key.clone(),
                options,
                message.body.as_bytes(),
                message.properties.clone(),
            )
            .await?
            .await
    }
}

/// An event of a hand, ready to be sent; without a message if it can never be.
struct Prepared<'a> {
    message: Option<Message<'a>>,
}

struct Message<'a> {
    id: String,
    mandatory: bool,
    routing_key: ShortString,
    properties: BasicProperties,
    body: &'a str,
}

impl<'a> Prepared<'a> {
    fn new(event: &'a Outgoing) -> Self {
        let message = Message::new(&event.body);
        if let Err(why) = &message {
            error!(outbox_id = event.id, "outbox row {} cannot be published: {why}", event.id);
        }
        Self { message: message.ok() }
    }
}

impl<'a> Message<'a> {
    fn new(body: &'a str) -> Result<Self, HeaderError> {
        let header = Header::read(body)?;
        Ok(Self {
            id: header.id.to_string(),
            mandatory: header.mandatory(),
            routing_key: header.routing_key()?,
            properties: header.properties()?,
            body,
        })
    }
}

/// The fate of each. lapin may hand a returned message to another message's confirm, so returns are collected over the
/// whole hand and told apart by their ids. While an answer is missing a return may be too: then no mandatory one is sure.
fn fates(hand: &[Prepared<'_>], answers: &[Option<Confirmation>]) -> Vec<Fate> {
    let returned: HashSet<&str> = answers.iter().filter_map(|answer| returned_id(answer.as_ref())).collect();
    let complete = hand.iter().zip(answers).all(|(prepared, answer)| prepared.message.is_none() || answer.is_some());
    hand.iter()
        .zip(answers)
        .map(|(prepared, answer)| match (&prepared.message, answer) {
            // It stays in the outbox, visible, like one that no queue wanted.
            (None, _) => Fate::Unroutable,
            (Some(message), Some(Confirmation::Ack(_))) if returned.contains(message.id.as_str()) => Fate::Unroutable,
            (Some(message), Some(Confirmation::Ack(_))) if complete || !message.mandatory => Fate::Confirmed,
            (Some(_), _) => Fate::Unknown,
        })
        .collect()
}

fn returned_id(answer: Option<&Confirmation>) -> Option<&str> {
    match answer {
        Some(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) => {
            message.properties.message_id().as_ref().map(ShortString::as_str)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    #[track_caller]
    fn check(kinds: &[&str], answers: &[Option<Confirmation>], expected: &[Fate]) {
        let events: Vec<_> = kinds
            .iter()
            .zip(1..)
            .map(|(kind, id)| Outgoing { id, body: format!(r#"{{"id":"{id}","type":"{kind}","source":"s"}}"#) })
            .collect();
        let hand: Vec<_> = events.iter().map(Prepared::new).collect();
        assert_eq!(fates(&hand, answers), expected);
    }

    #[test]
    fn each_event_gets_its_own_fate() {
        let ack = || Some(Confirmation::Ack(None));
        let nack = || Some(Confirmation::Nack(None));
        check(&["ticket.a", "exception.b"], &[ack(), ack()], &[Fate::Confirmed, Fate::Confirmed]);
        check(&["exception.a", "exception.b"], &[ack(), nack()], &[Fate::Confirmed, Fate::Unknown]);
        check(&["exception.a", "exception.b"], &[None, ack()], &[Fate::Unknown, Fate::Confirmed]);
    }

    #[test]
    fn a_mandatory_event_is_not_confirmed_while_a_return_may_be_missing() {
        let ack = Some(Confirmation::Ack(None));
        check(&["ticket.a", "exception.b"], &[ack, None], &[Fate::Unknown, Fate::Unknown]);
    }

    /// A return of the event with this id.
    fn returned(id: &str) -> Confirmation {
        let mut delivery = Delivery::mock(0, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        Confirmation::Ack(Some(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }))
    }

    #[test]
    fn a_returned_event_is_unroutable_whosever_confirm_brings_it() {
        let ack = || Some(Confirmation::Ack(None));
        check(&["ticket.a", "ticket.b"], &[Some(returned("1")), ack()], &[Fate::Unroutable, Fate::Confirmed]);
        check(&["ticket.a", "ticket.b"], &[ack(), Some(returned("1"))], &[Fate::Unroutable, Fate::Confirmed]);
    }

    #[test]
    fn what_is_no_envelope_stays_in_the_outbox() {
        check(&["\"", "exception.b"], &[None, Some(Confirmation::Ack(None))], &[Fate::Unroutable, Fate::Confirmed]);
    }
}
