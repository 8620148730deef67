//! Lists of exceptions: the statements behind [`search`]. Each page is found by one index, which is named in its statement. An index of
//! several states is asked for one after the other, and what it gives is merged here.

use std::cmp::Reverse;

use chrono::NaiveDate;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::super::Fault;
use super::super::values::{date, json};
use super::{ExceptionColumns, exception};
use crate::domain::exception::Exception;
use crate::domain::ids::{TicketId, UserId};
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{Driver, Exceptions, LOOKED_AT_MAX, Newer, Probe, Searched, Selection, TicketView, search};

/// What is meant, the newest first, by the first eleven parameters; `NULL`, or an empty text, asks nothing. States and severities come
/// with a space before and after each.
macro_rules! meant {
    ($index:literal, $by:literal) => {
        concat!(
            "SELECT x.key FROM exceptions AS x ",
            $index,
            " WHERE ",
            $by,
            "
AND instr(?1, ' ' || x.status || '/' || x.enforcement || ' ')
AND (?2 = '' OR instr(?2, ' ' || x.severity || ' '))
AND (?3 IS NULL OR x.ticket_id = ?3)
AND (?4 IS NULL OR x.requester = ?4)
AND (?5 IS NULL OR instr(x.reviewers, ' ' || ?5 || ' '))
AND (?6 IS NULL OR x.runs_until >= ?6)
AND (?7 IS NULL OR x.runs_until < ?7)
AND (
  ?8 IS NULL OR (x.id >= ?8 AND x.id < ?9) OR (x.ticket_id >= ?8 AND x.ticket_id < ?9)
  OR (x.requester >= ?10 AND x.requester < ?11)
)
AND x.key >= ?12 AND x.key < ?13
ORDER BY x.key DESC LIMIT ?14"
        )
    };
}

const BY_KEY: &str = meant!("NOT INDEXED", "true");

const BY_TICKET: &str = meant!("INDEXED BY exceptions_ticket", "x.ticket_id = ?3");

const BY_REQUESTER: &str = meant!("INDEXED BY exceptions_requester", "x.requester = ?4");

const BY_REVIEWER: &str = meant!("INDEXED BY exceptions_assigned", "x.status IN ('requested', 'under_review')");

const BY_STATE: &str =
    meant!("INDEXED BY exceptions_state", "x.status = ?15 AND x.enforcement = ?16 AND x.severity = ?17");

const BY_DATES: &str = meant!(
    "INDEXED BY exceptions_runs_until",
    "x.status = ?15 AND x.enforcement = ?16 AND x.runs_until >= coalesce(?6, '') AND x.runs_until < coalesce(?7, '~')"
);

const BY_BEGINNING: &str = meant!(
    "NOT INDEXED",
    "x.key IN (
  SELECT e.key FROM exceptions AS e WHERE e.id >= ?8 AND e.id < ?9
  UNION SELECT e.key FROM exceptions AS e WHERE e.ticket_id >= ?8 AND e.ticket_id < ?9
  UNION SELECT e.key FROM exceptions AS e WHERE e.requester >= ?10 AND e.requester < ?11
)"
);

const FLOOR_BY_KEY: &str = "SELECT key FROM exceptions NOT INDEXED WHERE key < ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2";

const FLOOR_BY_TICKET: &str = "\
SELECT key FROM exceptions INDEXED BY exceptions_ticket WHERE ticket_id = ?3 AND key < ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2";

const FLOOR_BY_REQUESTER: &str = "\
SELECT key FROM exceptions INDEXED BY exceptions_requester WHERE requester = ?3 AND key < ?1
ORDER BY key DESC LIMIT 1 OFFSET ?2";

const FLOOR_BY_REVIEWER: &str = "\
SELECT key FROM exceptions INDEXED BY exceptions_assigned WHERE status IN ('requested', 'under_review') AND key < ?1
ORDER BY key DESC LIMIT 1 OFFSET ?2";

const FLOOR_BY_STATE: &str = "\
SELECT key FROM exceptions INDEXED BY exceptions_state WHERE status = ?3 AND enforcement = ?4 AND severity = ?5 AND key < ?1
ORDER BY key DESC LIMIT 1 OFFSET ?2";

const COUNT_BY_DATES: &str = "\
SELECT count(*) FROM (
  SELECT 1 FROM exceptions INDEXED BY exceptions_runs_until
  WHERE status = ?2 AND enforcement = ?3 AND runs_until >= coalesce(?4, '') AND runs_until < coalesce(?5, '~') LIMIT ?1 + 1
)";

const COUNT_BY_BEGINNING: &str = "\
SELECT count(*) FROM (
  SELECT 1 FROM exceptions WHERE id >= ?2 AND id < ?3
  UNION ALL SELECT 1 FROM exceptions WHERE ticket_id >= ?2 AND ticket_id < ?3
  UNION ALL SELECT 1 FROM exceptions WHERE requester >= ?4 AND requester < ?5
  LIMIT ?1 + 1
)";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE key IN (SELECT value FROM json_each(?1))";

