//! [`Sink`] of a broker that sends nothing anywhere.

use async_trait::async_trait;
use tracing::error;

use crate::broker::{Fate, Outgoing, Sink};

/// Confirms nothing, for it keeps nothing. With this broker an event is published by the turn that writes it into the store's log,
/// leftovers of an outbox by the turn that moves them there, and such a store hands out nothing to publish.
///
/// A store that does hand out events is one that keeps no log: saying [`Fate::Confirmed`] would have it delete what nobody has seen,
/// and [`Fate::Unroutable`] would send the operator to look for a queue. So they are [`Fate::Unknown`]: they stay in the outbox, the
/// worker's log says so each time, and a broker that is connected later gets them.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddedSink;

#[async_trait]
impl Sink for EmbeddedSink {
    /// At once, or the worker would take the broker for lost.
    async fn ready(&mut self) {}

    async fn publish(&mut self, events: &[Outgoing]) -> Vec<Fate> {
        if !events.is_empty() {
            let count = events.len();
            error!(
                events = count,
                "{count} events cannot be published: the embedded broker needs a store that keeps a log"
            );
        }
        vec![Fate::Unknown; events.len()]
    }
}
