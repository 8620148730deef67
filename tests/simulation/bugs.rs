//! Planted bugs: each wraps a port, or what goes into and comes out of the plan. The worker has no switch for them; the
//! oracle has to find every one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use reprieve::broker::{Batch, Delivery, Fate, Outgoing, Sink, Source, Tag};
use reprieve::store::{
    Changes, Committed, End, LastFailure, OutboxId, Outcome, Plan, Snapshot, Store, StoreError, Wanted,
};

/// What can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The inbox is not asked.
    SeenDropped,
    /// Recorded contents of a known id are not asked for.
    ConflictsForgotten,
    /// The other live exceptions of a ticket are not read.
    SiblingsForgotten,
    /// What waited is released last in, first out.
    ParkedReversed,
    /// What waits for a submission is not read with it.
    ParkedForgotten,
    /// A history entry is not written.
    HistoryDropped,
    /// An outgoing event is not written.
    OutputDropped,
    /// A failure does not hold the bytes.
    FailureBytesLost,
    /// Rows leave the outbox when they are handed over.
    DeletedAtHandOver,
    /// Rows nobody holds are never claimed.
    NeverClaimed,
    /// A COMMIT without reply counts as done.
    LostReplyIsSuccess,
    /// Several turns at a time.
    NoWriterLock,
    /// Acknowledged when taken.
    SettledFirst,
    /// A tag of a lost connection acknowledges on the new one.
    OldTagAccepted,
    /// One delivery is kept for later, and the batch around it acknowledged.
    SetAside,
    /// What found no queue counts as published.
    UnroutableConfirmed,
    /// What nobody knows about counts as published.
    UnknownConfirmed,
    /// A second publish makes the event anew.
    OtherBytes,
    /// Notes about suspects are not read.
    NotesForgotten,
    /// What became of a failure that was tried again is not written.
    RetriedDropped,
    /// A failure that failed again counts as resolved.
    AgainIsResolved,
    /// The inbox does not say what has had no effect.
    FailedForgotten,
    /// A failure counts as marked whatever another instance did with it.
    MarkedForEver,
    /// Nobody's open assignments are read.
    LoadForgotten,
    /// What a turn changes of them is not written.
    LoadDropped,
    /// Whose reviews are over keeps them in the count.
    LoadOnlyGrows,
    /// The rules behind an assignment are not stored.
    RuleSetDropped,
}

impl Bug {
    /// All of them.
    pub(crate) const ALL: [Bug; 27] = [
        Bug::SeenDropped,
        Bug::ConflictsForgotten,
        Bug::SiblingsForgotten,
        Bug::ParkedReversed,
        Bug::ParkedForgotten,
        Bug::HistoryDropped,
        Bug::OutputDropped,
        Bug::FailureBytesLost,
        Bug::DeletedAtHandOver,
        Bug::NeverClaimed,
        Bug::LostReplyIsSuccess,
        Bug::NoWriterLock,
        Bug::SettledFirst,
        Bug::OldTagAccepted,
        Bug::SetAside,
        Bug::UnroutableConfirmed,
        Bug::UnknownConfirmed,
        Bug::OtherBytes,
        Bug::NotesForgotten,
        Bug::RetriedDropped,
        Bug::AgainIsResolved,
        Bug::FailedForgotten,
        Bug::MarkedForEver,
        Bug::LoadForgotten,
        Bug::LoadDropped,
        Bug::LoadOnlyGrows,
        Bug::RuleSetDropped,
    ];

    /// The store with the bug in it.
    pub(crate) fn store(self, inner: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(BuggyStore { inner, bug: self, handed: Vec::new() })
    }

    /// The source with the bug in it. `generation` is that of the source's present connection.
    pub(crate) fn source(self, inner: Box<dyn Source>, generation: Arc<AtomicU64>) -> Box<dyn Source> {
        Box::new(BuggySource { inner, bug: self, generation, aside: VecDeque::new() })
    }

    /// The sink with the bug in it.
    pub(crate) fn sink(self, inner: Box<dyn Sink>) -> Box<dyn Sink> {
        Box::new(BuggySink { inner, bug: self, again: BTreeSet::new() })
    }
}

struct BuggyStore {
    inner: Box<dyn Store>,
    bug: Bug,
    handed: Vec<OutboxId>,
}

#[async_trait]
impl Store for BuggyStore {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let bug = self.bug;
        let mut wanted = wanted.clone();
        if bug == Bug::NeverClaimed {
            wanted.claims_max = 0;
        }
        let (asked, handed, mut outcomes) = (wanted.clone(), &self.handed, None);
        let mut wrapped = |mut snapshot: Snapshot| {
            bug.spoil_snapshot(&mut snapshot, &asked);
            let mut changes = plan(snapshot);
            bug.spoil_changes(&mut changes);
            if bug == Bug::DeletedAtHandOver {
                changes.confirmed.extend(handed);
            }
            outcomes = Some(changes.outcomes.clone());
            changes
        };
        let result = self.inner.turn(&wanted, &mut wrapped).await;
        match (result, outcomes) {
            (Err(StoreError::Away(_)), Some(outcomes)) if bug == Bug::LostReplyIsSuccess => {
                Ok(Committed { outcomes, ..Committed::default() })
            }
            (Ok(committed), _) => {
                self.handed = committed.outgoing.iter().map(|event| event.id).collect();
                Ok(committed)
            }
            (result, _) => result,
        }
    }
}

