//! Calendar dates, and what day it is. A date has *passed* at the end of that day in the settings' time zone.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// A moment, as the worker's clock or an event's sender gave it.
pub type Timestamp = DateTime<Utc>;

/// How far one clock is ahead of another, in seconds, as far as that is certain: the other one was read at some moment between
/// `before` and `after` of the first, and waiting for it is not its fault.
pub fn lead_s(before: Timestamp, other: Timestamp, after: Timestamp) -> f64 {
    let seconds = |from: Timestamp, to: Timestamp| (to - from).as_seconds_f64();
    seconds(other, before).max(0.0) + seconds(other, after).min(0.0)
}

/// Reads `YYYY-MM-DD`, years 0001 to 9999, and nothing else.
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| shape)?;
    (date.year() >= 1).then_some(date)
}

/// Reads RFC 3339 with an offset, years 0001 to 9999. Second 60 only where a leap second can be, and between date and time
/// only the letter: what chrono reads beyond that, other readers of the same schema refuse.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    let lettered = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let leaps = time.nanosecond() < 1_000_000_000 || (time.hour(), time.minute()) == (23, 59);
    (lettered && leaps && (1..=9999).contains(&time.year())).then_some(time)
}

/// The calendar day a moment falls on.
pub fn day(now: Timestamp, zone: chrono_tz::Tz) -> NaiveDate {
    now.with_timezone(&zone).date_naive()
}

/// The moment without what Postgres cannot keep: microseconds are its finest grain, and hashes are taken over what is kept.
pub fn to_microseconds(time: Timestamp) -> Timestamp {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_difference_of_clocks_that_is_certain_counts() {
        let at = |text: &str| parse_time(&format!("2026-11-24T{text}Z")).unwrap();
        for (before, other, after, expected) in [
            ("09:00:00", "09:00:00", "09:00:00", 0.0),
            ("09:00:00", "09:00:03", "09:00:08", 0.0),
            ("09:10:00", "09:00:00", "09:10:01", 600.0),
            ("09:00:00", "09:10:00", "09:00:02", -598.0),
        ] {
            let found = lead_s(at(before), at(other), at(after));
            assert!((found - expected).abs() < 1e-6, "{before} {other} {after}: {found}");
        }
    }

    #[test]
    fn only_the_written_form_is_a_date() {
        assert_eq!(parse_date("2026-12-05"), NaiveDate::from_ymd_opt(2026, 12, 5));
        for text in [
            "2026-02-30",
            "2026-2-03",
            "+026-02-03",
            "10000-01-01",
            "2026-02-03 ",
            "0000-01-01",
            "20260203",
            "2026-02-0３",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_has_an_offset() {
        assert!(parse_time("2026-11-24T09:00:00+01:00").is_some());
        assert_eq!(parse_time("2026-11-24T09:00:00"), None);
        for text in [
            "10000-01-01T00:00:00Z",
            "2026-11-24 09:00:00Z",
            "2026-11-24T09:00:60Z",
            "2026-11-24T09:00:00+0100",
            "2026-11-24T24:00:00Z",
            "2026-11-24T09:00Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert!(parse_time("2016-12-31T23:59:60Z").is_some(), "a leap second");
        assert!(parse_time("2017-01-01T00:59:60.5+01:00").is_some(), "the same one elsewhere");
    }

    #[test]
    fn the_day_depends_on_the_zone() {
        let late = parse_time("2026-11-24T23:30:00Z").unwrap();
        assert_eq!(day(late, chrono_tz::UTC).day(), 24);
        assert_eq!(day(late, chrono_tz::Europe::Berlin).day(), 25);
    }
}
