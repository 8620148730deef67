//! Where finished spans wait for the task that exports them. Full, it drops and counts: the worker never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Most spans that wait: some megabytes, and what a second of full load makes when a tenth of it is sampled.
pub(super) const QUEUE_MAX: usize = 8_192;

/// The end that takes spans.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

/// A queue and the end that gives spans.
pub(super) fn queue() -> (Queue, mpsc::Receiver<SpanData>) {
    let (spans, taken) = mpsc::channel(QUEUE_MAX);
    (Queue { spans, dropped: Arc::default() }, taken)
}

impl Queue {
    /// How many found no room.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
