//! Lists of exceptions: the statements behind [`search`]. Which index leads through a block is named in each of them.

use std::cmp::Reverse;

use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::super::Fault;
use super::super::values::{date, json};
use super::{ExceptionColumns, exception};
use crate::domain::exception::Exception;
use crate::domain::ids::{TicketId, UserId};
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{
    BLOCK, Bounds, Exceptions, Found, Lead, Newer, Searched, Selection, Stretch, TicketView, search,
};

/// What an exception has to be, by the first twelve parameters; `NULL`, or an empty text, asks nothing. States and severities come
/// with a space before and after each.
macro_rules! fits {
    () => {
        "\
x.key < ?12
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
)"
    };
}

/// The newest that are meant, of all that an index leads to.
macro_rules! meant {
    ($from:literal) => {
        concat!("SELECT x.key FROM exceptions AS x ", $from, " AND ", fits!(), " ORDER BY x.key DESC LIMIT ?13")
    };
}

/// What the states, the days and the severities lead to in a block. The expressions are those of the index.
macro_rules! by_state {
    () => {
        "\
exceptions AS x INDEXED BY exceptions_state
WHERE (x.key >> 12) = b.block
AND x.status IN (SELECT value FROM json_each(?16)) AND x.enforcement IN (SELECT value FROM json_each(?17))
AND coalesce(x.runs_until, '') >= coalesce(?6, '') AND coalesce(x.runs_until, '') < coalesce(?7, '~')
AND (?2 = '' OR instr(?2, ' ' || x.severity || ' '))"
    };
}

/// Those of a block by an index of a name, which ends with the key.
macro_rules! in_block {
    ($index:literal, $named:literal) => {
        concat!(
            "exceptions AS x INDEXED BY ",
            $index,
            " WHERE ",
            $named,
            " AND x.key >= b.block << 12 AND x.key < min((b.block + 1) << 12, ?12)"
        )
    };
}

/// Block by block, the newest first: how many were looked at, and the keys of those that are meant, in any order; `NULL` where there
/// are none. A beginning that many ids have, a year for one, keeps blocks out, unless a ticket or a requester begins so too.
macro_rules! walk {
    ($($case:expr),+) => {
        concat!(
            "\
WITH RECURSIVE b (block) AS (SELECT ?15 UNION ALL SELECT block - 1 FROM b WHERE block > ?14)
SELECT block, CASE
WHEN NOT (
  ?8 IS NULL
  OR EXISTS (SELECT 1 FROM exceptions WHERE ticket_id >= ?8 AND ticket_id < ?9)
  OR EXISTS (SELECT 1 FROM exceptions WHERE requester >= ?10 AND requester < ?11)
  OR EXISTS (SELECT 1 FROM exceptions AS x INDEXED BY exceptions_named WHERE (x.key >> 12) = b.block AND x.id >= ?8 AND x.id < ?9)
) THEN NULL
",
            $($case,)+
            "
END FROM b"
        )
    };
}

macro_rules! looked_at {
    ($from:expr) => {
        concat!(
            "(SELECT count(*) || coalesce(group_concat(CASE WHEN ",
            fits!(),
            " THEN ' ' || x.key END, ''), '') FROM ",
            $from,
            ")"
        )
    };
}

