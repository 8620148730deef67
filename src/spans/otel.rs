//! [`Spans`] as `OpenTelemetry` has them: made after the semantic conventions for messaging, sampled as the incoming trace context
//! says, exported over HTTP (OTLP, protobuf) to a collector of the node.
//!
//! The SDK samples, numbers and holds spans. What comes after is our own, and small: a queue that never makes anybody wait, and a task
//! that empties it; it knows how many spans were lost, ends by a deadline, and says of an outage why, once. Next: `made` makes
//! spans, `queue` and `export` pass them on, `collector` speaks to the other side.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use self::collector::Collector;
use self::export::Export;
use self::queue::Queue;
use super::{Places, Sent, Spans, Turn};

mod collector;
mod export;
mod made;
mod queue;

/// How the collector is spoken to.
pub(super) const PROTOCOL: &str = "http/protobuf";
/// How long the end of the worker waits for spans, if its deadline leaves so much.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// What makes spans and hands them to the task that exports.
pub(super) struct Otel {
    /// Samples by the incoming trace context, else as the environment says.
    events: SdkTracer,
    /// Of batches: made only when one of their events is sampled, and then always.
    batches: SdkTracer,
    places: Places,
    close: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Otel {
    /// Starts the task that exports to `url`. The error says what is wrong with it.
    pub(super) fn start(url: &str, places: Places) -> Result<Self, String> {
        let collector = Collector::new(url)?;
        let (queue, spans) = queue::queue();
        let (close, closing) = watch::channel(false);
        tracing::info!("spans are exported to {collector}");
        if let Some(fault) = sampler_fault(|name| std::env::var(name).ok()) {
            tracing::warn!("{fault}: what comes without a trace context is all sampled");
        }
        let task = tokio::spawn(Export::new(collector, &resource(), queue.dropped(), closing).run(spans));
        Ok(Self { task: Mutex::new(Some(task)), ..Self::into(queue, places, close) })
    }

    /// Makes spans into a queue. Sampler and limits come from the environment, where the SDK looks for them.
    fn into(queue: Queue, places: Places, close: watch::Sender<bool>) -> Self {
        let scope = InstrumentationScope::builder("reprieve").with_version(env!("CARGO_PKG_VERSION")).build();
        let events = SdkTracerProvider::builder().with_span_processor(queue.clone()).build();
        let batches = SdkTracerProvider::builder().with_span_processor(queue).with_sampler(Sampler::AlwaysOn).build();
        Self {
            events: events.tracer_with_scope(scope.clone()),
            batches: batches.tracer_with_scope(scope),
            places,
            close,
            task: Mutex::new(None),
        }
    }
}

/// What is wrong with the sampler that is asked for: the SDK takes its default then, and does not say so.
fn sampler_fault(environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    const KNOWN: [&str; 4] = ["always_on", "always_off", "parentbased_always_on", "parentbased_always_off"];
    const RATIO: [&str; 2] = ["traceidratio", "parentbased_traceidratio"];
    let sampler = environment("OTEL_TRACES_SAMPLER").filter(|sampler| !sampler.is_empty())?;
    if RATIO.contains(&sampler.as_str()) {
        let argument = environment("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        let is_ratio = argument.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
        return (!is_ratio).then(|| format!("OTEL_TRACES_SAMPLER_ARG={argument:?} is no number from 0 to 1"));
    }
    let names = || KNOWN.into_iter().chain(RATIO).collect::<Vec<_>>().join(", ");
    (!KNOWN.contains(&sampler.as_str())).then(|| format!("OTEL_TRACES_SAMPLER={sampler:?} is none of {}", names()))
}

/// What this process is called; the environment has the last word.
fn resource() -> Resource {
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let named = name.map(|name| KeyValue::new("service.name", name));
    let detectors: [Box<dyn ResourceDetector>; 2] =
        [Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())];
    Resource::builder_empty()
        .with_service_name("reprieve")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()))
        .with_detectors(&detectors)
        .with_attributes(named)
        .build()
}

#[async_trait]
impl Spans for Otel {
    fn turn(&self, turn: &Turn<'_>) {
        self.make_turn(turn);
    }

    fn sent(&self, began: Instant, events: &[Sent<'_>]) {
        self.make_sent(began, events);
    }

    fn commit_publishes(&self) -> bool {
        self.places.commit_publishes
    }

    async fn close(&self, until: Instant) {
        self.close.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        let until = until.min(Instant::now() + CLOSE_MAX);
        if timeout_at(until, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the last spans are not exported: the collector did not take them in time");
        }
    }
}

#[cfg(test)]
mod tests;
