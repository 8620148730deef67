//! The fake source: the port to [`super::broker`]. It prefetches, reconnects by itself, hands out runs of tags, and gives
//! a message that was delivered twice or more before alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reprieve::broker::{Batch, Delivery, Source, Tag};
use reprieve::store::Outcome;
use tokio::sync::watch;

use super::broker::Queued;
use super::world::{Life, Shared, Step, World};

/// A message that came so often before comes alone.
const SUSPECT: u32 = 2;

/// One instance's consuming connection.
pub(crate) struct SimSource {
    shared: Shared,
    life: Life,
    prefetch: usize,
    batch_max: usize,
    connection: u64,
    /// Counts connections; also seen by a planted bug.
    generation: Arc<AtomicU64>,
    buffer: VecDeque<(u64, Queued)>,
    stopped: bool,
    /// The word to stop as the worker has it.
    word: watch::Receiver<bool>,
    /// The last tag of the batch that is out, and its size.
    out: Option<(u64, usize)>,
}

impl SimSource {
    /// Not connected yet.
    pub(crate) fn new(shared: Shared, life: Life, generation: Arc<AtomicU64>, word: watch::Receiver<bool>) -> Self {
        let (prefetch, batch_max) = shared.with(|world| (world.rng.usize(1..=40), world.rng.usize(1..=20)));
        Self {
            shared,
            life,
            prefetch,
            batch_max,
            connection: 0,
            generation,
            buffer: VecDeque::new(),
            stopped: false,
            word,
            out: None,
        }
    }

    /// What happens in the background: a lost connection is opened again, and messages come in.
    fn refill(&mut self) {
        let shared = self.shared.clone();
        shared.with(|world| {
            if !world.broker.is_open(self.connection) {
                self.buffer.clear();
                if self.stopped {
                    return;
                }
                self.connection = world.broker.open(self.life.instance);
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            while !self.stopped
                && let Some(delivered) = world.broker.deliver(self.connection, self.prefetch)
            {
                self.buffer.push_back(delivered);
            }
        });
    }

    fn batch(&mut self, max: usize) -> Option<Batch> {
        let shared = self.shared.clone();
        let most = self.batch_max.min(max);
        let take = match self.buffer.iter().position(|(_, message)| message.earlier >= SUSPECT) {
            Some(0) => 1,
            Some(healthy) => healthy.min(most),
            None => self.buffer.len().min(most),
        };
        let taken: Vec<_> = self.buffer.drain(..take).collect();
        let (last, _) = *taken.last()?;
        self.out = Some((last, taken.len()));
        shared.with(|world| {
            world.note(&Step::Taken { instance: self.life.instance, tag: last, events: taken.len() });
            let deliveries = taken.iter().map(|(_, message)| delivery(world, *message)).collect();
            Some(Batch {
                tag: Tag { generation: self.generation.load(Ordering::Relaxed), channel: 1, last },
                deliveries,
            })
        })
    }

    async fn wait_for_batch(&mut self, max: usize) -> Option<Batch> {
        let shared = self.shared.clone();
        loop {
            let changed = shared.changed.notified();
            if *self.word.borrow() && !self.stopped {
                shared.with(|world| world.violate("deliveries are wanted after the word to stop".to_owned()));
            }
            self.refill();
            if let Some(batch) = self.batch(max) {
                return Some(batch);
            }
            if self.stopped {
                return None;
            }
            changed.await;
        }
    }

    async fn acknowledge(&mut self, tag: Tag, outcomes: &[Outcome]) {
        self.shared.pause(Duration::from_millis(2)).await;
        self.refill();
        if tag.generation != self.generation.load(Ordering::Relaxed) {
            return;
        }
        let (instance, connection, out) = (self.life.instance, self.connection, self.out.take());
        self.shared.with(|world| {
            if let Some((last, events)) = out
                && last == tag.last
                && events != outcomes.len()
            {
                world.violate(format!("a batch of {events} events was settled with {} outcomes", outcomes.len()));
            }
            let gone = world.broker.acknowledge(connection, tag.last);
            world.note(&Step::Acknowledged { instance, tag: tag.last, events: gone.len() });
            for message in gone {
                let sent = &world.sent[message.sent];
                if !world.has_outcome(sent.key, sent.digest) {
                    world
                        .violate(format!("message {} was acknowledged before its outcome was committed", message.sent));
                }
            }
        });
    }
}

fn delivery(world: &World, message: Queued) -> Delivery {
    let sent = &world.sent[message.sent];
    Delivery { properties: sent.properties.clone(), body: sent.body.clone(), earlier_deliveries: message.earlier }
}

#[async_trait]
impl Source for SimSource {
    async fn next(&mut self, max: usize) -> Option<Batch> {
        let life = self.life.clone();
        life.live(self.wait_for_batch(max)).await
    }

    async fn settle(&mut self, tag: Tag, outcomes: &[Outcome]) {
        let life = self.life.clone();
        life.live(self.acknowledge(tag, outcomes)).await;
    }

    async fn stop(&mut self) {
        let life = self.life.clone();
        life.live(self.shared.pause(Duration::from_millis(2))).await;
        self.stopped = true;
    }

    async fn release(&mut self) {
        let life = self.life.clone();
        life.live(self.shared.pause(Duration::from_millis(2))).await;
        self.buffer.clear();
        self.shared.with(|world| {
            world.broker.close(self.connection);
            world.note(&Step::Released { instance: self.life.instance });
            world.counts.releases += 1;
        });
        self.shared.changed.notify_waiters();
    }
}
