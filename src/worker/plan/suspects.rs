//! Who is suspected of ending the whole process: a message is noted before it is read, and the note goes with the turn that
//! settles it. A note that another process has left lying is a try that did not come to its end.

use std::time::Duration;

use uuid::Uuid;

use crate::store::{Changes, MessageKey, Note, Snapshot};

/// So many processes left a message unsettled that each of them had alone: it becomes a failure. One can be an accident.
pub const LEFT_MAX: u16 = 2;

/// After so many it is not even read: reading it may be what ends them. More than [`LEFT_MAX`], because what is not read has
/// lost its name, and a process may end for reasons of its own while it writes the failure.
pub const UNREAD_FROM: u16 = 5;

/// So long a note is another process's business: that process may be alive, and busy with the message. Far longer than a
/// turn takes; one that takes longer looks like the end of its process, which does no harm once.
pub const BUSY: Duration = Duration::from_secs(5);

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is noted for this process; so many others left it unsettled.
    Noted(u16),
    /// Others left it unsettled: it has to be noted and looked at alone, or it would be noted for another's deed.
    Left,
    /// Another process has it.
    Busy,
}

/// Notes the messages for this process.
pub fn note(keys: &[MessageKey], run: Uuid, snapshot: &Snapshot) -> (Vec<Standing>, Changes) {
    let mut changes = Changes::default();
    let at = snapshot.database_time;
    let mut standing = |key: &MessageKey| {
        let before = snapshot.notes.get(key);
        // One from the future was written by a clock that has jumped.
        if before.is_some_and(|note| note.run != run && note.at <= at && at < note.at + BUSY) {
            return Standing::Busy;
        }
        let left = before.map_or(0, |note| note.tries.saturating_sub(u16::from(note.run == run)));
        if left > 0 && keys.len() > 1 {
            return Standing::Left;
        }
        changes.notes.push((*key, Note { run, tries: left.saturating_add(1), at }));
        Standing::Noted(left)
    };
    let standings = keys.iter().map(&mut standing).collect();
    (standings, changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dates::{Timestamp, parse_time};
    use crate::domain::ids::Digest;

    const HERE: Uuid = Uuid::from_u128(1);
    const THERE: Uuid = Uuid::from_u128(2);

    fn now() -> Timestamp {
        parse_time("2026-11-24T09:00:00Z").unwrap()
    }

    /// Notes there are, with their age in seconds; keys to note; how they stand; tries that are written.
    #[track_caller]
    fn check(notes: &[(u8, Uuid, u16, i64)], keys: &[u8], standings: &[Standing], written: &[(u8, u16)]) {
        let key = |key: u8| Digest([key; 16]);
        let notes = notes.iter().map(|(name, run, tries, age)| {
            (key(*name), Note { run: *run, tries: *tries, at: now() - chrono::Duration::seconds(*age) })
        });
        let snapshot = Snapshot { notes: notes.collect(), database_time: now(), ..Snapshot::default() };
        let keys: Vec<_> = keys.iter().map(|name| key(*name)).collect();
        let (found, changes) = note(&keys, HERE, &snapshot);
        assert_eq!(found, standings);
        let written: Vec<_> =
            written.iter().map(|(name, tries)| (key(*name), Note { run: HERE, tries: *tries, at: now() })).collect();
        assert_eq!(changes.notes, written);
    }

    #[test]
    fn a_try_counts_when_its_process_has_left_it() {
        check(&[], &[7], &[Standing::Noted(0)], &[(7, 1)]);
        check(&[(7, THERE, 1, 5)], &[7], &[Standing::Noted(1)], &[(7, 2)]);
        check(&[(7, THERE, 2, 60)], &[7], &[Standing::Noted(2)], &[(7, 3)]);
        check(&[(7, THERE, u16::MAX, 60)], &[7], &[Standing::Noted(u16::MAX)], &[(7, u16::MAX)]);
    }

    #[test]
    fn what_another_process_is_busy_with_is_left_to_it() {
        check(&[(7, THERE, 1, 4)], &[7], &[Standing::Busy], &[]);
        check(&[(7, THERE, 1, 0)], &[7], &[Standing::Busy], &[]);
        check(&[(7, THERE, 1, -1)], &[7], &[Standing::Noted(1)], &[(7, 2)]);
    }

    #[test]
    fn the_same_process_trying_again_is_no_new_try() {
        check(&[(7, HERE, 1, 0)], &[7], &[Standing::Noted(0)], &[(7, 1)]);
        check(&[(7, HERE, 2, 60)], &[7], &[Standing::Noted(1)], &[(7, 2)]);
    }

    #[test]
    fn in_company_only_the_unsuspected_are_noted() {
        let notes = [(7, THERE, 1, 60), (8, HERE, 1, 0), (9, THERE, 1, 0)];
        let standings = [Standing::Noted(0), Standing::Left, Standing::Noted(0), Standing::Busy];
        check(&notes, &[6, 7, 8, 9], &standings, &[(6, 1), (8, 1)]);
    }
}
