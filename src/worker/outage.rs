//! How a time without the database is waited through. What is tried again is the turns' business: [`super::turns`].

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::retry::{Trouble, Waits};

/// After so long without the database the deliveries go back to the broker, once: its acknowledgement timeout would give
/// them back again and again, and count each time.
const RELEASE_AFTER: Duration = Duration::from_secs(60);

/// A time without the database: said once for each reason, waited for with backoff.
pub(super) struct Outage {
    waits: Waits,
    since: Option<Instant>,
    /// The first cause is mostly that a session was lost, and the next one why there is no other.
    trouble: Trouble,
    released: bool,
}

impl Outage {
    pub(super) fn new(wait_max: Duration) -> Self {
        Self { waits: Waits::new(wait_max), since: None, trouble: Trouble::default(), released: false }
    }

    pub(super) async fn wait(&mut self, message: &str) {
        self.since.get_or_insert_with(Instant::now);
        if let Some(still) = self.trouble.shows(message) {
            warn!("consumption pauses, nothing is lost: {message}{still}");
        }
        sleep(self.waits.next_wait()).await;
    }

    /// True once, when it has lasted long.
    pub(super) fn is_long(&mut self) -> bool {
        let long = !self.released && self.since.is_some_and(|since| since.elapsed() >= RELEASE_AFTER);
        self.released |= long;
        long
    }

    pub(super) fn over(&self) {
        if let Some(since) = self.since {
            info!("the database is back after {} s: consumption goes on", since.elapsed().as_secs());
        }
    }
}
