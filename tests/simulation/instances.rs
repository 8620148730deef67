//! Running instances: the real worker over the fake ports, killed, stopped and started again.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reprieve::broker::{Sink, Source};
use reprieve::domain::rules::RuleSet;
use reprieve::metrics::Metrics;
use reprieve::store::Store;
use reprieve::worker::supervisor;
use reprieve::worker::turns::Settings;
use tokio::sync::{Mutex as Lock, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::bugs::Bug;
use super::sink::SimSink;
use super::source::SimSource;
use super::store::SimStore;
use super::traffic::{RULES, RULES_BY_LOAD};
use super::world::{Life, Shared, Step, run_of};

/// What an instance that was told to stop has time for, like the default of the setting `shutdown.deadline`.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(25);
/// The setting `retry.wait_max`.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest until a dead instance's successor starts.
const RESTART_WITHIN: Duration = Duration::from_secs(3);

/// The rule sets between which instances change, each at its own time.
static RULE_SETS: LazyLock<[Arc<RuleSet>; 2]> =
    LazyLock::new(|| [RULES, RULES_BY_LOAD].map(|text| Arc::new(RuleSet::parse(text).unwrap())));

/// What a slot is told to do with its instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Die now; a successor starts.
    Kill,
    /// Drain and end; a successor starts.
    Stop,
    /// Go on with the other rules.
    Reload,
    /// Drain and end, for good.
    Finish,
}

/// A place for one instance at a time.
pub(crate) struct Slot {
    pub(crate) shared: Shared,
    pub(crate) bug: Option<Bug>,
    pub(crate) parking_ttl: Duration,
    pub(crate) number: u64,
}

struct Instance {
    number: u64,
    running: JoinHandle<Result<(), supervisor::LoopEnded>>,
    end: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    rules: watch::Sender<Arc<RuleSet>>,
}

impl Instance {
    fn reload(&self) {
        let [one, other] = &*RULE_SETS;
        self.rules.send_modify(|rules| *rules = Arc::clone(if rules.hash == one.hash { other } else { one }));
    }
}

impl Slot {
    /// Runs one instance after the other until told to finish.
    pub(crate) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        for life in 0.. {
            let finished = self.run_one(self.start(life * 10 + self.number), &mut orders).await;
            if finished {
                return;
            }
            self.shared.pause(RESTART_WITHIN).await;
        }
    }

    fn start(&self, number: u64) -> Instance {
        let (life, end) = Life::new(number);
        let (stop, stopping) = watch::channel(false);
        let generation = Arc::new(AtomicU64::new(0));
        let mut source: Box<dyn Source> =
            Box::new(SimSource::new(self.shared.clone(), life.clone(), Arc::clone(&generation), stopping.clone()));
        let write_lock = match self.bug {
            Some(Bug::NoWriterLock) => Arc::new(Lock::new(())),
            _ => Arc::clone(&self.shared.write_lock),
        };
        let mut store: Box<dyn Store> =
            Box::new(SimStore { shared: self.shared.clone(), life: life.clone(), write_lock, end: end.clone() });
        let mut sink: Box<dyn Sink> = Box::new(SimSink { shared: self.shared.clone(), life });
        if let Some(bug) = self.bug {
            source = bug.source(source, generation);
            store = bug.store(store);
            sink = bug.sink(sink);
        }
        self.shared.with(|world| world.note(&Step::Started { instance: number }));
        let first = self.shared.with(|world| world.rng.usize(..RULE_SETS.len()));
        let (rules, in_force) = watch::channel(Arc::clone(&RULE_SETS[first]));
        let running = tokio::spawn(supervisor::run(source, store, sink, self.settings(number, in_force), stopping));
        Instance { number, running, end, stop, rules }
    }

    fn settings(&self, number: u64, rules: watch::Receiver<Arc<RuleSet>>) -> Settings {
        let (batch_max, off) = self.shared.with(|world| {
            let days = if world.hit(10) { world.rng.i64(-400..=400) } else { 0 };
            (world.rng.usize(1..=50), chrono::Duration::days(days))
        });
        let shared = self.shared.clone();
        Settings {
            batch_max,
            source: "urn:reprieve".to_owned(),
            link: String::new(),
            parking_ttl: self.parking_ttl,
            parking_max: 10_000,
            wait_max: WAIT_MAX,
            clock: Arc::new(move || shared.with(|world| world.database_time()) + off),
            rules,
            run: run_of(number),
            trust: None,
            metrics: Metrics::new(),
            spans: None,
        }
    }

    /// Until it is dead or has ended. True when no other shall follow.
    async fn run_one(&self, mut instance: Instance, orders: &mut mpsc::UnboundedReceiver<Order>) -> bool {
        let (mut finishing, mut deadline) = (false, None);
        let mut end = instance.end.subscribe();
        loop {
            // The guard that `wait_for` gives must not live into the branch.
            let killed = async { drop(end.wait_for(|ended| *ended).await) };
            tokio::select! {
                biased;
                ended = &mut instance.running => {
                    self.ended(&instance, ended.map_err(|error| error.to_string()).and_then(|r| r.map_err(|e| e.to_string())));
                    return finishing;
                }
                // A message has ended it.
                () = killed => {
                    self.kill(&instance);
                    return finishing;
                }
                order = orders.recv(), if !finishing => match order {
                    Some(Order::Kill) => {
                        self.kill(&instance);
                        return finishing;
                    }
                    Some(Order::Reload) => instance.reload(),
                    None => return true,
                    Some(order) => {
                        finishing |= matches!(order, Order::Finish);
                        instance.stop.send_replace(true);
                        // Whoever waits for a database that was away looks again only after that wait.
                        // An earlier word to stop may have come in the middle of that: it does not count here.
                        if finishing {
                            deadline = Some(Instant::now() + SHUTDOWN_DEADLINE + WAIT_MAX);
                        } else {
                            deadline.get_or_insert(Instant::now() + SHUTDOWN_DEADLINE);
                        }
                        self.shared.with(|world| world.counts.stops += u64::from(!finishing));
                    }
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    if finishing {
                        let what = format!("instance {} did not end within its deadline", instance.number);
                        self.shared.with(|world| world.violate(what));
                    }
                    self.kill(&instance);
                    return finishing;
                }
            }
        }
    }

    /// The process dies: nothing it does from here on has an effect, and the broker notices that it is gone.
    fn kill(&self, instance: &Instance) {
        instance.end.send_replace(true);
        instance.running.abort();
        self.shared.with(|world| {
            world.note(&Step::Crashed { instance: instance.number });
            world.counts.crashes += 1;
            world.leave(instance.number);
            world.broker.close_of(instance.number);
        });
        self.shared.changed.notify_waiters();
    }

    /// It ended by itself: it must have been told to, and have settled what it had.
    fn ended(&self, instance: &Instance, result: Result<(), String>) {
        let number = instance.number;
        self.shared.with(|world| {
            world.note(&Step::Ended { instance: number });
            if let Err(error) = result {
                world.violate(format!("instance {number}: {error}"));
            }
            if !*instance.stop.borrow() {
                world.violate(format!("instance {number} ended, but nobody told it to"));
            }
            let unacked = world.broker.unacked_of(number);
            if unacked > 0 {
                world.violate(format!("instance {number} ended with {unacked} deliveries not acknowledged"));
            }
            let confirmed = world.confirmed.remove(&number).unwrap_or_default();
            if let Some(row) = confirmed.iter().find(|row| world.database.outbox.contains_key(row)) {
                world.violate(format!("instance {number} ended, but row {row} that was confirmed is in the outbox"));
            }
            world.broker.close_of(number);
        });
    }
}
