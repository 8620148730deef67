//! Inputs of a turn: deliveries, decoded before the transaction begins, and what they name.

use crate::broker::{Delivery, Properties};
use crate::contract::inbound::{self, Inbound, Message};
use crate::domain::command::Command;
use crate::store::Wanted;

/// A delivery and what it says.
#[derive(Debug)]
pub struct Input {
    /// As it came.
    pub delivery: Delivery,
    /// As it was read.
    pub inbound: Inbound,
}

impl Input {
    /// Reads a delivery.
    pub fn read(delivery: Delivery) -> Self {
        let inbound = decode(&delivery.properties, &delivery.body);
        Self { delivery, inbound }
    }
}

/// Reads a body with its properties.
pub fn decode(properties: &Properties, body: &[u8]) -> Inbound {
    inbound::decode(&Message {
        content_type: properties.content_type.as_deref(),
        content_encoding: properties.content_encoding.as_deref(),
        headers: &properties.headers,
        body,
    })
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
