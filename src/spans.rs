//! Spans, for those who follow one event through many programs. The worker says what a turn or a hand of published events was, once
//! it is over: nothing is kept open meanwhile, and without a listener nothing is gathered. The listener is `otel`, compiled in with
//! the cargo feature of that name and started by [`start`] where the environment names a collector.
//!
//! What goes out are identifiers: no body, no name, no secret is ever handed in here.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::outcome::Outcome;

#[cfg(feature = "otel")]
mod otel;

/// Who listens. Nothing here waits for anybody: what cannot be kept is dropped and counted.
#[async_trait]
pub trait Spans: Send + Sync {
    /// A turn whose events are committed.
    fn turn(&self, turn: &Turn<'_>);
    /// Events that were given to the broker at `began` and have their fates.
    fn sent(&self, began: Instant, events: &[Sent<'_>]);
    /// Whether a commit publishes by itself: then the turn says what it wrote.
    fn commit_publishes(&self) -> bool;
    /// Exports what is still here, and takes nothing more; ends at `until` at the latest.
    async fn close(&self, until: Instant);
}

/// A turn with events.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// When its events were taken, the attempts that failed included.
    pub began: Instant,
    /// Which of [`Places::queues`] they came from; none for failures that are tried again.
    pub queue: Option<u16>,
    /// Its events, in order.
    pub events: &'a [Processed<'a>],
}

/// What became of one event.
#[derive(Clone, Copy, Debug)]
pub struct Processed<'a> {
    /// Its id, or what stands in for it.
    pub id: &'a str,
    /// Its source, or what stands in for it.
    pub source: &'a str,
    /// Its type, where it could be read.
    pub event_type: Option<&'a str>,
    /// The trace context it came with.
    pub traceparent: Option<&'a str>,
    /// The exception it names, where that could be read.
    pub exception_id: Option<&'a str>,
    /// The failure that was tried again with it, if it is one.
    pub failure: Option<Uuid>,
    /// What became of it.
    pub outcome: Outcome,
}

/// One event on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The envelope; what is shown of it are its attributes.
    pub envelope: &'a str,
    /// What went wrong, in a word of a closed list.
    pub error: Option<&'static str>,
}

/// What the places are called that events come from and go to.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kind of broker, as the conventions call it.
    pub system: &'static str,
    /// The consumed queues, by the channel of their tags.
    pub queues: Vec<String>,
    /// Where events are published.
    pub exchange: String,
    /// Whether the commit is what publishes.
    pub commit_publishes: bool,
}

/// What the environment says about traces.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    /// The variable that names the collector.
    variable: &'static str,
    /// Where it takes traces.
    url: String,
}

/// Starts to export if the environment asks for it. Whatever is wrong there is said in one line and stops nothing. Needs the runtime.
pub fn start(places: Places) -> Option<Arc<dyn Spans>> {
    let asked = asked(|name| std::env::var(name).ok())?;
    match listen(&asked, places) {
        Ok(spans) => Some(spans),
        Err(why) => {
            tracing::warn!("no spans are exported: {} {why}", asked.variable);
            None
        }
    }
}

#[cfg(feature = "otel")]
fn listen(asked: &Asked, places: Places) -> Result<Arc<dyn Spans>, String> {
    let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    let protocol = protocol.into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    if let Some(other) = protocol.filter(|protocol| protocol != otel::PROTOCOL) {
        return Err(format!(
            "is to be spoken to by {other:?}, which is not built in: set OTEL_EXPORTER_OTLP_PROTOCOL={}",
            otel::PROTOCOL
        ));
    }
    Ok(Arc::new(otel::Otel::start(&asked.url, places)?))
}

#[cfg(not(feature = "otel"))]
fn listen(_asked: &Asked, _places: Places) -> Result<Arc<dyn Spans>, String> {
    Err("is set, but this program was built without the feature otel: build it with `cargo build --release --features otel`, or \
         unset the variable"
        .to_owned())
}

/// The collector the environment names, by the rules of OpenTelemetry: the variable for traces is taken as it stands, the one for
/// everything is where paths begin. No endpoint, no export: nobody gets a default that they have not heard of.
fn asked(environment: impl Fn(&str) -> Option<String>) -> Option<Asked> {
    let set = |name| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let says = |name, word: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let (traces, all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let for_traces = || set(traces).map(|url| Asked { variable: traces, url });
    let for_all =
        || set(all).map(|url| Asked { variable: all, url: format!("{}/v1/traces", url.trim_end_matches('/')) });
    for_traces().or_else(for_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_collector() {
        #[track_caller]
        fn check(environment: &[(&str, &str)], expected: Option<&str>) {
            let value = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(asked(value).map(|asked| asked.url).as_deref(), expected);
        }
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1/in");
        check(&[], None);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], None);
        check(&[all], Some("http://localhost:4318/v1/traces"));
        check(&[all, traces], Some("http://other:1/in"));
        check(&[all, ("OTEL_SDK_DISABLED", "TRUE")], None);
        check(&[all, ("OTEL_SDK_DISABLED", "1")], Some("http://localhost:4318/v1/traces"));
        check(&[traces, ("OTEL_TRACES_EXPORTER", "none")], None);
        check(&[traces, ("OTEL_TRACES_EXPORTER", "otlp")], Some("http://other:1/in"));
    }
}
