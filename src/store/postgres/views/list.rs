//! Lists of exceptions: the statements behind [`search`]. Which index leads through a block is written in each of them; a `LIMIT` or an `OFFSET`
//! within keeps other conditions out, so that no planner believes in a better way.

use chrono::NaiveDate;
use sqlx::postgres::PgConnection;
use sqlx::{query_as, query_scalar};

use super::super::{Fault, read};
use crate::domain::exception::Exception;
use crate::domain::ids::{TicketId, UserId};
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{Bounds, Exceptions, Found, Lead, Newer, Searched, Selection, Stretch, TicketView, search};

/// What an exception has to be, by the first twelve parameters; `NULL`, or an empty list of severities, asks nothing.
macro_rules! fits {
    () => {
        "\
x.status = ANY($1::text[]) AND x.enforcement = ANY($2::text[])
AND (cardinality($3::text[]) = 0 OR x.severity = ANY($3::text[]))
AND ($4::text IS NULL OR x.ticket_id = $4::text)
AND ($5::text IS NULL OR x.requester = $5::text)
AND ($6::text IS NULL OR x.reviewers @> ARRAY[$6::text])
AND ($7::date IS NULL OR x.runs_until >= $7::date)
AND ($8::date IS NULL OR x.runs_until < $8::date)
AND (
  $9::text IS NULL OR (x.id >= $9::text AND x.id < $10::text) OR (x.ticket_id >= $9::text AND x.ticket_id < $10::text)
  OR (x.requester COLLATE \"C\" >= $11::text AND x.requester COLLATE \"C\" < $12::text)
)"
    };
}

/// What the states, the days and the severities lead to in a block, from the index alone.
macro_rules! by_state {
    () => {
        "\
SELECT e.key FROM UNNEST($1::text[], $2::text[]) AS s (status, enforcement) CROSS JOIN LATERAL (
  SELECT e.key FROM exceptions AS e
  WHERE (e.key >> 12) = b.block AND e.status = s.status AND e.enforcement = s.enforcement
  AND ($7::date IS NULL OR e.runs_until >= $7::date) AND ($8::date IS NULL OR e.runs_until < $8::date)
  AND (cardinality($3::text[]) = 0 OR e.severity = ANY($3::text[])) AND e.key < $13::bigint
  OFFSET 0
) AS e"
    };
}

/// Those of a block by an index that ends with the key.
macro_rules! in_block {
    ($named:literal) => {
        concat!(
            "SELECT e.key FROM exceptions AS e WHERE ",
            $named,
            " AND e.key >= b.block << 12 AND e.key < least((b.block + 1) << 12, $13::bigint)"
        )
    };
}

