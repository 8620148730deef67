//! What may have ended a process before, or is tried again because an operator says so, is noted before it is read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{TICK, Turns};
use crate::broker::Delivery;
use crate::contract::digest::of_message;
use crate::contract::json::Fault;
use crate::contract::message::Properties;
use crate::contract::reason::Reason;
use crate::contract::trust::Trust;
use crate::store::{FailureId, Marked, MessageKey, StoreError, Wanted};
use crate::worker::input::Input;
use crate::worker::outage::Outage;
use crate::worker::plan::suspects::{LEFT_MAX, Standing, UNREAD_FROM, note, withdraw};

/// How often is looked whether another process is still busy with a suspect.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Turns {
    /// Reads deliveries. A suspect comes alone, and is noted first.
    pub(super) async fn read(&mut self, deliveries: Vec<Delivery>) -> Vec<Input> {
        let mut inputs = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if delivery.is_suspect() {
                let suspect = Suspect::new(delivery.properties, delivery.body, None);
                inputs.push(self.alone(suspect).await);
            } else {
                inputs.push(Input::of(delivery, self.settings.trust.as_ref()));
            }
        }
        inputs
    }

    /// Failures go through the door again: together, and alone those that were left in the middle before. What another process
    /// is busy with stays marked.
    pub(super) async fn try_again(&mut self, marked: Vec<Marked>) {
        let suspects: Vec<_> = marked.into_iter().map(|m| Suspect::new(m.properties, m.body, Some(m.id))).collect();
        let keys: Vec<_> = suspects.iter().map(|suspect| suspect.key).collect();
        let standings = self.note_down(&keys).await;
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        for (suspect, standing) in suspects.into_iter().zip(standings) {
            match standing {
                Standing::Noted(left) => together.push(suspect.read(left, self.settings.trust.as_ref())),
                Standing::Left => alone.push(suspect),
                Standing::Busy => {}
            }
        }
        if together.is_empty() && alone.is_empty() {
            // All of it is in other hands: nothing to hurry for.
            self.next_tick = Instant::now() + TICK;
        }
        if !together.is_empty() {
            self.turns(together, None).await;
        }
        for suspect in alone {
            if let [Standing::Noted(left)] = self.note_down(&[suspect.key]).await.as_slice() {
                self.turns(vec![suspect.read(*left, self.settings.trust.as_ref())], None).await;
            }
        }
    }

    /// A delivery cannot be left to another process: its broker has given it to this one.
    async fn alone(&mut self, suspect: Suspect) -> Input {
        loop {
            if let [Standing::Noted(left)] = self.note_down(&[suspect.key]).await.as_slice() {
                return suspect.read(*left, self.settings.trust.as_ref());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Before the messages go to another process: what they are noted for is the database's doing. Tried once; if the database
    /// does not answer at all, no other process notes anything either.
    pub(super) async fn take_back(&mut self, inputs: &[Input]) {
        let keys: Vec<_> = inputs.iter().filter_map(|input| input.note).collect();
        if keys.is_empty() {
            return;
        }
        let wanted = Wanted { notes: keys.iter().copied().collect(), ..Wanted::default() };
        let run = self.settings.run;
        let mut plan = |snapshot| withdraw(&keys, run, &snapshot);
        if let Err(error) = self.store.turn(&wanted, &mut plan).await {
            tracing::warn!("notes about {} suspects are left, though this process lives: {error}", keys.len());
        }
    }

    /// Notes messages for this process, in a turn of its own.
    async fn note_down(&mut self, keys: &[MessageKey]) -> Vec<Standing> {
        let wanted = Wanted { notes: keys.iter().copied().collect(), ..Wanted::default() };
        let run = self.settings.run;
        let mut outage = Outage::new(self.settings.wait_max);
        loop {
            let mut standings = Vec::new();
            let mut plan = |snapshot| {
                let (found, changes) = note(keys, run, &snapshot);
                standings = found;
                changes
            };
            match self.store.turn(&wanted, &mut plan).await {
                Ok(_) => {
                    outage.over();
                    return standings;
                }
                Err(StoreError::Away(error) | StoreError::Refused(error)) => outage.wait(&error.to_string()).await,
            }
            if outage.is_long() {
                self.source.release().await;
            }
        }
    }
}

/// A message that nobody has read yet.
struct Suspect {
    key: MessageKey,
    properties: Properties,
    body: Vec<u8>,
    failure: Option<FailureId>,
}

impl Suspect {
    fn new(properties: Properties, body: Vec<u8>, failure: Option<FailureId>) -> Self {
        Self { key: of_message(&properties, &body), properties, body, failure }
    }

    /// Reads it, or says why it is not processed. Even reading may be what ends the process: then it is not read.
    fn read(self, left: u16, trust: Option<&Trust>) -> Input {
        let Self { key, properties, body, failure } = self;
        let message =
            format!("{left} processes ended, or stood still, while they were busy with it alone: see their logs");
        let fault = Fault::new(Reason::CrashLoop, message);
        let mut input = if left >= UNREAD_FROM {
            Input::unread(properties, body, failure, fault)
        } else {
            let mut input = Input::read(properties, body, failure, trust);
            if left >= LEFT_MAX {
                input.inbound.content = Err(fault);
            }
            input
        };
        input.note = Some(key);
        input
    }
}
