//! The one retry policy: exponential backoff with jitter, never giving up.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait, before jitter.
const WAIT_MIN: Duration = Duration::from_millis(100);

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
}
