//! The first loop: everything that is written is written here, a turn at a time. It takes deliveries, asks the store for a
//! turn in which [`plan`] decides, acknowledges after the commit and hands the outgoing events to [`super::publish`].

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use self::counted::Aside;
use self::poison::{Cut, Poison, Setback, halve, in_two, is_one_submission};
use super::input::{self, Input, wanted};
use super::outage::Outage;
use super::plan::{Settled, Terms, plan};
use super::publish::{Hand, PATIENCE};
use crate::broker::{Batch, Source, Tag};
use crate::contract::json::Fault;
use crate::contract::outbound::Voice;
use crate::contract::reason::Reason;
use crate::domain::dates::to_microseconds;
use crate::domain::rules::RuleSet;
use crate::store::{Committed, Marked, Outcome, Snapshot, Store, StoreError, Wanted};

mod counted;
mod poison;
mod settings;
mod suspects;
mod told;

pub use counted::SKEW_MAX_S;
pub use settings::{Clock, Settings};

/// How often what is due is looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long confirmed rows wait for a batch that takes their deletion along.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// Most parked events that expire in one turn; a full hundred asks for the next turn at once.
const EXPIRED_MAX: usize = 100;
/// Most failures that are tried again together.
const MARKED_MAX: usize = 100;
/// Most rows of the outbox claimed in one turn.
const CLAIMS_MAX: usize = 500;

/// An attempt that fails after so long may have been too much at once: it is tried again in two halves. A little less than
/// the shortest time in which the database ends a turn.
const LONG_TURN: Duration = Duration::from_secs(4);

/// The channels to and from the publishing loop, and the word to stop.
#[derive(Debug)]
pub struct Links {
    /// Committed events to publish.
    pub hands: mpsc::Sender<Hand>,
    /// Their fates. Unbounded in form only: there are never more than events handed over and not yet settled.
    pub fates: mpsc::UnboundedReceiver<Settled>,
    /// Whether the sink is worth handing to.
    pub sink_up: watch::Receiver<bool>,
    /// Becomes true when the worker shall drain and end.
    pub stop: watch::Receiver<bool>,
}

/// Runs turns until told to stop and everything in hand is settled.
pub async fn run(source: Box<dyn Source>, store: Box<dyn Store>, links: Links, settings: Settings) {
    let Links { hands, fates, sink_up, stop } = links;
    let aside = Aside::new(settings.spans.as_deref());
    let turns = Turns {
        source,
        store,
        hands: Some(hands),
        fates,
        sink_up,
        settings,
        settled: Settled::default(),
        flush_at: None,
        next_tick: Instant::now(),
        claims_max: 1,
        outbox_full: false,
        rule_set_stored: None,
        stopping: false,
        marked: Vec::new(),
        aside,
        clock_is_off: false,
    };
    turns.run(stop).await;
}

struct Turns {
    source: Box<dyn Source>,
    store: Box<dyn Store>,
    hands: Option<mpsc::Sender<Hand>>,
    fates: mpsc::UnboundedReceiver<Settled>,
    sink_up: watch::Receiver<bool>,
    settings: Settings,
    /// Fates that no committed turn has written; forgotten only after one has.
    settled: Settled,
    flush_at: Option<Instant>,
    next_tick: Instant,
    claims_max: usize,
    outbox_full: bool,
    /// The hash of the rule set that a committed turn has stored last.
    rule_set_stored: Option<String>,
    /// Whether the source was told to stop: the word may come in the middle of a turn.
    stopping: bool,
    /// Failures that an operator has marked, to be tried again next.
    marked: Vec<Marked>,
    /// Of the last attempt, for who counts.
    aside: Aside,
    /// Whether it was said that our clock is far from the database's.
    clock_is_off: bool,
}

/// Why a turn is due.
enum Work {
    Deliveries(Batch),
    Marked(Vec<Marked>),
    Time,
    Drained,
}

