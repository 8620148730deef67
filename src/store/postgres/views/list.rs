//! Lists of exceptions: the statements behind [`search`]. Each page is found by one index, which is written in its statement: a `LIMIT` within
//! keeps the other conditions out, so that no planner believes in a better way. It is twice what is looked at, so that it cuts nothing off when rows
//! come in between.

use chrono::NaiveDate;
use sqlx::postgres::PgConnection;
use sqlx::{query_as, query_scalar};

use super::super::{Fault, read};
use crate::domain::exception::Exception;
use crate::domain::ids::{TicketId, UserId};
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{Driver, Exceptions, LOOKED_AT_MAX, Newer, Probe, Searched, Selection, TicketView, search};

/// What an exception has to be beside its state, by the parameters from the third to the twelfth; `NULL`, or an empty list, asks
/// nothing.
macro_rules! fits {
    () => {
        "\
(cardinality($3::text[]) = 0 OR x.severity = ANY($3::text[]))
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

/// Of these, what is meant, the newest first.
macro_rules! meant {
    ($from:literal) => {
        concat!(
            "SELECT x.key FROM (",
            $from,
            ") AS x WHERE x.status = ANY($1::text[]) AND x.enforcement = ANY($2::text[]) AND ",
            fits!(),
            "
AND x.key >= $13::bigint AND x.key < $14::bigint
ORDER BY x.key DESC LIMIT $15::bigint"
        )
    };
}

const BY_KEY: &str = meant!(
    "\
SELECT * FROM exceptions WHERE key >= $13::bigint AND key < $14::bigint ORDER BY key DESC LIMIT 10000"
);

const BY_TICKET: &str = meant!(
    "\
SELECT * FROM exceptions WHERE ticket_id = $4::text AND key >= $13::bigint AND key < $14::bigint
ORDER BY ticket_id DESC, key DESC LIMIT 10000"
);

/// The collation is that of the index.
const BY_REQUESTER: &str = meant!(
    "\
SELECT * FROM exceptions WHERE requester COLLATE \"C\" = $5::text AND key >= $13::bigint AND key < $14::bigint
ORDER BY requester COLLATE \"C\" DESC, key DESC LIMIT 10000"
);

/// The condition on the status is that of the index.
const BY_REVIEWER: &str = meant!(
    "\
SELECT * FROM exceptions WHERE reviewers @> ARRAY[$6::text] AND status IN ('requested', 'under_review') OFFSET 0"
);

const BY_DATES: &str = meant!(
    "\
SELECT x.* FROM UNNEST($1::text[], $2::text[]) AS s (status, enforcement)
CROSS JOIN LATERAL (
  SELECT * FROM exceptions AS e
  WHERE e.status = s.status AND e.enforcement = s.enforcement
  AND e.runs_until >= coalesce($7::date, '-infinity') AND e.runs_until < coalesce($8::date, 'infinity') LIMIT 10000
) AS x OFFSET 0"
);

const BY_BEGINNING: &str = meant!(
    "\
SELECT * FROM exceptions WHERE key = ANY(ARRAY(
  (SELECT key FROM exceptions WHERE id >= $9::text AND id < $10::text LIMIT 10000)
  UNION
  (SELECT key FROM exceptions WHERE ticket_id >= $9::text AND ticket_id < $10::text LIMIT 10000)
  UNION
  (SELECT key FROM exceptions WHERE requester COLLATE \"C\" >= $11::text AND requester COLLATE \"C\" < $12::text LIMIT 10000)
)) OFFSET 0"
);

/// One range of the index for each state and severity, each in order, with all conditions: no more of one than a page holds.
const BY_STATE: &str = concat!(
    "\
SELECT f.key FROM UNNEST($1::text[], $2::text[]) AS s (status, enforcement) CROSS JOIN UNNEST($16::text[]) AS v (severity)
CROSS JOIN LATERAL (
  SELECT x.key FROM (
    SELECT * FROM exceptions AS e
    WHERE e.status = s.status AND e.enforcement = s.enforcement AND e.severity = v.severity
    AND e.key >= $13::bigint AND e.key < $14::bigint
    ORDER BY e.status DESC, e.enforcement DESC, e.severity DESC, e.key DESC LIMIT 10000
  ) AS x WHERE ",
    fits!(),
    "
  ORDER BY x.key DESC LIMIT $15::bigint
) AS f
ORDER BY f.key DESC LIMIT $15::bigint"
);

const FLOOR_BY_KEY: &str =
    "SELECT key FROM exceptions WHERE key < $1::bigint ORDER BY key DESC OFFSET $2::bigint LIMIT 1";

const FLOOR_BY_TICKET: &str = "\
SELECT key FROM exceptions WHERE ticket_id = $3::text AND key < $1::bigint
ORDER BY ticket_id DESC, key DESC OFFSET $2::bigint LIMIT 1";

const FLOOR_BY_REQUESTER: &str = "\
SELECT key FROM exceptions WHERE requester COLLATE \"C\" = $3::text AND key < $1::bigint
ORDER BY requester COLLATE \"C\" DESC, key DESC OFFSET $2::bigint LIMIT 1";

/// Every range may be looked at as far as the others.
const FLOOR_BY_STATE: &str = "\
SELECT max(f.key) FROM UNNEST($3::text[], $4::text[]) AS s (status, enforcement) CROSS JOIN UNNEST($5::text[]) AS v (severity)
CROSS JOIN LATERAL (
  SELECT e.key FROM exceptions AS e
  WHERE e.status = s.status AND e.enforcement = s.enforcement AND e.severity = v.severity AND e.key < $1::bigint
  ORDER BY e.status DESC, e.enforcement DESC, e.severity DESC, e.key DESC OFFSET $2::bigint LIMIT 1
) AS f";

const COUNT_BY_DATES: &str = "\
SELECT count(*) FROM (
  SELECT FROM UNNEST($2::text[], $3::text[]) AS s (status, enforcement)
  CROSS JOIN LATERAL (
    SELECT FROM exceptions AS e
    WHERE e.status = s.status AND e.enforcement = s.enforcement
    AND e.runs_until >= coalesce($4::date, '-infinity') AND e.runs_until < coalesce($5::date, 'infinity') LIMIT $1::bigint + 1
  ) AS x LIMIT $1::bigint + 1
) AS x";

