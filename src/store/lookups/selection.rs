//! Which exceptions are meant, and which part of a list: values that are checked once, when they are read from a command line or a
//! query. What no exception can have is told at once, instead of finding nothing.

use std::fmt;
use std::str::FromStr;

use chrono::{Days, NaiveDate};

use crate::domain::dates::{Timestamp, parse_date};
use crate::domain::exception::{Enforcement, Status};
use crate::domain::fields::SEVERITIES;
use crate::domain::ids::{TicketId, UserId};
use crate::store::desk::BadFilter;
use crate::store::rows;

const STATUSES: [Status; 5] =
    [Status::Requested, Status::UnderReview, Status::Approved, Status::Denied, Status::Cancelled];
const ENFORCEMENTS: [Enforcement; 4] =
    [Enforcement::None, Enforcement::Pending, Enforcement::InForce, Enforcement::Ended];

/// A status and an enforcement that an exception can have together, as stored.
pub(in crate::store) type State = (&'static str, &'static str);

/// Which exceptions are meant. What is not set, or empty, excludes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Any of these.
    pub statuses: Vec<Status>,
    /// Any of these.
    pub enforcements: Vec<Enforcement>,
    /// Any of these, of [`SEVERITIES`].
    pub severities: Vec<&'static str>,
    /// Who is to review it now.
    pub reviewer: Option<UserId>,
    /// Who asked for it.
    pub requester: Option<UserId>,
    /// Its ticket.
    pub ticket: Option<TicketId>,
    /// The day that its ticket runs until lies before this one.
    pub due_before: Option<NaiveDate>,
    /// It is enforced, and the approved date lies from the one to the other, both included.
    pub expiring: Option<(NaiveDate, NaiveDate)>,
    /// Its id, its ticket's or its requester's begins so.
    pub beginning: Option<String>,
}

impl Selection {
    /// The names that [`Selection::set`] knows, as the API has them.
    pub const NAMES: [&str; 9] =
        ["status", "enforcement", "reviewer", "requester", "severity", "ticket", "due_before", "expiring_within", "q"];
    /// Those of them that take several values, with commas between.
    pub const SEVERAL: [&str; 3] = ["status", "enforcement", "severity"];

