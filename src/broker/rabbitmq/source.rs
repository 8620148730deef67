//! [`Source`] over `RabbitMQ`: a connection of its own, one channel per consumed queue, so that a multiple ack on a channel
//! settles one queue's batch and nothing else. It never rejects and never requeues: what is not settled comes again when
//! the connection ends.
//!
//! Next: `batching` cuts the batches, `incoming` reads the messages, `link` reconnects.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};

use super::batching::take;
use super::connection::{answer, channel, connect, explain};
use super::guard::Wire;
use super::incoming::{Received, received};
use super::link::{Lasting, Link};
use super::topology::{DEAD, UNROUTED, WORKER};
use super::{RabbitError, Settings};
use crate::broker::{Batch, Delivery, Source, Tag};
use crate::domain::outcome::Outcome;
use crate::health::Light;

/// The consumed queues, by [`Tag::channel`], each with the least number of earlier deliveries of what comes from it: what
/// the broker gave up on is a suspect whatever its headers say.
const QUEUES: [(&str, u32); 3] = [(WORKER, 0), (DEAD, 2), (UNROUTED, 0)];

/// The names of the consumed queues, by [`Tag::channel`].
pub(super) fn consumed() -> impl Iterator<Item = &'static str> {
    QUEUES.into_iter().map(|(name, _)| name)
}

/// Where events come from: the queues `exceptions.worker`, `exceptions.worker.dead` and `exceptions.unrouted`.
pub struct RabbitSource {
    link: Lasting<Consumers>,
    stopping: bool,
}

impl RabbitSource {
    /// Connects when [`Source::next`] is first called. The light is on while the connection is.
    pub fn new(settings: Settings, light: Light) -> Self {
        Self { link: Lasting::new(settings, light), stopping: false }
    }
}

#[async_trait]
impl Source for RabbitSource {
    async fn next(&mut self, max: usize) -> Option<Batch> {
        loop {
            if self.stopping && self.link.current().is_none() {
                return None;
            }
            let consumers = self.link.up().await;
            // The only wait; whatever came meanwhile is kept in `consumers`, so it may be cancelled.
            match std::future::poll_fn(|context| consumers.poll(context, max)).await {
                Ok(Some((channel, last, deliveries))) => {
                    let (_, generation) = self.link.current()?;
                    return Some(Batch { tag: Tag { generation, channel, last }, deliveries });
                }
                Ok(None) => {
                    // Every consumer has ended: as it should be when stopped. The connection stays for the last acks.
                    if self.stopping {
                        return None;
                    }
                    self.link.drop_link();
                }
                Err(why) => self.link.lose(&why),
            }
        }
    }

    async fn settle(&mut self, tag: Tag, _outcomes: &[Outcome]) {
        let Some((consumers, generation)) = self.link.current() else { return };
        if generation != tag.generation {
            return;
        }
        if let Err(why) = consumers.ack(tag).await {
            self.link.lose(&why);
        }
    }

    async fn stop(&mut self) {
        self.stopping = true;
        let Some((consumers, _)) = self.link.current() else { return };
        if let Err(why) = consumers.cancel().await {
            self.link.lose(&why);
        }
    }

    async fn release(&mut self) {
        self.link.drop_link();
    }
}

/// The consumers on one connection.
struct Consumers {
    connection: Wire,
    lanes: Vec<Lane>,
    /// The lane to look at first: the one after the last that had its turn, so that none starves.
    first: usize,
}

/// One consumed queue.
struct Lane {
    index: u16,
    queue: String,
    earlier_min: u32,
    channel: Channel,
    consumer: Consumer,
    cancelled: bool,
    ended: bool,
    buffer: VecDeque<Received>,
}

type Cut = (u16, u64, Vec<Delivery>);

#[async_trait]
impl Link for Consumers {
    const PURPOSE: &'static str = "consume";