/// Block by block, the newest first, what is looked at in each, and of that what is meant. What is joined with `LATERAL` is done for each
/// row as it comes, in order, and no further than the limit asks: nothing is sorted but the keys of one block. The last one that may be
/// looked at comes whether it is meant or not. A beginning that many ids have, a year for one, keeps blocks out, unless a ticket or a requester
/// begins so too.
macro_rules! walk {
    ($($in_block:expr),+) => {
        concat!(
            "\
SELECT f.key, f.fits, f.looked_at = $15::bigint AS is_last FROM (
  SELECT x.key, (",
            fits!(),
            ") IS TRUE AS fits, row_number() OVER () AS looked_at
  FROM (SELECT
    $9::text IS NULL
    OR EXISTS (SELECT FROM exceptions WHERE ticket_id >= $9::text AND ticket_id < $10::text)
    OR EXISTS (SELECT FROM exceptions WHERE requester COLLATE \"C\" >= $11::text AND requester COLLATE \"C\" < $12::text) OFFSET 0
  ) AS q (is_anywhere)
  CROSS JOIN LATERAL generate_series($17::bigint, $16::bigint, -1) AS b (block)
  CROSS JOIN LATERAL (
    SELECT WHERE q.is_anywhere
    UNION ALL
    (SELECT FROM exceptions AS e WHERE e.key / 4096 = b.block AND e.id >= $9::text AND e.id < $10::text AND NOT q.is_anywhere LIMIT 1)
    LIMIT 1
  ) AS begun
",
            $($in_block,)+
            "
  CROSS JOIN LATERAL (SELECT * FROM exceptions WHERE key = k.key OFFSET 0) AS x
  LIMIT $15::bigint
) AS f WHERE f.fits OR f.looked_at = $15::bigint LIMIT $14::bigint"
        )
    };
}

/// As `walk`, through blocks where something has the name and something the state. What is looked at is what is fewer; where both are many
/// it is what has the state.
macro_rules! walk_named {
    ($named:literal) => {
        walk!(
            "  CROSS JOIN LATERAL (SELECT ARRAY(",
            in_block!($named),
            " LIMIT $18::bigint + 1) OFFSET 0) AS named (keys)
  CROSS JOIN LATERAL (SELECT ARRAY(SELECT e.key FROM (",
            by_state!(),
            ") AS e WHERE cardinality(named.keys) > 0 LIMIT $18::bigint + 1) OFFSET 0) AS stated (keys)
  CROSS JOIN LATERAL (SELECT
    CASE WHEN cardinality(stated.keys) < cardinality(named.keys) THEN stated.keys ELSE named.keys END OFFSET 0
  ) AS fewer (keys)
  CROSS JOIN LATERAL (
    SELECT UNNEST(fewer.keys) AS key WHERE cardinality(fewer.keys) <= $18::bigint
    UNION ALL
    SELECT e.key FROM (",
            by_state!(),
            ") AS e WHERE cardinality(fewer.keys) > $18::bigint
    ORDER BY key DESC
  ) AS k"
        )
    };
}

const BY_STATE: &str = walk!("  CROSS JOIN LATERAL (", by_state!(), " ORDER BY key DESC) AS k");

const BY_TICKET: &str = walk_named!("e.ticket_id = $4::text");

/// The collation is that of the index.
const BY_REQUESTER: &str = walk_named!("e.requester COLLATE \"C\" = $5::text");

/// All whose names begin so, if these are few.
const BY_BEGINNING: &str = concat!(
    "\
SELECT x.key, true AS fits, false AS is_last FROM (
  SELECT n.key FROM (
    SELECT key FROM exceptions WHERE id >= $9::text AND id < $10::text
    UNION
    SELECT key FROM exceptions WHERE ticket_id >= $9::text AND ticket_id < $10::text
    UNION
    SELECT key FROM exceptions WHERE requester COLLATE \"C\" >= $11::text AND requester COLLATE \"C\" < $12::text
  ) AS n WHERE n.key < $13::bigint ORDER BY n.key DESC
) AS k
CROSS JOIN LATERAL (SELECT * FROM exceptions WHERE key = k.key OFFSET 0) AS x
WHERE ",
    fits!(),
    " LIMIT $14::bigint"
);

const COUNT_BY_BEGINNING: &str = "\
SELECT count(*) FROM (
  (SELECT FROM exceptions WHERE id >= $2::text AND id < $3::text LIMIT $1::bigint + 1)
  UNION ALL
  (SELECT FROM exceptions WHERE ticket_id >= $2::text AND ticket_id < $3::text LIMIT $1::bigint + 1)
  UNION ALL
  (SELECT FROM exceptions WHERE requester COLLATE \"C\" >= $4::text AND requester COLLATE \"C\" < $5::text LIMIT $1::bigint + 1)
) AS x";

/// Those of one reviewer are few, and in no order. The condition on the status is that of the index.
const BY_REVIEWER: &str = concat!(
    "\
SELECT x.key, true AS fits, false AS is_last FROM (
  SELECT * FROM exceptions WHERE reviewers @> ARRAY[$6::text] AND status IN ('requested', 'under_review') OFFSET 0
) AS x WHERE ",
    fits!(),
    "
AND x.key < $13::bigint ORDER BY x.key DESC LIMIT $14::bigint"
);

/// Turns keep the count.
const COUNT_BY_REVIEWER: &str = "SELECT open_assignments FROM reviewers WHERE id = $1::text";

const NEWEST: &str = "SELECT key FROM exceptions WHERE key < $1::bigint ORDER BY key DESC LIMIT 1";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE key = ANY($1::bigint[])";

/// The condition on the enforcement is that of the partial index.
const TICKET: &str = "\
SELECT (
  SELECT x.runs_until FROM (
    SELECT key, runs_until FROM exceptions WHERE ticket_id = t.id AND enforcement IN ('pending', 'in_force') OFFSET 0
  ) AS x ORDER BY x.key DESC LIMIT 1
) FROM tickets AS t WHERE t.id = $1::text";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[
    BY_STATE,
    BY_TICKET,
    BY_REQUESTER,
    BY_BEGINNING,
    COUNT_BY_BEGINNING,
    BY_REVIEWER,
    COUNT_BY_REVIEWER,
    NEWEST,
    EXCEPTIONS,
    TICKET,
];

/// One page.
pub(super) async fn exceptions(
    connection: &mut PgConnection,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
    bounds: Bounds,
) -> Result<Exceptions, Fault> {
    let (keys, next) = search(&mut Table(connection), selection, after, limit, bounds).await?;
    let mut items: Vec<(i64, Exception)> = Vec::new();
    if !keys.is_empty() {
        let rows: Vec<read::ExceptionRow> = query_as(EXCEPTIONS).bind(keys).fetch_all(connection).await?;
        items = rows.into_iter().map(read::exception).collect::<Result<_, _>>()?;
        items.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
    }
    Ok(Page { items: items.into_iter().map(|(_, exception)| exception).collect(), next })
}

/// One ticket.
pub(super) async fn ticket(
    connection: &mut PgConnection,
    id: &TicketId,
    limit: Limit,
) -> Result<Option<TicketView>, Fault> {
    let found: Option<(Option<NaiveDate>,)> =
        query_as(TICKET).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some((enforced_until,)) = found else { return Ok(None) };
    let selection = Selection { ticket: Some(id.clone()), ..Selection::default() };
    let exceptions = exceptions(connection, &selection, None, limit, Bounds::default()).await?;
    let newest = exceptions.items.first().map(Exception::runs_until);
    let view = |date| TicketView { id: id.clone(), current_due_date: date, exceptions };
    Ok(enforced_until.or(newest).map(view))
}

struct Table<'c>(&'c mut PgConnection);

