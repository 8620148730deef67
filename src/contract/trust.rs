//! Who may say what: the broker vouches for the user behind a message (`user_id`), the table `[trust]` says which types that
//! user may publish. Judged once, when a message is read; what is parked was judged when it came.
//!
//! What is turned away must not stand in anybody's place: under the id of an event that is still to come it would make that
//! one an id conflict. So it gets a key of its own, and only the report names the source and id it claims.

use std::collections::BTreeMap;

use super::digest;
use super::inbound::{Inbound, Message};
use super::json::Fault;
use super::reason::Reason;

/// Every type that comes in, also those not built yet: a table may be complete before the program is.
pub const INBOUND_TYPES: [&str; 10] = [
    "exception.submitted.v1",
    "exception.amended.v1",
    "exception.withdrawn.v1",
    "exception.info_provided.v1",
    "exception.decision.v1",
    "ticket.updated.v1",
    "ticket.closed.v1",
    "ticket.deferral_applied.v1",
    "ticket.deferral_rejected.v1",
    "reviewer.availability_changed.v1",
];

/// Longest name of a user: AMQP allows no longer one.
const USER_BYTES_MAX: usize = 255;

/// The table: users of the broker, each with the types it may publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust(BTreeMap<String, Vec<String>>);

impl Trust {
    /// Lets a user publish types: names, or patterns in which `*` stands for any characters. The error says what is wrong.
    pub fn allow(&mut self, user: &str, types: Vec<String>) -> Result<(), String> {
        if user.is_empty() || user.len() > USER_BYTES_MAX || user.chars().any(char::is_control) {
            return Err(format!("{user:?} can be no user of the broker"));
        }
        if types.is_empty() {
            return Err("allows nothing: name at least one type, or remove the user".to_owned());
        }
        if let Some(vain) = types.iter().find(|pattern| !INBOUND_TYPES.iter().any(|name| fits(pattern, name))) {
            let known = INBOUND_TYPES.join(", ");
            return Err(format!("{vain:?} fits no type; write one of {known}, or a pattern such as ticket.*"));
        }
        self.0.insert(user.to_owned(), types);
        Ok(())
    }

    /// Whether nobody is trusted with anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The input as it is to be processed: unchanged, or turned away under a key of its own.
    pub fn judge(&self, inbound: Inbound, user: Option<&str>, message: &Message<'_>) -> Inbound {
        let content = match (self.refusal(user, inbound.event_type.as_deref()), inbound.content) {
            (Some(fault), _) => Err(fault),
            // Nobody is trusted with a type that cannot be read, and what else is wrong is more use to its sender.
            (None, Err(fault)) if inbound.event_type.is_none() => Err(fault),
            (None, content) => return Inbound { content, ..inbound },
        };
        let key = digest::of_untrusted(user, &inbound.source, &inbound.id, inbound.digest, message);
        Inbound { key, content, ..inbound }
    }

    fn refusal(&self, user: Option<&str>, event_type: Option<&str>) -> Option<Fault> {
        let Some(user) = user else {
            let message = "user_id missing: set this property to the name of the user the connection is made with";
            return Some(Fault::new(Reason::Unauthenticated, message));
        };
        let Some(allowed) = self.0.get(user) else {
            let message = format!("user_id {user:?}: not in [trust]; publish as a user that is, or add it there");
            return Some(Fault::new(Reason::Unauthenticated, message));
        };
        let event_type = event_type?;
        if allowed.iter().any(|pattern| fits(pattern, event_type)) {
            return None;
        }
        let message = format!("user_id {user:?}: [trust] does not let it publish {event_type}");
        Some(Fault::new(Reason::Unauthorized, message))
    }
}

/// Whether a pattern describes a type. `*` stands for any characters, the dot included: unlike in a routing key.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        // The earliest place leaves the most for the pieces after it.
        let Some((_, after)) = left.split_once(piece) else { return false };
        left = after;
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests;
