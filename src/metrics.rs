//! What is counted for those who watch, as `GET /metrics` gives it. The names are the contract's: here stands each with what it
//! means; whoever has something to count gets a [`Metrics`] and says so. It measures nothing by itself.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric as _};
use prometheus_client::registry::Registry;

/// What the text is, for the header of the answer: the format that every scraper reads.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics. Clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    rules: RulesInForce,
    /// Reloads of the rules file that left the old rules in force.
    pub rules_reload_failed: Counter,
}

impl Metrics {
    /// All at nought.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("reprieve");
        let rules = RulesInForce::default();
        registry.register_collector(Box::new(rules.clone()));
        let rules_reload_failed = Counter::default();
        let help = "Reloads of the rules file that left the old rules in force";
        registry.register("rules_reload_failed", help, rules_reload_failed.clone());
        Self { registry: Arc::new(registry), rules, rules_reload_failed }
    }

    /// The rules that are in force from now on.
    pub fn rules_in_force(&self, version: &str, hash: &str) {
        let labels = RulesLabels { version: version.to_owned(), hash: hash.to_owned() };
        *self.rules.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(labels);
    }

    /// All of them as text.
    pub fn text(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_scrapers_read() {
        let metrics = Metrics::new();
        metrics.clone().rules_in_force("1 \"new\"\n\\", "ab");
        metrics.rules_in_force("2 \"new\"\n\\", "cd");
        metrics.rules_reload_failed.inc();
        let expected = r#"# HELP reprieve_rules_reload_failed_total Reloads of the rules file that left the old rules in force.
# TYPE reprieve_rules_reload_failed_total counter
reprieve_rules_reload_failed_total 1
# HELP reprieve_rules_info The rules in force.
# TYPE reprieve_rules_info gauge
reprieve_rules_info{version="2 \"new\"\n\\",hash="cd"} 1
"#;
        let mut lines: Vec<_> = expected.lines().collect();
        let text = metrics.text();
        let mut found: Vec<_> = text.lines().map(str::trim_end).collect();
        lines.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, lines);
        assert!(!Metrics::new().text().contains("rules_info"), "no rules yet");
    }
}
