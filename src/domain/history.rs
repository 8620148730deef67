//! The append-only history of an exception, hash-chained over the bytes that are stored: an edited, missing or reordered
//! row breaks the chain, and the exception's own row keeps its end.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::actor::Actor;
use super::dates::Timestamp;
use super::ids::ExceptionId;

/// A SHA-256.
pub type Hash = [u8; 32];

/// The end of a chain: how many entries there are, and the hash of the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Entries so far.
    pub entries: u32,
    /// Hash of the last of them; zeros before the first.
    pub head: Hash,
}

/// Whether the event was applied or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryOutcome {
    /// It changed the exception.
    Applied,
    /// The business said no.
    Refused,
}

impl EntryOutcome {
    /// As stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            EntryOutcome::Applied => "applied",
            EntryOutcome::Refused => "refused",
        }
    }
}

/// The event behind an entry; timers have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRef {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Its `type`.
    #[serde(rename = "type")]
    pub event_type: String,
}

/// What happened, before it has a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The worker's clock, cut to microseconds.
    pub at: Timestamp,
    /// The command or timer.
    pub kind: &'static str,
    /// Who did it.
    pub actor: Actor,
    /// The event that asked for it.
    pub event: Option<EventRef>,
    /// What came of it.
    pub outcome: EntryOutcome,
    /// The code of a refusal.
    pub code: Option<&'static str>,
    /// The exception's revision afterwards.
    pub revision: u32,
    /// The event's `data`, byte for byte; empty for timers.
    pub body: String,
}

/// One row: what happened, its place, its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The exception it belongs to.
    pub exception_id: ExceptionId,
    /// Counts from 1 without gap.
    pub number: u32,
    /// What happened.
    pub happening: Happening,
    /// Over the hash before it and every field of this row.
    pub hash: Hash,
}

impl Chain {
    /// Appends one entry.
    pub fn append(&mut self, exception_id: &ExceptionId, happening: Happening) -> Entry {
        let number = self.entries + 1;
        let hash = link(&self.head, exception_id.as_str(), number, &happening.fields());
        *self = Chain { entries: number, head: hash };
        Entry { exception_id: exception_id.clone(), number, happening, hash }
    }
}

/// The hash of one entry: SHA-256 over the hash before it, the exception's id, the entry's number and its fields, each
/// field preceded by its length in 8 bytes, big-endian.
pub fn link(previous: &Hash, exception_id: &str, number: u32, fields: &[String]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous);
    let number = number.to_string();
    for field in [exception_id, &number].into_iter().chain(fields.iter().map(String::as_str)) {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    sha.finalize().into()
}

impl Happening {
    /// The fields as they are stored, in the order the hash takes them. An absent text is empty: sources, ids, types and
    /// codes never are.
    pub fn fields(&self) -> [String; 11] {
        let event = |pick: fn(&EventRef) -> &String| self.event.as_ref().map(pick).cloned().unwrap_or_default();
        [
            self.at.timestamp_micros().to_string(),
            self.kind.to_owned(),
            self.actor.id.clone(),
            self.actor.kind.word().to_owned(),
            event(|e| &e.source),
            event(|e| &e.id),
            event(|e| &e.event_type),
            self.outcome.word().to_owned(),
            self.code.unwrap_or_default().to_owned(),
            self.revision.to_string(),
            self.body.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::actor::ActorKind;
    use super::super::ids::hex;
    use super::*;

    fn happening(body: &str) -> Happening {
        Happening {
            at: super::super::dates::parse_time("2026-11-24T09:00:00.123456Z").unwrap(),
            kind: "submitted",
            actor: Actor { id: "zoe@example.com".into(), kind: ActorKind::User },
            event: Some(EventRef { source: "s".into(), id: "1".into(), event_type: "exception.submitted.v1".into() }),
            outcome: EntryOutcome::Applied,
            code: None,
            revision: 1,
            body: body.into(),
        }
    }

    #[test]
    fn each_entry_hangs_on_the_one_before() {
        let id = ExceptionId::parse("EX-1").unwrap();
        let (mut one, mut two) = (Chain::default(), Chain::default());
        let first = one.append(&id, happening("{}"));
        let edited = two.append(&id, happening("{ }"));
        assert_ne!(first.hash, edited.hash);
        assert_ne!(one.append(&id, happening("x")).hash, two.append(&id, happening("x")).hash);
        assert_eq!(one.entries, 2);
    }

    /// Two fixed links, made once by an independent program: what is stored has to be verifiable for ever.
    #[test]
    fn the_hash_is_what_it_always_was() {
        let id = ExceptionId::parse("EX-1").unwrap();
        let mut chain = Chain::default();
        let first = chain.append(&id, happening(r#"{"é":1}"#));
        let refused =
            Happening { event: None, outcome: EntryOutcome::Refused, code: Some("exception_exists"), ..happening("") };
        let second = chain.append(&id, refused);
        assert_eq!(hex(&first.hash), "f4a2d66e57d24cc788ce528f1f9c4143a01c44d3ce90a548dc17df59156484ef");
        assert_eq!(hex(&second.hash), "93cc5ea4aefdfcecbf603c3e4ab67974691d2f22698f0b3a06a924d50af89b8c");
        assert_eq!(chain, Chain { entries: 2, head: second.hash });
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_hash() {
        let (a, b) = (["ab".to_owned(), "c".to_owned()], ["a".to_owned(), "bc".to_owned()]);
        assert_ne!(link(&[0; 32], "EX-1", 1, &a), link(&[0; 32], "EX-1", 1, &b));
    }
}