/// As `walk`, through blocks where something has the name and something the state. If few have the name these are looked at, else those of
/// the state.
macro_rules! walk_named {
    ($index:literal, $named:literal) => {
        walk!(
            "WHEN NOT EXISTS (SELECT 1 FROM ",
            in_block!($index, $named),
            ") OR NOT EXISTS (SELECT 1 FROM ",
            by_state!(),
            ") THEN NULL
WHEN (SELECT count(*) FROM (SELECT 1 FROM ",
            in_block!($index, $named),
            " LIMIT ?18 + 1)) <= ?18 THEN ",
            looked_at!(in_block!($index, $named)),
            "
ELSE ",
            looked_at!(by_state!())
        )
    };
}

const BY_STATE: &str = walk!("ELSE ", looked_at!(by_state!()));

const BY_TICKET: &str = walk_named!("exceptions_ticket", "x.ticket_id = ?3");

const BY_REQUESTER: &str = walk_named!("exceptions_requester", "x.requester = ?4");

/// Who is assigned is read from the index alone.
const BY_REVIEWER: &str = meant!(
    "INDEXED BY exceptions_assigned WHERE x.status IN ('requested', 'under_review') AND instr(x.reviewers, ' ' || ?5 || ' ')"
);

/// The open one of a number, by age.
const OPEN: &str = "\
SELECT key FROM exceptions INDEXED BY exceptions_assigned WHERE status IN ('requested', 'under_review')
ORDER BY key DESC LIMIT 1 OFFSET ?1";

const BY_BEGINNING: &str = meant!(
    "NOT INDEXED WHERE x.key IN (
  SELECT e.key FROM exceptions AS e WHERE e.id >= ?8 AND e.id < ?9
  UNION SELECT e.key FROM exceptions AS e WHERE e.ticket_id >= ?8 AND e.ticket_id < ?9
  UNION SELECT e.key FROM exceptions AS e WHERE e.requester >= ?10 AND e.requester < ?11
)"
);

const COUNT_BY_BEGINNING: &str = "\
SELECT count(*) FROM (
  SELECT 1 FROM exceptions WHERE id >= ?2 AND id < ?3
  UNION ALL SELECT 1 FROM exceptions WHERE ticket_id >= ?2 AND ticket_id < ?3
  UNION ALL SELECT 1 FROM exceptions WHERE requester >= ?4 AND requester < ?5
  LIMIT ?1 + 1
)";

const NEWEST: &str = "SELECT key FROM exceptions NOT INDEXED WHERE key < ?1 ORDER BY key DESC LIMIT 1";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document
FROM exceptions WHERE key IN (SELECT value FROM json_each(?1))";

const TICKET: &str = "\
SELECT
  (SELECT x.runs_until FROM exceptions AS x WHERE x.ticket_id = t.id AND x.enforcement IN ('pending', 'in_force')
   ORDER BY x.key DESC LIMIT 1)
FROM tickets AS t WHERE t.id = ?1";

/// Every statement of this file.
#[cfg(test)]
const STATEMENTS: &[&str] = &[
    BY_STATE,
    BY_TICKET,
    BY_REQUESTER,
    BY_REVIEWER,
    OPEN,
    BY_BEGINNING,
    COUNT_BY_BEGINNING,
    NEWEST,
    EXCEPTIONS,
    TICKET,
];

/// One page.
pub(super) async fn exceptions(
    connection: &mut SqliteConnection,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
    bounds: Bounds,
) -> Result<Exceptions, Fault> {
    let (keys, next) = search(&mut Table(connection), selection, after, limit, bounds).await?;
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
    let exceptions = exceptions(connection, &selection, None, limit, Bounds::default()).await?;
    let newest = exceptions.items.first().map(Exception::runs_until);
    let view = |date| TicketView { id: id.clone(), current_due_date: date, exceptions };
    Ok(enforced_until.or(newest).map(view))
}

/// With the parameters that every list has.
macro_rules! bound {
    ($query:expr, $selection:ident, $stretch:ident, $most:ident) => {{
        let states = $selection.states().into_iter().map(|(status, enforcement)| format!("{status}/{enforcement}"));
        let (first_day, end_day) = $selection.dates();
        let [ids, ids_end, people, people_end] =
            $selection.beginnings().map_or([const { None }; 4], |texts| texts.map(Some));
        $query
            .bind(spaced(states))
            .bind(spaced($selection.severities.iter().map(|word| (*word).to_owned())))
            .bind($selection.ticket.as_ref().map(TicketId::as_str))
            .bind($selection.requester.as_ref().map(UserId::as_str))
            .bind($selection.reviewer.as_ref().map(UserId::as_str))
            .bind(first_day.map(text))
            .bind(end_day.map(text))
            .bind(ids)
            .bind(ids_end)
            .bind(people)
            .bind(people_end)
            .bind($stretch.before)
            .bind($most)
    }};
}

