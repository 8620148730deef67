//! Inputs of a turn: deliveries, decoded before the transaction begins, what they name, and a log line for each that was not
//! applied.

use tracing::{info, warn};

use crate::broker::{Delivery, Properties};
use crate::contract::inbound::{self, Inbound, Message};
use crate::contract::trust::Trust;
use crate::domain::command::Command;
use crate::store::{Outcome, Wanted};

/// A delivery and what it says.
#[derive(Debug)]
pub struct Input {
    /// As it came.
    pub delivery: Delivery,
    /// As it was read.
    pub inbound: Inbound,
}

impl Input {
    /// Reads a delivery, and turns away what its sender is not trusted with.
    pub fn read(delivery: Delivery, trust: Option<&Trust>) -> Self {
        let message = message(&delivery.properties, &delivery.body);
        let mut inbound = inbound::decode(&message);
        if let Some(trust) = trust {
            inbound = trust.judge(inbound, delivery.properties.user_id.as_deref(), &message);
        }
        Self { delivery, inbound }
    }
}

/// Reads a body with its properties, whoever sent it: of what was parked that was asked when it came.
pub fn decode(properties: &Properties, body: &[u8]) -> Inbound {
    inbound::decode(&message(properties, body))
}

fn message<'a>(properties: &'a Properties, body: &'a [u8]) -> Message<'a> {
    Message {
        content_type: properties.content_type.as_deref(),
        content_encoding: properties.content_encoding.as_deref(),
        headers: &properties.headers,
        body,
    }
}

/// What the inputs name: all that a turn has to read.
pub fn wanted(inputs: &[Input]) -> Wanted {
    let mut wanted = Wanted::default();
    for Input { inbound, .. } in inputs {
        wanted.events.entry(inbound.key).or_default().insert(inbound.digest);
        let Ok(content) = &inbound.content else { continue };
        let exception_id = content.command.exception_id();
        wanted.exceptions.insert(exception_id.clone());
        if let Command::Submit(submission) = &content.command {
            wanted.submitted.insert(exception_id.clone());
            wanted.tickets.insert(submission.ticket_id.clone());
        }
    }
    wanted
}

/// One log line for each input that is committed as failed or refused: where it is settled, and by its ids alone.
pub fn report(inputs: &[Input], outcomes: &[Outcome]) {
    for (Input { inbound, .. }, outcome) in inputs.iter().zip(outcomes) {
        let (source, id) = (inbound.source.as_str(), inbound.id.as_str());
        match outcome {
            Outcome::Failed(reason) => {
                warn!(
                    event.source = source,
                    event.id = id,
                    reason,
                    "event {id} failed: {reason}; its bytes are kept among the failures"
                );
            }
            Outcome::Refused(code) => {
                info!(event.source = source, event.id = id, code, "event {id} was refused: {code}");
            }
            Outcome::Applied | Outcome::Repeated | Outcome::Parked => {}
        }
    }
}
