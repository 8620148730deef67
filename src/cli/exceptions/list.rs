//! Many exceptions for a person: a line for each.

use chrono::{NaiveDate, Utc};

use super::table::word;
use crate::cli::output::{self, Paint, age};
use crate::contract::shapes::ExceptionShape;
use crate::domain::dates::Timestamp;
use crate::domain::exception::{Enforcement, Status};

/// The list as a table.
pub(super) fn table(exceptions: &[ExceptionShape<'_>], paint: Paint) -> String {
    if exceptions.is_empty() { "no exceptions".to_owned() } else { rows(exceptions, paint, Utc::now()) }
}

/// A head and a line for each.
pub(in crate::cli) fn rows(exceptions: &[ExceptionShape<'_>], paint: Paint, now: Timestamp) -> String {
    let head = ["EXCEPTION", "TICKET", "SEVERITY", "STATUS", "LEVEL", "DUE", "AGE", "REQUESTER", "REVIEWERS"];
    let row = |exception: &ExceptionShape<'_>| {
        [
            exception.exception_id.to_string(),
            exception.ticket_id.to_string(),
            severity(exception.severity, paint),
            status(exception, paint),
            format!("{}/{}", exception.level, exception.levels),
            due(exception, paint, now.date_naive()),
            age(exception.created_at, now),
            exception.requester.to_string(),
            reviewers(exception, paint),
        ]
    };
    output::table(head, exceptions.iter().map(row), paint)
}

fn severity(severity: &str, paint: Paint) -> String {
    let severity = crate::cli::output::tame(severity);
    match severity.as_ref() {
        "critical" => paint.bad(severity),
        "high" => paint.warn(severity),
        _ => severity.into_owned(),
    }
}

/// Of an approved one, what became of it.
fn status(exception: &ExceptionShape<'_>, paint: Paint) -> String {
    match (exception.status, exception.enforcement) {
        (Status::Approved, Enforcement::InForce) => paint.good("in force"),
        (Status::Approved, Enforcement::Pending) => paint.good("approved"),
        (Status::Approved, _) => paint.dim("ended"),
        (Status::Denied, _) => paint.bad("denied"),
        (Status::Cancelled, _) => paint.dim("cancelled"),
        (Status::UnderReview, _) => paint.warn("under review"),
        (Status::Requested, _) => paint.warn(word(&Status::Requested)),
    }
}

/// The day the ticket runs until, and the one that is asked for.
fn due(exception: &ExceptionShape<'_>, paint: Paint, today: NaiveDate) -> String {
    let enforced = matches!(exception.enforcement, Enforcement::Pending | Enforcement::InForce);
    let until = exception.approved_due_date.filter(|_| enforced).unwrap_or(exception.current_due_date);
    let day = if until < today { paint.bad(until) } else { until.to_string() };
    match exception.status {
        Status::Requested | Status::UnderReview => format!("{day} > {}", exception.requested_due_date),
        _ => day,
    }
}

/// The first, and how many more.
fn reviewers(exception: &ExceptionShape<'_>, paint: Paint) -> String {
    let mut text = match exception.reviewers {
        [] => "-".to_owned(),
        [one] => one.to_string(),
        [first, others @ ..] => format!("{first} +{}", others.len()),
    };
    if exception.unassigned && !exception.reviewers.is_empty() {
        text = format!("{text} {}", paint.bad("(unassigned)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::shapes::tests::sample;
    use crate::domain::dates::{parse_date, parse_time};

    #[test]
    fn a_line_says_what_one_looks_for() {
        let (mut exception, _) = sample();
        let now = parse_time("2026-11-26T10:00:00Z").unwrap();
        let text = |exception: &crate::domain::exception::Exception| {
            rows(&[crate::contract::shapes::exception(exception)], Paint::Plain, now)
        };
        assert_eq!(
            text(&exception),
            "EXCEPTION  TICKET   SEVERITY  STATUS     LEVEL  DUE                      AGE  REQUESTER        REVIEWERS\n\
             EX-1       SEC-812  high      requested  1/2    2026-12-05 > 2027-01-31  2d   zoe@example.com  dana@example.com"
        );
        (exception.status, exception.enforcement) = (Status::Approved, Enforcement::InForce);
        exception.approved_due_date = parse_date("2027-01-15");
        assert!(
            text(&exception).contains("in force  1/2    2027-01-15  2d   zoe@example.com  -"),
            "{}",
            text(&exception)
        );
        assert!(rows(&[crate::contract::shapes::exception(&exception)], Paint::Ansi, now).contains("\x1b[32min force"));
    }
}
