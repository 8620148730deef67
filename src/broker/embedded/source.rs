//! [`Source`] from the queue in memory: the end of the worker. Nothing is delivered twice: what the process loses, or gives back, is
//! the caller's to send again.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{Answer, Waiting, not_now, unknown};
use crate::broker::{BATCH_BYTES_MAX, Batch, Source, Tag};
use crate::domain::outcome::Outcome;

/// Where events come from: those who hand them in, in this process.
#[derive(Debug)]
pub struct EmbeddedSource {
    pub(super) queue: mpsc::Receiver<Waiting>,
    room: Arc<Semaphore>,
    pause: watch::Sender<bool>,
    /// Taken from the queue, but too large for the batch before.
    carried: Option<Waiting>,
    /// Handed out and not settled, oldest first. The worker has one at a time.
    in_hand: VecDeque<InHand>,
    /// Counts what is given back: a tag from before names nothing any more.
    generation: u64,
    /// Counts the messages.
    taken: u64,
}

/// Who waits for one batch.
#[derive(Debug)]
struct InHand {
    last: u64,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl EmbeddedSource {
    pub(super) fn new(queue: mpsc::Receiver<Waiting>, room: Arc<Semaphore>, pause: watch::Sender<bool>) -> Self {
        Self { queue, room, pause, carried: None, in_hand: VecDeque::new(), generation: 1, taken: 0 }
    }

    /// One that is there already.
    fn ready(&mut self) -> Option<Waiting> {
        self.carried.take().or_else(|| self.queue.try_recv().ok())
    }

    /// The batch that begins with `first`.
    fn batch(&mut self, first: Waiting, max: usize) -> Batch {
        let mut bytes = first.delivery.body.len();
        let mut taken = vec![first];
        while taken.len() < max
            && let Some(next) = self.ready()
        {
            bytes += next.delivery.body.len();
            if bytes > BATCH_BYTES_MAX {
                self.carried = Some(next);
                break;
            }
            taken.push(next);
        }
        self.taken += taken.len() as u64;
        let last = self.taken;
        let (deliveries, answers) = taken.into_iter().map(|waiting| (waiting.delivery, waiting.answer)).unzip();
        self.in_hand.push_back(InHand { last, answers });
        Batch { tag: Tag { generation: self.generation, channel: 0, last }, deliveries }
    }
}

#[async_trait]
impl Source for EmbeddedSource {
    async fn next(&mut self, max: usize) -> Option<Batch> {
        self.pause.send_if_modified(|paused| std::mem::replace(paused, false));
        // The only wait, and nothing is in hand during it.
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.queue.recv().await?,
        };
        Some(self.batch(first, max))
    }

    async fn settle(&mut self, tag: Tag, outcomes: &[Outcome]) {
        if tag.generation != self.generation {
            return;
        }
        let Some(place) = self.in_hand.iter().position(|batch| batch.last == tag.last) else { return };
        let Some(batch) = self.in_hand.remove(place) else { return };
        for (answer, outcome) in batch.answers.into_iter().zip(outcomes) {
            // Who went away does not want to know.
            answer.send(Ok(*outcome)).ok();
        }
    }

    async fn stop(&mut self) {
        self.queue.close();
        self.room.close();
    }

    /// Nobody is kept waiting for a database that is away for long: whoever waits is told so, and whoever comes is, until the next
    /// call of `next`. What no turn has taken is given back to those who handed it in; what a turn has goes on with it.
    async fn release(&mut self) {
        // Before the queue is emptied, or those who wait for room would fill it again.
        self.pause.send_replace(true);
        self.generation += 1;
        for answer in self.in_hand.drain(..).flat_map(|batch| batch.answers) {
            answer.send(Err(unknown())).ok();
        }
        while let Some(waiting) = self.ready() {
            waiting.answer.send(Err(not_now())).ok();
        }
    }
}
