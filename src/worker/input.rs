//! Inputs of a turn: deliveries, decoded before the transaction begins, what they name, and a log line for each that was not
//! applied.

use tracing::{info, warn};

use crate::broker::{Delivery, Properties};
use crate::contract::digest;
use crate::contract::inbound::{self, Inbound, Message, UNREADABLE};
use crate::contract::json::Fault;
use crate::contract::trust::Trust;
use crate::domain::command::Command;
use crate::domain::ids::Digest;
use crate::domain::json::Json;
use crate::store::{FailureId, MessageKey, Outcome, Wanted};

/// A message and what it says.
#[derive(Debug)]
pub struct Input {
    /// As it came.
    pub properties: Properties,
    /// As it came.
    pub body: Vec<u8>,
    /// As it was read.
    pub inbound: Inbound,
    /// The failure that is tried again with it, if it is one.
    pub failure: Option<FailureId>,
    /// What it is noted under, if it is a suspect: the note goes with the turn that settles it.
    pub note: Option<MessageKey>,
}

impl Input {
    /// Reads a message, and turns away what its sender is not trusted with; `failure` is the one that is tried again with it.
    pub fn read(properties: Properties, body: Vec<u8>, failure: Option<FailureId>, trust: Option<&Trust>) -> Self {
        let message = Message::of(&properties, &body);
        let mut inbound = inbound::decode(&message);
        if let Some(trust) = trust {
            inbound = trust.judge(inbound, properties.user_id.as_deref(), &message);
        }
        Self { properties, body, inbound, failure, note: None }
    }

    /// Reads a delivery.
    pub fn of(delivery: Delivery, trust: Option<&Trust>) -> Self {
        Self::read(delivery.properties, delivery.body, None, trust)
    }

    /// A message that nobody dares to read.
    pub fn unread(properties: Properties, body: Vec<u8>, failure: Option<FailureId>, fault: Fault) -> Self {
        let id = digest::of_unreadable(&body, properties.content_type.as_deref().unwrap_or_default());
        let inbound = Inbound {
            key: digest::event_key(UNREADABLE, &id),
            digest: Digest::of_sha256(&digest::of_text("", &body)),
            source: UNREADABLE.to_owned(),
            id,
            event_type: None,
            traceparent: None,
            time: None,
            exception_id: None,
            content: Err(fault),
        };
        Self { properties, body, inbound, failure, note: None }
    }
}

/// Reads a body with its properties, whoever sent it: of what was parked that was asked when it came.
pub fn decode(properties: &Properties, body: &[u8]) -> Inbound {
    inbound::decode(&Message::of(properties, body))
}

/// What the inputs name: all that a turn has to read, but whose load the rules look at.
pub fn wanted(inputs: &[Input]) -> Wanted {
    let mut wanted = Wanted::default();
    for Input { inbound, failure, .. } in inputs {
        wanted.failures.extend(failure);
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

/// The submitted data of each submission among the inputs.
pub fn submitted(inputs: &[Input]) -> impl Iterator<Item = &Json> {
    inputs.iter().filter_map(|input| match &input.inbound.content.as_ref().ok()?.command {
        Command::Submit(submission) => Some(&submission.data),
        Command::Decide(_) => None,
    })
}

/// One log line for each input that is committed as failed or refused, or that an operator wanted tried again: where it is
/// settled, and by its ids alone.
pub fn report(inputs: &[Input], outcomes: &[Outcome]) {
    for (Input { inbound, failure, .. }, outcome) in inputs.iter().zip(outcomes) {
        let (source, id) = (inbound.source.as_str(), inbound.id.as_str());
        if let Some(failure) = failure {
            let what = told(*outcome);
            info!(failure.id = %failure, event.source = source, event.id = id, "failure {failure} was tried again: {what}");
            continue;
        }
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

fn told(outcome: Outcome) -> String {
    match outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Repeated => "nothing to do".to_owned(),
        Outcome::Parked => "it waits for its submission".to_owned(),
        Outcome::Refused(code) => format!("refused: {code}"),
        Outcome::Failed(reason) => format!("failed: {reason}"),
    }
}
