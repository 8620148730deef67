//! [`Ingest`] over `RabbitMQ`: what is handed in goes to `exceptions.inbound`, like that of any upstream, and comes to a worker by its
//! queue. A connection of its own, opened when it is first needed: the worker's own two are not held up, and what goes wrong here
//! ends none of them. It sends nothing twice: who hands in does.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::client::{Letter, Taken};
use super::connection::{connect, user_of};
use super::guard::Wire;
use super::header::PERSISTENT;
use super::incoming::{HEADER_BYTES_MAX, HEADERS_MAX};
use super::sink::publishing_channel;
use super::topology::INBOUND;
use super::{RabbitError, SILENCE_MAX, Settings};
use crate::broker::{BrokerError, Handed, Ingest, Receipt};
use crate::contract::inbound::Message;
use crate::contract::inbound::label::Label;

/// Hands messages to `exceptions.inbound`. One batch at a time: all of it is in flight together, and everything, waiting for its turn
/// and connecting too, is done within 5 s, or said to be unknown.
#[derive(Debug)]
pub struct RabbitIngest {
    settings: Settings,
    /// Taken out while it is in use, so that whoever is cancelled takes the connection along, with the confirms that still come.
    door: Mutex<Option<Door>>,
}

impl RabbitIngest {
    /// Connects when something is first handed in. The name of the user goes with each message, for the trust table.
    pub fn new(settings: Settings) -> Self {
        Self { settings, door: Mutex::new(None) }
    }

    /// The door of the last batch, if it is still good; else a new one.
    async fn open(&self, last: Option<Door>) -> Result<Door, RabbitError> {
        match last {
            Some(door) if door.alive() && !door.unanswered => Ok(door),
            _ => Door::open(&self.settings).await,
        }
    }

    fn for_others(&self, error: RabbitError) -> BrokerError {
        error.for_others(&format!("write on {}", self.settings.name(INBOUND)))
    }
}

#[async_trait]
impl Ingest for RabbitIngest {
    async fn hand_in(&self, messages: Vec<Handed>) -> Result<Receipt, BrokerError> {
        let until = Instant::now() + SILENCE_MAX;
        let mut place = timeout_at(until, self.door.lock()).await.map_err(|_| late())?;
        if place.as_ref().is_some_and(Door::blocked) {
            return Err(blocked());
        }
        let last = place.take();
        let opened = timeout_at(until, self.open(last)).await.map_err(|_| late())?;
        let mut door = opened.map_err(|error| self.for_others(error))?;
        match timeout_at(until, door.publish(messages)).await {
            Ok(Ok(())) => {
                *place = Some(door);
                Ok(Receipt::Queued)
            }
            Ok(Err(Failed::Broker(error))) => Err(self.for_others(error)),
            Ok(Err(Failed::NotTaken)) => Err(not_taken()),
            Err(_) if door.blocked() => {
                // Kept only to learn when the broker unblocks: late confirms of this batch would be taken for those of the next.
                door.unanswered = true;
                *place = Some(door);
                Err(blocked())
            }
            Err(_) => Err(late()),
        }
    }
}

/// A connection with a channel to publish on.
struct Door {
    connection: Wire,
    channel: Channel,
    exchange: ShortString,
    user: Option<ShortString>,
    /// Whether something of an earlier batch may still be confirmed.
    unanswered: bool,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Door").field("unanswered", &self.unanswered).finish_non_exhaustive()
    }
}

enum Failed {
    Broker(RabbitError),
    NotTaken,
}

impl Door {
    async fn open(settings: &Settings) -> Result<Self, RabbitError> {
        let connection = connect(settings, "ingest").await?;
        let (channel, exchange) = publishing_channel(&connection, settings, INBOUND).await?;
        let user = user_of(&settings.uri)?.and_then(short);
        Ok(Self { connection, channel, exchange, user, unanswered: false })
    }

    fn alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Whether the broker takes nothing on this connection for now.
    fn blocked(&self) -> bool {
        self.alive() && self.connection.status().blocked()
    }

    /// Sends all, then waits for every confirm. Where several things go wrong the broker's own no is the one that explains the rest:
    /// it closes the channel under all others.
    async fn publish(&self, messages: Vec<Handed>) -> Result<(), Failed> {
        // Polled in this order at first, and that is when lapin queues them.
        let mut asked: FuturesUnordered<_> = messages
            .into_iter()
            .map(|message| self.letter(message).send(&self.channel, self.exchange.clone()))
            .collect();
        let (mut failed, mut not_taken) = (None, false);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(Taken::Yes) => {}
                Ok(Taken::ByNoQueue | Taken::Refused) => not_taken = true,
                Err(error @ RabbitError::Refused { .. }) => return Err(Failed::Broker(error)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(Failed::Broker(error)),
            None if not_taken => Err(Failed::NotTaken),
            None => Ok(()),
        }
    }

    fn letter(&self, message: Handed) -> Letter {
        let Handed { properties, body } = message;
        let label = Label::of(&Message::of(&properties, &body));
        let mut outside =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers(properties.headers));
        if let Some(content_type) = properties.content_type.and_then(short) {
            outside = outside.with_content_type(content_type);
        }
        // One that cannot be carried is still one: nothing that is encoded may pass for plain.
        if let Some(encoding) = properties.content_encoding {
            outside = outside.with_content_encoding(short(encoding).unwrap_or_else(|| "too-long".into()));
        }
        if let Some(id) = label.id.and_then(short) {
            outside = outside.with_message_id(id);
        }
        if let Some(user) = &self.user {
            outside = outside.with_user_id(user.clone());
        }
        let routing_key = short(label.routing_key).expect("a label is short enough");
        Letter { routing_key, properties: outside, body }
    }
}

/// Those that the worker reads: it leaves longer ones out, and more.
fn headers(headers: BTreeMap<String, String>) -> FieldTable {
    let mut table = FieldTable::default();
    let carried = headers.into_iter().filter(|(_, value)| value.len() <= HEADER_BYTES_MAX);
    for (name, value) in carried.filter_map(|(name, value)| Some((short(name)?, value))).take(HEADERS_MAX) {
        table.insert(name, AMQPValue::LongString(value.into()));
    }
    table
}

/// As AMQP writes it, if it is short enough for that.
fn short(text: String) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

fn late() -> BrokerError {
    BrokerError::Away(format!(
        "RabbitMQ did not confirm within {} s: it is not known whether it was taken; sending it again does no harm",
        SILENCE_MAX.as_secs()
    ))
}

fn blocked() -> BrokerError {
    BrokerError::Away(
        "RabbitMQ takes no messages for now, as it does when memory or disk run out: send it again later, which does no harm".to_owned(),
    )
}

fn not_taken() -> BrokerError {
    BrokerError::Away(
        "RabbitMQ did not take every message, its queues are missing or full: run `reprieve topology check`, and send it again, which \
         does no harm"
            .to_owned(),
    )
}
