//! One seed: the faults and the traffic it draws, the run, the healing and the draining.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::broker::Queued;
use super::bugs::Bug;
use super::database::{Logged, State};
use super::instances::{Order, Slot};
use super::oracle;
use super::traffic::Author;
use super::world::{Counts, Poison, Rates, Shared, Step, World};

/// Everything drains by itself within so long after the last fault.
const DRAINED_WITHIN: Duration = Duration::from_mins(1);
/// Everything drains within so long whatever messages end processes: three such messages, five ends and two waits each.
const DRAINED_AT_LAST: Duration = Duration::from_mins(5);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What came of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) trace: u64,
    pub(crate) counts: Counts,
    pub(crate) events: u64,
    /// From the healing until everything but what is parked was done.
    pub(crate) drained: Duration,
}

/// What a seed draws once.
struct Setting {
    instances: u64,
    parking_ttl: Duration,
    /// Which of the faults of [`Chaos::strike`] there are.
    faults: Vec<Fault>,
    reordered: u8,
}

/// A fault that somebody brings about, beside those that the ports meet with by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    ConnectionLost,
    DatabaseDown,
    BrokerBlocked,
    Unroutable,
    TermFarAhead,
    /// No fault: an instance goes on with other rules.
    Reload,
    /// No fault but a hand: failures are tried again, some of them mended.
    Operator,
}

/// Plays a seed to its end. The same seed, the same trace. `Err` is the first thing that was wrong.
pub(crate) fn play(seed: u64, bug: Option<Bug>, told: bool) -> Result<Report, String> {
    // The worker's backoff draws its jitter from this thread's generator.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // The world begins inside: outside the runtime it would read the real time.
    runtime.block_on(async { run(&Shared::new(seed, told), bug).await })
}

async fn run(shared: &Shared, bug: Option<Bug>) -> Result<Report, String> {
    let setting = shared.with(set_up);
    let mut orders = Vec::new();
    let mut slots: Vec<JoinHandle<()>> = Vec::new();
    for number in 1..=setting.instances {
        let (give, take) = mpsc::unbounded_channel();
        let slot = Slot { shared: shared.clone(), bug, parking_ttl: setting.parking_ttl, number };
        slots.push(tokio::spawn(slot.run(take)));
        orders.push(give);
    }
    let traffic = traffic(shared, setting.reordered);
    let chaos = chaos(shared, &setting.faults, &orders);
    tokio::select! {
        biased;
        () = traffic => {}
        () = chaos => {}
    }
    shared.with(World::heal);
    shared.changed.notify_waiters();
    let healed = Instant::now();
    drained(shared, DRAINED_WITHIN, |_| true).await?;
    let drained_after = healed.elapsed();
    drained(shared, setting.parking_ttl + Duration::from_secs(5), |world| world.database.parked.is_empty()).await?;
    drained(shared, DRAINED_WITHIN, |_| true).await?;
    for order in orders {
        order.send(Order::Finish).map_err(|_| "a slot is gone")?;
    }
    for slot in slots {
        slot.await.map_err(|error| error.to_string())?;
    }
    shared.with(|world| {
        world.violation.clone().map_or(Ok(()), Err)?;
        oracle::judge(world)?;
        let events = world.sent.len() as u64;
        Ok(Report { trace: world.trace(), counts: world.counts, events, drained: drained_after })
    })
}

/// Draws the faults and writes the traffic.
fn set_up(world: &mut World) -> Setting {
    let rng = &mut world.rng;
    let mut percent = |most: u8| if rng.bool() { rng.u8(..=most) } else { 0 };
    world.rates = Rates {
        away_before: percent(15),
        away_inside: percent(15),
        commit_lost: percent(15),
        commit_undone: percent(15),
        slow: percent(4),
        confirm_lost: percent(15),
        not_sent: percent(15),
        silent: percent(15),
    };
    let reordered = percent(30);
    world.sent = Author::new(rng).write();
    world.database.outbox_max = if rng.u8(..10) == 0 { rng.usize(5..60) } else { 1_000_000 };
    if rng.u8(..10) < 3 {
        for _ in 0..rng.u8(1..=3) {
            let all = [Poison::Refused, Poison::Crash, Poison::Kill, Poison::RefusedLate];
            let poison = all[rng.usize(..all.len())];
            let key = world.sent[rng.usize(..world.sent.len())].key;
            world.poison.insert(key, poison);
        }
    }
    world.planted = world.poison.clone();
    let all = [
        Fault::Kill,
        Fault::Stop,
        Fault::ConnectionLost,
        Fault::DatabaseDown,
        Fault::BrokerBlocked,
        Fault::Unroutable,
        Fault::TermFarAhead,
        Fault::Reload,
        Fault::Operator,
    ];
    let faults = all.into_iter().filter(|_| rng.u8(..10) < 6).collect();
    let parking_ttl = Duration::from_secs(if rng.u8(..20) == 0 { 300 } else { rng.u64(20..=60) });
    Setting { instances: rng.u64(1..=4), parking_ttl, faults, reordered }
}

