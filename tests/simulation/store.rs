//! The fake store: the port to [`super::database`], with its faults. One writer at a time, by a lock; a turn whose process
//! dies before its commit leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve::contract::digest::of_message;
use reprieve::store::{Changes, Committed, Outcome, Plan, Snapshot, Store, StoreError, Wanted};
use reprieve::worker::plan::suspects::{BUSY, LEFT_MAX};
use tokio::sync::{Mutex as Lock, watch};
use tokio::time::timeout;

use super::database::Logged;
use super::world::{Life, Poison, Shared, Step, World};

/// The longest a turn waits for the write lock, and for anything else.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// One exchange with the database.
const EXCHANGE: Duration = Duration::from_millis(3);

/// One instance's connection to the database.
pub(crate) struct SimStore {
    pub(crate) shared: Shared,
    pub(crate) life: Life,
    /// The one of the world, unless a planted bug has its own.
    pub(crate) write_lock: Arc<Lock<()>>,
    /// Ends the instance, as a message may do.
    pub(crate) end: watch::Sender<bool>,
}

/// What becomes of a COMMIT.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commit {
    Answered,
    ReplyLost,
    Undone,
}

fn away(what: &'static str) -> StoreError {
    StoreError::Away(what.into())
}

#[async_trait]
impl Store for SimStore {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        self.life.live(self.transaction(wanted, plan)).await
    }
}

impl SimStore {
    async fn transaction(&self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let shared = &self.shared;
        shared.pause(EXCHANGE).await;
        shared.with(|world| reach(world, world.rates.away_before))?;
        let began = shared.with(|world| world.database_time());
        let lock = timeout(ANSWER_WITHIN, self.write_lock.lock()).await.map_err(|_| away("lock_timeout"))?;
        self.work().await?;
        let (snapshot, claimed) = shared.with(|world| {
            let snapshot = world.database.snapshot(wanted, began);
            let claimed = snapshot.claimed.clone();
            (snapshot, claimed)
        });
        let expired = expired(&snapshot);
        let marked = shared.with(|world| world.database.marked(wanted.marked_max));
        let changes = plan(snapshot);
        self.work().await?;
        let verdict = shared.with(|world| judge(world, &changes));
        self.suffer(verdict).await?;
        let commit = shared.with(fate_of_commit);
        if commit == Commit::Undone {
            return Err(away("the reply to COMMIT did not come, and it did not happen"));
        }
        let committed = shared.with(|world| {
            let answered = commit == Commit::Answered;
            apply(world, self.life.instance, wanted, claimed, changes, began, answered)
        })?;
        drop(lock);
        if commit == Commit::ReplyLost {
            self.late().await;
            return Err(away("the reply to COMMIT did not come, but it happened"));
        }
        shared.pause(EXCHANGE).await;
        Ok(Committed { expired, marked, ..committed })
    }

    async fn suffer(&self, poison: Option<Poison>) -> Result<(), StoreError> {
        match poison {
            None => Ok(()),
            Some(Poison::Refused | Poison::RefusedLate) => Err(StoreError::Refused("22003: value out of range".into())),
            Some(Poison::Crash) => std::panic::resume_unwind(Box::new("a planted panic")),
            Some(Poison::Kill) => {
                self.end.send_replace(true);
                std::future::pending().await
            }
        }
    }

    /// Some statements: they take a while, a long one where it is slow, and may be cut short.
    async fn work(&self) -> Result<(), StoreError> {
        self.shared.pause(EXCHANGE).await;
        if self.shared.with(|world| world.hit(world.rates.slow)) {
            self.late().await;
        }
        self.shared.with(|world| reach(world, world.rates.away_inside))
    }

    async fn late(&self) {
        self.shared.pause(ANSWER_WITHIN).await;
    }
}

fn reach(world: &mut World, percent: u8) -> Result<(), StoreError> {
    if world.elapsed() < world.down_until || world.hit(percent) {
        return Err(away("no connection"));
    }
    Ok(())
}

fn fate_of_commit(world: &mut World) -> Commit {
    if world.hit(world.rates.commit_lost) {
        Commit::ReplyLost
    } else if world.hit(world.rates.commit_undone) {
        Commit::Undone
    } else {
        Commit::Answered
    }
}