    /// Sets what has this name; false if nothing has. Days are counted from that of `now`, in UTC.
    pub fn set(&mut self, name: &str, value: &str, now: Timestamp) -> Result<bool, BadFilter> {
        match name {
            "status" => self.statuses = several(value, &STATUSES.map(|it| (rows::status(it), it)))?,
            "enforcement" => self.enforcements = several(value, &ENFORCEMENTS.map(|it| (rows::enforcement(it), it)))?,
            "severity" => self.severities = several(&value.to_ascii_lowercase(), &SEVERITIES.map(|it| (it, it)))?,
            "reviewer" => self.reviewer = Some(person(value)?),
            "requester" => self.requester = Some(person(value)?),
            "ticket" => {
                let id = TicketId::parse(value).map_err(|error| BadFilter::new(value, error.to_string()))?;
                self.ticket = Some(id);
            }
            "due_before" => {
                let date =
                    parse_date(value).ok_or_else(|| BadFilter::new(value, "expected a date as in 2026-11-24"))?;
                self.due_before = Some(date);
            }
            "expiring_within" => self.expiring = Some(days_from(value, now.date_naive())?),
            "q" => self.beginning = Some(beginning(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The states that are meant. A reviewer has open ones only, and what expires is enforced.
    pub(in crate::store) fn states(&self) -> Vec<State> {
        let is_meant = |(status, enforcement): &(Status, Enforcement)| {
            let is_open = matches!(status, Status::Requested | Status::UnderReview);
            let is_enforced = matches!(enforcement, Enforcement::Pending | Enforcement::InForce);
            (self.statuses.is_empty() || self.statuses.contains(status))
                && (self.enforcements.is_empty() || self.enforcements.contains(enforcement))
                && (self.reviewer.is_none() || is_open)
                && (self.expiring.is_none() || is_enforced)
        };
        // A CHECK of the table says so.
        let all = STATUSES.into_iter().flat_map(|status| ENFORCEMENTS.map(|enforcement| (status, enforcement)));
        let possible =
            all.filter(|(status, enforcement)| (*status == Status::Approved) != (*enforcement == Enforcement::None));
        possible
            .filter(is_meant)
            .map(|(status, enforcement)| (rows::status(status), rows::enforcement(enforcement)))
            .collect()
    }

    /// The days that the ticket may run until: from the first on, and before the second.
    pub(in crate::store) fn dates(&self) -> (Option<NaiveDate>, Option<NaiveDate>) {
        let from = self.expiring.map(|(from, _)| from);
        let before = self.expiring.map(|(_, last)| last + Days::new(1));
        (from, before.into_iter().chain(self.due_before).min())
    }

    /// What the ids begin with, and what is behind all that begin so: no id has a character that sorts so high.
    pub(in crate::store) fn beginnings(&self) -> Option<[String; 4]> {
        let begins = self.beginning.as_deref()?;
        let person = begins.to_ascii_lowercase();
        Some([begins.to_owned(), format!("{begins}\x7f"), person.clone(), format!("{person}\x7f")])
    }

    /// What leads through the list: a name, if one is given.
    pub(in crate::store) fn lead(&self) -> Lead {
        match (&self.ticket, &self.requester) {
            (Some(_), _) => Lead::Ticket,
            (None, Some(_)) => Lead::Requester,
            (None, None) => Lead::State,
        }
    }
}

/// By what the exceptions of a block are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Lead {
    /// Those of a ticket.
    Ticket,
    /// Those of a requester.
    Requester,
    /// Those of certain states, days and severities.
    State,
}

fn several<T: Copy + PartialEq>(value: &str, known: &[(&'static str, T)]) -> Result<Vec<T>, BadFilter> {
    let mut found = Vec::new();
    for word in value.split(',').map(str::trim) {
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let meant = known.iter().find(|(known, _)| *known == word);
        let hint = match word {
            "in_force" | "ended" | "pending" => "; this is an enforcement",
            _ => "",
        };
        let expected = || format!("expected one or more of {}{hint}", words());
        let (_, meant) = meant.ok_or_else(|| BadFilter::new(word, expected()))?;
        if !found.contains(meant) {
            found.push(*meant);
        }
    }
    Ok(found)
}

fn person(value: &str) -> Result<UserId, BadFilter> {
    UserId::parse(value).map_err(|error| BadFilter::new(value, error.to_string()))
}

/// From today until so many days later. Ten years is longer than any exception runs.
fn days_from(value: &str, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), BadFilter> {
    let days = value.strip_suffix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let days = days.and_then(|digits| digits.parse().ok()).filter(|days| *days <= 3_650).map(Days::new);
    let until = days.and_then(|days| today.checked_add_days(days));
    Ok((today, until.ok_or_else(|| BadFilter::new(value, "expected days as in 30d, at most 3650d"))?))
}

fn beginning(value: &str) -> Result<String, BadFilter> {
    let value = value.trim();
    if value.is_empty() || value.len() > 128 || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = "expected the beginning of an exception id, a ticket id or a requester, without spaces";
        return Err(BadFilter::new(value, expected));
    }
    Ok(value.to_owned())
}

/// A place in a list of exceptions: all before it are newer, or as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Newer(pub(in crate::store) i64);

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Newer {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let key = text.parse().ok().filter(|key: &i64| *key > 0 && key.to_string() == text).map(Self);
        key.ok_or_else(|| BadFilter::new(text, "no cursor that this list gave out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dates::parse_time;

    fn now() -> Timestamp {
        parse_time("2026-11-24T23:30:00-01:00").unwrap()
    }

    fn selection(filters: &[(&str, &str)]) -> Selection {
        let mut selection = Selection::default();
        for (name, value) in filters {
            assert!(selection.set(name, value, now()).unwrap(), "{name}");
        }
        selection
    }

    #[test]
    fn every_name_sets_its_part() {
        let values =
            ["requested,denied", "none", " Dana@x.com", "zoe", "HIGH, low", "SEC-1", "2026-12-05", "30d", "EX-2"];
        let filters: Vec<_> = Selection::NAMES.into_iter().zip(values).collect();
        let date = |text| parse_date(text).unwrap();
        let expected = Selection {
            statuses: vec![Status::Requested, Status::Denied],
            enforcements: vec![Enforcement::None],
            severities: vec!["high", "low"],
            reviewer: Some(UserId::parse("dana@x.com").unwrap()),
            requester: Some(UserId::parse("zoe").unwrap()),
            ticket: Some(TicketId::parse("SEC-1").unwrap()),
            due_before: Some(date("2026-12-05")),
            expiring: Some((date("2026-11-25"), date("2026-12-25"))),
            beginning: Some("EX-2".into()),
        };
        assert_eq!(selection(&filters), expected);
        assert_eq!(Selection::default().set("colour", "red", now()), Ok(false));
    }

    #[test]
    fn what_no_exception_can_have_is_told() {
        for (name, value, said) in [
            (
                "status",
                "open",
                "\"open\": expected one or more of requested, under_review, approved, denied, cancelled",
            ),
            ("status", "requested,", "\"\": expected"),
            ("enforcement", "on", "none, pending, in_force, ended"),
            ("severity", "severe", "critical, high, medium, low, info"),
            ("reviewer", "a b", "expected 1 to 128 printable"),
            ("requester", "", "expected 1 to 128 printable"),
            ("ticket", "a/b", "expected 1 to 128 characters"),
            ("due_before", "tomorrow", "expected a date as in"),
            ("expiring_within", "30", "expected days as in 30d"),
            ("expiring_within", "-1d", "expected days as in 30d"),
            ("expiring_within", "9999d", "at most 3650d"),
            ("q", "open ssl", "expected the beginning of"),
            ("q", "é", "expected the beginning of"),
        ] {
            let error = Selection::default().set(name, value, now()).unwrap_err().to_string();
            assert!(error.contains(said), "{name} {value:?}: {error}");
        }
    }

    #[test]
    fn filters_come_to_states_that_can_be() {
        for (filters, states) in [
            (&[("status", "approved")][..], "approved/pending approved/in_force approved/ended"),
            (&[("enforcement", "none")], "requested/none under_review/none denied/none cancelled/none"),
            (&[("status", "denied"), ("enforcement", "ended")], ""),
            (&[("reviewer", "dana")], "requested/none under_review/none"),
            (&[("expiring_within", "1d"), ("enforcement", "in_force,ended")], "approved/in_force"),
        ] {
            let found = selection(filters).states();
            let found: Vec<_> = found.iter().map(|(status, enforcement)| format!("{status}/{enforcement}")).collect();
            assert_eq!(found.join(" "), states, "{filters:?}");
        }
        assert_eq!(Selection::default().states().len(), 7);
    }

    #[test]
    fn the_earlier_of_two_ends_counts() {
        let date = |text| parse_date(text).unwrap();
        let both = selection(&[("expiring_within", "30d"), ("due_before", "2026-12-01")]);
        assert_eq!(both.dates(), (Some(date("2026-11-25")), Some(date("2026-12-01"))));
        let one = selection(&[("expiring_within", "0d")]);
        assert_eq!(one.dates(), (Some(date("2026-11-25")), Some(date("2026-11-26"))));
    }

    #[test]
    fn a_cursor_survives_its_text_and_nothing_else_is_one() {
        assert_eq!("17".parse::<Newer>().unwrap().to_string(), "17");
        for text in ["", "0", "-1", "+1", "01", "1.0", "9223372036854775808"] {
            assert!(text.parse::<Newer>().is_err(), "{text}");
        }
    }
}
