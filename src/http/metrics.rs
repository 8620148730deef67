//! What is counted, for those who watch: open to everybody, like the probes; it holds numbers and names of kinds, nobody's data. What
//! the database counts is read when somebody asks, and kept a while: many who ask cost one reading, and one that hangs delays
//! no answer for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::contract::reason::Reason;
use crate::health::Health;
use crate::metrics::{self, Counts, Sample};
use crate::store::gauges::{self, GaugeError, Gauges};

/// How long counts count as new: less than scrapers commonly wait between two looks.
const FRESH: Duration = Duration::from_secs(4);
/// What is older is not shown, even if nothing newer is there: three readings have been missed.
const STALE_FACTOR: u32 = 4;
/// How long an answer waits for a reading; together with the rest it stays below a second.
const PATIENCE: Duration = Duration::from_millis(500);

/// All statuses, in the order of a request's life.
const STATUSES: [&str; 5] = ["requested", "under_review", "approved", "denied", "cancelled"];

pub(super) async fn metrics(State(state): State<super::State>) -> Response {
    let sample = state.gauges.sample(&state.health).await;
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.text(sample)).into_response()
}

/// Reads what the database counts, and keeps it for a while.
#[derive(Clone)]
pub struct Sampler {
    gauges: Arc<dyn Gauges>,
    counts: Arc<Kept<gauges::Counts>>,
}

impl Sampler {
    /// Asks nothing yet.
    pub fn new(gauges: Arc<dyn Gauges>) -> Self {
        Self { gauges, counts: Arc::default() }
    }

    async fn sample(&self, health: &Health) -> Sample {
        let gauges = Arc::clone(&self.gauges);
        let counts = self.counts.get(async move { gauges.counts().await }).await;
        let lights = [
            ("broker_consume", &health.broker_consume),
            ("broker_publish", &health.broker_publish),
            ("database", &health.database),
        ];
        Sample {
            connections: lights.into_iter().map(|(peer, light)| (peer, light.is_on())).collect(),
            counts: counts.as_ref().map(shown),
        }
    }
}

fn shown(counts: &gauges::Counts) -> Counts {
    Counts {
        outbox_pending: counts.outbox_pending,
        outbox_oldest_age_s: counts.outbox_oldest_age_s,
        failures_open: complete(reasons(), &counts.failures_open),
        parked: counts.parked,
        exceptions: complete(STATUSES, &counts.exceptions),
    }
}

/// Each once: two of them are told by the same word.
fn reasons() -> Vec<&'static str> {
    let mut words: Vec<_> = Reason::ALL.into_iter().map(Reason::word).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// A series for each word of a closed list: one that is absent says nothing, and one that goes away cannot fall to nought.
fn complete(words: impl IntoIterator<Item = &'static str>, counts: &[(String, u64)]) -> Vec<(&'static str, u64)> {
    let count = |word: &str| counts.iter().find(|(known, _)| known == word).map_or(0, |(_, count)| *count);
    words.into_iter().map(|word| (word, count(word))).collect()
}

/// The last answer to one question.
struct Kept<T> {
    last: watch::Sender<Option<Reading<T>>>,
    reading: AtomicBool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { last: watch::Sender::new(None), reading: AtomicBool::new(false) }
    }
}

#[derive(Clone)]
struct Reading<T> {
    at: Instant,
    /// Absent when the database did not say.
    value: Option<T>,
}

impl<T: Clone + Send + Sync + 'static> Kept<T> {
    /// The last answer if it is new, else a newer one, or what there is if that takes long. One asks at a time, and goes on when
    /// nobody waits any more.
    async fn get(self: &Arc<Self>, ask: impl Future<Output = Result<T, GaugeError>> + Send + 'static) -> Option<T> {
        let mut last = self.last.subscribe();
        if let Some(reading) = self.younger_than(FRESH) {
            return reading.value;
        }
        if !self.reading.swap(true, Ordering::AcqRel) {
            let kept = Arc::clone(self);
            tokio::spawn(async move {
                let value = ask.await;
                if let Err(error) = &value {
                    // The turns say it, where it matters.
                    tracing::debug!("{error}");
                }
                kept.last.send_replace(Some(Reading { at: Instant::now(), value: value.ok() }));
                kept.reading.store(false, Ordering::Release);
            });
        }
        // Late or not: what is there now is the answer.
        timeout(PATIENCE, last.changed()).await.ok();
        self.younger_than(FRESH * STALE_FACTOR)?.value
    }

    fn younger_than(&self, age: Duration) -> Option<Reading<T>> {
        let last = self.last.borrow();
        last.as_ref().filter(|reading| reading.at.elapsed() < age).cloned()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::AtomicUsize;

    use async_trait::async_trait;

    use super::*;

    /// A database that can be away, or hang.
    #[derive(Default)]
    pub(in crate::http) struct FakeGauges {
        asked: AtomicUsize,
        away: AtomicBool,
        hangs: AtomicBool,
    }

    #[async_trait]
    impl Gauges for FakeGauges {
        async fn counts(&self) -> Result<gauges::Counts, GaugeError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.away.load(Ordering::Relaxed) {
                return Err(GaugeError("away".into()));
            }
            let failures_open = vec![("schema".to_owned(), 2)];
            let exceptions = vec![("denied".to_owned(), 5)];
            Ok(gauges::Counts { outbox_pending: 3, outbox_oldest_age_s: 1, failures_open, parked: 4, exceptions })
        }
    }

    fn sampler() -> (Arc<FakeGauges>, Sampler) {
        let fake = Arc::new(FakeGauges::default());
        (Arc::clone(&fake), Sampler::new(fake))
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_cost_one_reading_and_every_word_has_a_series() {
        let (fake, sampler) = sampler();
        let health = Health::default();
        health.database.on();
        let asked = (0..20).map(|_| sampler.sample(&health));
        let samples = futures_util::future::join_all(asked).await;
        assert_eq!(fake.asked.load(Ordering::Relaxed), 1);
        for sample in samples {
            let counts = sample.counts.unwrap();
            assert_eq!((counts.outbox_pending, counts.parked), (3, 4));
            assert!(counts.failures_open.contains(&("schema", 2)) && counts.failures_open.contains(&("orphaned", 0)));
            assert_eq!(counts.failures_open.iter().filter(|(reason, _)| *reason == "schema").count(), 1);
            assert_eq!(counts.exceptions.iter().map(|(_, count)| count).sum::<u64>(), 5);
            assert_eq!(sample.connections.iter().filter(|(_, up)| *up).count(), 1);
        }
        tokio::time::sleep(FRESH).await;
        sampler.sample(&health).await;
        assert_eq!(fake.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_database_that_is_away_counts_is_absent() {
        let (fake, sampler) = sampler();
        assert!(sampler.sample(&Health::default()).await.counts.is_some());
        fake.away.store(true, Ordering::Relaxed);
        tokio::time::sleep(FRESH).await;
        let sample = sampler.sample(&Health::default()).await;
        assert!(sample.counts.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_delays_no_answer_for_long() {
        let (fake, sampler) = sampler();
        sampler.sample(&Health::default()).await;
        fake.hangs.store(true, Ordering::Relaxed);
        tokio::time::sleep(FRESH).await;
        let begun = Instant::now();
        assert!(sampler.sample(&Health::default()).await.counts.is_some(), "what was read before is still good");
        assert!(begun.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(FRESH * STALE_FACTOR).await;
        assert!(sampler.sample(&Health::default()).await.counts.is_none(), "by now it is not");
        assert_eq!(fake.asked.load(Ordering::Relaxed), 2, "one asks at a time");
    }
}
