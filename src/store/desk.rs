//! The port of the operator's desk: failures, parked events and the outbox are looked at, and failures are marked. A mark
//! processes nothing: the worker takes marked rows through its ordinary door. The values that cross it are here too.

mod edit;
mod filter;
mod stored;

use async_trait::async_trait;
use uuid::Uuid;

use crate::contract::inbound::BODY_BYTES_MAX;
use crate::contract::message::Properties;
use crate::domain::dates::Timestamp;
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
pub use edit::{Edit, Edited};
pub(super) use edit::{New, Old, Same};
pub use filter::{BadFilter, Cursor, FailureState, Filter, Limit};
pub(super) use stored::{PAGE_BYTES_MAX, ParkedColumns, page, parked, state, unsigned};

/// The database did not do what was asked. Of a mark it is not known whether it was made; making it again does no harm.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeskError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// One part of a list, and where the next part begins, if there is one.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    /// In order.
    pub items: Vec<T>,
    /// Given back, it begins the next page.
    pub next: Option<C>,
}

/// A failure as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFailure {
    /// Made from key and digest.
    pub id: Uuid,
    /// Where it is on its way.
    pub state: FailureState,
    /// A word of the closed list.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// Failures of one kind have the same.
    pub fingerprint: String,
    /// The event's `source`, or what stands in for it.
    pub source: String,
    /// The event's `id`, or what stands in for it.
    pub event_id: String,
    /// Where it could be read.
    pub event_type: Option<String>,
    /// Where it could be read.
    pub exception_id: Option<String>,
    /// How often it was retried and failed again.
    pub attempts: u32,
    /// What became of its event when it was retried and did not fail again: `applied`, `refused`, `parked` or `repeated`.
    pub outcome: Option<String>,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The database's clock.
    pub received_at: Timestamp,
    /// The failure whose bytes were edited into these.
    pub edited_from: Option<Uuid>,
    /// The failure that these bytes were edited into, the last one if there are several.
    pub edited_to: Option<Uuid>,
    /// As it came, or as the editor said.
    pub properties: Properties,
    /// As it came, or as the editor said; of a very long one only the first [`SHOWN_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// How long it is.
    pub body_bytes: u64,
}

/// Most bytes of a body that are shown. No shorter than what is processed: only what failed for its length is cut.
pub const SHOWN_BYTES_MAX: usize = BODY_BYTES_MAX;

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Reason, type and the place in the event.
    pub fingerprint: String,
    /// A word of the closed list.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The oldest.
    pub first_at: Timestamp,
    /// The newest.
    pub last_at: Timestamp,
    /// The newest.
    pub example: Uuid,
}

/// An event that waits for its submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its row; the order of arrival.
    pub id: ParkedId,
    /// The event's `source`.
    pub source: String,
    /// The event's `id`.
    pub event_id: String,
    /// The event's `type`.
    pub event_type: Option<String>,
    /// What it waits for.
    pub exception_id: String,
    /// The database's clock.
    pub parked_at: Timestamp,
    /// When it becomes a failure.
    pub expires_at: Timestamp,
}

/// What is to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// All rows.
    pub pending: u64,
    /// Of these, the ones that found no queue.
    pub unroutable: u64,
    /// Seconds since the oldest was written.
    pub oldest_age_s: Option<u64>,
}

/// What a person decides about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The worker tries it again.
    Retry,
    /// Nobody looks at it again.
    Discard,
}

/// What a mark comes to, by the state it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkEffect {
    /// It is made.
    Changed,
    /// It was made before, or what it asks for has happened: nothing changes.
    Already,
    /// The state forbids it.
    Forbidden,
}

impl Mark {
    /// The states it may be made in.
    pub fn takes(self) -> &'static [FailureState] {
        match self {
            Mark::Retry => &[FailureState::Open, FailureState::Discarded],
            Mark::Discard => &[FailureState::Open],
        }
    }

    /// The state that it makes.
    pub fn makes(self) -> FailureState {
        match self {
            Mark::Retry => FailureState::Retrying,
            Mark::Discard => FailureState::Discarded,
        }
    }

    /// What it comes to on a failure in this state. A second click is no mistake.
    pub fn effect(self, state: FailureState) -> MarkEffect {
        match (self, state) {
            (mark, state) if mark.takes().contains(&state) => MarkEffect::Changed,
            (Mark::Retry, FailureState::Retrying | FailureState::Resolved) => MarkEffect::Already,
            (Mark::Discard, FailureState::Discarded) => MarkEffect::Already,
            _ => MarkEffect::Forbidden,
        }
    }
}

/// What filters find before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterCount {
    /// How many.
    pub count: u64,
    /// The database's clock at that time: what comes later was not counted.
    pub as_of: Timestamp,
}

/// One step of marking many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many it marked.
    pub changed: u64,
    /// Where the next begins; without one there is nothing left.
    pub next: Option<Cursor>,
}

/// What an operator sees and does; on its own connections, never the worker's.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Failures, the newest first. A page also ends when its bodies become many bytes.
    async fn failures(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Page<StoredFailure, Cursor>, DeskError>;

    /// One failure.
    async fn failure(&self, id: Uuid) -> Result<Option<StoredFailure>, DeskError>;

    /// All bytes of one failure.
    async fn body(&self, id: Uuid) -> Result<Option<Vec<u8>>, DeskError>;

    /// Failures by their kind, the most frequent first.
    async fn groups(&self, filter: &Filter, limit: Limit) -> Result<Vec<Group>, DeskError>;

    /// Parked events in the order of arrival, of one exception or of all.
    async fn parked(
        &self,
        exception: Option<&ExceptionId>,
        after: Option<ParkedId>,
        limit: Limit,
    ) -> Result<Page<ParkedEvent, ParkedId>, DeskError>;

    /// The outbox.
    async fn outbox(&self) -> Result<OutboxState, DeskError>;

    /// How many failures the filter finds.
    async fn count(&self, filter: &Filter) -> Result<FilterCount, DeskError>;

    /// The states of these failures, without those that are not there.
    async fn states(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError>;

    /// Marks these failures, all in one transaction, and gives the states in which they were found.
    async fn mark(&self, mark: Mark, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError>;

    /// Marks the next of those the filter finds, oldest first, at most `limit` in one transaction.
    async fn mark_next(
        &self,
        mark: Mark,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Step, DeskError>;

    /// Puts other bytes in the place of a failure's. The old failure keeps its own and is discarded.
    async fn edit(&self, id: Uuid, edit: &Edit) -> Result<Edited, DeskError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_made_once_and_only_where_it_makes_sense() {
        use FailureState::{Discarded, Open, Resolved, Retrying};
        use MarkEffect::{Already, Changed, Forbidden};
        for (mark, state, verdict) in [
            (Mark::Retry, Open, Changed),
            (Mark::Retry, Discarded, Changed),
            (Mark::Retry, Retrying, Already),
            (Mark::Retry, Resolved, Already),
            (Mark::Discard, Open, Changed),
            (Mark::Discard, Discarded, Already),
            (Mark::Discard, Retrying, Forbidden),
            (Mark::Discard, Resolved, Forbidden),
        ] {
            assert_eq!(mark.effect(state), verdict, "{mark:?} of {state:?}");
        }
    }
}
