//! The objects for people and for import: no broker is asked.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::access;
use super::{Argument, Kind, OBJECTS, Object};
use crate::broker::rabbitmq::Settings;

/// A definitions file for `rabbitmqctl import_definitions`, for vhost `/`: for operators who let nobody else declare.
pub fn definitions(settings: &Settings) -> Value {
    let exchanges: Vec<_> = OBJECTS
        .iter()
        .filter(|object| object.kind != Kind::Quorum)
        .map(|object| {
            json!({
                "name": settings.name(object.name), "vhost": "/", "type": object.kind.name(), "durable": true,
                "auto_delete": false, "internal": false, "arguments": arguments(settings, object),
            })
        })
        .collect();
    let queues = || OBJECTS.iter().filter(|object| object.kind == Kind::Quorum);
    let bindings: Vec<_> = queues()
        .flat_map(|queue| queue.bindings.iter().map(move |(exchange, key)| (queue, exchange, key)))
        .map(|(queue, exchange, key)| {
            json!({
                "source": settings.name(exchange), "vhost": "/", "destination": settings.name(queue.name),
                "destination_type": "queue", "routing_key": key, "arguments": {},
            })
        })
        .collect();
    let queues: Vec<_> = queues()
        .map(|queue| {
            json!({
                "name": settings.name(queue.name), "vhost": "/", "durable": true, "auto_delete": false,
                "arguments": arguments(settings, queue),
            })
        })
        .collect();
    let objects = [("exchanges", exchanges.into()), ("queues", queues.into()), ("bindings", bindings.into())];
    let sections = objects.into_iter().chain(access::definitions(settings));
    Value::Object(sections.map(|(name, section): (&str, Value)| (name.to_owned(), section)).collect())
}

/// The same for a person: one object a paragraph, then the users, and the trust table that goes with them.
pub fn table(settings: &Settings) -> String {
    let mut text = String::new();
    for object in OBJECTS {
        let line = format!("{} {} ({})", object.kind.noun(), settings.name(object.name), object.kind.name());
        append(&mut text, format_args!("{line:<55} {}", object.purpose));
        for (name, argument) in object.arguments {
            append(&mut text, format_args!("    {name} = {}", written(settings, *argument)));
        }
        for (exchange, key) in object.bindings {
            let key = if key.is_empty() { "everything" } else { key };
            append(&mut text, format_args!("    from {}: {key}", settings.name(exchange)));
        }
    }
    append(&mut text, format_args!("\n{}", access::table(settings)));
    append(
        &mut text,
        format_args!("# The broker looks at routing keys, the worker at `type`: this belongs into reprieve.toml."),
    );
    append(&mut text, format_args!("{}", access::trust_table(settings)));
    text
}

fn append(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

fn written(settings: &Settings, argument: Argument) -> String {
    match argument {
        Argument::Object(name) => settings.name(name),
        Argument::Word(word) => word.to_owned(),
        Argument::Number(number) => number.to_string(),
    }
}

fn arguments(settings: &Settings, object: &Object) -> Value {
    object
        .arguments
        .iter()
        .map(|(name, argument)| {
            let value = match argument {
                Argument::Number(number) => Value::from(*number),
                Argument::Object(_) | Argument::Word(_) => Value::from(written(settings, *argument)),
            };
            ((*name).to_owned(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::rabbitmq::Certificates;

    fn settings(prefix: &str) -> Settings {
        Settings {
            uri: "amqp://localhost".into(),
            certificates: Certificates::default(),
            prefix: prefix.into(),
            prefetch: 1_000,
            wait_max: Duration::from_secs(30),
        }
    }

    #[test]
    fn the_definitions_hold_the_whole_contract() {
        let definitions = definitions(&settings(""));
        let named = |section: &str, name: &str| {
            let found = definitions[section].as_array().unwrap().iter().find(|object| object["name"] == name).cloned();
            found.unwrap_or_else(|| panic!("{name} is missing among {section}"))
        };
        assert_eq!(named("exchanges", "exceptions.inbound")["arguments"]["alternate-exchange"], "exceptions.unrouted");
        assert_eq!(named("exchanges", "exceptions.events")["arguments"], json!({}));
        assert_eq!(named("exchanges", "exceptions.dlx")["type"], "fanout");
        assert_eq!(
            named("queues", "exceptions.worker")["arguments"],
            json!({
                "x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": "exceptions.dlx",
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            })
        );
        for queue in ["worker.dead", "unrouted", "out.notifications", "out.tickets"] {
            assert_eq!(
                named("queues", &format!("exceptions.{queue}"))["arguments"],
                json!({ "x-queue-type": "quorum", "x-delivery-limit": 1_000_000 })
            );
        }
        assert_eq!(definitions["exchanges"].as_array().unwrap().len(), 4);
        assert_eq!(definitions["queues"].as_array().unwrap().len(), 5);
        assert_eq!(definitions["bindings"].as_array().unwrap().len(), 8);
    }

    #[test]
    fn the_prefix_stands_before_every_name_and_nothing_else() {
        let text = definitions(&settings("team-")).to_string();
        assert_eq!(text.matches("exceptions.").count(), text.matches("team-exceptions.").count());
        assert_eq!(text.matches("reprieve-").count(), text.matches("team-reprieve-").count());
        assert!(text.contains("\"routing_key\":\"exception.#\""));
    }

    #[test]
    fn the_table_names_every_object() {
        let text = table(&settings(""));
        assert!(text.contains("queue exceptions.worker (quorum)"), "{text}");
        assert!(text.contains("    x-delivery-limit = 20"), "{text}");
        assert!(text.contains("    from exceptions.dlx: everything"), "{text}");
    }
}
