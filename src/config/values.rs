//! Reads the texts that were gathered into values, by the form of their key. Faults are collected: one run shows all.

use std::time::Duration;

use chrono::TimeDelta;

use super::error::{Fault, Origin};
use super::keys::{self, Form, Key};
use super::layers::{Found, Gathered};
use super::secret::Secret;
use super::trust::TRUST;

/// The texts, and the faults so far. A reader returns `None` where it has noted a fault.
pub(super) struct Values(pub(super) Gathered);

impl Values {
    /// A text that `check` accepts.
    pub(super) fn text<T>(&mut self, name: &str, check: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(name, |_, text| check(text))
    }

    /// A secret that `check` accepts, or none. What `check` says must not repeat it.
    pub(super) fn secret(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<(), &'static str>,
    ) -> Option<Secret> {
        let Found { text, origin } = self.0.found.get(name).cloned()?;
        let checked = if text.is_empty() { Err("is empty: give it a value, or remove it") } else { check(&text) };
        match checked {
            Ok(()) => Some(Secret::new(text)),
            Err(message) => self.fault(name, origin, message.to_owned()),
        }
    }

    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        self.read(name, |_, text| {
            text.parse().map_err(|_| format!("{text:?} is neither true nor false: write one of the two"))
        })
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.read(name, |key, text| {
            let Form::Number(min, max) = key.form else { return Err(misused(key)) };
            let number = text.parse().ok().filter(|number| (min..=max).contains(number));
            number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
                let like = key.default.unwrap_or("1");
                format!("{text:?} is not a whole number between {min} and {max}; write it like {like}")
            })
        })
    }

    pub(super) fn span(&mut self, name: &str) -> Option<Duration> {
        self.read(name, |key, text| {
            let Form::Span(min, max) = key.form else { return Err(misused(key)) };
            humantime::parse_duration(text).ok().filter(|span| (min..=max).contains(span)).ok_or_else(|| {
                let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
                format!("{text:?} is not a duration between {min} and {max}; write it like 25s, 24h or 30d")
            })
        })
    }

    pub(super) fn offset(&mut self, name: &str) -> Option<TimeDelta> {
        self.read(name, |key, text| {
            let Form::Offset(max) = key.form else { return Err(misused(key)) };
            let (sign, length) = text.strip_prefix('-').map_or((1, text), |length| (-1, length));
            let length = humantime::parse_duration(length).ok().filter(|length| *length <= max);
            length.and_then(|length| TimeDelta::from_std(length).ok()).map(|length| length * sign).ok_or_else(|| {
                let max = humantime::format_duration(max);
                format!("{text:?} is not a duration of at most {max} either way; write it like 1h or -30d")
            })
        })
    }

    /// One of the key's words, by its place among them.
    pub(super) fn word(&mut self, name: &str) -> Option<usize> {
        self.read(name, |key, text| {
            let Form::Word(words) = key.form else { return Err(misused(key)) };
            words
                .iter()
                .position(|word| *word == text)
                .ok_or_else(|| format!("{text:?} is none of {}: write one of them", words.join(", ")))
        })
    }

    /// A fault of two settings together, told at one of them.
    pub(super) fn clash(&mut self, name: &str, message: &str) {
        let of_row = || self.0.trust.first().filter(|_| name == TRUST).map(|row| row.origin.clone());
        let origin = self.0.found.get(name).map(|found| found.origin.clone()).or_else(of_row);
        let origin = origin.unwrap_or(Origin::Default);
        self.0.faults.push(Fault { key: name.to_owned(), origin, message: message.to_owned() });
    }

    fn read<T>(&mut self, name: &str, check: impl FnOnce(&Key, &str) -> Result<T, String>) -> Option<T> {
        let key = keys::find(name).expect("only keys of the table are read");
        let found = self
            .0
            .found
            .get(name)
            .cloned()
            .unwrap_or_else(|| Found { text: key.default.unwrap_or_default().to_owned(), origin: Origin::Default });
        match check(key, &found.text) {
            Ok(value) => Some(value),
            Err(message) => self.fault(name, found.origin, message),
        }
    }

    fn fault<T>(&mut self, name: &str, origin: Origin, message: String) -> Option<T> {
        self.0.faults.push(Fault { key: name.to_owned(), origin, message });
        None
    }
}

/// A programming error, told like any other fault; the test that loads the defaults meets it.
fn misused(key: &Key) -> String {
    format!("is read as something else than {:?}: a fault in this program, please report it", key.form)
}