/// The condition on the enforcement is that of the partial index.
const TICKET: &str = "\
SELECT
  (SELECT x.runs_until FROM exceptions AS x WHERE x.ticket_id = t.id AND x.enforcement IN ('pending', 'in_force')
   ORDER BY x.key DESC LIMIT 1)
FROM tickets AS t WHERE t.id = ?1";

/// Every statement of this file.
#[cfg(test)]
const STATEMENTS: &[&str] = &[
    BY_KEY,
    BY_TICKET,
    BY_REQUESTER,
    BY_REVIEWER,
    BY_STATE,
    BY_DATES,
    BY_BEGINNING,
    FLOOR_BY_KEY,
    FLOOR_BY_TICKET,
    FLOOR_BY_REQUESTER,
    FLOOR_BY_REVIEWER,
    FLOOR_BY_STATE,
    COUNT_BY_DATES,
    COUNT_BY_BEGINNING,
    EXCEPTIONS,
    TICKET,
];

/// One page.
pub(super) async fn exceptions(
    connection: &mut SqliteConnection,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
) -> Result<Exceptions, Fault> {
    let (keys, next) = search(&mut Table(connection), selection, after, limit).await?;
    let rows: Vec<ExceptionColumns> = query_as(EXCEPTIONS).bind(json(&keys)?).fetch_all(connection).await?;
    let mut items = rows.into_iter().map(exception).collect::<Result<Vec<_>, _>>()?;
    items.sort_unstable_by_key(|(key, _)| Reverse(*key));
    Ok(Page { items: items.into_iter().map(|(_, exception)| exception).collect(), next })
}

/// One ticket.
pub(super) async fn ticket(
    connection: &mut SqliteConnection,
    id: &TicketId,
    limit: Limit,
) -> Result<Option<TicketView>, Fault> {
    let found: Option<(Option<String>,)> = query_as(TICKET).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some((enforced_until,)) = found else { return Ok(None) };
    let enforced_until = enforced_until.map(|day| date("ticket", id, &day)).transpose()?;
    let selection = Selection { ticket: Some(id.clone()), ..Selection::default() };
    let exceptions = exceptions(connection, &selection, None, limit).await?;
    let newest = exceptions.items.first().map(Exception::runs_until);
    let view = |date| TicketView { id: id.clone(), current_due_date: date, exceptions };
    Ok(enforced_until.or(newest).map(view))
}

struct Table<'c>(&'c mut SqliteConnection);

impl Searched for Table<'_> {
    type Error = Fault;

    async fn probe(&mut self, driver: Driver, selection: &Selection, before: i64) -> Result<Probe, Fault> {
        let floor: Option<i64> = match driver {
            Driver::All => self.floor(FLOOR_BY_KEY, before, None).await?,
            Driver::Ticket => {
                self.floor(FLOOR_BY_TICKET, before, selection.ticket.as_ref().map(TicketId::as_str)).await?
            }
            Driver::Requester => {
                self.floor(FLOOR_BY_REQUESTER, before, selection.requester.as_ref().map(UserId::as_str)).await?
            }
            Driver::Reviewer => self.floor(FLOOR_BY_REVIEWER, before, None).await?,
            Driver::States => self.floor_of_states(selection, before).await?,
            Driver::Dates => return self.count_dates(selection).await,
            Driver::Beginning => {
                let [from, until, person, last] = selection.beginnings().unwrap_or_default();
                let query = query_scalar(COUNT_BY_BEGINNING).bind(LOOKED_AT_MAX).bind(from).bind(until);
                return Ok(counted(query.bind(person).bind(last).fetch_one(&mut *self.0).await?));
            }
        };
        Ok(floor.map_or(Probe::Few, Probe::Many))
    }

    async fn keys(
        &mut self,
        driver: Driver,
        selection: &Selection,
        between: (i64, i64),
        most: i64,
    ) -> Result<Vec<i64>, Fault> {
        let none = ["", "", ""];
        let (statement, ranges) = match driver {
            Driver::All => (BY_KEY, vec![none]),
            Driver::Ticket => (BY_TICKET, vec![none]),
            Driver::Requester => (BY_REQUESTER, vec![none]),
            Driver::Reviewer => (BY_REVIEWER, vec![none]),
            Driver::Beginning => (BY_BEGINNING, vec![none]),
            Driver::Dates => (BY_DATES, selection.states().into_iter().map(|(s, e)| [s, e, ""]).collect()),
            Driver::States => (BY_STATE, ranges(selection)),
        };
        let mut keys = Vec::new();
        for range in ranges {
            keys.extend(self.range(statement, selection, between, most, range).await?);
        }
        keys.sort_unstable_by_key(|key| Reverse(*key));
        keys.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(keys)
    }
}