/// Sends everything, some of it out of order.
async fn traffic(shared: &Shared, reordered: u8) {
    let events = shared.with(|world| world.sent.len());
    for sent in 0..events {
        let gap = shared.with(|world| {
            let ready = world.broker.ready.len();
            let at = if world.hit(reordered) { world.rng.usize(..=ready) } else { ready };
            world.broker.ready.insert(at, Queued { sent, earlier: 0 });
            world.note(&Step::Enqueued(sent));
            Duration::from_millis(if world.hit(10) { 4_000 } else { 30 })
        });
        shared.changed.notify_waiters();
        shared.pause(gap).await;
    }
    shared.pause(Duration::from_secs(20)).await;
    // Some outages are waited out, so that deliveries go back to the broker meanwhile; others end with the healing.
    let rest = shared.with(|world| world.down_until.saturating_sub(world.elapsed()));
    if shared.with(|world| world.rng.bool()) {
        sleep(rest).await;
    }
}

/// Strikes again and again, for ever.
async fn chaos(shared: &Shared, faults: &[Fault], orders: &[mpsc::UnboundedSender<Order>]) {
    loop {
        shared.pause(Duration::from_secs(6)).await;
        if !faults.is_empty() {
            shared.with(|world| strike(world, faults, orders));
            shared.changed.notify_waiters();
        }
    }
}

fn strike(world: &mut World, faults: &[Fault], orders: &[mpsc::UnboundedSender<Order>]) {
    let fault = faults[world.rng.usize(..faults.len())];
    let whom = world.rng.usize(..orders.len());
    let most = match fault {
        Fault::Kill | Fault::Stop | Fault::ConnectionLost | Fault::TermFarAhead => 0,
        Fault::Reload | Fault::Operator => 0,
        Fault::DatabaseDown if world.hit(10) => 120_000,
        Fault::DatabaseDown | Fault::Unroutable => 15_000,
        Fault::BrokerBlocked => 40_000,
    };
    let lasts = Duration::from_millis(world.rng.u64(..=most));
    let until = world.elapsed() + lasts;
    let name = match fault {
        Fault::Kill => "an instance dies",
        Fault::Stop => "an instance is stopped",
        Fault::ConnectionLost => "a connection is lost",
        Fault::DatabaseDown => "the database is down",
        Fault::BrokerBlocked => "the broker is blocked",
        Fault::Unroutable => "nothing finds a queue",
        Fault::TermFarAhead => "a clock that is wrong holds a row",
        Fault::Reload => "an instance has other rules",
        Fault::Operator => "an operator tries failures again",
    };
    world.note(&Step::Fault(name, lasts));
    match fault {
        Fault::Kill => orders[whom].send(Order::Kill).unwrap(),
        Fault::Stop => orders[whom].send(Order::Stop).unwrap(),
        Fault::Reload => orders[whom].send(Order::Reload).unwrap(),
        Fault::ConnectionLost => world.broker.close_any(whom as u64),
        Fault::DatabaseDown => world.down_until = until.max(world.down_until),
        Fault::BrokerBlocked => world.blocked_until = until,
        Fault::Unroutable => world.unrouted_until = until,
        Fault::Operator => operate(world),
        Fault::TermFarAhead => {
            let far = world.database_time() + chrono::Duration::days(365);
            world.database.outbox.values_mut().take(1).for_each(|row| row.free_at = far);
        }
    }
}

/// Marks some failures, and mends what was wrong with some of those. Beyond the turn's lock, as an operator does.
fn operate(world: &mut World) {
    let open: Vec<_> =
        world.database.failures.values().filter(|f| world.database.desk[&f.id].state == State::Open).collect();
    let open: Vec<_> = open.into_iter().map(|failure| (failure.id, failure.event_key)).collect();
    for (id, key) in open {
        if world.rng.bool() {
            continue;
        }
        if world.poison.contains_key(&key) && world.rng.bool() {
            world.poison.remove(&key);
            world.database.log.push(Logged::Mended(key));
        }
        world.database.desk.entry(id).and_modify(|desk| desk.state = State::Marked);
        world.counts.retried += 1;
    }
}

/// Waits until nothing is in the queue or the outbox, and something else holds.
async fn drained(shared: &Shared, within: Duration, also: fn(&World) -> bool) -> Result<(), String> {
    let since = Instant::now();
    loop {
        let done = shared.with(|world| match &world.violation {
            Some(violation) => Err(violation.clone()),
            None => Ok(world.broker.is_empty() && world.database.is_at_rest() && also(world)),
        })?;
        if done {
            return Ok(());
        }
        // A message that ends whoever takes it is a fault that nothing heals.
        let calm = shared.with(|world| world.elapsed().saturating_sub(world.last_death));
        if since.elapsed().min(calm) > within || since.elapsed() > within + DRAINED_AT_LAST {
            return shared.with(|world| {
                let (outbox, parked) = (world.database.outbox.len(), world.database.parked.len());
                Err(format!("not drained after {within:?}: {:?}, outbox {outbox}, parked {parked}", world.broker))
            });
        }
        sleep(LOOK_EVERY).await;
    }
}
