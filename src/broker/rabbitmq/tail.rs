//! [`Tail`] over `RabbitMQ`: each follower has a connection of its own with a queue of its own, which is gone with it. The broker keeps
//! nothing of what was published before, so nobody can go on where he stopped.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tracing::{info, warn};

use super::connection::{answer, channel, connect, explain};
use super::guard::Wire;
use super::topology::EVENTS;
use super::{RabbitError, Settings};
use crate::broker::{BrokerError, Follow, Position, Published, Tail};

/// In memory of a follower, besides what it has in hand.
const PREFETCH: u16 = 100;
/// Acknowledged together while much comes; what is left over when nothing comes is acknowledged then.
const ACKNOWLEDGE_AT: u16 = PREFETCH / 2;
/// What the broker keeps for a follower that does not keep up: some tens of megabytes. The oldest are dropped past it, or one follower
/// who has fallen asleep fills the broker for all.
const WAITING_MAX: u32 = 20_000;

/// Lets what is published to `exceptions.events` be followed, from now on.
#[derive(Clone, Debug)]
pub struct RabbitTail {
    settings: Settings,
}

impl RabbitTail {
    /// Connects once for each follower.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn open(&self) -> Result<Follower, RabbitError> {
        let connection = connect(&self.settings, "follow").await?;
        let exchange = self.settings.name(EVENTS);
        let name = ShortString::try_new(exchange.as_str()).map_err(|error| RabbitError::Refused {
            action: "follow".into(),
            why: error.to_string(),
            remedy: "choose a shorter amqp.prefix",
        })?;
        let action = format!("follow {exchange}");
        let channel = channel(&connection).await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = answer(action.as_str(), channel.queue_declare("".into(), options, arguments())).await?;
        let queue = queue.name().clone();
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(queue.clone(), name, "#".into(), options, FieldTable::default());
        answer(action.as_str(), bound).await?;
        let bounded = channel.basic_qos(PREFETCH, BasicQosOptions { global: false });
        answer(action.as_str(), bounded).await?;
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = answer(action, channel.basic_consume(queue, "".into(), options, FieldTable::default())).await?;
        Ok(Follower {
            consumer,
            channel,
            exchange,
            unacknowledged: 0,
            last: 0,
            acknowledging: None,
            ended: false,
            _connection: connection,
        })
    }
}

fn arguments() -> FieldTable {
    let mut table = FieldTable::default();
    // Said, for a vhost may have another default, and of the other kinds none can be exclusive.
    table.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    table.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(WAITING_MAX)));
    table
}

#[async_trait]
impl Tail for RabbitTail {
    /// From now on, whatever `after` says: nothing of what was is kept.
    async fn follow(&self, _after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError> {
        let rights = || {
            let exchange = self.settings.name(EVENTS);
            format!("configure, write and read on queues named amq.gen…, and read on {exchange}")
        };
        let follower = self.open().await.map_err(|error| error.for_others(&rights()))?;
        Ok(Box::new(follower))
    }
}

struct Follower {
    consumer: Consumer,
    channel: Channel,
    exchange: String,
    unacknowledged: u16,
    /// The tag of the last one that came.
    last: u64,
    /// Kept between two calls: an acknowledgement may be sent only once, and its wait may be cancelled.
    acknowledging: Option<BoxFuture<'static, Result<(), RabbitError>>>,
    ended: bool,
    _connection: Wire,
}

impl Follower {
    /// Everything that has come.
    fn acknowledge(&mut self) {
        let (channel, last) = (self.channel.clone(), self.last);
        self.unacknowledged = 0;
        self.acknowledging = Some(Box::pin(async move {
            answer("acknowledge", channel.basic_ack(last, BasicAckOptions { multiple: true })).await
        }));
    }

    /// Notes a message, and reads it if it is text.
    fn taken(&mut self, message: lapin::message::Delivery) -> Option<Published> {
        self.last = message.delivery_tag;
        self.unacknowledged += 1;
        if self.unacknowledged >= ACKNOWLEDGE_AT {
            self.acknowledge();
        }
        // The worker publishes nothing else, but whoever may write to the exchange can.
        let body = String::from_utf8(message.data).ok()?;
        Some(Published { position: None, body })
    }

    fn lost(&mut self, why: &RabbitError) {
        warn!("who followed {} does so no more: {why}", self.exchange);
        self.ended = true;
    }
}

#[async_trait]
impl Follow for Follower {
    async fn next(&mut self) -> Option<Published> {
        while !self.ended {
            if let Some(acknowledging) = &mut self.acknowledging {
                let acknowledged = acknowledging.await;
                self.acknowledging = None;
                if let Err(why) = acknowledged {
                    self.lost(&why);
                    break;
                }
            }
            let message = match self.consumer.next().now_or_never() {
                Some(message) => message,
                // Before a long wait, for the broker ends a consumer that keeps one unacknowledged for half an hour.
                None if self.unacknowledged > 0 => {
                    self.acknowledge();
                    continue;
                }
                None => self.consumer.next().await,
            };
            match message {
                Some(Ok(message)) => {
                    if let Some(published) = self.taken(message) {
                        return Some(published);
                    }
                }
                Some(Err(error)) => self.lost(&explain(format!("follow {}", self.exchange), &error)),
                None => {
                    info!("the broker has ended a queue that followed {}", self.exchange);
                    self.ended = true;
                }
            }
        }
        None
    }
}
