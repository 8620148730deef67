//! [`Ingest`] into the queue in memory: the end for those who hand in.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use super::{Answer, WAITING_BYTES_MAX, Waiting, not_now, shutting_down, unknown};
use crate::broker::{BrokerError, Delivery, Handed, Ingest, Receipt};

/// Hands messages to the worker of this process and waits until what became of each is committed: as long as that takes, so the
/// caller sets the deadline, by going away.
///
/// Messages of one caller keep their order and stay together; a turn takes them as they come.
#[derive(Clone, Debug)]
pub struct EmbeddedIngest {
    queue: mpsc::Sender<Waiting>,
    pub(super) room: Arc<Semaphore>,
    /// Held while the messages of one caller are put: those of several come one after the other, so that the first are answered first.
    turn: Arc<Mutex<()>>,
    /// True while the worker waits for its database, and has waited for long.
    paused: watch::Receiver<bool>,
}

impl EmbeddedIngest {
    pub(super) fn new(queue: mpsc::Sender<Waiting>, room: Arc<Semaphore>, paused: watch::Receiver<bool>) -> Self {
        Self { queue, room, turn: Arc::default(), paused }
    }

    /// Waits for room, but not longer than the worker takes anything.
    async fn put(&self, message: Handed) -> Result<oneshot::Receiver<Answer>, BrokerError> {
        let mut paused = self.paused.clone();
        // The guard that `wait_for` gives must not live into the branch.
        let paused = async move { paused.wait_for(|paused| *paused).await.is_ok() };
        tokio::select! {
            biased;
            alive = paused => Err(if alive { not_now() } else { shutting_down() }),
            queued = self.queued(message) => queued.ok_or_else(shutting_down),
        }
    }

    /// Cancel safe: the last wait is the one in which the message is put, or not.
    async fn queued(&self, message: Handed) -> Option<oneshot::Receiver<Answer>> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight(&message)).await.ok()?;
        let (answer, answered) = oneshot::channel();
        let Handed { properties, body } = message;
        let delivery = Delivery { properties, body, earlier_deliveries: 0 };
        self.queue.send(Waiting { delivery, answer, _room: room }).await.ok()?;
        Some(answered)
    }
}

/// Its bytes, as far as there can be room for them at all: one that is larger than the whole queue waits until it is empty.
fn weight(message: &Handed) -> u32 {
    let headers: usize = message.properties.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    u32::try_from(message.body.len() + headers).unwrap_or(u32::MAX).min(WAITING_BYTES_MAX)
}

#[async_trait]
impl Ingest for EmbeddedIngest {
    async fn hand_in(&self, messages: Vec<Handed>) -> Result<Receipt, BrokerError> {
        let mut answers = Vec::with_capacity(messages.len());
        let turn = self.turn.lock().await;
        for message in messages {
            answers.push(self.put(message).await?);
        }
        drop(turn);
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(answer.await.map_err(|_| unknown())??);
        }
        Ok(Receipt::Committed(outcomes))
    }
}
