//! What is said of output that no queue takes: when it begins and when it is over, not for each event. It decides nothing, and
//! counts nothing: that is done with the turn that writes it down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::broker::{Fate, Outgoing};
use crate::store::OutboxId;

/// Rows that are remembered: those of an hour without the queue. With more, the end is said a little early.
const ROWS_MAX: usize = 10_000;
/// A row that has not come back for so long is somebody else's now: each is tried at least every 30 s.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);

/// The rows that found no queue, each with when that was seen last.
#[derive(Debug, Default)]
pub(super) struct Nowhere {
    rows: HashMap<OutboxId, Instant>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
}

impl Nowhere {
    /// Takes in what became of a hand.
    pub(super) fn note(&mut self, events: &[Outgoing], fates: &[Fate]) {
        let now = Instant::now();
        for (event, fate) in events.iter().zip(fates) {
            match fate {
                Fate::Unroutable => {
                    if self.rows.is_empty() {
                        say_first(event);
                    }
                    if self.rows.len() < ROWS_MAX || self.rows.contains_key(&event.id) {
                        self.rows.insert(event.id, now);
                    }
                }
                Fate::Confirmed => {
                    if self.rows.remove(&event.id).is_some() && self.rows.is_empty() {
                        say_last();
                    }
                }
                Fate::Unknown => {}
            }
        }
    }

    /// Forgets what has not come back. For when there is nothing to publish.
    pub(super) fn look(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        self.rows.retain(|_, seen| seen.elapsed() < FORGOTTEN_AFTER);
        if self.rows.is_empty() {
            say_last();
        }
    }
}

fn say_last() {
    info!("no output is without a queue any more");
}

fn say_first(event: &Outgoing) {
    let read = serde_json::from_str::<Envelope<'_>>(&event.body);
    // What can be read is one of the contract's types.
    let event_type = read.as_ref().map_or("an event", |envelope| envelope.event_type.as_ref());
    warn!(
        outbox_id = event.id,
        event.type = event_type,
        "`{event_type}` finds no queue: it stays in the outbox and is tried again; see `reprieve topology check`, and `reprieve outbox \
         status` for how many there are"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: OutboxId) -> Outgoing {
        Outgoing { id, body: format!(r#"{{"id":"{id}","type":"notification.reviewer.v1","source":"s"}}"#) }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_every_row_has_gone_out_or_is_somebody_elses() {
        let mut nowhere = Nowhere::default();
        nowhere.note(&[event(1), event(2), event(3)], &[Fate::Unroutable, Fate::Unroutable, Fate::Confirmed]);
        assert_eq!(nowhere.rows.len(), 2);
        nowhere.note(&[event(1)], &[Fate::Unknown]);
        nowhere.note(&[event(1)], &[Fate::Confirmed]);
        assert_eq!(nowhere.rows.len(), 1);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        nowhere.note(&[event(2)], &[Fate::Unroutable]);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        nowhere.look();
        assert_eq!(nowhere.rows.len(), 1, "it came back in between");
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        nowhere.look();
        assert!(nowhere.rows.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn rows_without_end_take_no_room_without_end() {
        let mut nowhere = Nowhere::default();
        let events: Vec<_> = (0..).take(ROWS_MAX + 10).map(event).collect();
        nowhere.note(&events, &vec![Fate::Unroutable; events.len()]);
        assert_eq!(nowhere.rows.len(), ROWS_MAX);
    }
}
