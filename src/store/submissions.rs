//! The port to what was submitted, and what was known then: for `rules explain` and `rules diff`, which ask again how a request is
//! routed. What became of a request: [`super::Views`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::NaiveDate;

use super::ViewError;
use super::rows::BadRow;
use crate::domain::dates::Timestamp;
use crate::domain::exception::{Exception, Status};
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::ticket::Ticket;

/// Submissions of one page. The largest are a quarter of a MiB, so a page is at most 50 MiB and mostly far below one.
pub(super) const PAGE_ROWS: i64 = 200;

/// Where a page ended.
pub type Cursor = i64;

/// Looks at what was submitted; on connections of its own, never the worker's.
#[async_trait]
pub trait Submissions: Send + Sync {
    /// The submission of an exception.
    async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError>;

    /// The page of submissions before a place, newest first, and where it ended; the first page has no place before it.
    async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError>;

    /// The rules file of a hash.
    async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError>;
}

/// A submission that was applied.
#[derive(Debug)]
pub struct Submitted {
    /// What became of it.
    pub exception: Exception,
    /// When it was applied, by the worker's clock.
    pub at: Timestamp,
    /// Its `data`, byte for byte.
    pub data: String,
    /// The ticket as the exceptions before this one left it. Exact but for requests of one ticket that were applied in one turn.
    pub ticket: Ticket,
    pub(super) key: i64,
}

impl Submitted {
    /// As its row, the first entry of its history and its ticket's row have it. The first entry is the submission that was
    /// applied: one that is refused makes no exception. The ticket is as it is now.
    pub(super) fn of(key: i64, exception: Exception, first: First) -> Result<Self, BadRow> {
        let First { kind, at, data, earliest_due_date, approved } = first;
        if kind != "submitted" {
            let why = format!("it begins with {kind}");
            return Err(BadRow::unreadable("history of", exception.id.as_str(), &why));
        }
        let itself = i64::from(exception.status == Status::Approved);
        let ticket = Ticket {
            id: exception.ticket_id.clone(),
            earliest_due_date,
            approved: u32::try_from(approved - itself).unwrap_or(0),
            last_event_at: None,
        };
        Ok(Self { exception, at, data, ticket, key })
    }

    /// For tests of those who ask.
    #[cfg(test)]
    pub(crate) fn new(exception: Exception, at: Timestamp, data: String, ticket: Ticket) -> Self {
        Self { exception, at, data, ticket, key: 1 }
    }

    /// Leaves of the ticket what was there before.
    fn as_it_was(&mut self, past: &[Past]) {
        let (key, at) = (self.key, self.at);
        let before = |other: &&Past| other.key < key;
        let approved = |other: &&Past| {
            other.key != key && other.approved_at.is_some_and(|it| it < at || (it == at && other.key < key))
        };
        self.ticket.approved = u32::try_from(past.iter().filter(approved).count()).unwrap_or(u32::MAX);
        let earliest = past.iter().filter(before).map(|other| other.original_due_date).min();
        let own = self.exception.request.original_due_date;
        self.ticket.earliest_due_date = earliest.map_or(own, |earliest| earliest.min(own));
    }
}

/// The first entry of a history, and the ticket's row beside it.
pub(super) struct First {
    pub(super) kind: String,
    pub(super) at: Timestamp,
    pub(super) data: String,
    pub(super) earliest_due_date: NaiveDate,
    pub(super) approved: i64,
}

/// The tickets that were otherwise then, or may have been: what the ticket's row says now is what it said then, where no other
/// request was approved or gave an earlier date.
pub(super) fn otherwise(found: &[Submitted]) -> Vec<String> {
    let was_otherwise = |it: &&Submitted| {
        it.ticket.approved > 0 || it.ticket.earliest_due_date < it.exception.request.original_due_date
    };
    found.iter().filter(was_otherwise).map(|it| it.ticket.id.as_str().to_owned()).collect()
}

/// All requests of some tickets.
#[derive(Default)]
pub(super) struct Pasts(BTreeMap<TicketId, Vec<Past>>);

impl Pasts {
    pub(super) fn add(&mut self, key: i64, exception: &Exception) {
        self.0.entry(exception.ticket_id.clone()).or_default().push(Past::of(key, exception));
    }

    /// Leaves of these tickets what was there before.
    pub(super) fn undo(&self, found: &mut [Submitted]) {
        for it in found {
            self.0.get(&it.ticket.id).into_iter().for_each(|past| it.as_it_was(past));
        }
    }
}

/// What another request of the ticket says about it.
struct Past {
    key: i64,
    original_due_date: NaiveDate,
    approved_at: Option<Timestamp>,
}

impl Past {
    fn of(key: i64, exception: &Exception) -> Self {
        let approved_at = exception.decided_at.filter(|_| exception.status == Status::Approved);
        Self { key, original_due_date: exception.request.original_due_date, approved_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::shapes::tests::sample;
    use crate::domain::dates::{parse_date, parse_time};

    /// Of the other requests of a ticket: the key, the hour of the approval, the day in November that was the first date.
    #[track_caller]
    fn check(others: &[(i64, Option<u32>, u32)], approved: u32, earliest: &str) {
        let hour = |hour| parse_time(&format!("2026-11-24T{hour:02}:00:00Z")).unwrap();
        let past: Vec<_> = others
            .iter()
            .map(|(key, approved, day)| Past {
                key: *key,
                original_due_date: parse_date(&format!("2026-11-{day:02}")).unwrap(),
                approved_at: approved.map(hour),
            })
            .collect();
        let exception = sample().0;
        let id = exception.ticket_id.clone();
        let ticket = Ticket { id, earliest_due_date: NaiveDate::MIN, approved: 99, last_event_at: None };
        let mut it = Submitted { exception, at: hour(12), data: String::new(), ticket, key: 10 };
        it.exception.request.original_due_date = parse_date("2026-11-20").unwrap();
        it.as_it_was(&past);
        let expected = (approved, parse_date(earliest).unwrap());
        assert_eq!((it.ticket.approved, it.ticket.earliest_due_date), expected, "{others:?}");
    }

    #[test]
    fn the_ticket_is_as_it_was_before() {
        check(&[], 0, "2026-11-20");
        check(&[(10, Some(13), 20)], 0, "2026-11-20");
        check(&[(9, Some(11), 5), (10, None, 20)], 1, "2026-11-05");
        // Approved or submitted only afterwards.
        check(&[(9, Some(13), 5), (11, None, 3)], 0, "2026-11-05");
        check(&[(8, Some(9), 25), (9, Some(12), 21), (11, Some(12), 3)], 2, "2026-11-20");
        check(&[(9, None, 5)], 0, "2026-11-05");
    }
}
