//! What goes into statements and comes out of them: rows go in as one JSON text, times are microseconds since 1970, digests and
//! hashes are bytes, in hex within JSON.

use std::fmt;

use chrono::{DateTime, NaiveDate};
use serde::Serialize;

use super::Fault;
use crate::domain::dates::{Timestamp, parse_date};
use crate::domain::ids::Digest;

/// Rows for `json_each` and `jsonb_each`. A NUL is refused as Postgres refuses it: most functions of `SQLite` take it for the end of
/// its text.
pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String, Fault> {
    let text = serde_json::to_string(rows).map_err(|error| Fault::Contradiction(error.to_string()))?;
    if holds_nul(&text) {
        return Err(Fault::Contradiction("a text holds a NUL character, which is not stored".to_owned()));
    }
    Ok(text)
}

/// Whether a text in this JSON has a NUL: an escape of one, and not an escaped backslash before such letters.
fn holds_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json.as_bytes().iter().take(at).rev().take_while(|byte| **byte == b'\\').count();
        before.is_multiple_of(2)
    })
}

/// A stored moment.
pub(super) fn time(what: &'static str, id: &dyn fmt::Display, micros: i64) -> Result<Timestamp, Fault> {
    let time = DateTime::from_timestamp_micros(micros);
    time.ok_or_else(|| Fault::unreadable(what, &id.to_string(), &"a time in it is none"))
}

/// A stored day.
pub(super) fn date(what: &'static str, id: &dyn fmt::Display, text: &str) -> Result<NaiveDate, Fault> {
    parse_date(text).ok_or_else(|| Fault::unreadable(what, &id.to_string(), &"a date in it is none"))
}

/// A stored digest.
pub(super) fn digest(what: &'static str, id: &dyn fmt::Display, bytes: Vec<u8>) -> Result<Digest, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::unreadable(what, &id.to_string(), &"a digest in it is none"))?;
    Ok(Digest(bytes))
}

/// As a number of rows to a statement.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_and_its_letters_are_not() {
        for (text, good) in [
            ("a\0b", false),
            ("\0", false),
            ("\\\0", false),
            (r"\u0000", true),
            (r"\\u0000", true),
            ("u0000", true),
            (r#"{"a":"\u0000"}"#, true),
        ] {
            assert_eq!(json(&[text]).is_ok(), good, "{text:?}");
        }
    }
}