impl Bug {
    fn spoil_snapshot(self, snapshot: &mut Snapshot, wanted: &Wanted) {
        match self {
            Bug::SeenDropped => snapshot.seen.clear(),
            Bug::ConflictsForgotten => snapshot.seen.values_mut().for_each(|seen| seen.conflicts.clear()),
            Bug::NotesForgotten => snapshot.notes.clear(),
            Bug::LoadForgotten => snapshot.load.clear(),
            Bug::FailedForgotten => snapshot.seen.values_mut().for_each(|seen| seen.failed = false),
            Bug::MarkedForEver => {
                let mark = LastFailure { reason: "schema".to_owned(), announced: BTreeSet::new() };
                snapshot.marked = wanted.failures.iter().map(|id| (*id, mark.clone())).collect();
            }
            Bug::SiblingsForgotten => snapshot.exceptions.retain(|id, _| wanted.exceptions.contains(id)),
            Bug::ParkedForgotten => snapshot.parked.retain(|row| row.event.expires_at <= snapshot.database_time),
            Bug::ParkedReversed => {
                let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
                for row in &snapshot.parked {
                    events.entry(row.event.exception_id.clone()).or_default().push(row.event.clone());
                }
                for row in &mut snapshot.parked {
                    row.event = events.get_mut(&row.event.exception_id).and_then(Vec::pop).unwrap();
                }
            }
            _ => {}
        }
    }

    fn spoil_changes(self, changes: &mut Changes) {
        match self {
            Bug::HistoryDropped => drop(changes.history.pop()),
            Bug::OutputDropped => drop(changes.outbox.pop()),
            Bug::RetriedDropped => changes.retried.clear(),
            Bug::AgainIsResolved => {
                changes.retried.iter_mut().for_each(|retried| retried.end = End::Ended(Outcome::Applied));
            }
            Bug::LoadDropped => changes.load.clear(),
            Bug::LoadOnlyGrows => changes.load.retain(|_, difference| *difference > 0),
            Bug::RuleSetDropped => changes.rule_set = None,
            Bug::FailureBytesLost => changes.failures.iter_mut().for_each(|failure| failure.body.clear()),
            _ => {}
        }
    }
}

struct BuggySource {
    inner: Box<dyn Source>,
    bug: Bug,
    generation: Arc<AtomicU64>,
    aside: VecDeque<(Tag, Delivery)>,
}

#[async_trait]
impl Source for BuggySource {
    async fn next(&mut self, max: usize) -> Option<Batch> {
        if let Some((tag, delivery)) = self.aside.pop_front() {
            return Some(Batch { tag, deliveries: vec![delivery] });
        }
        let mut batch = self.inner.next(max).await?;
        if self.bug == Bug::SetAside && batch.deliveries.len() > 1 {
            self.aside.push_back((batch.tag, batch.deliveries.remove(0)));
        }
        if self.bug == Bug::SettledFirst {
            let outcomes = vec![Outcome::Applied; batch.deliveries.len()];
            self.inner.settle(batch.tag, &outcomes).await;
        }
        Some(batch)
    }

    async fn settle(&mut self, tag: Tag, outcomes: &[Outcome]) {
        if self.bug == Bug::OldTagAccepted {
            // The new connection comes up, and its deliveries with it, before the acknowledgement is sent.
            self.inner.settle(Tag { generation: u64::MAX, ..tag }, outcomes).await;
            let generation = self.generation.load(Ordering::Relaxed);
            return self.inner.settle(Tag { generation, ..tag }, outcomes).await;
        }
        let mut outcomes = outcomes.to_vec();
        outcomes.extend(self.aside.iter().filter(|(of, _)| *of == tag).map(|_| Outcome::Applied));
        self.inner.settle(tag, &outcomes).await;
    }

    async fn stop(&mut self) {
        self.inner.stop().await;
    }

    async fn release(&mut self) {
        self.inner.release().await;
    }
}

struct BuggySink {
    inner: Box<dyn Sink>,
    bug: Bug,
    again: BTreeSet<OutboxId>,
}

#[async_trait]
impl Sink for BuggySink {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }

    async fn publish(&mut self, events: &[Outgoing]) -> Vec<Fate> {
        let mut events = events.to_vec();
        if self.bug == Bug::OtherBytes {
            for event in events.iter_mut().filter(|event| !self.again.insert(event.id)) {
                event.body.push(' ');
            }
        }
        let mut fates = self.inner.publish(&events).await;
        let wrong = match self.bug {
            Bug::UnroutableConfirmed => Fate::Unroutable,
            Bug::UnknownConfirmed => Fate::Unknown,
            _ => return fates,
        };
        fates.iter_mut().filter(|fate| **fate == wrong).for_each(|fate| *fate = Fate::Confirmed);
        fates
    }
}
