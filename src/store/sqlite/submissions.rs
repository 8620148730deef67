//! Looks at what was submitted, on connections of its own that cannot write, page by page from the newest.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow as _, Row as _, query, query_as, query_scalar};

use super::lent::{Access, Lender};
use super::values::time;
use super::{Fault, views};
use crate::domain::ids::ExceptionId;
use crate::store::ViewError;
use crate::store::submissions::{Cursor, First, PAGE_ROWS, Pasts, Submissions, Submitted, otherwise};

/// Longest look: other requests of a ticket are found by reading every exception there is, which takes its time.
const LOOK_MAX: Duration = Duration::from_secs(61);

/// Our keys grow in the order in which submissions were applied. The outer order is said by the kind of join: from the newest
/// down, and each row has one first entry and one ticket.
const RECENT: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
CROSS JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
CROSS JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.key < ?1
ORDER BY x.key DESC LIMIT ?2";

const ONE: &str = "\
SELECT x.key, x.id, x.ticket_id, x.revision, x.sequence, x.entries, x.head, x.document, h.at, h.kind, h.body,
  t.earliest_due_date, t.approved
FROM exceptions AS x
CROSS JOIN history AS h ON h.exception_key = x.key AND h.entry = 1
CROSS JOIN tickets AS t ON t.id = x.ticket_id
WHERE x.id = ?1";

/// No index leads from a ticket to all its exceptions: turns need those that live, and every index slows them down.
const OF_TICKETS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE ticket_id IN (SELECT value FROM json_each(?1))";

const RULE_SET: &str = "SELECT body FROM rule_sets WHERE hash = ?1";

/// Every statement of this file: for a test that prepares them.
pub const STATEMENTS: &[&str] = &[RECENT, ONE, OF_TICKETS, RULE_SET];

/// Asks a file what was submitted.
pub struct SqliteSubmissions {
    lender: Lender,
}

impl SqliteSubmissions {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, LOOK_MAX) }
    }

    async fn look<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Fault>) -> Result<T, ViewError> {
        self.lender.lend(Access::Look, work).await.map_err(|fault| ViewError(fault.at().into()))
    }
}

#[async_trait]
impl Submissions for SqliteSubmissions {
    async fn of(&self, id: &ExceptionId) -> Result<Option<Submitted>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let rows = query(ONE).bind(id.as_str()).fetch_all(&mut *connection).await?;
            Ok(submitted(connection, rows).await?.pop())
        };
        self.look(work).await
    }

    async fn recent(&self, before: Option<Cursor>) -> Result<(Vec<Submitted>, Option<Cursor>), ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            let before = before.unwrap_or(Cursor::MAX);
            let rows = query(RECENT).bind(before).bind(PAGE_ROWS).fetch_all(&mut *connection).await?;
            let found = submitted(connection, rows).await?;
            let next = found.last().map(|last| last.key);
            Ok((found, next))
        };
        self.look(work).await
    }

    async fn rule_set(&self, hash: &str) -> Result<Option<String>, ViewError> {
        let work = async |connection: &mut SqliteConnection| {
            Ok(query_scalar(RULE_SET).bind(hash).fetch_optional(connection).await?)
        };
        self.look(work).await
    }
}

async fn submitted(connection: &mut SqliteConnection, rows: Vec<SqliteRow>) -> Result<Vec<Submitted>, Fault> {
    let mut found = rows.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let tickets = otherwise(&found);
    if !tickets.is_empty() {
        let mut pasts = Pasts::default();
        let tickets = serde_json::Value::from(tickets).to_string();
        let mut rows = query_as(OF_TICKETS).bind(tickets).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let (key, exception) = views::exception(row)?;
            pasts.add(key, &exception);
        }
        pasts.undo(&mut found);
    }
    Ok(found)
}

