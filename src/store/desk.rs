//! The port of the operator's desk: failures, parked events and the outbox are looked at, and failures are marked. A mark
//! processes nothing: the worker takes marked rows through its ordinary door. The values that cross it are here too.

mod filter;

use async_trait::async_trait;
use uuid::Uuid;

use crate::contract::digest;
use crate::contract::message::Properties;
use crate::domain::dates::Timestamp;
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
pub use filter::{BadFilter, Cursor, FailureState, Filter, Limit};

/// The database did not do what was asked. Of a mark it is not known whether it was made; making it again does no harm.
#[derive(Debug, thiserror::Error)]
#[error("the database did not do what was asked: {0}")]
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
    /// Made from key and digest, or for an edit from what was edited and into what.
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
    /// The database's clock.
    pub received_at: Timestamp,
    /// The failure whose bytes were edited into these.
    pub edited_from: Option<Uuid>,
    /// The failure that these bytes were edited into, the last one if there are several.
    pub edited_to: Option<Uuid>,
    /// As it came, or as the editor said.
    pub properties: Properties,
    /// As it came, or as the editor said.
    pub body: Vec<u8>,
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub enum Verdict {
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
    pub fn verdict(self, state: FailureState) -> Verdict {
        match (self, state) {
            (mark, state) if mark.takes().contains(&state) => Verdict::Changed,
            (Mark::Retry, FailureState::Retrying | FailureState::Resolved) => Verdict::Already,
            (Mark::Discard, FailureState::Discarded) => Verdict::Already,
            _ => Verdict::Forbidden,
        }
    }
}

/// What filters find before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
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

/// Bytes to take the place of a failure's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// At most [`crate::contract::inbound::BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// Only if it is another.
    pub content_type: Option<String>,
}

impl Edit {
    /// The id of the failure that this makes of another one: the same edit twice is one.
    pub fn id(&self, old: Uuid, properties: &Properties) -> Uuid {
        let content_type = properties.content_type.as_deref().unwrap_or_default();
        let hash = digest::of_unreadable(&self.body, content_type);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:reprieve:{old}/{hash}").as_bytes())
    }

    /// The old properties, changed as far as the edit says. The new bytes are plain, whatever the old ones were encoded in.
    pub fn properties(&self, old: &Properties) -> Properties {
        let content_type = self.content_type.clone().or_else(|| old.content_type.clone());
        Properties { content_type, content_encoding: None, ..old.clone() }
    }
}

/// What became of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// A new failure, to be retried.
    Made(Uuid),
    /// It was made before; nothing changes.
    Already(Uuid),
    /// There is no failure with this id.
    Unknown,
    /// The failure is being retried, or is resolved.
    Forbidden(FailureState),
    /// This failure has the same event id and content.
    ChangesNothing(Uuid),
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
    async fn count(&self, filter: &Filter) -> Result<Tally, DeskError>;

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
        use Verdict::{Already, Changed, Forbidden};
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
            assert_eq!(mark.verdict(state), verdict, "{mark:?} of {state:?}");
        }
    }

    #[test]
    fn the_same_edit_has_the_same_id_and_another_has_another() {
        let old = Uuid::from_u128(7);
        let properties = |edit: &Edit| {
            let gzip = Properties { content_encoding: Some("gzip".into()), ..Properties::default() };
            edit.properties(&Properties { content_type: Some("application/json".into()), ..gzip })
        };
        let edit = |body: &str, content_type: Option<&str>| {
            let edit = Edit { body: body.into(), content_type: content_type.map(str::to_owned) };
            edit.id(old, &properties(&edit))
        };
        // Made once by an independent program.
        assert_eq!(edit("{}", None).to_string(), "563885a9-0870-5e24-b060-de4f4d587bcc");
        assert_eq!(edit("{}", None), edit("{}", Some("application/json")));
        assert_ne!(edit("{}", None), edit("{ }", None));
        assert_ne!(edit("{}", None), edit("{}", Some("application/cloudevents+json")));
        let plain = Edit { body: Vec::new(), content_type: None };
        assert_eq!(properties(&plain).content_encoding, None, "the new bytes are not compressed");
        assert_eq!(properties(&plain).content_type.as_deref(), Some("application/json"));
    }
}
