//! Everything outside the worker, in memory: the database, the broker, what was sent and published, the faults of the hour,
//! the one random generator and the trace. Nothing here awaits; the ports ([`super::store`], [`super::source`],
//! [`super::sink`]) do.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reprieve::domain::dates::{Timestamp, parse_time};
use reprieve::domain::ids::Digest;
use reprieve::store::{EventKey, MessageKey};
use tokio::sync::{Mutex as Lock, Notify, watch};
use tokio::time::Instant;

use super::broker::Broker;
use super::database::Database;
use super::traffic::Sent;

/// When the database's clock starts.
const START: &str = "2026-11-24T09:00:00Z";

/// How likely each fault is, in percent of the operations it can hit; 0 in seeds that do without it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) away_before: u8,
    pub(crate) away_inside: u8,
    pub(crate) commit_lost: u8,
    pub(crate) commit_undone: u8,
    pub(crate) slow: u8,
    pub(crate) confirm_lost: u8,
    pub(crate) not_sent: u8,
    pub(crate) silent: u8,
}

/// One observable step: what the trace is made of.
#[derive(Debug, Hash)]
pub(crate) enum Step {
    Started { instance: u64 },
    Crashed { instance: u64 },
    Ended { instance: u64 },
    Fault(&'static str, Duration),
    Enqueued(usize),
    Taken { instance: u64, tag: u64, events: usize },
    Acknowledged { instance: u64, tag: u64, events: usize },
    Committed { instance: u64, answered: bool, inbox: Vec<EventKey>, outbox: Vec<i64>, gone: usize, claimed: usize },
    Published { instance: u64, row: i64 },
    Unroutable { instance: u64, row: i64 },
    Released { instance: u64 },
    Healed,
}

/// What is counted for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) releases: u64,
    pub(crate) retried: u64,
    pub(crate) blamed: u64,
    pub(crate) turns: u64,
    pub(crate) published: u64,
    pub(crate) copies: u64,
}

/// All state of one seed.
pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) rates: Rates,
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    /// Every message upstream may send, by its number.
    pub(crate) sent: Vec<Sent>,
    /// What some events do to whoever processes them, until an operator has it mended.
    pub(crate) poison: BTreeMap<EventKey, Poison>,
    /// The same as it was at the beginning.
    pub(crate) planted: BTreeMap<EventKey, Poison>,
    /// How many instances died with a note about a message, or were so slow that they looked like it.
    pub(crate) left: BTreeMap<MessageKey, u16>,
    /// Instances that died.
    pub(crate) dead: BTreeSet<uuid::Uuid>,
    /// When the last of them did.
    pub(crate) last_death: Duration,
    /// Copies per row of the outbox.
    pub(crate) published: BTreeMap<i64, u32>,
    /// Rows that an instance was told are confirmed, and that it has not been seen to delete.
    pub(crate) confirmed: BTreeMap<u64, BTreeSet<i64>>,
    pub(crate) down_until: Duration,
    pub(crate) blocked_until: Duration,
    pub(crate) unrouted_until: Duration,
    pub(crate) counts: Counts,
    /// The first thing that went wrong.
    pub(crate) violation: Option<String>,
    /// Whether the steps are printed.
    pub(crate) told: bool,
    epoch: Instant,
    trace: DefaultHasher,
}

/// What an event does to whoever processes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// The database refuses its content.
    Refused,
    /// The plan panics.
    Crash,
    /// The process ends.
    Kill,
    /// The database refuses what comes of it, but lets it wait.
    RefusedLate,
}

impl World {
    /// The time since the seed began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The database's clock.
    pub(crate) fn database_time(&self) -> Timestamp {
        start() + self.elapsed()
    }

    /// Adds a step to the trace.
    pub(crate) fn note(&mut self, step: &Step) {
        self.elapsed().hash(&mut self.trace);
        step.hash(&mut self.trace);
        if self.told {
            println!("{:>12.6} {step:?}", self.elapsed().as_secs_f64());
        }
    }

    /// A number for the steps so far.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Records what must never happen.
    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Whether something of this likelihood happens now.
    pub(crate) fn hit(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.u8(..100) < percent
    }

    /// An instance is gone: what it had noted was left in the middle.
    pub(crate) fn leave(&mut self, instance: u64) {
        let run = run_of(instance);
        self.dead.insert(run);
        self.last_death = self.elapsed();
        for (key, _) in self.database.notes.iter().filter(|(_, note)| note.run == run) {
            *self.left.entry(*key).or_default() += 1;
        }
    }

    /// Whether an event's outcome is committed.
    pub(crate) fn has_outcome(&self, key: EventKey, digest: Digest) -> bool {
        self.database.inbox.get(&key).is_some_and(|row| row.0 == digest)
            || self.database.failures.contains_key(&(key, digest))
    }

    /// No faults any more, and the ones under way end now.
    pub(crate) fn heal(&mut self) {
        self.rates = Rates::default();
        let now = self.elapsed();
        for until in [&mut self.down_until, &mut self.blocked_until, &mut self.unrouted_until] {
            *until = now.min(*until);
        }
        self.note(&Step::Healed);
    }
}

/// What an instance calls itself in its notes.
pub(crate) fn run_of(instance: u64) -> uuid::Uuid {
    uuid::Uuid::from_u128(instance.into())
}

/// When the database's clock starts.
pub(crate) fn start() -> Timestamp {
    parse_time(START).unwrap()
}

/// The world as its inhabitants hold it.
#[derive(Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    /// Told when messages, connections or the sink's state change.
    pub(crate) changed: Arc<Notify>,
    /// The database's write lock.
    pub(crate) write_lock: Arc<Lock<()>>,
}

impl Shared {
    /// A world at its beginning.
    pub(crate) fn new(seed: u64, told: bool) -> Self {
        let world = World {
            rng: fastrand::Rng::with_seed(seed),
            rates: Rates::default(),
            database: Database::default(),
            broker: Broker::default(),
            sent: Vec::new(),
            poison: BTreeMap::new(),
            planted: BTreeMap::new(),
            left: BTreeMap::new(),
            dead: BTreeSet::new(),
            last_death: Duration::ZERO,
            published: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            down_until: Duration::ZERO,
            blocked_until: Duration::ZERO,
            unrouted_until: Duration::ZERO,
            counts: Counts::default(),
            violation: None,
            told,
            epoch: Instant::now(),
            trace: DefaultHasher::new(),
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::new(Notify::new()),
            write_lock: Arc::new(Lock::new(())),
        }
    }

    /// Looks at or changes the world; never across an await.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a random time up to `most`; for less than the timer's grain not at all.
    pub(crate) async fn pause(&self, most: Duration) {
        let micros = u64::try_from(most.as_micros()).unwrap();
        let wait = self.with(|world| world.rng.u64(..=micros));
        if wait >= 1_000 {
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
    }
}

/// The life of one instance: when it ends, whatever it was doing at a port ends there, and nothing it does afterwards has an
/// effect. That is what a killed process looks like from outside, at whatever await it died.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) instance: u64,
    ended: watch::Receiver<bool>,
}

impl Life {
    /// A life, and the means to end it.
    pub(crate) fn new(instance: u64) -> (Self, watch::Sender<bool>) {
        let (end, ended) = watch::channel(false);
        (Self { instance, ended }, end)
    }

    /// The work, unless the life ends before: then the work is dropped where it stands and the caller never hears of it.
    pub(crate) async fn live<T>(&self, work: impl Future<Output = T>) -> T {
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => {}
            done = work => return done,
        }
        std::future::pending().await
    }
}
