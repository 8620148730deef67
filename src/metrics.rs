//! What is counted for those who watch, as `GET /metrics` gives it. The names are the contract's: here stands each with what it
//! means; whoever has something to count gets a [`Metrics`] and says so. It measures nothing by itself, and asks nobody: what is
//! read when somebody looks is handed in as a [`Sample`].

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;

/// What the text is, for the header of the answer: the format that every scraper reads.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Up to the largest batch that may be set.
const BATCH_BUCKETS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0];
/// Around what a commit takes on a good disk, and up to the longest turn.
const COMMIT_BUCKETS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// From what nobody notices to a day, which is how long an event may be parked.
const AGE_BUCKETS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0, 21_600.0, 86_400.0];

/// All metrics. Clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    rules: RulesInForce,
    sampled: Sampled,
    received: Family<TypeLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    published: Family<FateLabels, Counter>,
    batch_size: Histogram,
    commit_seconds: Histogram,
    event_age_seconds: Histogram,
    clock_skew_seconds: Gauge<f64, AtomicU64>,
    /// Reloads of the rules file that left the old rules in force.
    pub rules_reload_failed: Counter,
}

/// What is read when somebody asks. What could not be read is absent, not nought.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Each peer, and whether the connection to it is up.
    pub connections: Vec<(&'static str, bool)>,
    /// What the database counts.
    pub counts: Option<Counts>,
}

/// What the database counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Events to be published.
    pub outbox_pending: u64,
    /// Seconds since the oldest of them was written, 0 without one.
    pub outbox_oldest_age_s: u64,
    /// Open failures of each reason.
    pub failures_open: Vec<(&'static str, u64)>,
    /// Events that wait for their submission.
    pub parked: u64,
    /// Exceptions of each status.
    pub exceptions: Vec<(&'static str, u64)>,
}

/// What became of a published event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker has it.
    Confirmed,
    /// No queue wanted it.
    Unroutable,
    /// Nobody knows: it goes out again.
    Retried,
}

impl Published {
    const ALL: [Self; 3] = [Self::Confirmed, Self::Unroutable, Self::Retried];

    fn labels(self) -> FateLabels {
        let outcome = match self {
            Self::Confirmed => "confirmed",
            Self::Unroutable => "unroutable",
            Self::Retried => "retried",
        };
        FateLabels { outcome }
    }
}

