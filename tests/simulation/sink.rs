//! The fake sink: it may be blocked, find no queue, lose a confirm or a message, or say nothing at all. What arrives is
//! compared with what is committed, byte for byte.

use std::time::Duration;

use async_trait::async_trait;
use reprieve::broker::{Fate, Outgoing, Sink};
use tokio::time::{sleep, timeout};

use super::world::{Life, Shared, Step, World};

/// What the broker has said nothing about for so long is unknown.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// One instance's publishing connection.
pub(crate) struct SimSink {
    pub(crate) shared: Shared,
    pub(crate) life: Life,
}

#[async_trait]
impl Sink for SimSink {
    async fn ready(&mut self) {
        self.life.live(self.until_unblocked()).await;
    }

    async fn publish(&mut self, events: &[Outgoing]) -> Vec<Fate> {
        self.life.live(self.send(events)).await
    }
}

impl SimSink {
    async fn until_unblocked(&self) {
        loop {
            let changed = self.shared.changed.notified();
            let wait = self.shared.with(|world| world.blocked_until.saturating_sub(world.elapsed()));
            if wait.is_zero() {
                return;
            }
            // Told when it heals, else at the end of the time.
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep(wait) => {}
            }
        }
    }

    async fn send(&self, events: &[Outgoing]) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(events.len());
        let silent = self.shared.with(|world| world.hit(world.rates.silent));
        for (at, event) in events.iter().enumerate() {
            if at % 8 == 0 {
                self.shared.pause(Duration::from_millis(4)).await;
                if timeout(SILENCE_MAX, self.until_unblocked()).await.is_err() {
                    break;
                }
            }
            fates.push(self.shared.with(|world| world.publish(self.life.instance, event)));
        }
        if silent {
            sleep(SILENCE_MAX).await;
            fates.clear();
        }
        fates.resize(events.len(), Fate::Unknown);
        self.shared.with(|world| {
            let confirmed = events.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Confirmed);
            world.confirmed.entry(self.life.instance).or_default().extend(confirmed.map(|(event, _)| event.id));
        });
        fates
    }
}

impl World {
    fn publish(&mut self, instance: u64, event: &Outgoing) -> Fate {
        if self.elapsed() < self.unrouted_until {
            self.note(&Step::Unroutable { instance, row: event.id });
            return Fate::Unroutable;
        }
        if self.hit(self.rates.not_sent) {
            return Fate::Unknown;
        }
        match self.database.bodies.get(&event.id) {
            Some(body) if *body == event.body => {}
            Some(_) => self.violate(format!("row {} went out with other bytes than are committed", event.id)),
            None => self.violate(format!("row {} went out but is not committed", event.id)),
        }
        let now = self.database_time();
        if self.database.outbox.get(&event.id).is_some_and(|row| row.free_at <= now) {
            self.violate(format!("row {} went out from an instance that no longer holds it", event.id));
        }
        self.note(&Step::Published { instance, row: event.id });
        self.counts.published += 1;
        let copies = self.published.entry(event.id).or_default();
        *copies += 1;
        self.counts.copies += u64::from(*copies > 1);
        if self.hit(self.rates.confirm_lost) { Fate::Unknown } else { Fate::Confirmed }
    }
}
