//! How values stand in the columns, where the driver's own way is another: times as microseconds, lists as one text of JSON.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Fault;
use crate::domain::dates::{Timestamp, to_microseconds};

/// The database's clock: the process's own, as fine as it is stored.
pub(super) fn now() -> Timestamp {
    to_microseconds(Utc::now())
}

/// A stored time.
pub(super) fn time(what: &'static str, id: &dyn fmt::Display, micros: i64) -> Result<Timestamp, Fault> {
    let no_time = || Fault::unreadable(what, &id.to_string(), &format!("{micros} microseconds are no time"));
    DateTime::from_timestamp_micros(micros).ok_or_else(no_time)
}

/// One parameter for many ids: `SELECT unhex(value) FROM json_each(?)`.
pub(super) fn ids<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> String {
    let quoted: Vec<String> = ids.into_iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// One parameter for many words, none of which has a space: `instr(?, ' ' || word || ' ')`.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!(" {word} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_one_text() {
        assert_eq!(ids(&[]), "[]");
        let two = [Uuid::from_u128(1), Uuid::from_u128(0xab)];
        assert_eq!(ids(&two), r#"["00000000000000000000000000000001","000000000000000000000000000000ab"]"#);
        assert_eq!(words([]), "");
        assert_eq!(words(["open", "discarded"]), " open  discarded ");
    }

    #[test]
    fn a_time_that_is_none_is_told() {
        assert_eq!(time("failure", &"x", 1).unwrap().timestamp_micros(), 1);
        let error = time("failure", &"x", i64::MAX).unwrap_err().to_string();
        assert!(error.starts_with("the stored failure x cannot be read: "), "{error}");
    }
}