impl Table<'_> {
    async fn floor(&mut self, statement: &'static str, before: i64, of: Option<&str>) -> Result<Option<i64>, Fault> {
        let query = query_scalar(statement).bind(before).bind(LOOKED_AT_MAX);
        let query = if of.is_some() { query.bind(of) } else { query };
        Ok(query.fetch_optional(&mut *self.0).await?)
    }

    /// Every range may be looked at as far as the others.
    async fn floor_of_states(&mut self, selection: &Selection, before: i64) -> Result<Option<i64>, Fault> {
        let ranges = ranges(selection);
        let each = LOOKED_AT_MAX / i64::try_from(ranges.len()).unwrap_or(1).max(1);
        let mut highest = None;
        for [status, enforcement, severity] in ranges {
            let query = query_scalar(FLOOR_BY_STATE).bind(before).bind(each).bind(status).bind(enforcement);
            let floor: Option<i64> = query.bind(severity).fetch_optional(&mut *self.0).await?;
            highest = highest.max(floor);
        }
        Ok(highest)
    }

    async fn count_dates(&mut self, selection: &Selection) -> Result<Probe, Fault> {
        let (from, until) = selection.dates();
        let (from, until) = (from.map(text), until.map(text));
        let mut count = 0;
        for (status, enforcement) in selection.states() {
            let query = query_scalar(COUNT_BY_DATES).bind(LOOKED_AT_MAX).bind(status).bind(enforcement);
            let found: i64 = query.bind(&from).bind(&until).fetch_one(&mut *self.0).await?;
            count += found;
        }
        Ok(counted(count))
    }

    async fn range(
        &mut self,
        statement: &'static str,
        selection: &Selection,
        (from, before): (i64, i64),
        most: i64,
        range: [&'static str; 3],
    ) -> Result<Vec<i64>, Fault> {
        let states = selection.states().into_iter().map(|(status, enforcement)| format!("{status}/{enforcement}"));
        let (first_day, end_day) = selection.dates();
        let [ids, ids_end, people, people_end] =
            selection.beginnings().map_or([const { None }; 4], |texts| texts.map(Some));
        let query = query_scalar(statement)
            .bind(spaced(states))
            .bind(spaced(selection.severities.iter().map(|word| (*word).to_owned())))
            .bind(selection.ticket.as_ref().map(TicketId::as_str))
            .bind(selection.requester.as_ref().map(UserId::as_str))
            .bind(selection.reviewer.as_ref().map(UserId::as_str))
            .bind(first_day.map(text))
            .bind(end_day.map(text))
            .bind(ids)
            .bind(ids_end)
            .bind(people)
            .bind(people_end)
            .bind(from)
            .bind(before)
            .bind(most);
        let [status, enforcement, severity] = range;
        let query = match statement {
            BY_STATE => query.bind(status).bind(enforcement).bind(severity),
            BY_DATES => query.bind(status).bind(enforcement),
            _ => query,
        };
        Ok(query.fetch_all(&mut *self.0).await?)
    }
}

/// State by state and severity by severity.
fn ranges(selection: &Selection) -> Vec<[&'static str; 3]> {
    let severities = selection.each_severity();
    let of_state = |(status, enforcement)| severities.iter().map(move |severity| [status, enforcement, *severity]);
    selection.states().into_iter().flat_map(of_state).collect()
}

/// With a space before and after each; none is an empty text.
fn spaced(words: impl Iterator<Item = String>) -> String {
    words.fold(String::new(), |text, word| if text.is_empty() { format!(" {word} ") } else { format!("{text}{word} ") })
}

fn text(day: NaiveDate) -> String {
    day.to_string()
}

fn counted(count: i64) -> Probe {
    if count <= LOOKED_AT_MAX { Probe::Few } else { Probe::Unordered }
}

#[cfg(test)]
mod tests {
    use sqlx::{Row as _, query};

    use super::*;
    use crate::store::sqlite::scratch::Scratch;

    /// Only who is assigned is read from one end of an index to the other; what is sorted is at most a few.
    #[tokio::test]
    async fn every_list_is_led_by_its_index_in_order() {
        let scratch = Scratch::migrated().await;
        for statement in STATEMENTS {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = query(explain).fetch_all(&mut scratch.plain().await).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let reads_all = plan.iter().any(|step| {
                step.starts_with("SCAN ")
                    && (step.contains("exceptions") || step.contains(" x"))
                    && !step.contains("exceptions_assigned")
            });
            assert!(!reads_all, "{statement}\n{plan:#?}");
            let sorts = plan.iter().any(|step| step.contains("USE TEMP B-TREE FOR ORDER BY"));
            assert!(
                !sorts || *statement == BY_DATES || *statement == BY_BEGINNING || *statement == TICKET,
                "{statement}\n{plan:#?}"
            );
        }
    }
}
