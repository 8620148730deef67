//! [`Tail`] over the log in which a store keeps what was published. The store is behind a port of its own, [`EventLog`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::broker::{BrokerError, Follow, Position, Published, Tail};
use crate::retry::Waits;

/// Read at a time: what each follower may hold in memory, some hundred kilobytes.
const PAGE_ROWS: i64 = 100;

/// Whatever went wrong while reading.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What was published, in the order in which it was committed: at a position that was seen, nothing appears before it any more.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Position and envelope of the first events after a position, at most `limit`.
    async fn page(&self, after: Position, limit: i64) -> Result<Vec<(Position, String)>, BoxError>;
    /// The position of the newest, 0 if there is none.
    async fn newest(&self) -> Result<Position, BoxError>;
}

/// Lets the log be followed.
#[derive(Clone)]
pub struct EmbeddedTail {
    log: Arc<dyn EventLog>,
    newest: watch::Receiver<Position>,
    wait_max: Duration,
}

impl EmbeddedTail {
    /// `newest` says that there is more to read; its value is not looked at. When its sender is gone every follower ends. `wait_max`
    /// is the longest wait between two attempts to read (setting `retry.wait_max`).
    pub fn new(log: Arc<dyn EventLog>, newest: watch::Receiver<Position>, wait_max: Duration) -> Self {
        Self { log, newest, wait_max }
    }

    /// A position from beyond the end is one of another log, such as that of a database that was made anew: of this one nothing was
    /// seen, and waiting for the log to grow past it would skip everything until then.
    async fn begin(&self, after: Option<Position>) -> Result<Position, BrokerError> {
        let newest = self.log.newest().await;
        let newest = newest.map_err(|error| BrokerError::Away(format!("the log of events cannot be read: {error}")))?;
        Ok(match after {
            None => newest,
            Some(after) if after > newest => 0,
            Some(after) => after,
        })
    }
}

impl fmt::Debug for EmbeddedTail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedTail").field("newest", &*self.newest.borrow()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Tail for EmbeddedTail {
    async fn follow(&self, after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError> {
        let after = self.begin(after).await?;
        Ok(Box::new(Follower {
            log: Arc::clone(&self.log),
            newest: self.newest.clone(),
            wait_max: self.wait_max,
            after,
            page: VecDeque::new(),
            ended: false,
            trouble: None,
        }))
    }
}

struct Follower {
    log: Arc<dyn EventLog>,
    newest: watch::Receiver<Position>,
    wait_max: Duration,
    /// Everything up to here was read.
    after: Position,
    /// Read, and not handed out.
    page: VecDeque<Published>,
    /// Whether nothing more will be written. The last page is read after that.
    ended: bool,
    /// The waits since reading failed, and the end of the current one.
    trouble: Option<(Waits, Instant)>,
}

impl Follower {
    fn read(&mut self, read: Result<Vec<(Position, String)>, BoxError>) {
        match read {
            Ok(rows) => {
                if self.trouble.take().is_some() {
                    info!("the log of events can be read again");
                }
                self.after = rows.last().map_or(self.after, |(position, _)| *position);
                let published = |(position, body)| Published { position: Some(position), body };
                self.page.extend(rows.into_iter().map(published));
            }
            Err(error) => {
                if self.trouble.is_none() {
                    warn!("the log of events cannot be read, those who follow it wait: {error}");
                }
                let mut waits = self.trouble.take().map_or_else(|| Waits::new(self.wait_max), |(waits, _)| waits);
                let until = Instant::now() + waits.next_wait();
                self.trouble = Some((waits, until));
            }
        }
    }
}

#[async_trait]
impl Follow for Follower {
    /// Each wait leaves the follower as it was, or is the last before what it gave is kept.
    async fn next(&mut self) -> Option<Published> {
        loop {
            if let Some(published) = self.page.pop_front() {
                return Some(published);
            }
            if self.ended {
                return None;
            }
            if let Some((_, until)) = &self.trouble {
                // Not past the end of the worker.
                tokio::select! {
                    biased;
                    () = gone(self.newest.clone()) => {}
                    () = sleep_until(*until) => {}
                }
            }
            // Both before the page is read: what is written meanwhile wakes us, or is on the last page.
            self.newest.mark_unchanged();
            let ended = self.newest.has_changed().is_err();
            let page = self.log.page(self.after, PAGE_ROWS).await;
            self.ended = ended;
            self.read(page);
            if self.page.is_empty() && self.trouble.is_none() && !self.ended {
                // An error says that the sender is gone: the loop sees it.
                self.newest.changed().await.ok();
            }
        }
    }
}

/// Waits for the end of the sender.
async fn gone(mut newest: watch::Receiver<Position>) {
    while newest.changed().await.is_ok() {}
}