impl Turns {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            match self.next_work(&mut stop).await {
                Work::Deliveries(Batch { tag, deliveries }) => {
                    let inputs = self.read(deliveries).await;
                    self.turns(inputs, Some(tag)).await;
                }
                Work::Marked(marked) => self.try_again(marked).await,
                Work::Time => self.turns(Vec::new(), None).await,
                Work::Drained => break,
            }
        }
        self.finish().await;
    }

    async fn next_work(&mut self, stop: &mut watch::Receiver<bool>) -> Work {
        if !self.marked.is_empty() {
            return Work::Marked(std::mem::take(&mut self.marked));
        }
        loop {
            // The guard that `wait_for` gives must not live into the branch.
            let stop_now = async { drop(stop.wait_for(|stop| *stop).await) };
            tokio::select! {
                biased;
                Some(fates) = self.fates.recv() => self.note(fates),
                () = stop_now, if !self.stopping => {
                    self.stopping = true;
                    self.source.stop().await;
                }
                batch = self.source.next(self.settings.batch_max), if self.stopping || !self.outbox_full => {
                    return batch.map_or(Work::Drained, Work::Deliveries);
                }
                () = sleep_until(self.flush_at.unwrap_or(self.next_tick)), if self.flush_at.is_some() => return Work::Time,
                () = sleep_until(self.next_tick) => return Work::Time,
            }
        }
    }

    fn note(&mut self, fates: Settled) {
        self.settled.confirmed.extend(fates.confirmed);
        self.settled.unroutable.extend(fates.unroutable);
        self.flush_at.get_or_insert(Instant::now() + FLUSH_AFTER);
    }

    /// Runs what is due as one turn, or as several where the database refuses the content: halved down to the one event,
    /// which becomes a failure. Acknowledges when all of it is committed.
    async fn turns(&mut self, inputs: Vec<Input>, tag: Option<Tag>) {
        let began = Instant::now();
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut pieces = VecDeque::from([inputs]);
        let mut outage = Outage::new(self.settings.wait_max);
        while let Some(piece) = pieces.pop_front() {
            match self.turn(&piece, &mut outage).await {
                Ok((committed, begun)) => {
                    outage = Outage::new(self.settings.wait_max);
                    input::report(&piece, &committed.outcomes);
                    self.tell(&piece, &committed.outcomes, began, tag);
                    outcomes.extend(&committed.outcomes);
                    let last = if pieces.is_empty() { tag } else { None };
                    self.hand_over_and_settle(committed, begun, last, &outcomes).await;
                }
                Err(Cut::TooLong) => in_two(piece, &mut pieces),
                Err(Cut::Poison(poison)) => halve(piece, &poison, &mut pieces),
            }
        }
    }

    /// One turn, tried until the database has answered, with one set of rules throughout. `Err` is what the database, or the
    /// plan, cannot stand about the content: also that it may be too much for the time a turn has, which no repetition changes.
    async fn turn(&mut self, inputs: &[Input], outage: &mut Outage) -> Result<(Committed, Instant), Cut> {
        while let Ok(fates) = self.fates.try_recv() {
            self.note(fates);
        }
        let rules = Arc::clone(&self.settings.rules.borrow());
        let mut wanted = self.wanted(inputs, &rules);
        let ticked = wanted.expired_max > 0;
        let (mut suspected, mut blamed) = (None, None);
        loop {
            let begun = Instant::now();
            match self.attempt(inputs, &wanted, &rules, blamed.as_ref()).await {
                Ok(mut committed) => {
                    if let Some(message) = suspected {
                        error!("parked events whose time is over cannot be set aside, and stay: {message}");
                    }
                    outage.over();
                    self.count(inputs, &committed, begun);
                    self.committed(ticked, &mut committed);
                    return Ok((committed, begun));
                }
                // What expires came uninvited: it is suspected before the inputs are, and cleared if they fail without it too.
                Err(Setback::Poison(poison)) if wanted.expired_max > 0 => {
                    wanted.expired_max = 0;
                    suspected = Some(poison.message);
                }
                // So is what waited for a submission.
                Err(Setback::Poison(poison)) if blamed.is_none() && is_one_submission(inputs) => {
                    blamed = Some(poison.fault());
                }
                Err(Setback::Poison(poison)) if !inputs.is_empty() && !poison.is_known(inputs) => {
                    return Err(Cut::Poison(poison));
                }
                Err(Setback::Poison(poison)) => outage.wait(&poison.message).await,
                Err(Setback::Away(message)) => outage.wait(&message).await,
            }
            if outage.is_long() {
                self.take_back(inputs).await;
                self.source.release().await;
            }
            if inputs.len() > 1 && begun.elapsed() >= LONG_TURN {
                return Err(Cut::TooLong);
            }
        }
    }

    fn wanted(&mut self, inputs: &[Input], rules: &RuleSet) -> Wanted {
        let mut wanted = wanted(inputs);
        wanted.load = rules.picked_by_load(input::submitted(inputs));
        if Instant::now() >= self.next_tick {
            wanted.expired_max = EXPIRED_MAX;
            wanted.marked_max = if self.stopping { 0 } else { MARKED_MAX };
            let up = *self.sink_up.borrow();
            if !up {
                self.claims_max = 1;
            }
            let room = self.hands.as_ref().is_some_and(|hands| hands.capacity() > 0);
            wanted.claims_max = if up && room { self.claims_max } else { 0 };
        }
        wanted
    }

    async fn attempt(
        &mut self,
        inputs: &[Input],
        wanted: &Wanted,
        rules: &RuleSet,
        parked_blamed: Option<&Fault>,
    ) -> Result<Committed, Setback> {
        let terms = Terms {
            rules,
            voice: Voice {
                source: &self.settings.source,
                link: &self.settings.link,
                now: to_microseconds((self.settings.clock)()),
            },
            held: *self.sink_up.borrow() && self.hands.is_some(),
            parking_ttl: self.settings.parking_ttl,
            parking_max: self.settings.parking_max,
            store_rule_set: self.rule_set_stored.as_ref() != Some(&rules.hash),
            parked_blamed,
        };
        let (settled, aside, clock) = (&self.settled, &mut self.aside, &self.settings.clock);
        let mut writes_rule_set = false;
        let mut decide = |snapshot: Snapshot| {
            let clocks = [terms.voice.now, snapshot.database_time, clock()];
            let changes = plan(inputs, settled, &terms, snapshot);
            aside.note(&changes, clocks);
            writes_rule_set = changes.rule_set.is_some();
            changes
        };
        match AssertUnwindSafe(self.store.turn(wanted, &mut decide)).catch_unwind().await {
            Ok(Ok(committed)) => {
                if writes_rule_set {
                    self.rule_set_stored = Some(rules.hash.clone());
                }
                Ok(committed)
            }
            Ok(Err(StoreError::Away(error))) => {
                // It may be another database that comes back: one restored from before.
                self.rule_set_stored = None;
                Err(Setback::Away(error.to_string()))
            }
            Ok(Err(StoreError::Refused(error))) => {
                let message = format!("the database refuses its content: {error}");
                Err(Setback::Poison(Poison { reason: Reason::AttemptsExhausted, message }))
            }
            Err(_panic) => {
                let message = "processing it ends in a crash; the log has the place".to_owned();
                Err(Setback::Poison(Poison { reason: Reason::CrashLoop, message }))
            }
        }
    }

    /// What follows from a committed turn, before anything else happens.
    fn committed(&mut self, ticked: bool, committed: &mut Committed) {
        self.settled = Settled::default();
        self.flush_at = None;
        if committed.outbox_full != self.outbox_full {
            self.outbox_full = committed.outbox_full;
            if self.outbox_full {
                error!(
                    "the outbox holds as much as outbox.max allows: consumption pauses until the broker takes events again"
                );
            } else {
                info!("the outbox has room again: consumption goes on");
            }
        }
        if ticked {
            self.marked = std::mem::take(&mut committed.marked);
            let at_once = committed.claims_full || committed.expired >= EXPIRED_MAX || self.marked.len() >= MARKED_MAX;
            self.next_tick = Instant::now() + if at_once { Duration::ZERO } else { TICK };
            if committed.claims_full {
                self.claims_max = (self.claims_max * 2).min(CLAIMS_MAX);
            }
        }
    }

    /// Handing over and acknowledging at once: neither waits for the other. When the sink goes down meanwhile the copy in
    /// memory is dropped: the rows come free by themselves.
    async fn hand_over_and_settle(
        &mut self,
        committed: Committed,
        begun: Instant,
        tag: Option<Tag>,
        outcomes: &[Outcome],
    ) {
        let hand = Hand { events: committed.outgoing, until: begun + PATIENCE };
        let (hands, mut sink_up) = (&self.hands, self.sink_up.clone());
        let hand_over = async {
            let Some(hands) = hands.as_ref().filter(|_| !hand.events.is_empty()) else { return };
            tokio::select! {
                biased;
                _ = hands.send(hand) => {}
                _ = sink_up.wait_for(|up| !up) => {}
            }
        };
        let source = &mut self.source;
        let settle = async {
            if let Some(tag) = tag {
                source.settle(tag, outcomes).await;
            }
        };
        tokio::join!(hand_over, settle);
    }

    /// No deliveries any more: wait for the last fates, write them, end.
    async fn finish(mut self) {
        self.hands = None;
        while let Some(fates) = self.fates.recv().await {
            self.note(fates);
        }
        if self.settled != Settled::default() {
            self.turns(Vec::new(), None).await;
        }
    }
}

#[cfg(test)]
mod tests;
