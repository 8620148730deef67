//! The broker inside the process: the ports of [`crate::broker`] without a server, for a worker that runs alone beside an embedded
//! database.
//!
//! What is handed in waits in memory, and so does whoever handed it in, until what became of it is committed: a message that is lost
//! with the process was promised to nobody. Events are not sent anywhere: the turn that writes one writes it into the store's log,
//! and [`tail`] reads that. Start with [`queue`].

mod ingest;
mod sink;
mod source;
pub mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

pub use ingest::EmbeddedIngest;
pub use sink::EmbeddedSink;
pub use source::EmbeddedSource;
pub use tail::{BoxError, EmbeddedTail, EventLog};

use super::{BrokerError, Delivery};
use crate::domain::outcome::Outcome;

/// Most bytes that wait to be taken by a turn: two of the largest batches. Who hands in more waits.
const WAITING_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The two ends of a queue in memory. At most `capacity` messages and 8 MiB wait in it; nothing is dropped for lack of room, whoever
/// hands in waits.
pub fn queue(capacity: usize) -> (EmbeddedIngest, EmbeddedSource) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize));
    let (pause, paused) = watch::channel(false);
    (EmbeddedIngest::new(sender, Arc::clone(&room), paused), EmbeddedSource::new(receiver, room, pause))
}

/// What became of one message, or why that is not known.
type Answer = Result<Outcome, BrokerError>;

/// One message in the queue.
#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    /// To whoever handed it in, who may be gone.
    answer: oneshot::Sender<Answer>,
    /// Its share of the bytes; free again when a turn takes it.
    _room: OwnedSemaphorePermit,
}

fn shutting_down() -> BrokerError {
    BrokerError::Away("the worker is shutting down: send it again, to the next one".to_owned())
}

fn not_now() -> BrokerError {
    BrokerError::Away("the worker takes nothing for now, its database is away: send it again later".to_owned())
}

fn unknown() -> BrokerError {
    BrokerError::Away(
        "the worker has no answer, its database is away or it has ended: it is not known whether it was taken; sending it again \
         does no harm"
            .to_owned(),
    )
}
