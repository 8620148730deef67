//! The fake store: the port to [`super::database`], with its faults. One writer at a time, by a lock; a turn whose process
//! dies before its commit leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve::store::{Changes, Committed, Outcome, Plan, Snapshot, Store, StoreError, Wanted};
use tokio::sync::Mutex as Lock;
use tokio::time::timeout;

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
        let changes = plan(snapshot);
        self.work().await?;
        shared.with(|world| refuse(world, &changes))?;
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
        Ok(Committed { expired, ..committed })
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

/// What a poisonous event does, unless it is written as the failure it is.
fn refuse(world: &World, changes: &Changes) -> Result<(), StoreError> {
    let healthy = |outcome: Outcome| !matches!(outcome, Outcome::Failed(_));
    let mut rows = changes.inbox.iter().filter(|row| healthy(row.outcome));
    match rows.find_map(|row| world.poison.get(&row.key)) {
        Some(Poison::Refused) => Err(StoreError::Refused("22003: value out of range".into())),
        Some(Poison::Crash) => std::panic::resume_unwind(Box::new("a planted panic")),
        None => Ok(()),
    }
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