const COUNT_BY_BEGINNING: &str = "\
SELECT count(*) FROM (
  (SELECT FROM exceptions WHERE id >= $2::text AND id < $3::text LIMIT $1::bigint + 1)
  UNION ALL
  (SELECT FROM exceptions WHERE ticket_id >= $2::text AND ticket_id < $3::text LIMIT $1::bigint + 1)
  UNION ALL
  (SELECT FROM exceptions WHERE requester COLLATE \"C\" >= $4::text AND requester COLLATE \"C\" < $5::text LIMIT $1::bigint + 1)
) AS x";

/// Turns keep the count.
const COUNT_BY_REVIEWER: &str = "SELECT open_assignments FROM reviewers WHERE id = $1::text";

const EXCEPTIONS: &str = "\
SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE key = ANY($1::bigint[])";

const TICKET: &str = "\
SELECT
  (SELECT x.runs_until FROM exceptions AS x WHERE x.ticket_id = t.id AND x.enforcement IN ('pending', 'in_force')
   ORDER BY x.key DESC LIMIT 1)
FROM tickets AS t WHERE t.id = $1::text";

/// Every statement of this file.
pub(super) const STATEMENTS: &[&str] = &[
    BY_KEY,
    BY_TICKET,
    BY_REQUESTER,
    BY_REVIEWER,
    BY_DATES,
    BY_BEGINNING,
    BY_STATE,
    FLOOR_BY_KEY,
    FLOOR_BY_TICKET,
    FLOOR_BY_REQUESTER,
    FLOOR_BY_STATE,
    COUNT_BY_DATES,
    COUNT_BY_BEGINNING,
    COUNT_BY_REVIEWER,
    EXCEPTIONS,
    TICKET,
];

