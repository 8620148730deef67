//! Places for connections: so many, and one of them always free for who comes next, as long as some are held by nobody who asks. Probes
//! come like everybody else and cannot be told apart before they have been let in, so nobody idle may keep them out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::life::Life;

/// Most connections at a time; where all of them are busy the next ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;
/// A connection that has been silent for so long is idle. On one that has just been made, the request is on its way.
const IDLE_MIN: Duration = Duration::from_millis(250);
/// How often is looked again for an idle one while there is no place: short against the second within which a probe is answered.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Held by a connection until it has ended.
pub(super) type Place = OwnedSemaphorePermit;

/// All places, and the lives of those who hold them.
pub(super) struct Places {
    free: Arc<Semaphore>,
    lives: Vec<Life>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), lives: Vec::with_capacity(CONNECTIONS_MAX) }
    }

    /// A free place, if need be that of the connection that has been idle longest. Cancel safe.
    pub(super) async fn free(&mut self) -> Option<Place> {
        loop {
            if self.free.available_permits() == 0 {
                self.call_the_longest_idle();
            }
            if let Ok(place) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return place.ok();
            }
        }
    }

    /// A place has been taken by a connection with this life.
    pub(super) fn taken(&mut self, life: &Life) {
        self.lives.retain(|life| !life.is_left());
        self.lives.push(life.clone());
    }

    fn call_the_longest_idle(&mut self) {
        self.lives.retain(|life| !life.is_left());
        let idle = self.lives.iter().filter_map(|life| life.idle_since().map(|since| (since, life)));
        if let Some((since, life)) = idle.min_by_key(|(since, _)| *since)
            && since.elapsed() >= IDLE_MIN
        {
            tracing::debug!("all {CONNECTIONS_MAX} HTTP connections are in use: the one that is idle longest is ended");
            life.call();
        }
    }
}
