//! What a committed turn is told as, to who exports spans. Nothing is gathered where nobody listens.

use tokio::time::Instant;

use super::Turns;
use crate::broker::Tag;
use crate::domain::ids::ExceptionId;
use crate::spans::{Processed, Sent, Turn};
use crate::store::Outcome;
use crate::worker::input::Input;

impl Turns {
    /// Tells of a turn whose inputs were taken at `began`, as deliveries with this tag or as failures that are tried again.
    pub(super) fn tell(&self, inputs: &[Input], outcomes: &[Outcome], began: Instant, tag: Option<Tag>) {
        let Some(spans) = &self.settings.spans else { return };
        if !inputs.is_empty() {
            let events: Vec<_> =
                inputs.iter().zip(outcomes).map(|(input, outcome)| processed(input, *outcome)).collect();
            spans.turn(&Turn { began, queue: tag.map(|tag| tag.channel), events: &events });
        }
        let written = self.aside.written.iter().flatten();
        let sent: Vec<_> = written.map(|envelope| Sent { envelope, error: None }).collect();
        spans.sent(began, &sent);
    }
}

fn processed(Input { inbound, failure, .. }: &Input, outcome: Outcome) -> Processed<'_> {
    Processed {
        id: &inbound.id,
        source: &inbound.source,
        event_type: inbound.event_type.as_deref(),
        traceparent: inbound.traceparent.as_deref(),
        exception_id: inbound.exception_id.as_ref().map(ExceptionId::as_str),
        failure: *failure,
        outcome,
    }
}
