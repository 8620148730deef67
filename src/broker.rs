//! The ports to the broker: where events come from ([`Source`]) and where they go ([`Sink`]), and the two that people use beside
//! the worker's loops: events are handed in ([`Ingest`]), and what is published is followed ([`Tail`]). None knows what an event
//! means. Source and sink reconnect by themselves: an outage is a wait, never an error.

pub mod embedded;
pub mod rabbitmq;

use async_trait::async_trait;

pub use crate::contract::message::{Outgoing, Properties};
use crate::domain::outcome::Outcome;

/// Most bytes in one batch, so that 500 large bodies do not make one huge transaction.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One message as it came: nothing of it has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What it says about itself.
    pub properties: Properties,
    /// Its bytes.
    pub body: Vec<u8>,
    /// How often it was delivered before, as far as the broker knows.
    pub earlier_deliveries: u32,
}

/// Delivered this often before, it may be what keeps ending the worker.
const SUSPECT_FROM: u32 = 2;

impl Delivery {
    /// Whether it comes alone, and is noted before it is read.
    pub fn is_suspect(&self) -> bool {
        self.earlier_deliveries >= SUSPECT_FROM
    }
}

/// Consecutive deliveries of one channel. Settling the tag settles all of them, so nothing of a batch may be set aside.
#[derive(Debug)]
pub struct Batch {
    /// Names the last of them.
    pub tag: Tag,
    /// In the order they came; never empty.
    pub deliveries: Vec<Delivery>,
}

/// The last delivery of a batch, on one channel of one connection. A tag of a lost connection names nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Counts the connections of a source.
    pub generation: u64,
    /// Which of the connection's channels.
    pub channel: u16,
    /// The delivery tag.
    pub last: u64,
}

/// Where events come from.
#[async_trait]
pub trait Source: Send {
    /// Waits for a delivery, then takes what else is ready, at most `max` and [`BATCH_BYTES_MAX`]. One that was delivered
    /// twice or more before comes alone. Cancel safe. `None` once stopped and empty.
    async fn next(&mut self, max: usize) -> Option<Batch>;
    /// What became of the batch is committed: the broker may forget it. A tag of a lost connection is ignored: the messages
    /// come again, and the inbox knows them.
    async fn settle(&mut self, tag: Tag, outcomes: &[Outcome]);
    /// No new deliveries; what is buffered is still handed out.
    async fn stop(&mut self);
    /// The store is away for long: give everything back now, once, instead of letting the broker's acknowledgement timeout
    /// do it again and again. The next call of `next` begins anew.
    async fn release(&mut self);
}

/// What became of one published event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it, and will not lose it.
    Confirmed,
    /// No queue wanted it although one should.
    Unroutable,
    /// Nobody knows: it has to be published again.
    Unknown,
}

/// Where events go.
#[async_trait]
pub trait Sink: Send {
    /// Waits until publishing can work: connected and not blocked. Cancel safe.
    async fn ready(&mut self);
    /// Sends all, then waits for every fate; one per event, in order. What the broker has said nothing about for 5 s is
    /// [`Fate::Unknown`].
    async fn publish(&mut self, events: &[Outgoing]) -> Vec<Fate>;
}

/// A message that is handed in: nothing of it has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// What it says about itself.
    pub properties: Properties,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// What is known of messages that were handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The broker has them, and will not lose them. What becomes of them is told by the events that they cause.
    Queued,
    /// What became of each, in order: it is committed.
    Committed(Vec<Outcome>),
}

/// The broker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Not reached, or no answer. What was handed in may have been taken: handing it in again does no harm.
    #[error("{0}")]
    Away(String),
    /// It says no, and will say it again.
    #[error("{0}")]
    Refused(String),
}

/// Takes messages that come over HTTP, through the same door as all others.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// Hands in all. When the caller goes away, what was handed in may still be processed.
    async fn hand_in(&self, messages: Vec<Handed>) -> Result<Receipt, BrokerError>;
}

/// A place in what was published, by a broker that keeps it: grows, not by ones.
pub type Position = i64;

/// One published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it stands, if the broker keeps what it has published.
    pub position: Option<Position>,
    /// The envelope, byte for byte.
    pub body: String,
}

/// Lets what is published be followed.
#[async_trait]
pub trait Tail: Send + Sync {
    /// What is published after a position, as far back as the broker keeps it; without one, or by a broker that keeps nothing, what
    /// is published from now on.
    async fn follow(&self, after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError>;
}

/// One who follows.
#[async_trait]
pub trait Follow: Send {
    /// Waits for the next event. `None` when there will be none any more: the connection, or the worker, has ended. Cancel safe.
    async fn next(&mut self) -> Option<Published>;
}