    async fn open(settings: &Settings) -> Result<Self, RabbitError> {
        let connection = connect(settings, Self::PURPOSE).await?;
        let mut lanes = Vec::with_capacity(QUEUES.len());
        for ((queue, earlier_min), index) in QUEUES.into_iter().zip(0..) {
            lanes.push(Lane::open(&connection, settings, queue, index, earlier_min).await?);
        }
        Ok(Self { connection, lanes, first: 0 })
    }

    fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Consumers {
    /// Takes in what is there and cuts a batch. `None` once every consumer was cancelled and everything is handed out.
    fn poll(&mut self, context: &mut Context<'_>, max: usize) -> Poll<Result<Option<Cut>, RabbitError>> {
        for lane in &mut self.lanes {
            if let Err(why) = lane.fill(context) {
                return Poll::Ready(Err(why));
            }
        }
        let count = self.lanes.len();
        for place in (self.first..count).chain(0..self.first) {
            let Some(lane) = self.lanes.get_mut(place) else { continue };
            if let Some((last, deliveries)) = take(&mut lane.buffer, max) {
                self.first = (place + 1) % count;
                return Poll::Ready(Ok(Some((lane.index, last, deliveries))));
            }
        }
        if self.lanes.iter().all(|lane| lane.ended) { Poll::Ready(Ok(None)) } else { Poll::Pending }
    }

    async fn ack(&self, tag: Tag) -> Result<(), RabbitError> {
        let Some(lane) = self.lanes.get(usize::from(tag.channel)) else { return Ok(()) };
        let acked = lane.channel.basic_ack(tag.last, BasicAckOptions { multiple: true });
        answer(format!("acknowledge to {}", lane.queue), acked).await
    }

    async fn cancel(&mut self) -> Result<(), RabbitError> {
        for lane in &mut self.lanes {
            lane.cancelled = true;
            let cancelled = lane.channel.basic_cancel(lane.consumer.tag(), BasicCancelOptions::default());
            answer(format!("stop consuming from {}", lane.queue), cancelled).await?;
        }
        Ok(())
    }
}

impl Lane {
    async fn open(
        connection: &Connection,
        settings: &Settings,
        queue: &str,
        index: u16,
        earlier_min: u32,
    ) -> Result<Self, RabbitError> {
        let queue = settings.name(queue);
        let name = ShortString::try_new(queue.as_str()).map_err(|error| RabbitError::Refused {
            action: "consume".into(),
            why: error.to_string(),
            remedy: "choose a shorter amqp.prefix",
        })?;
        let channel = channel(connection).await?;
        let action = format!("consume from {queue}");
        // Before the consumer, or deliveries pile up in memory without bound, as they would with 0. For this consumer only,
        // never the channel.
        let bounded = channel.basic_qos(settings.prefetch.max(1), BasicQosOptions { global: false });
        answer(action.as_str(), bounded).await?;
        let tag = ShortString::from("");
        let asked = channel.basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default());
        let consumer = answer(action, asked).await?;
        let buffer = VecDeque::new();
        Ok(Self { index, queue, earlier_min, channel, consumer, cancelled: false, ended: false, buffer })
    }

    /// Takes in what has arrived; at most the prefetch, so it is bounded. Wakes the task when more comes.
    fn fill(&mut self, context: &mut Context<'_>) -> Result<(), RabbitError> {
        while !self.ended {
            match Pin::new(&mut self.consumer).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(message))) => self.buffer.push_back(received(message, self.earlier_min)),
                Poll::Ready(Some(Err(error))) => return Err(explain(format!("consume from {}", self.queue), &error)),
                Poll::Ready(None) if self.cancelled => self.ended = true,
                Poll::Ready(None) => {
                    return Err(RabbitError::Refused {
                        action: format!("consume from {}", self.queue),
                        why: "the broker ended it, as it does when the queue is deleted".into(),
                        remedy: "run `reprieve topology apply`",
                    });
                }
            }
        }
        Ok(())
    }
}
