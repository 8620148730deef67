//! Counts of exceptions that turns keep by their differences, so that nobody has to count rows: what each exception counts as, what
//! a turn changes of that, and what the figures of `stats` are made of.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use crate::domain::dates::Timestamp;
use crate::domain::exception::{Enforcement, Exception, Status};
use crate::domain::ids::ExceptionId;
use crate::store::lookups::{STATS_DAYS, Stats};
use crate::store::rows;

/// From so many hours on a decision counts by whole days, so that the rows stay few.
const HOURS_EXACT: i64 = 48;

/// What an exception counts as, in each of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tally {
    /// Every one.
    State(Status, Enforcement),
    /// One that waits for a decision, by the day it came.
    Open(NaiveDate),
    /// One of these that nobody could be found for.
    Unassigned,
    /// One whose ticket runs on the approved date, by that date.
    Enforced(NaiveDate),
    /// One that is decided: when, how, and after how many hours.
    Decided(NaiveDate, Status, i64),
}

/// What an exception counted as before a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    state: (Status, Enforcement),
    is_unassigned: bool,
    open_since: Option<NaiveDate>,
    enforced_until: Option<NaiveDate>,
    decided: Option<(NaiveDate, i64)>,
}

impl Standing {
    fn of(exception: &Exception) -> Self {
        let decided = |at: Timestamp| {
            let hours = (at - exception.created_at).num_hours().max(0);
            (at.date_naive(), if hours < HOURS_EXACT { hours } else { hours / 24 * 24 })
        };
        Self {
            state: exception.state(),
            is_unassigned: exception.is_open() && exception.level.unassigned,
            open_since: exception.is_open().then(|| exception.created_at.date_naive()),
            enforced_until: exception.approved_due_date.filter(|_| exception.is_enforced()),
            decided: exception.decided_at.map(decided),
        }
    }

    fn tallies(self) -> impl Iterator<Item = Tally> {
        let (status, enforcement) = self.state;
        [
            Some(Tally::State(status, enforcement)),
            self.open_since.map(Tally::Open),
            self.is_unassigned.then_some(Tally::Unassigned),
            self.enforced_until.map(Tally::Enforced),
            self.decided.map(|(day, hours)| Tally::Decided(day, status, hours)),
        ]
        .into_iter()
        .flatten()
    }
}

/// What the loaded exceptions count as.
pub(super) fn standings(loaded: &BTreeMap<ExceptionId, Exception>) -> BTreeMap<ExceptionId, Standing> {
    loaded.iter().map(|(id, exception)| (id.clone(), Standing::of(exception))).collect()
}

/// A stored row; what is written of it is a difference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Row {
    pub(super) kind: String,
    pub(super) day: String,
    pub(super) part: String,
    pub(super) count: i64,
}

impl Row {
    fn of(tally: Tally, count: i64) -> Self {
        let (kind, day, part) = match tally {
            Tally::State(status, enforcement) => {
                ("state", None, format!("{}/{}", rows::status(status), rows::enforcement(enforcement)))
            }
            Tally::Open(day) => ("open", Some(day), String::new()),
            Tally::Unassigned => ("unassigned", None, String::new()),
            Tally::Enforced(day) => ("enforced", Some(day), String::new()),
            Tally::Decided(day, status, hours) => ("decided", Some(day), format!("{}/{hours}", rows::status(status))),
        };
        Self { kind: kind.to_owned(), day: day.map(|day| day.to_string()).unwrap_or_default(), part, count }
    }
}

/// What a turn changes, in the order of the key: nothing that stays as it is.
pub(super) fn differences(before: &BTreeMap<ExceptionId, Standing>, written: &[Exception]) -> Vec<Row> {
    let mut tallies = BTreeMap::<Tally, i64>::new();
    for exception in written {
        for tally in Standing::of(exception).tallies() {
            *tallies.entry(tally).or_default() += 1;
        }
        for tally in before.get(&exception.id).into_iter().flat_map(|standing| standing.tallies()) {
            *tallies.entry(tally).or_default() -= 1;
        }
    }
    let changed = tallies.into_iter().filter(|(_, difference)| *difference != 0);
    changed.map(|(tally, difference)| Row::of(tally, difference)).collect()
}

/// The days that the figures are about: those of the decisions, and those on which an approved date expires.
pub(super) struct Span {
    pub(super) decided_from: String,
    pub(super) today: String,
    pub(super) expiring_until: String,
}