/// One page.
pub(super) async fn exceptions(
    connection: &mut PgConnection,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
) -> Result<Exceptions, Fault> {
    let (keys, next) = search(&mut Table(connection), selection, after, limit).await?;
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
    let exceptions = exceptions(connection, &selection, None, limit).await?;
    let newest = exceptions.items.first().map(Exception::runs_until);
    let view = |date| TicketView { id: id.clone(), current_due_date: date, exceptions };
    Ok(enforced_until.or(newest).map(view))
}

struct Table<'c>(&'c mut PgConnection);

impl Searched for Table<'_> {
    type Error = Fault;

    async fn probe(&mut self, driver: Driver, selection: &Selection, before: i64) -> Result<Probe, Fault> {
        let connection = &mut *self.0;
        let (statuses, enforcements): (Vec<_>, Vec<_>) = selection.states().into_iter().unzip();
        let severities = selection.each_severity();
        let floor: Option<i64> = match driver {
            Driver::All => {
                query_scalar(FLOOR_BY_KEY).bind(before).bind(LOOKED_AT_MAX).fetch_optional(connection).await?
            }
            Driver::Ticket => {
                let query = query_scalar(FLOOR_BY_TICKET).bind(before).bind(LOOKED_AT_MAX);
                query.bind(selection.ticket.as_ref().map(TicketId::as_str)).fetch_optional(connection).await?
            }
            Driver::Requester => {
                let query = query_scalar(FLOOR_BY_REQUESTER).bind(before).bind(LOOKED_AT_MAX);
                query.bind(selection.requester.as_ref().map(UserId::as_str)).fetch_optional(connection).await?
            }
            Driver::States => {
                let query = query_scalar(FLOOR_BY_STATE).bind(before).bind(each(&statuses, severities));
                query.bind(statuses).bind(enforcements).bind(severities).fetch_one(connection).await?
            }
            Driver::Dates => {
                let (from, until) = selection.dates();
                let query = query_scalar(COUNT_BY_DATES).bind(LOOKED_AT_MAX).bind(statuses).bind(enforcements);
                return Ok(counted(query.bind(from).bind(until).fetch_one(connection).await?));
            }
            Driver::Beginning => {
                let [from, until, person, last] = selection.beginnings().unwrap_or_default();
                let query = query_scalar(COUNT_BY_BEGINNING).bind(LOOKED_AT_MAX).bind(from).bind(until);
                return Ok(counted(query.bind(person).bind(last).fetch_one(connection).await?));
            }
            Driver::Reviewer => {
                let query = query_scalar(COUNT_BY_REVIEWER).bind(selection.reviewer.as_ref().map(UserId::as_str));
                let open: Option<i32> = query.fetch_optional(connection).await?;
                return Ok(counted(open.unwrap_or(0).into()));
            }
        };
        Ok(floor.map_or(Probe::Few, Probe::Many))
    }

    async fn keys(
        &mut self,
        driver: Driver,
        selection: &Selection,
        (from, before): (i64, i64),
        most: i64,
    ) -> Result<Vec<i64>, Fault> {
        let statement = match driver {
            Driver::All => BY_KEY,
            Driver::Ticket => BY_TICKET,
            Driver::Requester => BY_REQUESTER,
            Driver::Reviewer => BY_REVIEWER,
            Driver::Dates => BY_DATES,
            Driver::Beginning => BY_BEGINNING,
            Driver::States => BY_STATE,
        };
        let (statuses, enforcements): (Vec<_>, Vec<_>) = selection.states().into_iter().unzip();
        let (first_day, end_day) = selection.dates();
        let [ids, ids_end, people, people_end] =
            selection.beginnings().map_or([const { None }; 4], |texts| texts.map(Some));
        let query = query_scalar(statement)
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
            .bind(from)
            .bind(before)
            .bind(most);
        let query = if driver == Driver::States { query.bind(selection.each_severity()) } else { query };
        Ok(query.fetch_all(&mut *self.0).await?)
    }
}

fn counted(count: i64) -> Probe {
    if count <= LOOKED_AT_MAX { Probe::Few } else { Probe::Unordered }
}

/// How many of each range may be looked at.
fn each(statuses: &[&str], severities: &[&str]) -> i64 {
    let ranges = i64::try_from(statuses.len() * severities.len()).unwrap_or(1);
    LOOKED_AT_MAX / ranges.max(1)
}
