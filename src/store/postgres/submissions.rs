//! Looks at what was submitted, on a connection of its own that cannot write, page by page from the newest.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{FromRow as _, Row as _, query, query_as, query_scalar};

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault, read};
use crate::domain::exception::Status;
use crate::domain::ids::{ExceptionId, TicketId};
use crate::domain::ticket::Ticket;
use crate::store::ViewError;
use crate::store::submissions::{Cursor, PAGE_ROWS, Past, Submissions, Submitted};

/// Longest look: other requests of a ticket are found by reading every exception there is, which takes its time.
const LOOK_MAX: Duration = Duration::from_secs(61);
const SETTINGS: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "60s")];

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

/// Asks a Postgres database what was submitted.
pub struct PostgresSubmissions {
    pool: PgPool,
}

#[async_trait]
impl Submissions for PostgresSubmissions {
    async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(ONE).bind(id.as_str()).fetch_all(&mut *connection).await?;
            Ok(submitted(connection, rows).await?.pop())
        };
        self.with(work).await
    }

    async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError> {
        let work = async |connection: &mut PgConnection| {
            let rows = query(RECENT).bind(before).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
            let found = submitted(connection, rows).await?;
            let next = found.last().map(|last| last.key);
            Ok((found, next))
        };
        self.with(work).await
    }

    async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError> {
        let work = async |connection: &mut PgConnection| {
            Ok(query_scalar(RULE_SET).bind(hash).fetch_optional(connection).await?)
        };
        self.with(work).await
    }
}

impl PostgresSubmissions {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve rules", &SETTINGS)? })
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
            past.get(&it.ticket.id).into_iter().for_each(|past| it.as_it_was(past));
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
