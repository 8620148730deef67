//! The task that empties the queue: gathers a batch, encodes it, hands it to the collector, again and again while that is away. The
//! queue fills up meanwhile and drops; how much was lost is said when it is over, and why it began, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::collector::{NotTaken, Takes};
use crate::retry::Waits;

/// Most spans in one request: about half a megabyte.
const BATCH_MAX: usize = 1_024;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Without trouble for so long, it is over: what comes and goes is said once.
const CALM: Duration = Duration::from_secs(10);

/// The state of the task.
pub(super) struct Export<C> {
    collector: C,
    resource: ResourceAttributesWithSchema,
    /// What the queue dropped and is not counted in `lost` yet.
    dropped: Arc<AtomicU64>,
    closing: watch::Receiver<bool>,
    /// Spans lost since the trouble began.
    lost: u64,
    /// When there was trouble last, from its first line in the log to its last.
    trouble: Option<Instant>,
}

impl<C: Takes> Export<C> {
    pub(super) fn new(
        collector: C,
        resource: &Resource,
        dropped: Arc<AtomicU64>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { collector, resource: resource.into(), dropped, closing, lost: 0, trouble: None }
    }

    /// Exports until told to close and nothing is left.
    pub(super) async fn run(mut self, mut spans: mpsc::Receiver<SpanData>) {
        loop {
            let batch = self.gather(&mut spans).await;
            if batch.is_empty() {
                break;
            }
            self.deliver(batch).await;
        }
        self.lost += self.dropped.swap(0, Ordering::Relaxed);
        if self.lost > 0 {
            warn!(spans = self.lost, "{} spans were dropped that {} has not taken", self.lost, self.collector);
        }
    }

    /// The next batch; an empty one when there will be none.
    async fn gather(&mut self, spans: &mut mpsc::Receiver<SpanData>) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let mut until = None;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            let is_open = !spans.is_closed();
            let told = async { drop(self.closing.wait_for(|closing| *closing).await) };
            let more = async {
                match until {
                    Some(until) => timeout_at(until, spans.recv_many(&mut batch, room)).await.unwrap_or(0),
                    None => spans.recv_many(&mut batch, room).await,
                }
            };
            let got = tokio::select! {
                biased;
                () = told, if is_open => None,
                got = more => Some(got),
            };
            match got {
                // What is in it already still comes out.
                None => spans.close(),
                Some(0) => break,
                Some(_) => until = Some(until.unwrap_or_else(|| Instant::now() + LINGER)),
            }
        }
        batch
    }

    /// Tries until the batch is taken or refused; at the end of the worker only once more.
    async fn deliver(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        let mut waits = Waits::new(WAIT_MAX);
        loop {
            let last = *self.closing.borrow();
            let why = match self.collector.take(body.clone()).await {
                Ok(()) => return self.taken(),
                Err(NotTaken::Later(why)) if !last => {
                    self.troubled(&why);
                    tokio::select! {
                        biased;
                        _ = self.closing.wait_for(|closing| *closing) => {}
                        () = sleep(waits.next_wait()) => {}
                    }
                    continue;
                }
                Err(NotTaken::Later(why) | NotTaken::Never(why)) => why,
            };
            self.lost += count;
            return self.troubled(&why);
        }
    }

    fn taken(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        self.lost += dropped;
        if dropped > 0 {
            // Where the queue overflowed while the collector was away, a line was written, and no second one comes.
            self.troubled("spans come faster than it takes them, sample fewer by OTEL_TRACES_SAMPLER");
        } else if self.trouble.is_some_and(|last| last.elapsed() >= CALM) {
            info!(spans = self.lost, "{} takes spans again, {} were dropped", self.collector, self.lost);
            (self.trouble, self.lost) = (None, 0);
        }
    }

    fn troubled(&mut self, why: &str) {
        if self.trouble.replace(Instant::now()).is_none() {
            let collector = &self.collector;
            warn!("spans do not reach {collector}: {why}; work goes on, what finds no room is dropped and counted");
        }
    }
}

#[cfg(test)]
mod tests;