struct Table<'c>(&'c mut SqliteConnection);

impl Searched for Table<'_> {
    type Error = Fault;

    async fn newest(&mut self, before: i64) -> Result<Option<i64>, Fault> {
        Ok(query_scalar(NEWEST).bind(before).fetch_optional(&mut *self.0).await?)
    }

    async fn find(&mut self, selection: &Selection, stretch: Stretch, most: i64) -> Result<Found, Fault> {
        if let Some(statement) = self.few(selection, stretch.bounds.looked_at).await? {
            let query = bound!(query_scalar(statement), selection, stretch, most);
            return Ok(Found { keys: query.fetch_all(&mut *self.0).await?, floor: 0 });
        }
        let statement = match selection.lead() {
            Lead::Ticket => BY_TICKET,
            Lead::Requester => BY_REQUESTER,
            Lead::State => BY_STATE,
        };
        self.walk(statement, selection, stretch, most).await
    }
}

impl Table<'_> {
    /// The statement that looks at all that a filter leads to, if that is few.
    async fn few(&mut self, selection: &Selection, most: i64) -> Result<Option<&'static str>, Fault> {
        if selection.reviewer.is_some() {
            let open: Option<i64> = query_scalar(OPEN).bind(most).fetch_optional(&mut *self.0).await?;
            if open.is_none() {
                return Ok(Some(BY_REVIEWER));
            }
        }
        if let Some([from, until, person, last]) = selection.beginnings() {
            let query = query_scalar(COUNT_BY_BEGINNING).bind(most).bind(from).bind(until);
            let count: i64 = query.bind(person).bind(last).fetch_one(&mut *self.0).await?;
            if count <= most {
                return Ok(Some(BY_BEGINNING));
            }
        }
        Ok(None)
    }

    /// No further than a page needs: what is not asked for any more is not looked at.
    async fn walk(
        &mut self,
        statement: &'static str,
        selection: &Selection,
        stretch: Stretch,
        most: i64,
    ) -> Result<Found, Fault> {
        let (statuses, enforcements): (Vec<_>, Vec<_>) = selection.states().into_iter().unzip();
        let query = bound!(query_as(statement), selection, stretch, most)
            .bind(stretch.first_block)
            .bind(stretch.last_block)
            .bind(json(&statuses)?)
            .bind(json(&enforcements)?);
        let query = if statement == BY_STATE { query } else { query.bind(stretch.bounds.few) };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (mut keys, mut looked_at) = (Vec::new(), 0);
        let mut blocks = query.fetch(&mut *self.0);
        while let Some((block, found)) = blocks.try_next().await? {
            let (block, found): (i64, Option<String>) = (block, found);
            let mut numbers = found.iter().flat_map(|text| text.split(' ')).filter_map(|number| number.parse().ok());
            looked_at += numbers.next().unwrap_or(0);
            let mut of_block: Vec<i64> = numbers.collect();
            of_block.sort_unstable_by_key(|key| Reverse(*key));
            keys.extend(of_block);
            if keys.len() >= most || looked_at >= stretch.bounds.looked_at {
                return Ok(Found { keys, floor: block * BLOCK });
            }
        }
        Ok(Found { keys, floor: stretch.floor() })
    }
}

/// With a space before and after each; none is an empty text.
fn spaced(words: impl Iterator<Item = String>) -> String {
    words.fold(String::new(), |text, word| if text.is_empty() { format!(" {word} ") } else { format!("{text}{word} ") })
}

fn text(day: NaiveDate) -> String {
    day.to_string()
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
            assert!(!sorts || *statement == BY_BEGINNING, "{statement}\n{plan:#?}");
            let in_a_block = "exceptions_state (<expr>=? AND status=? AND enforcement=? AND <expr>>? AND <expr><?)";
            let is_led = plan.iter().any(|step| step.ends_with(in_a_block));
            assert!(is_led || !statement.contains("RECURSIVE"), "{statement}\n{plan:#?}");
        }
    }
}
