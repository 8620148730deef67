//! Starts the two loops and ends them: on the word to stop they drain. A loop that ends by itself ends the worker.

use tokio::sync::{mpsc, watch};

use super::publish::publish;
use super::turns::{self, Links, Settings};
use crate::broker::{Sink, Source};
use crate::store::Store;

/// A loop ended by a bug, not by the word to stop. Nothing is lost: another start goes on where this one ended.
#[derive(Debug, thiserror::Error)]
#[error("the worker's {name} loop ended unexpectedly: {cause}")]
pub struct LoopEnded {
    name: &'static str,
    cause: tokio::task::JoinError,
}

/// Runs the worker until `stop` becomes true and everything in hand is settled.
pub async fn run(
    source: Box<dyn Source>,
    store: Box<dyn Store>,
    sink: Box<dyn Sink>,
    settings: Settings,
    stop: watch::Receiver<bool>,
) -> Result<(), LoopEnded> {
    // Depth 1: while one hand is being published the next turn is in its transaction, and no further ahead.
    let (hands, hands_in) = mpsc::channel(1);
    let (fates_out, fates) = mpsc::unbounded_channel();
    let (up, sink_up) = watch::channel(false);
    let (metrics, spans) = (settings.metrics.clone(), settings.spans.clone());
    let mut publishing = tokio::spawn(publish(sink, hands_in, fates_out, up, metrics, spans));
    let mut turning = tokio::spawn(turns::run(source, store, Links { hands, fates, sink_up, stop }, settings));
    let ended = |name| move |cause| LoopEnded { name, cause };
    tokio::select! {
        result = &mut turning => {
            result.map_err(ended("turns"))?;
            publishing.await.map_err(ended("publish"))
        }
        result = &mut publishing => {
            result.map_err(ended("publish"))?;
            turning.await.map_err(ended("turns"))
        }
    }
}
