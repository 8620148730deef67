//! The objects on the broker: a table, and what is done with it: declare, check, print.
//!
//! The table is the contract with upstream and downstream, so a change here is a change for others. The worker itself
//! makes nothing on the broker and needs no right to. Next: `source` consumes from these queues, `sink` publishes to `EVENTS`.

mod access;
mod apply;
mod print;

pub use apply::{Checked, Problem, Sight, apply, check, look};
pub use print::{definitions, table};

/// Upstream publishes here.
pub const INBOUND: &str = "exceptions.inbound";
/// The worker publishes here.
pub const EVENTS: &str = "exceptions.events";
/// The worker consumes here.
pub const WORKER: &str = "exceptions.worker";
/// What the broker gave up on.
pub const DEAD: &str = "exceptions.worker.dead";
/// Exchange and queue of inbound events that no binding wanted.
pub const UNROUTED: &str = "exceptions.unrouted";

const DLX: &str = "exceptions.dlx";

/// High enough that no outage reaches it: from `RabbitMQ` 4.0 a quorum queue without a limit has one of 20, and past it and
/// without a dead-letter exchange the message is gone.
const NO_LIMIT: u32 = 1_000_000;

/// One exchange or queue. Names are without the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Arguments of its declaration.
    pub arguments: &'static [(&'static str, Argument)],
    /// Of a queue: exchange and routing key of each binding.
    pub bindings: &'static [(&'static str, &'static str)],
    /// Why it is there.
    pub purpose: &'static str,
}

/// The kinds of objects in use; all durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An exchange that routes by patterns.
    Topic,
    /// An exchange that routes everything to everybody.
    Fanout,
    /// A replicated queue.
    Quorum,
}

/// The value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The name of another object: takes the prefix.
    Object(&'static str),
    /// A word.
    Word(&'static str),
    /// A number.
    Number(u32),
}

/// All of them; whatever is referred to comes before what refers to it, but for names in arguments, which the broker does
/// not look up.
pub const OBJECTS: &[Object] = &[
    Object {
        name: UNROUTED,
        kind: Kind::Fanout,
        arguments: &[],
        bindings: &[],
        purpose: "takes what no binding of exceptions.inbound wanted",
    },
    Object {
        name: INBOUND,
        kind: Kind::Topic,
        arguments: &[("alternate-exchange", Argument::Object(UNROUTED))],
        bindings: &[],
        purpose: "upstream publishes here",
    },
    Object {
        name: DLX,
        kind: Kind::Fanout,
        arguments: &[],
        bindings: &[],
        purpose: "takes what the broker gave up on",
    },
    Object { name: EVENTS, kind: Kind::Topic, arguments: &[], bindings: &[], purpose: "the worker publishes here" },
    Object {
        name: WORKER,
        kind: Kind::Quorum,
        arguments: &[
            ("x-queue-type", Argument::Word("quorum")),
            ("x-delivery-limit", Argument::Number(20)),
            ("x-dead-letter-exchange", Argument::Object(DLX)),
            ("x-dead-letter-strategy", Argument::Word("at-least-once")),
            ("x-overflow", Argument::Word("reject-publish")),
        ],
        bindings: &[(INBOUND, "exception.#"), (INBOUND, "ticket.#"), (INBOUND, "reviewer.#")],
        purpose: "the worker consumes here",
    },
    Object {
        name: DEAD,
        kind: Kind::Quorum,
        arguments: QUORUM,
        bindings: &[(DLX, "")],
        purpose: "the broker's safety net; the worker drains it, one by one",
    },
    Object {
        name: UNROUTED,
        kind: Kind::Quorum,
        arguments: QUORUM,
        bindings: &[(UNROUTED, "")],
        purpose: "inbound events with a mistyped routing key; the worker drains it too",
    },
    Object {
        name: "exceptions.out.notifications",
        kind: Kind::Quorum,
        arguments: QUORUM,
        bindings: &[(EVENTS, "notification.#")],
        purpose: "default mailbox of notification bridges",
    },
    Object {
        name: "exceptions.out.tickets",
        kind: Kind::Quorum,
        arguments: QUORUM,
        bindings: &[(EVENTS, "ticket.#"), (EVENTS, "exception.status_changed.#")],
        purpose: "default mailbox of the ticketing system",
    },
];

const QUORUM: &[(&str, Argument)] =
    &[("x-queue-type", Argument::Word("quorum")), ("x-delivery-limit", Argument::Number(NO_LIMIT))];

impl Kind {
    /// As the broker calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Quorum => "quorum",
        }
    }

    /// The word for a person.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Topic | Self::Fanout => "exchange",
            Self::Quorum => "queue",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_names_an_exchange_of_the_table() {
        let exchanges: Vec<_> = OBJECTS.iter().filter(|object| object.kind != Kind::Quorum).map(|o| o.name).collect();
        for object in OBJECTS {
            for (exchange, _) in object.bindings {
                assert!(exchanges.contains(exchange), "{exchange}, bound to {}", object.name);
            }
        }
    }

    #[test]
    fn every_queue_has_a_delivery_limit() {
        for queue in OBJECTS.iter().filter(|object| object.kind == Kind::Quorum) {
            assert!(queue.arguments.iter().any(|(name, _)| *name == "x-delivery-limit"), "{}", queue.name);
        }
    }
}
