//! The one retry policy: exponential backoff with jitter, never giving up; and what is said meanwhile.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// The first wait, before jitter.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// A cause that stays is said again after so long: often enough for who looks at the last hour, seldom enough to be read.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// Causes that are told apart; those of one trouble are two or three that take turns.
const CAUSES_MAX: usize = 8;

/// Waits between attempts: doubling from 100 ms, never longer than `wait_max`, without end. Jitter adds up to as much again,
/// so the series itself stops growing at half the bound: even the longest waits of many workers differ.
#[derive(Debug)]
pub struct Waits {
    backoff: ExponentialBackoff,
    wait_max: Duration,
}

impl Waits {
    /// A fresh series. `wait_max` is the setting `retry.wait_max`.
    pub fn new(wait_max: Duration) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(WAIT_MIN)
            .with_max_delay(wait_max / 2)
            .without_max_times()
            .build();
        Self { backoff, wait_max }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.wait_max).min(self.wait_max)
    }
}

/// What is said of a trouble while it is waited through: each cause when it first shows, after that only now and then.
#[derive(Debug, Default)]
pub struct Trouble {
    causes: Vec<Cause>,
}

#[derive(Debug)]
struct Cause {
    text: String,
    first: Instant,
    said: Instant,
}

/// Stands in a line behind what is wrong: nothing the first time, later for how long it has been so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Still(Duration);

impl fmt::Display for Still {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() / 60 {
            0 => Ok(()),
            minutes => write!(f, ", still after {minutes} min"),
        }
    }
}

impl Trouble {
    /// Whether this cause is to be logged now. `text` must not hold what differs from one attempt to the next.
    pub fn shows(&mut self, text: &str) -> Option<Still> {
        let now = Instant::now();
        if let Some(cause) = self.causes.iter_mut().find(|cause| cause.text == text) {
            let due = now.duration_since(cause.said) >= AGAIN_AFTER;
            return due.then(|| {
                cause.said = now;
                Still(now.duration_since(cause.first))
            });
        }
        if self.causes.len() >= CAUSES_MAX {
            self.causes.remove(0);
        }
        self.causes.push(Cause { text: text.to_owned(), first: now, said: now });
        Some(Still(Duration::ZERO))
    }

    /// It is over: whatever shows next is new.
    pub fn over(&mut self) {
        self.causes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_never_end() {
        let mut waits = Waits::new(Duration::from_secs(30));
        let series: Vec<_> = (0..1_000).map(|_| waits.next_wait()).collect();
        assert!(series[0] >= WAIT_MIN && series[0] <= 2 * WAIT_MIN);
        assert!(series.iter().all(|wait| *wait <= Duration::from_secs(30)));
        assert!(series[500..].iter().all(|wait| *wait >= Duration::from_secs(15)));
        assert_ne!(series[998], series[999], "jitter at the bound too");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_said_when_it_shows_and_then_every_ten_minutes() {
        let mut trouble = Trouble::default();
        let mut said = Vec::new();
        for attempt in 0..60 {
            // A lost session and the reason why there is no other take turns.
            for cause in ["lost", "refused"] {
                said.extend(trouble.shows(cause).map(|still| format!("{attempt} {cause}{still}")));
            }
            tokio::time::advance(Duration::from_secs(28)).await;
        }
        let later = [(22, 10), (44, 20)].map(|(attempt, minutes)| {
            ["lost", "refused"].map(|cause| format!("{attempt} {cause}, still after {minutes} min"))
        });
        assert_eq!(said[..2], ["0 lost", "0 refused"]);
        assert_eq!(said[2..], later.concat());
        trouble.over();
        assert_eq!(trouble.shows("lost"), Some(Still(Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn causes_without_end_take_no_room_without_end() {
        let mut trouble = Trouble::default();
        assert_eq!((0..100).filter(|number| trouble.shows(&number.to_string()).is_some()).count(), 100);
        assert_eq!(trouble.causes.len(), CAUSES_MAX);
    }
}
