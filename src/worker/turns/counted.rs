//! What a committed turn comes to, in numbers: here and nowhere else, so that what is tried again counts once.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::Turns;
use crate::contract::inbound::{BUILT, Inbound, NOT_BUILT};
use crate::domain::dates::{Timestamp, lead_s};
use crate::metrics::{Metrics, Published};
use crate::spans::Spans;
use crate::store::{Changes, Committed, Outcome};
use crate::worker::input::Input;

/// An event older than this has a clock that is wrong, or is sent again after a month: its age says nothing about the worker.
const AGE_MAX: Duration = Duration::from_hours(31 * 24);
/// A clock a little ahead of ours is nothing: the event counts as new.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// A worker whose clock is further off is not believed: its dates and deadlines are wrong.
pub const SKEW_MAX_S: f64 = 300.0;

/// What is known of the last attempt beside what the store gives back.
#[derive(Debug, Default)]
pub(super) struct Aside {
    released: Vec<Outcome>,
    skew_s: Option<f64>,
    /// The envelopes, where the commit publishes them and somebody is told.
    pub(super) written: Option<Vec<String>>,
}

impl Aside {
    /// Knows nothing yet.
    pub(super) fn new(spans: Option<&dyn Spans>) -> Self {
        let written = spans.filter(|spans| spans.commit_publishes()).map(|_| Vec::new());
        Self { written, ..Self::default() }
    }

    /// Notes what is about to be written. The database's clock was read between `before` and `after`.
    pub(super) fn note(&mut self, changes: &Changes, [before, database, after]: [Timestamp; 3]) {
        self.released.clone_from(&changes.released);
        if let Some(written) = &mut self.written {
            written.clone_from(&changes.outbox);
        }
        self.skew_s = Some(lead_s(before, database, after));
    }
}

impl Turns {
    /// Counts a turn that has just been committed.
    pub(super) fn count(&mut self, inputs: &[Input], committed: &Committed, begun: Instant) {
        let metrics = &self.settings.metrics;
        metrics.committed(inputs.len(), begun.elapsed());
        metrics.published(Published::Confirmed, self.settled.confirmed.len() as u64 + committed.published);
        metrics.published(Published::Unroutable, self.settled.unroutable.len() as u64);
        let now = (self.settings.clock)();
        for (input, outcome) in inputs.iter().zip(&committed.outcomes) {
            count_outcome(metrics, *outcome);
            // What is tried again came before, and a repeat says nothing about how long its event has waited.
            if input.failure.is_none() {
                metrics.received(kind(&input.inbound));
                let age = input.inbound.time.filter(|_| *outcome != Outcome::Repeated).and_then(|time| age(time, now));
                if let Some(age) = age {
                    metrics.event_age(age);
                }
            }
        }
        for outcome in std::mem::take(&mut self.aside.released) {
            count_outcome(metrics, outcome);
        }
        if let Some(skew_s) = self.aside.skew_s.take() {
            metrics.clock_skew(skew_s);
            self.tell_skew(skew_s);
        }
    }

    /// Said once, and once more when it is over.
    fn tell_skew(&mut self, skew_s: f64) {
        let is_off = skew_s.abs() > SKEW_MAX_S;
        if is_off && !self.clock_is_off {
            let direction = if skew_s > 0.0 { "ahead of" } else { "behind" };
            error!(
                "this worker's clock is {:.0} s {direction} the database's: dates are judged by it; mend the time service of \
                 the one that is wrong",
                skew_s.abs()
            );
        } else if !is_off && self.clock_is_off {
            info!("this worker's clock agrees with the database's again");
        }
        self.clock_is_off = is_off;
    }
}

fn count_outcome(metrics: &Metrics, outcome: Outcome) {
    let (word, code) = match outcome {
        Outcome::Applied => ("applied", ""),
        Outcome::Repeated => ("repeated", ""),
        Outcome::Refused(code) => ("refused", code),
        Outcome::Failed(reason) => ("failed", reason),
        Outcome::Parked => ("parked", ""),
    };
    metrics.outcome(word, code);
}

/// A type of the contract, or `other`: whoever publishes must not be able to make series.
fn kind(inbound: &Inbound) -> &'static str {
    let event_type = inbound.event_type.as_deref();
    BUILT.into_iter().chain(NOT_BUILT).find(|known| Some(*known) == event_type).unwrap_or("other")
}

/// How old an event is, if its time can be true.
fn age(time: Timestamp, now: Timestamp) -> Option<Duration> {
    match (now - time).to_std() {
        Ok(age) => (age <= AGE_MAX).then_some(age),
        Err(_) => (time - now).to_std().is_ok_and(|ahead| ahead <= AHEAD_MAX).then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dates::parse_time;

    fn at(text: &str) -> Timestamp {
        parse_time(&format!("2026-11-24T{text}Z")).unwrap()
    }

    #[test]
    fn an_age_that_cannot_be_true_is_none() {
        let now = at("09:00:00");
        assert_eq!(age(at("08:59:50"), now), Some(Duration::from_secs(10)));
        assert_eq!(age(at("09:00:30"), now), Some(Duration::ZERO));
        assert_eq!(age(at("09:02:00"), now), None);
        assert_eq!(age(parse_time("1970-01-01T00:00:00Z").unwrap(), now), None);
    }
}
