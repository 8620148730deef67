//! What was submitted, and what was known then: for `rules explain` and `rules diff`, which ask again how a request is routed.
//! It only reads, on a connection of its own, page by page from the newest. What became of a request: [`super::views`].

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{FromRow as _, Row as _, query, query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault, read};
use crate::domain::dates::Timestamp;
use crate::domain::exception::{Exception, Status};
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::ticket::Ticket;
use crate::store::ViewError;

/// Longest look: other requests of a ticket are found by reading every exception there is, which takes its time.
const LOOK_MAX: Duration = Duration::from_secs(61);
const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "60s")];

/// Submissions of one page. The largest are a quarter of a MiB, so a page is at most 50 MiB and mostly far below one.
const PAGE_ROWS: i64 = 200;

/// The first entry of a history is the submission that was applied: one that is refused makes no exception. Our keys grow in
/// the order in which submissions were applied.
const RECENT: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
JOIN tickets AS t ON t.id = x.ticket_id
WHERE $1::bigint IS NULL OR x.key < $1::bigint
ORDER BY x.key DESC LIMIT $2::bigint";

const ONE: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.id = $1::text";

/// No index leads from a ticket to all its exceptions: turns need those that live, and every index slows them down.
const OF_TICKETS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE ticket_id = ANY($1::text[])";

const RULE_SET: &str = "SELECT body FROM rule_sets WHERE hash = $1::text";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[RECENT, ONE, OF_TICKETS, RULE_SET];

/// Where a page ended.
pub type Cursor = i64;

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
    key: i64,
}

impl Submitted {
    /// For tests of those who ask.
    #[cfg(test)]
    pub(crate) fn new(exception: Exception, at: Timestamp, data: String, ticket: Ticket) -> Self {
        Self { exception, at, data, ticket, key: 1 }
    }
}

/// Asks a Postgres database what was submitted.
pub struct PostgresSubmissions {
    pool: PgPool,
}

impl PostgresSubmissions {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve rules", &SETTINGS)? })
    }

    /// The submission of an exception.
    pub async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(ONE).bind(id.as_str()).fetch_all(&mut *connection).await?;
            Ok(submitted(connection, rows).await?.pop())
        };
        self.with(work).await
    }

    /// The page of submissions before a place, newest first, and where it ended; the first page has no place before it.
    pub async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(RECENT).bind(before).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
            let found = submitted(connection, rows).await?;
            let next = found.last().map(|last| last.key);
            Ok((found, next))
        };
        self.with(work).await
    }

    /// The rules file of a hash.
    pub async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            Ok(query_scalar(RULE_SET).bind(hash).fetch_optional(connection).await?)
        };
        self.with(work).await
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>) -> Result<T, ViewError> {
        let outcome = async {
            let mut lent = Lent::from(&self.pool).await?;
            let done = in_time(LOOK_MAX, work(lent.connection()?)).await?;
            lent.give_back();
            Ok(done)
        };
        outcome.await.map_err(|fault: Fault| ViewError(Box::new(fault)))
    }
}

async fn submitted(connection: &mut PgConnection, rows: Vec<PgRow>) -> Result<Vec<Submitted>, Fault> {
    let mut found = rows.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    // What the ticket's row says now is what it said then, where no other request was approved or gave an earlier date.
    let was_otherwise = |it: &&Submitted| {
        it.ticket.approved > 0 || it.ticket.earliest_due_date < it.exception.request.original_due_date
    };
    let tickets: Vec<TicketId> = found.iter().filter(was_otherwise).map(|it| it.ticket.id.clone()).collect();
    if !tickets.is_empty() {
        let past = past(connection, &tickets).await?;
        for it in &mut found {
            past.get(&it.ticket.id).into_iter().for_each(|past| as_it_was(it, past));
        }
    }
    Ok(found)
}

async fn past(connection: &mut PgConnection, tickets: &[TicketId]) -> Result<BTreeMap<TicketId, Vec<Past>>, Fault> {
    let tickets: Vec<&str> = tickets.iter().map(TicketId::as_str).collect();
    let mut past: BTreeMap<TicketId, Vec<Past>> = BTreeMap::new();
    let mut rows = query_as(OF_TICKETS).bind(tickets).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (key, exception) = read::exception(row)?;
        past.entry(exception.ticket_id.clone()).or_default().push(Past::of(key, &exception));
    }
    Ok(past)
}

fn one(row: &PgRow) -> Result<Submitted, Fault> {
    let (key, exception) = read::exception(read::ExceptionRow::from_row(row)?)?;
    let kind: String = row.try_get("kind")?;
    if kind != "submitted" {
        let why = format!("it begins with {kind}");
        return Err(Fault::unreadable("history of", exception.id.as_str(), &why));
    }
    let at: DateTime<Utc> = row.try_get("at")?;
    let approved: i32 = row.try_get("approved")?;
    let itself = i32::from(exception.status == Status::Approved);
    let ticket = Ticket {
        id: exception.ticket_id.clone(),
        earliest_due_date: row.try_get("earliest_due_date")?,
        approved: u32::try_from(approved - itself).unwrap_or(0),
        last_event_at: None,
    };
    Ok(Submitted { exception, at, data: row.try_get("body")?, ticket, key })
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

/// Leaves of the ticket what was there before.
fn as_it_was(it: &mut Submitted, past: &[Past]) {
    let before = |other: &&Past| other.key < it.key;
    let approved = |other: &&Past| {
        other.key != it.key && other.approved_at.is_some_and(|at| at < it.at || (at == it.at && other.key < it.key))
    };
    it.ticket.approved = u32::try_from(past.iter().filter(approved).count()).unwrap_or(u32::MAX);
    let earliest = past.iter().filter(before).map(|other| other.original_due_date).min();
    let own = it.exception.request.original_due_date;
    it.ticket.earliest_due_date = earliest.map_or(own, |earliest| earliest.min(own));
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
        as_it_was(&mut it, &past);
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
