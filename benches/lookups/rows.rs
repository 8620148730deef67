//! Millions of exceptions, made in the database: three years of them, the last hundredth mostly open, with the skew that people have.

use std::collections::BTreeMap;

use reprieve::domain::dates::{parse_date, parse_time};
use reprieve::domain::exception::{Cause, Enforcement, Exception, Request, Status};
use reprieve::domain::history::Chain;
use reprieve::domain::ids::{Digest, ExceptionId, TicketId, UserId};
use reprieve::domain::rules::{Assignment, Level};

/// One that is open.
pub(crate) fn exception(number: usize) -> Exception {
    let at = parse_time("2026-11-24T09:00:00Z").unwrap();
    let date = parse_date("2026-12-05").unwrap();
    let user = |name: &str| UserId::parse(name).unwrap();
    Exception {
        id: ExceptionId::parse(&format!("EX-{number:08}")).unwrap(),
        ticket_id: TicketId::parse(&format!("SEC-{number:08}")).unwrap(),
        submission: Digest([1; 16]),
        request: Request {
            ticket_title: "OpenSSL 3.0 on payments-api".to_owned(),
            severity: ["critical", "high", "medium", "low"][number % 4].to_owned(),
            requester: user(&format!("person-{}@example.com", number * 7_919 % 5_000)),
            team: None,
            reason: "fix_unavailable".to_owned(),
            original_due_date: date,
            current_due_date: date + chrono::Days::new(number as u64 * 31 % 60),
            requested_due_date: date + chrono::Days::new(90),
            previous_exception_id: None,
            batch_id: None,
        },
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 1,
        assignment: Assignment { rule: "default".to_owned(), rules_version: "1".to_owned(), ..Assignment::default() },
        level: Level {
            number: 1,
            reviewers: vec![user(&format!("reviewer-{}@example.com", number * 104_729 % 200))],
            quorum: 1,
            unassigned: false,
        },
        votes: Vec::new(),
        decisions: BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain: Chain::default(),
        created_at: at,
        updated_at: at,
        decided_at: None,
    }
}

/// The rows as both dialects say them; `{…}` is what each says in its own way. The document is the same in all of them: lists are made by
/// the columns.
const ROWS: &str = "
WITH n AS ({numbers}),
d AS (
  SELECT n, {hash} AS h, {now} - ({rows} - n) * (1095.0 * 86400 / {rows}) AS created FROM n
),
s AS (
  SELECT d.*,
    CASE WHEN n > {rows} * 0.99 AND h % 10 < 7 THEN CASE WHEN h % 5 = 0 THEN 'under_review' ELSE 'requested' END
      WHEN h % 100 < 65 THEN 'approved' WHEN h % 100 < 95 THEN 'denied' ELSE 'cancelled' END AS status,
    created + (5 + h % 55) * 86400 AS due, created + (60 + h % 180) * 86400 AS approved_due
  FROM d
)
INSERT INTO exceptions (
  id, ticket_id, status, enforcement, severity, requester, reviewers, approvers, requested_due_date, approved_due_date, revision,
  sequence, entries, head, decided_at, created_at, updated_at, document, runs_until)
SELECT
  'EX-' || {year} || '-' || {padded}, 'SEC-' || CASE WHEN status IN ('requested', 'under_review') THEN n ELSE n - h % 3 END, status,
  CASE WHEN status <> 'approved' THEN 'none' WHEN approved_due < {now} THEN 'ended' WHEN h % 50 = 0 THEN 'pending' ELSE 'in_force' END,
  CASE WHEN h % 20 = 0 THEN 'critical' WHEN h % 20 < 6 THEN 'high' WHEN h % 20 < 15 THEN 'medium' WHEN h % 20 < 19 THEN 'low' ELSE 'info' END,
  'person-' || (h % 70 * (h % 71)) || '@example.com',
  {reviewers}, {nobody}, {date_due}, CASE WHEN status = 'approved' THEN {date_approved} END, 2, 3, 2, {head},
  CASE WHEN status NOT IN ('requested', 'under_review') THEN {decided} END, {created}, {created}, '{document}',
  CASE WHEN status = 'approved' AND approved_due >= {now} THEN {date_approved} ELSE {date_due} END
FROM s";

fn filled(rows: usize, parts: &[(&str, &str)]) -> String {
    let mut exception = exception(1);
    exception.status = Status::Denied;
    let document = reprieve::store::document::write(&exception).unwrap();
    let mut sql = ROWS.replace("{document}", &document);
    for (name, value) in parts {
        sql = sql.replace(&format!("{{{name}}}"), value);
    }
    sql.replace("{rows}", &rows.to_string())
}

pub(crate) fn in_postgres(rows: usize) -> String {
    filled(
        rows,
        &[
            ("numbers", "SELECT generate_series(1, {rows}) AS n"),
            ("hash", "(hashint8(n)::bigint & 2147483647)"),
            ("now", "extract(epoch FROM now())::numeric"),
            ("year", "to_char(to_timestamp(created), 'YYYY')"),
            ("padded", "lpad(n::text, 8, '0')"),
            (
                "reviewers",
                "CASE WHEN status IN ('requested', 'under_review') THEN ARRAY['reviewer-' || h % 200 || '@example.com'] ELSE '{}' END",
            ),
            ("nobody", "'{}'::text[]"),
            ("date_due", "to_timestamp(due)::date"),
            ("date_approved", "to_timestamp(approved_due)::date"),
            ("decided", "to_timestamp(created + h % 400000)"),
            ("created", "to_timestamp(created)"),
            ("head", "decode(repeat('00', 32), 'hex')"),
        ],
    )
}

pub(crate) fn in_sqlite(rows: usize) -> String {
    filled(
        rows,
        &[
            ("numbers", "SELECT value AS n FROM generate_series(1, {rows})"),
            ("hash", "(n * 2654435761 % 2147483647)"),
            ("now", "unixepoch()"),
            ("year", "strftime('%Y', created, 'unixepoch')"),
            ("padded", "printf('%08d', n)"),
            (
                "reviewers",
                "CASE WHEN status IN ('requested', 'under_review') THEN ' reviewer-' || h % 200 || '@example.com ' ELSE '' END",
            ),
            ("nobody", "''"),
            ("date_due", "date(due, 'unixepoch')"),
            ("date_approved", "date(approved_due, 'unixepoch')"),
            ("decided", "CAST((created + h % 400000) * 1000000 AS INTEGER)"),
            ("created", "CAST(created * 1000000 AS INTEGER)"),
            ("head", "zeroblob(32)"),
        ],
    )
}
