//! A connection that rebuilds itself. lapin's own recovery is off: it hangs, waits without jitter and gives up.
//!
//! Connecting runs in a task of its own, so that whoever waits for it may be cancelled at any time. Here is nothing of
//! what the connection is for: that is [`Link`], see `source` and `sink`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Connection, Event};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{RabbitError, Settings};
use crate::health::Light;
use crate::retry::Waits;

/// A connection that held this long was a good one: the waits begin anew. One that is lost at once, time and again, is
/// rebuilt ever more slowly.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// How often a connection is looked at: soon enough for a light, cheap enough to forget.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// What is built on a fresh connection.
#[async_trait]
pub(super) trait Link: Sized + Send + 'static {
    /// Shown in the logs and among the broker's connections.
    const PURPOSE: &'static str;
    /// Connects and sets up what is needed.
    async fn open(settings: &Settings) -> Result<Self, RabbitError>;
    /// The connection it lives on.
    fn connection(&self) -> &Connection;
}

/// A [`Link`] that is built when it is first wanted, and again after it was dropped.
pub(super) struct Lasting<L> {
    settings: Arc<Settings>,
    light: Light,
    state: State<L>,
    waits: Option<Waits>,
    /// Counts the links.
    generation: u64,
}

enum State<L> {
    Down,
    Building(Task<(L, Waits)>),
    Up { link: L, since: Instant, _watch: Task<()> },
}

impl<L: Link> Lasting<L> {
    /// Nothing is done yet. The light is on while the connection is there and not blocked.
    pub(super) fn new(settings: Settings, light: Light) -> Self {
        Self { settings: Arc::new(settings), light, state: State::Down, waits: None, generation: 0 }
    }

    /// Waits for the link. Cancel safe.
    pub(super) async fn up(&mut self) -> &mut L {
        loop {
            match &mut self.state {
                State::Down => self.state = State::Building(Task(tokio::spawn(self.build()))),
                State::Building(task) => {
                    let built = (&mut task.0).await;
                    self.built(built);
                }
                State::Up { .. } => break,
            }
        }
        self.current().expect("the loop ends only with a link").0
    }

    /// The link, if there is one, and its number.
    pub(super) fn current(&mut self) -> Option<(&mut L, u64)> {
        match &mut self.state {
            State::Up { link, .. } => Some((link, self.generation)),
            State::Down | State::Building(_) => None,
        }
    }

    /// Lets go of the link without waiting for anything: the broker may not be there to say goodbye to.
    pub(super) fn drop_link(&mut self) {
        if let State::Up { since, .. } = &self.state
            && since.elapsed() >= GOOD_AFTER
        {
            self.waits = Some(Waits::new(self.settings.wait_max));
        }
        self.state = State::Down;
        self.light.off();
    }

    /// Lets go of a link that failed, and says so.
    pub(super) fn lose(&mut self, why: &RabbitError) {
        warn!(purpose = L::PURPOSE, "lost the connection to {}: {why}", L::PURPOSE);
        self.drop_link();
    }

    fn build(&mut self) -> impl Future<Output = (L, Waits)> + use<L> {
        let settings = Arc::clone(&self.settings);
        let light = self.light.clone();
        let before = self.waits.take();
        async move {
            // Not at once after a loss: every instance has just lost its connection too.
            let mut waits = match before {
                Some(mut waits) => {
                    tokio::time::sleep(waits.next_wait()).await;
                    waits
                }
                None => Waits::new(settings.wait_max),
            };
            loop {
                light.off();
                match L::open(&settings).await {
                    Ok(link) => return (link, waits),
                    Err(error) => {
                        let wait = waits.next_wait();
                        warn!(
                            purpose = L::PURPOSE,
                            "cannot {} yet: {error}; next attempt in {:.1} s",
                            L::PURPOSE,
                            wait.as_secs_f32()
                        );
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    fn built(&mut self, built: Result<(L, Waits), tokio::task::JoinError>) {
        match built {
            Ok((link, waits)) => {
                self.waits = Some(waits);
                self.generation += 1;
                self.light.on();
                info!(purpose = L::PURPOSE, "connected to {}", L::PURPOSE);
                let watch = Task(tokio::spawn(watch(link.connection(), L::PURPOSE, self.light.clone())));
                self.state = State::Up { link, since: Instant::now(), _watch: watch };
            }
            Err(error) => {
                warn!(purpose = L::PURPOSE, "connecting to {} ended unexpectedly: {error}", L::PURPOSE);
                self.waits = Some(Waits::new(self.settings.wait_max));
                self.state = State::Down;
            }
        }
    }
}

/// Turns the light off while the connection is blocked and once it is lost, also when nobody uses it at the time.
fn watch(connection: &Connection, purpose: &'static str, light: Light) -> impl Future<Output = ()> + use<> {
    let status = connection.status().clone();
    let mut events: BoxStream<'static, Event> = Box::pin(connection.events_listener());
    async move {
        let mut blocked = false;
        while status.connected() {
            match tokio::time::timeout(WATCH_EVERY, events.next()).await {
                Ok(Some(Event::ConnectionBlocked(why))) => {
                    warn!(purpose, "RabbitMQ takes no more messages for now: {why}");
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {}
            }
            if status.blocked() != blocked {
                blocked = status.blocked();
                if blocked {
                    light.off();
                } else {
                    light.on();
                    info!(purpose, "RabbitMQ takes messages again");
                }
            }
        }
        light.off();
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
