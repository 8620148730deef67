//! From the stored rows of the desk to what it shows: what every store does alike.

use uuid::Uuid;

use super::{FailureState, Page, ParkedEvent};
use crate::contract::inbound::{Message, decode};
use crate::domain::dates::Timestamp;
use crate::store::ParkedId;
use crate::store::rows::{BadRow, properties};

/// Bodies on one page. With the largest that are processed these are 16 rows; a page of ordinary ones is full long before.
pub(in crate::store) const PAGE_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// The items of a page. `found` is how many were found up to one more than was asked for; `place` is where the next begins.
pub(in crate::store) fn page<T, C>(items: Vec<T>, found: Option<i64>, place: impl FnOnce(&T) -> C) -> Page<T, C> {
    let more = found.and_then(|found| usize::try_from(found).ok()).is_some_and(|found| found > items.len());
    Page { next: items.last().filter(|_| more).map(place), items }
}

/// A count, which no database gives below zero.
pub(in crate::store) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The state that a stored word means.
pub(in crate::store) fn state(id: Uuid, word: &str) -> Result<FailureState, BadRow> {
    word.parse().map_err(|error| BadRow::unreadable("failure", &id.to_string(), &error))
}

/// The columns a parked event is shown from.
pub(in crate::store) struct ParkedColumns {
    pub(in crate::store) id: ParkedId,
    pub(in crate::store) exception_id: String,
    pub(in crate::store) parked_at: Timestamp,
    pub(in crate::store) expires_at: Timestamp,
    pub(in crate::store) properties: String,
    pub(in crate::store) body: Vec<u8>,
}

/// The row keeps the event as it came: what it is called is read from it once more.
pub(in crate::store) fn parked(row: ParkedColumns) -> ParkedEvent {
    let ParkedColumns { id, exception_id, parked_at, expires_at, properties: stored, body } = row;
    let properties = properties("parked event", &id, &stored);
    let inbound = decode(&Message::of(&properties, &body));
    ParkedEvent {
        id,
        source: inbound.source,
        event_id: inbound.id,
        event_type: inbound.event_type,
        exception_id,
        parked_at,
        expires_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_next_one_if_more_was_found() {
        for (items, found, next) in [
            (vec![], None, None),
            (vec![1, 2], Some(2), None),
            (vec![1, 2], Some(3), Some(2)),
            (vec![1], Some(3), Some(1)),
        ] {
            assert_eq!(page(items.clone(), found, |last| *last).next, next, "{items:?} of {found:?}");
        }
    }
}