fn one(row: &SqliteRow) -> Result<Submitted, Fault> {
    let (key, exception) = views::exception(views::ExceptionColumns::from_row(row)?)?;
    let first = First {
        kind: row.try_get("kind")?,
        at: time("history of", &exception.id.as_str(), row.try_get("at")?)?,
        data: row.try_get("body")?,
        earliest_due_date: row.try_get("earliest_due_date")?,
        approved: row.try_get("approved")?,
    };
    Ok(Submitted::of(key, exception, first)?)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::{Scratch, write};
    use super::super::views::SqliteViews;
    use super::super::{Outlet, SqliteStore};
    use super::*;
    use crate::contract::shapes::tests::{BODY, sample};
    use crate::domain::dates::parse_date;
    use crate::domain::exception::{Enforcement, Exception, Status};
    use crate::domain::history::{Chain, link};
    use crate::domain::ids::TicketId;
    use crate::domain::ticket::Ticket;
    use crate::health::Light;
    use crate::store::{Changes, RuleSetRow, Views as _};

    fn id(text: &str) -> ExceptionId {
        ExceptionId::parse(text).unwrap()
    }

    /// A request as one turn writes it; one that is approved was first, an hour before it is asked for.
    fn request(name: &str, ticket: &str, approved: bool) -> Changes {
        let (mut exception, mut entries) = sample();
        let happening = entries.swap_remove(0).happening;
        (exception.id, exception.ticket_id) = (id(name), TicketId::parse(ticket).unwrap());
        let day = parse_date(if approved { "2026-12-01" } else { "2026-12-05" }).unwrap();
        exception.request.original_due_date = day;
        if approved {
            exception.status = Status::Approved;
            exception.enforcement = Enforcement::Pending;
            exception.approved_due_date = Some(day);
            exception.decided_at = Some(happening.at - Duration::from_secs(3600));
        }
        exception.chain = Chain::default();
        let history = vec![exception.chain.append(&exception.id, happening)];
        let earliest_due_date = parse_date("2026-12-01").unwrap();
        let ticket = Ticket { id: exception.ticket_id.clone(), earliest_due_date, approved: 1, last_event_at: None };
        Changes { exceptions: vec![exception], history, tickets: vec![ticket], ..Changes::default() }
    }

    async fn filled() -> (Scratch, Vec<Exception>) {
        let scratch = Scratch::migrated().await;
        let mut store = SqliteStore::new(scratch.file(), Light::default(), Outlet::Outbox { max: 1_000 });
        let rules = RuleSetRow { hash: "ab".into(), version: "1".into(), body: "the rules".into() };
        let first = Changes { rule_set: Some(rules), ..request("EX-1", "SEC-1", true) };
        let all = [first, request("EX-2", "SEC-1", false), request("EX-3", "SEC-3", false)];
        for changes in &all {
            write(&mut store, changes).await;
        }
        (scratch, all.into_iter().flat_map(|changes| changes.exceptions).collect())
    }

    #[tokio::test]
    async fn a_look_up_shows_the_exception_and_its_chain() {
        let (scratch, written) = filled().await;
        let views = SqliteViews::new(scratch.file());
        let (exception, entries) = views.exception(&id("EX-2")).await.unwrap().unwrap();
        assert_eq!(exception, written[1]);
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(link(&Chain::default().head, "EX-2", entry.number, &entry.fields), exception.chain.head);
        assert_eq!((entry.hash.as_slice(), entry.number), (exception.chain.head.as_slice(), 1));
        assert!(views.exception(&id("EX-9")).await.unwrap().is_none());
        scratch.run("UPDATE exceptions SET document = '{}'").await;
        let error = views.exception(&id("EX-1")).await.unwrap_err().to_string();
        assert!(error.contains("the stored exception EX-1 cannot be read"), "{error}");
    }

    #[tokio::test]
    async fn submissions_are_found_with_the_ticket_as_it_was() {
        let (scratch, written) = filled().await;
        let submissions = SqliteSubmissions::new(scratch.file());
        let (found, next) = submissions.recent(None).await.unwrap();
        let seen: Vec<_> = found.iter().map(|it| &it.exception).collect();
        assert_eq!(seen, written.iter().rev().collect::<Vec<_>>(), "the newest first");
        assert_eq!((found[0].data.as_str(), found[0].at), (BODY, sample().1[0].happening.at));
        assert!(submissions.recent(next).await.unwrap().0.is_empty(), "the last page");
        let (after, _) = submissions.recent(Some(found[0].key)).await.unwrap();
        assert_eq!(after.len(), 2);

        for (name, approved, earliest) in
            [("EX-1", 0, "2026-12-01"), ("EX-2", 1, "2026-12-01"), ("EX-3", 0, "2026-12-05")]
        {
            let ticket = submissions.of(&id(name)).await.unwrap().unwrap().ticket;
            let expected = (approved, parse_date(earliest).unwrap());
            assert_eq!((ticket.approved, ticket.earliest_due_date), expected, "{name}");
        }
        assert!(submissions.of(&id("EX-9")).await.unwrap().is_none());
        assert_eq!(submissions.rule_set("ab").await.unwrap().as_deref(), Some("the rules"));
        assert_eq!(submissions.rule_set("cd").await.unwrap(), None);
    }

    /// All but the other requests of a ticket, which turns never look for.
    #[tokio::test]
    async fn every_look_finds_its_rows_by_index() {
        let scratch = Scratch::migrated().await;
        for statement in STATEMENTS.iter().chain(views::ONE).filter(|statement| **statement != OF_TICKETS) {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = query(explain).fetch_all(&mut scratch.plain().await).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().all(|step| step.starts_with("SEARCH ")), "{statement}\n{plan:#?}");
        }
    }
}
