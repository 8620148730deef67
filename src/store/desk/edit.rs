//! An edit, and what becomes of it: values only. A store reads the two rows that are asked about here, and writes what this says.

use uuid::Uuid;

use super::{FailureState, Mark};
use crate::contract::inbound::{Inbound, Message, decode};
use crate::contract::message::Properties;
use crate::contract::reason::Reason;
use crate::store::rows::storable;
use crate::store::{FailureId, failure_id};

/// Bytes to take the place of a failure's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// At most [`crate::contract::inbound::BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// Only if it is another.
    pub content_type: Option<String>,
}

impl Edit {
    /// The old properties, changed as far as the edit says. The new bytes are plain, whatever the old ones were encoded in.
    pub fn properties(&self, old: &Properties) -> Properties {
        let content_type = self.content_type.clone().or_else(|| old.content_type.clone());
        Properties { content_type, content_encoding: None, ..old.clone() }
    }
}

/// What became of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// A new failure, to be retried; and what is still wrong with it, if something is.
    Made(Uuid, Option<String>),
    /// It was made before; nothing changes.
    Already(Uuid),
    /// There is no failure with this id.
    Unknown,
    /// The failure is being retried, or is resolved.
    Forbidden(FailureState),
    /// This failure has the same event id and content.
    ChangesNothing(Uuid),
    /// Not the bytes were wrong but who sent them, and that no edit changes.
    NotTheBytes,
}

/// The failure that is edited.
pub(in crate::store) struct Old {
    pub(in crate::store) id: FailureId,
    pub(in crate::store) state: FailureState,
    pub(in crate::store) reason: String,
    pub(in crate::store) properties: Properties,
}

/// A failure that has the event id and the content of the new bytes already.
pub(in crate::store) struct Same {
    pub(in crate::store) id: FailureId,
    pub(in crate::store) edited_from: Option<FailureId>,
}

/// The failure that the new bytes are. Its reason, message and fingerprint are those of the old one: nobody has looked at the
/// new bytes yet.
pub(in crate::store) struct New {
    pub(in crate::store) id: FailureId,
    pub(in crate::store) properties: Properties,
    pub(in crate::store) inbound: Inbound,
}

impl New {
    /// As the new bytes are read; or why no bytes would help.
    pub(in crate::store) fn of(edit: &Edit, old: &Old) -> Result<Self, Edited> {
        if [Reason::Unauthenticated, Reason::Unauthorized].iter().any(|turned_away| turned_away.word() == old.reason) {
            return Err(Edited::NotTheBytes);
        }
        let properties = edit.properties(&old.properties);
        let mut inbound = decode(&Message::of(&properties, &edit.body));
        let id = failure_id(inbound.key, inbound.digest);
        inbound.source = storable(&inbound.source);
        inbound.id = storable(&inbound.id);
        inbound.event_type = inbound.event_type.as_deref().map(storable);
        Ok(Self { id, properties, inbound })
    }

    /// Why it is not to be written, if it is not.
    pub(in crate::store) fn against(old: &Old, same: Option<&Same>) -> Option<Edited> {
        match same {
            Some(same) if same.edited_from == Some(old.id) => Some(Edited::Already(same.id)),
            _ if !Mark::Retry.takes().contains(&old.state) => Some(Edited::Forbidden(old.state)),
            Some(same) => Some(Edited::ChangesNothing(same.id)),
            None => None,
        }
    }

    /// Once it is written.
    pub(in crate::store) fn made(self) -> Edited {
        Edited::Made(self.id, self.inbound.content.err().map(|fault| fault.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(state: FailureState, reason: &str) -> Old {
        let properties = Properties {
            content_type: Some("application/json".into()),
            content_encoding: Some("gzip".into()),
            user_id: Some("ticketing".into()),
            ..Properties::default()
        };
        Old { id: Uuid::from_u128(1), state, reason: reason.into(), properties }
    }

    #[test]
    fn an_edit_takes_the_old_properties_along() {
        let old = old(FailureState::Open, "schema").properties;
        let new = |content_type: Option<&str>| {
            Edit { body: Vec::new(), content_type: content_type.map(str::to_owned) }.properties(&old)
        };
        assert_eq!(new(None), Properties { content_encoding: None, ..old.clone() }, "the new bytes are not compressed");
        assert_eq!(new(Some("a/b")).content_type.as_deref(), Some("a/b"));
    }

    #[test]
    fn what_was_turned_away_is_not_edited() {
        let edit = Edit { body: b"{}".to_vec(), content_type: None };
        for reason in ["unauthenticated", "unauthorized"] {
            let new = New::of(&edit, &old(FailureState::Open, reason));
            assert_eq!(new.err(), Some(Edited::NotTheBytes), "{reason}");
        }
        assert!(New::of(&edit, &old(FailureState::Open, "schema")).is_ok());
    }

    #[test]
    fn what_becomes_of_an_edit_depends_on_the_failure_and_on_what_is_there() {
        use Edited::{Already, ChangesNothing, Forbidden};
        use FailureState::{Discarded, Open, Resolved, Retrying};
        let other = Uuid::from_u128(2);
        let (unrelated, from_it, from_another) = (Some(None), Some(Some(1)), Some(Some(9)));
        for (state, same, against) in [
            (Open, None, None),
            (Discarded, None, None),
            (Retrying, None, Some(Forbidden(Retrying))),
            (Resolved, None, Some(Forbidden(Resolved))),
            (Open, unrelated, Some(ChangesNothing(other))),
            (Discarded, from_another, Some(ChangesNothing(other))),
            (Retrying, unrelated, Some(Forbidden(Retrying))),
            (Discarded, from_it, Some(Already(other))),
            (Resolved, from_it, Some(Already(other))),
        ] {
            let there = same.map(|from: Option<u128>| Same { id: other, edited_from: from.map(Uuid::from_u128) });
            assert_eq!(New::against(&old(state, "schema"), there.as_ref()), against, "{state} {same:?}");
        }
    }
}