/// How many of the parked events are shown because their time has come.
fn expired(snapshot: &Snapshot) -> usize {
    snapshot.parked.iter().filter(|row| row.event.expires_at <= snapshot.database_time).count()
}

/// What the worst of the events does that are not written as the failures they are.
fn judge(world: &World, changes: &Changes) -> Option<Poison> {
    let inbox = changes.inbox.iter().map(|row| (row.key, row.outcome));
    let healthy =
        inbox.chain(changes.ended.iter().copied()).filter(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)));
    let effects = healthy.filter_map(|(key, outcome)| {
        let poison = *world.poison.get(&key)?;
        (outcome != Outcome::Parked || poison != Poison::RefusedLate).then_some(poison)
    });
    let effects: Vec<_> = effects.collect();
    let worst = effects.iter().find(|poison| **poison == Poison::Kill);
    worst.or(effects.first()).copied()
}

fn apply(
    world: &mut World,
    instance: u64,
    wanted: &Wanted,
    claimed: Vec<reprieve::broker::Outgoing>,
    changes: Changes,
    began: reprieve::domain::dates::Timestamp,
    answered: bool,
) -> Result<Committed, StoreError> {
    blame(world, &changes);
    take_over(world, &changes);
    let next_row = world.database.next_row();
    let step = Step::Committed {
        instance,
        answered,
        inbox: changes.inbox.iter().map(|row| row.key).collect(),
        outbox: (next_row..).take(changes.outbox.len()).collect(),
        gone: changes.confirmed.len(),
        claimed: claimed.len(),
    };
    world.counts.turns += 1;
    if !changes.inbox.is_empty() || !changes.outbox.is_empty() || !changes.confirmed.is_empty() || !claimed.is_empty() {
        world.note(&step);
    }
    let confirmed = changes.confirmed.clone();
    match world.database.commit(wanted, claimed, changes, began) {
        Ok(committed) => {
            let told = world.confirmed.entry(instance).or_default();
            told.retain(|id| !confirmed.contains(id));
            Ok(committed)
        }
        Err(broken) => {
            world.violate(broken);
            Err(away("a constraint is broken: the run is over"))
        }
    }
}

/// Who failed for what processing it does must have deserved it: left dead instances behind, or be planted to do so. What was
/// planted may have been mended since the attempt, so the model is told.
fn blame(world: &mut World, changes: &Changes) {
    let first = changes.failures.iter().map(|failure| (failure, failure.reason));
    let again = changes.retried.iter().filter_map(|retried| {
        let failure = world.database.failures.values().find(|failure| failure.id == retried.id)?;
        Some((failure, retried.again.as_ref()?.reason))
    });
    let blamed: Vec<_> = first
        .chain(again)
        .filter(|(_, reason)| ["crash_loop", "attempts_exhausted"].contains(reason))
        .map(|(failure, reason)| (failure.event_key, of_message(&failure.properties, &failure.body), reason))
        .collect();
    let any_planted = blamed.iter().any(|(event, ..)| world.planted.contains_key(event));
    for (event, message, reason) in blamed {
        let left = world.left.get(&message).copied().unwrap_or_default();
        let deserved = match reason {
            "crash_loop" => world.planted.get(&event) == Some(&Poison::Crash) || left >= LEFT_MAX,
            _ => any_planted,
        };
        if !deserved {
            world.violate(format!("the event {event} failed as {reason}; {left} processes left it in the middle"));
        }
        world.counts.blamed += u64::from(reason == "crash_loop" && left > 0);
        world.database.log.push(Logged::Blamed(event, reason));
    }
}

/// A process that has stood still for long looks like one that has ended.
fn take_over(world: &mut World, changes: &Changes) {
    let now = world.database_time();
    for (key, note) in &changes.notes {
        let before = world.database.notes.get(key).filter(|before| before.run != note.run);
        let alive = before.filter(|before| !world.dead.contains(&before.run));
        if alive.is_some_and(|before| now >= before.at + BUSY) {
            *world.left.entry(*key).or_default() += 1;
        }
    }
}
