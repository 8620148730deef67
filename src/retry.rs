//! The one retry policy: exponential backoff with jitter, never giving up.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait, before jitter.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// Waits between attempts: doubling from 100 ms, with jitter, never longer than `wait_max`, without end.
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
            .with_max_delay(wait_max)
            .without_max_times()
            .build();
        Self { backoff, wait_max }
    }

    /// The next wait. Jitter may only shorten what the bound allows.
    pub fn next_wait(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.wait_max).min(self.wait_max)
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
        assert!(series[999] > Duration::from_secs(15), "{:?}", series[999]);
    }
}