impl Span {
    pub(super) fn around(today: NaiveDate) -> Self {
        let days = Days::new(STATS_DAYS);
        Self {
            decided_from: (today - days + Days::new(1)).to_string(),
            today: today.to_string(),
            expiring_until: (today + days).to_string(),
        }
    }
}

/// The figures that are made of tallies: of those of the [`Span`], those without a day, and the first day with an open one.
pub(super) fn stats(rows: &[Row], today: NaiveDate) -> Stats {
    let mut stats = Stats::default();
    let mut waits = BTreeMap::<i64, u64>::new();
    for Row { kind, day, part, count } in rows {
        let count = u64::try_from(*count).unwrap_or(0);
        match (kind.as_str(), part.as_str()) {
            ("state", "requested/none" | "under_review/none") => stats.open += count,
            ("state", "approved/in_force") => stats.in_force += count,
            ("unassigned", _) => stats.unassigned += count,
            ("enforced", _) => stats.expiring_30d += count,
            ("open", _) => {
                let since = day.parse::<NaiveDate>().ok();
                stats.oldest_open_days = since.and_then(|day| u64::try_from((today - day).num_days()).ok());
            }
            ("decided", part) => {
                let Some((status @ ("approved" | "denied"), hours)) = part.split_once('/') else { continue };
                stats.decided_30d += count;
                stats.approved_30d += if status == "approved" { count } else { 0 };
                *waits.entry(hours.parse().unwrap_or(0)).or_default() += count;
            }
            _ => {}
        }
    }
    stats.median_hours_to_decision = median(&waits);
    stats
}

fn median(waits: &BTreeMap<i64, u64>) -> Option<i64> {
    let half = waits.values().sum::<u64>().div_ceil(2);
    let mut before = 0;
    let mut reaches = |count: u64| {
        before += count;
        before >= half
    };
    waits.iter().find(|(_, count)| reaches(**count)).map(|(hours, _)| *hours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::shapes::tests::sample;
    use crate::domain::dates::parse_date;

    fn row(kind: &str, day: &str, part: &str, count: i64) -> Row {
        Row { kind: kind.to_owned(), day: day.to_owned(), part: part.to_owned(), count }
    }

    #[test]
    fn a_turn_changes_what_its_exceptions_count_as() {
        let (mut exception, _) = sample();
        exception.level.unassigned = true;
        let day = exception.created_at.date_naive().to_string();
        let submitted = [row("state", "", "requested/none", 1), row("open", &day, "", 1), row("unassigned", "", "", 1)];
        assert_eq!(differences(&BTreeMap::new(), std::slice::from_ref(&exception)), submitted);

        let before = standings(&[(exception.id.clone(), exception.clone())].into());
        assert_eq!(differences(&before, std::slice::from_ref(&exception)), [], "a vote that completes nothing");
        let decided_at = exception.created_at + chrono::TimeDelta::hours(60);
        exception.decided_at = Some(decided_at);
        (exception.status, exception.enforcement) = (Status::Approved, Enforcement::InForce);
        exception.approved_due_date = parse_date("2027-01-15");
        let approved = [
            row("state", "", "requested/none", -1),
            row("state", "", "approved/in_force", 1),
            row("open", &day, "", -1),
            row("unassigned", "", "", -1),
            row("enforced", "2027-01-15", "", 1),
            row("decided", &decided_at.date_naive().to_string(), "approved/48", 1),
        ];
        assert_eq!(differences(&before, std::slice::from_ref(&exception)), approved);
    }

    #[test]
    fn figures_are_made_of_tallies() {
        let today = parse_date("2026-11-24").unwrap();
        assert_eq!(stats(&[], today), Stats::default());
        let rows = [
            row("state", "", "requested/none", 3),
            row("state", "", "under_review/none", 2),
            row("state", "", "approved/in_force", 7),
            row("state", "", "denied/none", 9),
            row("open", "2026-11-14", "", 1),
            row("unassigned", "", "", -1),
            row("enforced", "2026-12-01", "", 4),
            row("decided", "2026-11-20", "approved/5", 3),
            row("decided", "2026-11-21", "denied/72", 1),
            row("decided", "2026-11-21", "cancelled/1", 8),
        ];
        let expected = Stats {
            open: 5,
            oldest_open_days: Some(10),
            decided_30d: 4,
            approved_30d: 3,
            median_hours_to_decision: Some(5),
            in_force: 7,
            expiring_30d: 4,
            ..Stats::default()
        };
        assert_eq!(stats(&rows, today), expected);
    }
}
