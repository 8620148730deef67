//! A connection that rebuilds itself. lapin's own recovery is off: it hangs, waits without jitter and gives up.
//!
//! Connecting runs in a task of its own, so that whoever waits for it may be cancelled at any time. Here is nothing of
//! what the connection is for: that is [`Link`], see `source` and `sink`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Connection, ConnectionStatus, Event};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{RabbitError, Settings};
use crate::health::Light;
use crate::retry::{Trouble, Waits};

/// A connection that held this long was a good one: the waits begin anew. One that is lost at once, time and again, is
/// rebuilt ever more slowly.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// After a refusal the connection is believed again when it has held this long without another one: there is nothing to publish
/// then, others have done it. What waits is tried at least every 30 s.
const DOUBT_MAX: Duration = Duration::from_mins(1);
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
    lamp: Lamp,
    state: State<L>,
    /// Between a loss and the next attempt, if there was a loss. Attempts that fail have waits of their own: a connection that came
    /// about says that connecting works, and nothing about what it is for.
    losses: Waits,
    lost: bool,
    /// Whether what it is for was refused, and has not succeeded since.
    refused: bool,
    /// Whether the last link did not hold for long.
    flapping: bool,
    trouble: Trouble,
    /// Counts the links.
    generation: u64,
}

enum State<L> {
    Down,
    Building(Task<(L, Trouble)>),
    Up { link: L, since: Instant, _watch: Task<()> },
}

impl<L: Link> Lasting<L> {
    /// Nothing is done yet. The light is on while the connection is there and not blocked.
    pub(super) fn new(settings: Settings, light: Light) -> Self {
        let trusted = Light::default();
        trusted.on();
        Self {
            losses: Waits::new(settings.wait_max),
            settings: Arc::new(settings),
            lamp: Lamp { light, trusted },
            state: State::Down,
            lost: false,
            refused: false,
            flapping: false,
            trouble: Trouble::default(),
            generation: 0,
        }
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
        self.forgive();
        self.let_go();
    }

    fn let_go(&mut self) {
        self.state = State::Down;
        self.lost = true;
        self.lamp.light.off();
    }

    /// Lets go of a link that failed, and says so.
    pub(super) fn lose(&mut self, why: &RabbitError) {
        self.forgive();
        let why = why.to_string();
        if let Some(still) = self.trouble.shows(&why) {
            warn!(purpose = L::PURPOSE, "lost the connection to {}: {why}{still}", L::PURPOSE);
        }
        self.let_go();
    }

    /// What the link is for was refused, and only that it succeeds shows that it can be done: until then the light stays off,
    /// however often a connection comes about.
    pub(super) fn doubt(&mut self) {
        self.refused = true;
        self.lamp.trusted.off();
        self.lamp.light.off();
    }

    /// What the link is for has succeeded.
    pub(super) fn prove(&mut self) {
        if self.lost {
            self.losses = Waits::new(self.settings.wait_max);
            (self.lost, self.flapping) = (false, false);
            self.trouble.over();
        }
        if std::mem::take(&mut self.refused) {
            self.lamp.trusted.on();
            if self.current().is_some_and(|(link, _)| is_usable(link.connection().status())) {
                self.lamp.on();
            }
            info!(purpose = L::PURPOSE, "can {} again", L::PURPOSE);
        }
    }

    /// A link that held for long was a good one, unless it was never tried after a refusal.
    fn forgive(&mut self) {
        let State::Up { since, .. } = &self.state else { return };
        self.flapping = self.refused || since.elapsed() < GOOD_AFTER;
        if !self.flapping {
            self.losses = Waits::new(self.settings.wait_max);
            self.trouble.over();
        }
    }

    fn build(&mut self) -> impl Future<Output = (L, Trouble)> + use<L> {
        let settings = Arc::clone(&self.settings);
        let light = self.lamp.light.clone();
        let mut trouble = std::mem::take(&mut self.trouble);
        // Not at once after a loss: every instance has just lost its connection too.
        let first = if self.lost { self.losses.next_wait() } else { Duration::ZERO };
        async move {
            tokio::time::sleep(first).await;
            let mut waits = Waits::new(settings.wait_max);
            loop {
                light.off();
                match L::open(&settings).await {
                    Ok(link) => return (link, trouble),
                    Err(error) => {
                        let (why, wait) = (error.to_string(), waits.next_wait());
                        if let Some(still) = trouble.shows(&why) {
                            let seconds = wait.as_secs_f32();
                            warn!(
                                purpose = L::PURPOSE,
                                "cannot {} yet: {why}{still}; next attempt in {seconds:.1} s",
                                L::PURPOSE
                            );
                        }
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    fn built(&mut self, built: Result<(L, Trouble), tokio::task::JoinError>) {
        match built {
            Ok((link, trouble)) => {
                self.trouble = trouble;
                self.generation += 1;
                self.lamp.on();
                let quiet = match (self.refused, self.flapping) {
                    (true, _) => DOUBT_MAX,
                    (false, true) => GOOD_AFTER,
                    (false, false) => Duration::ZERO,
                };
                let watch = Task(tokio::spawn(watch(link.connection(), L::PURPOSE, self.lamp.clone(), quiet)));
                self.state = State::Up { link, since: Instant::now(), _watch: watch };
            }
            Err(error) => {
                warn!(purpose = L::PURPOSE, "connecting to {} ended unexpectedly: {error}", L::PURPOSE);
                self.lost = true;
                self.state = State::Down;
            }
        }
    }
}

/// The light, which is only turned on while nothing speaks against it.
#[derive(Clone)]
struct Lamp {
    light: Light,
    /// Off from a refusal until something has succeeded, or nothing was refused for long.
    trusted: Light,
}

impl Lamp {
    fn on(&self) {
        if self.trusted.is_on() {
            self.light.on();
        }
    }
}

fn is_usable(status: &ConnectionStatus) -> bool {
    status.connected() && !status.blocked()
}

/// Turns the light off while the connection is blocked and once it is lost, also when nobody uses it at the time. Says that there is
/// a connection when it has held for `quiet`: one that comes and goes is not worth a line each time.
fn watch(
    connection: &Connection,
    purpose: &'static str,
    lamp: Lamp,
    quiet: Duration,
) -> impl Future<Output = ()> + use<> {
    let status = connection.status().clone();
    let mut events: BoxStream<'static, Event> = Box::pin(connection.events_listener());
    let since = Instant::now();
    let in_doubt = !lamp.trusted.is_on();
    async move {
        let (mut blocked, mut told) = (false, false);
        while status.connected() {
            // Proved meanwhile: then that was said.
            told |= in_doubt && lamp.trusted.is_on();
            if !told && since.elapsed() >= quiet && is_usable(&status) {
                told = true;
                lamp.trusted.on();
                lamp.on();
                info!(purpose, "connected to {purpose}");
            }
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
                    lamp.light.off();
                } else {
                    lamp.on();
                    info!(purpose, "RabbitMQ takes messages again");
                }
            }
        }
        lamp.light.off();
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