impl Metrics {
    /// All at nought.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            rules: RulesInForce::default(),
            sampled: Sampled::default(),
            received: Family::default(),
            outcomes: Family::default(),
            published: Family::default(),
            batch_size: Histogram::new(BATCH_BUCKETS),
            commit_seconds: Histogram::new(COMMIT_BUCKETS),
            event_age_seconds: Histogram::new(AGE_BUCKETS),
            clock_skew_seconds: Gauge::default(),
            rules_reload_failed: Counter::default(),
        };
        // A series that begins with its first count has no increase there.
        for fate in Published::ALL {
            metrics.published(fate, 0);
        }
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("reprieve");
        let help = "Events whose processing is committed, by type; other is every type that is not known";
        registry.register("events_received", help, self.received.clone());
        let help = "What became of events, a parked one counted again at its end";
        registry.register("outcomes", help, self.outcomes.clone());
        let help = "Events published: taken by the broker, wanted by no queue, or of unknown fate and sent again";
        registry.register("published", help, self.published.clone());
        registry.register("batch_size", "Events in one committed transaction", self.batch_size.clone());
        let help = "Seconds from the begin of a transaction to its commit, the wait for its turn included";
        registry.register("commit_seconds", help, self.commit_seconds.clone());
        let help = "Seconds from an event's own time to its commit, where it has one that can be true";
        registry.register("event_age_seconds", help, self.event_age_seconds.clone());
        let help =
            "Seconds the worker's clock is ahead of the database's, as far as that is certain; sampled in transactions";
        registry.register("clock_skew_seconds", help, self.clock_skew_seconds.clone());
        let help = "Reminders, escalations and expiries late by more than 5 s; always 0 in this version, in which no timer acts";
        registry.register("timers_overdue", help, Gauge::<i64>::default());
        let help = "Reloads of the rules file that left the old rules in force";
        registry.register("rules_reload_failed", help, self.rules_reload_failed.clone());
        registry.register_collector(Box::new(self.rules.clone()));
        registry.register_collector(Box::new(self.sampled.clone()));
        registry
    }

    /// An event whose processing is committed; `kind` is one of a closed list.
    pub fn received(&self, kind: &'static str) {
        self.received.get_or_create(&TypeLabels { r#type: kind }).inc();
    }

    /// What became of an event, with the code of a refusal or the reason of a failure, else nothing.
    pub fn outcome(&self, outcome: &'static str, code: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabels { outcome, code }).inc();
    }

    /// What became of so many published events.
    pub fn published(&self, fate: Published, count: u64) {
        self.published.get_or_create(&fate.labels()).inc_by(count);
    }

    /// A committed transaction with so many events; without any it was one of the clock's.
    #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand events")]
    pub fn committed(&self, events: usize, took: Duration) {
        if events > 0 {
            self.batch_size.observe(events as f64);
        }
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// How old an event was when it was committed.
    pub fn event_age(&self, age: Duration) {
        self.event_age_seconds.observe(age.as_secs_f64());
    }

    /// How far the worker's clock is ahead of the database's.
    pub fn clock_skew(&self, seconds: f64) {
        self.clock_skew_seconds.set(seconds);
    }

    /// The rules that are in force from now on.
    pub fn rules_in_force(&self, version: &str, hash: &str) {
        let labels = RulesLabels { version: version.to_owned(), hash: hash.to_owned() };
        *self.rules.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(labels);
    }

    /// All of them as text.
    pub fn text(&self, sample: Sample) -> String {
        *self.sampled.0.lock().unwrap_or_else(PoisonError::into_inner) = sample;
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabels {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RulesLabels {
    version: String,
    hash: String,
}

/// `rules_info`: one row, always, while its labels change. A family would show none or two for a moment.
#[derive(Clone, Debug, Default)]
struct RulesInForce(Arc<Mutex<Option<RulesLabels>>>);

impl Collector for RulesInForce {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(labels) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Ok(()) };
        let info: MetricType = Info::<RulesLabels>::TYPE;
        Info::new(labels).encode(encoder.encode_descriptor("rules", "The rules in force.", None, info)?)
    }
}

/// The last sample that was handed in.
#[derive(Clone, Debug, Default)]
struct Sampled(Arc<Mutex<Sample>>);

impl Collector for Sampled {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Sample { connections, counts } = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut gauges = Gauges(encoder);
        let connections: Vec<_> = connections.into_iter().map(|(peer, up)| (peer, u64::from(up))).collect();
        gauges.each(
            "connection_up",
            "Whether the connection to the peer is there and usable.",
            "peer",
            &connections,
        )?;
        if let Some(counts) = counts {
            gauges.one("outbox_pending", "Events to be published.", counts.outbox_pending)?;
            let help = "Seconds since the oldest event to be published was written, 0 without one.";
            gauges.one("outbox_oldest_age_seconds", help, counts.outbox_oldest_age_s)?;
            gauges.each("failures_open", "Failures that nobody has marked yet.", "reason", &counts.failures_open)?;
            gauges.one("parked", "Events that wait for their submission.", counts.parked)?;
            gauges.each("exceptions", "Exception requests by status.", "status", &counts.exceptions)?;
        }
        Ok(())
    }
}

struct Gauges<'a>(DescriptorEncoder<'a>);

impl Gauges<'_> {
    fn one(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        ConstGauge::new(whole(value)).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn each(&mut self, name: &str, help: &str, label: &str, values: &[(&'static str, u64)]) -> std::fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (word, value) in values {
            ConstGauge::new(whole(*value)).encode(encoder.encode_family(&[(label, *word)])?)?;
        }
        Ok(())
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