impl Searched for Table<'_> {
    type Error = Fault;

    async fn newest(&mut self, before: i64) -> Result<Option<i64>, Fault> {
        Ok(query_scalar(NEWEST).bind(before).fetch_optional(&mut *self.0).await?)
    }

    async fn find(&mut self, selection: &Selection, stretch: Stretch, most: i64) -> Result<Found, Fault> {
        if let Some(statement) = self.few(selection, stretch.bounds.looked_at).await? {
            let rows = self.rows(statement, selection, stretch, most).await?;
            return Ok(Found { keys: rows.into_iter().map(|row| row.key).collect(), floor: 0 });
        }
        let statement = match selection.lead() {
            Lead::Ticket => BY_TICKET,
            Lead::Requester => BY_REQUESTER,
            Lead::State => BY_STATE,
        };
        let rows = self.rows(statement, selection, stretch, most).await?;
        let floor = rows.iter().find(|row| row.is_last).map_or(stretch.floor(), |row| row.key);
        Ok(Found { keys: rows.into_iter().filter_map(|row| row.fits.then_some(row.key)).collect(), floor })
    }
}

/// What was looked at.
#[derive(sqlx::FromRow)]
struct Row {
    key: i64,
    fits: bool,
    is_last: bool,
}

impl Table<'_> {
    /// The statement that looks at all that a filter leads to, if that is few.
    async fn few(&mut self, selection: &Selection, most: i64) -> Result<Option<&'static str>, Fault> {
        if let Some(reviewer) = &selection.reviewer {
            let query = query_scalar(COUNT_BY_REVIEWER).bind(reviewer.as_str());
            let open: Option<i32> = query.fetch_optional(&mut *self.0).await?;
            if i64::from(open.unwrap_or(0)) <= most {
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

    async fn rows(
        &mut self,
        statement: &'static str,
        selection: &Selection,
        stretch: Stretch,
        most: i64,
    ) -> Result<Vec<Row>, Fault> {
        let (statuses, enforcements): (Vec<_>, Vec<_>) = selection.states().into_iter().unzip();
        let (first_day, end_day) = selection.dates();
        let [ids, ids_end, people, people_end] =
            selection.beginnings().map_or([const { None }; 4], |texts| texts.map(Some));
        let query = query_as(statement)
            .bind(statuses)
            .bind(enforcements)
            .bind(&selection.severities)
            .bind(selection.ticket.as_ref().map(TicketId::as_str))
            .bind(selection.requester.as_ref().map(UserId::as_str))
            .bind(selection.reviewer.as_ref().map(UserId::as_str))
            .bind(first_day)
            .bind(end_day)
            .bind(ids)
            .bind(ids_end)
            .bind(people)
            .bind(people_end)
            .bind(stretch.before)
            .bind(most);
        let query = match statement {
            BY_BEGINNING | BY_REVIEWER => query,
            _ => query.bind(stretch.bounds.looked_at).bind(stretch.first_block).bind(stretch.last_block),
        };
        let query = match statement {
            BY_TICKET | BY_REQUESTER => query.bind(stretch.bounds.few),
            _ => query,
        };
        Ok(query.fetch_all(&mut *self.0).await?)
    }
}
