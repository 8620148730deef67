//! Who did something: a person, or what acts in a person's place.

use serde::{Deserialize, Serialize};

use super::ids::UserId;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Actor {
    /// The person's id, or what stands in for one.
    pub id: String,
    /// What kind of actor the id names.
    pub kind: ActorKind,
}

/// What kind of actor an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// A rule.
    Policy,
    /// The clock.
    Timer,
    /// The ticketing system.
    TicketSystem,
}

impl ActorKind {
    /// As stored and published.
    pub fn word(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Policy => "policy",
            ActorKind::Timer => "timer",
            ActorKind::TicketSystem => "ticket_system",
        }
    }
}

impl Actor {
    /// A person.
    pub fn user(id: &UserId) -> Self {
        Self { id: id.to_string(), kind: ActorKind::User }
    }

    /// A rule that decides by itself.
    pub fn policy(rule: &str) -> Self {
        Self { id: format!("policy:{rule}"), kind: ActorKind::Policy }
    }
}
