//! Publishes for an operator: what is given goes to `exceptions.inbound` as it is. One attempt, no outbox, no retries. What comes
//! over HTTP is sent by `ingest`.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::types::{ShortString, ShortStringError};
use lapin::{BasicProperties, Channel, Confirmation};

use super::connection::{connect, explain, unconfirmed, user_of};
use super::header::PERSISTENT;
use super::sink::publishing_channel;
use super::topology::INBOUND;
use super::{RabbitError, SILENCE_MAX, Settings};

/// Unconfirmed at a time: past a few hundred it gets no faster.
const WINDOW: usize = 500;
/// What was tried, for errors.
fn action(exchange: &ShortString) -> String {
    format!("publish to {exchange}")
}

/// One message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The event's type, as a rule.
    pub routing_key: String,
    /// Its MIME type.
    pub content_type: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Publishes all, persistent and confirmed, and returns how many. After an error it is not known which of the last
/// 500 arrived; publishing all of them again does no harm.
pub async fn publish_all(
    settings: &Settings,
    messages: impl IntoIterator<Item = Inbound, IntoIter: Send>,
) -> Result<usize, RabbitError> {
    let connection = connect(settings, "events publish").await?;
    let user = user_of(&settings.uri)?.map(short).transpose()?;
    let (channel, exchange) = publishing_channel(&connection, settings, INBOUND).await?;
    let mut messages = messages.into_iter();
    let mut in_flight = FuturesUnordered::new();
    let mut confirmed = 0;
    loop {
        while in_flight.len() < WINDOW
            && let Some(message) = messages.next()
        {
            in_flight.push(send(&channel, exchange.clone(), user.clone(), message));
        }
        match tokio::time::timeout(SILENCE_MAX, in_flight.next()).await {
            Ok(Some(sent)) => sent?,
            Ok(None) => return Ok(confirmed),
            Err(_) => return Err(unconfirmed(action(&exchange), SILENCE_MAX)),
        }
        confirmed += 1;
    }
}

impl Inbound {
    fn letter(self, user: Option<ShortString>) -> Result<Letter, RabbitError> {
        let content_type = short(self.content_type)?;
        let mut properties = BasicProperties::default().with_content_type(content_type).with_delivery_mode(PERSISTENT);
        if let Some(user) = user {
            properties = properties.with_user_id(user);
        }
        Ok(Letter { routing_key: short(self.routing_key)?, properties, body: self.body })
    }
}

async fn send(
    channel: &Channel,
    exchange: ShortString,
    user: Option<ShortString>,
    message: Inbound,
) -> Result<(), RabbitError> {
    match message.letter(user)?.send(channel, exchange.clone()).await? {
        Taken::Yes => Ok(()),
        Taken::ByNoQueue | Taken::Refused => Err(RabbitError::Refused {
            action: action(&exchange),
            why: "a message was not taken by any queue".into(),
            remedy: "run `reprieve topology apply`",
        }),
    }
}

/// A message for an exchange, ready to be sent.
pub(super) struct Letter {
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// What the broker did with a message. With several in flight lapin may hand a return to another message's confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    ByNoQueue,
    /// A queue did not want it, or could not.
    Refused,
}

impl Letter {
    /// Publishes and waits for the confirm, for as long as that takes.
    pub(super) async fn send(self, channel: &Channel, exchange: ShortString) -> Result<Taken, RabbitError> {
        // Mandatory: even the alternate exchange may have lost its queue, and then this would be confirmed and gone.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            channel.basic_publish(exchange.clone(), self.routing_key, options, &self.body, self.properties).await;
        let confirmation = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        Ok(match confirmation.map_err(|error| explain(action(&exchange), &error))? {
            Confirmation::Ack(None) => Taken::Yes,
            Confirmation::Ack(Some(_)) => Taken::ByNoQueue,
            Confirmation::Nack(_) | Confirmation::NotRequested => Taken::Refused,
        })
    }
}

fn short(text: String) -> Result<ShortString, RabbitError> {
    ShortString::try_new(text).map_err(|error: ShortStringError| RabbitError::Refused {
        action: "publish an event".into(),
        why: error.to_string(),
        remedy: "shorten the type or the content type of the event",
    })
}
