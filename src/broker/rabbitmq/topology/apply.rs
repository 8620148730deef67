//! Declares the objects on a broker, and checks whether they are there. Neither ever deletes or empties anything.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

use super::{Argument, Kind, OBJECTS, Object};
use crate::broker::rabbitmq::connection::{answer, channel, connect};
use crate::broker::rabbitmq::{RabbitError, Settings};

/// Something that is not as the table says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The object, as in "queue exceptions.worker".
    pub object: String,
    /// The broker's words.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Declares everything that is missing and binds it; what is there already stays as it is. The first object that exists
/// with other arguments ends it with an error that names it. Returns what was declared, in words.
pub async fn apply(settings: &Settings) -> Result<Vec<String>, RabbitError> {
    let connection = connect(settings, "topology").await?;
    let mut applied = Vec::new();
    for object in OBJECTS {
        // A refusal closes the channel, and lapin leaves it to us to open another.
        let channel = channel(&connection).await?;
        declare(&channel, settings, object, Look::Declare).await?;
        for (exchange, key) in object.bindings {
            bind(&channel, settings, object, exchange, key).await?;
        }
        applied.push(title(settings, object));
    }
    Ok(applied)
}

/// Looks for everything. First passively, which needs no right to configure and creates nothing; what is there is then
/// declared again as it should be, for only that makes the broker compare the arguments (where the user may not declare,
/// they are not compared). Bindings cannot be asked for over AMQP: `apply` sets them again in any case.
pub async fn check(settings: &Settings) -> Result<Vec<Problem>, RabbitError> {
    let connection = connect(settings, "topology").await?;
    let mut problems = Vec::new();
    for object in OBJECTS {
        match look(&connection, settings, object).await {
            Ok(()) => {}
            Err(RabbitError::Refused { why, remedy, .. }) => {
                problems.push(Problem { object: title(settings, object), what: why, remedy });
            }
            Err(error @ RabbitError::Unreachable { .. }) => return Err(error),
        }
    }
    Ok(problems)
}

/// What is not there. It only looks, which needs no right at all: for the worker, which has none to configure. The first refusal that
/// says something else ends it.
pub async fn missing(settings: &Settings) -> Result<Vec<String>, RabbitError> {
    let connection = connect(settings, "look at the topology").await?;
    let mut missing = Vec::new();
    for object in OBJECTS {
        match declare(&channel(&connection).await?, settings, object, Look::Passive).await {
            Ok(()) => {}
            Err(RabbitError::Refused { why, .. }) if why.starts_with("NOT_FOUND") => {
                missing.push(title(settings, object));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Passive,
    Declare,
}

async fn look(connection: &Connection, settings: &Settings, object: &Object) -> Result<(), RabbitError> {
    declare(&channel(connection).await?, settings, object, Look::Passive).await?;
    match declare(&channel(connection).await?, settings, object, Look::Declare).await {
        Err(RabbitError::Refused { why, .. }) if why.starts_with("ACCESS_REFUSED") => Ok(()),
        other => other,
    }
}

async fn declare(channel: &Channel, settings: &Settings, object: &Object, look: Look) -> Result<(), RabbitError> {
    let name = short(&settings.name(object.name))?;
    let passive = look == Look::Passive;
    let verb = if passive { "find" } else { "declare" };
    let action = format!("{verb} {}", title(settings, object));
    let arguments = arguments(settings, object);
    match object.kind {
        Kind::Topic | Kind::Fanout => {
            let kind = if object.kind == Kind::Topic { ExchangeKind::Topic } else { ExchangeKind::Fanout };
            let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
            answer(action, channel.exchange_declare(name, kind, options, arguments)).await
        }
        Kind::Quorum => {
            let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
            answer(action, channel.queue_declare(name, options, arguments)).await.map(|_| ())
        }
    }
}

async fn bind(
    channel: &Channel,
    settings: &Settings,
    queue: &Object,
    exchange: &str,
    key: &str,
) -> Result<(), RabbitError> {
    let source = settings.name(exchange);
    let action = format!("bind {} to {source} with {key:?}", title(settings, queue));
    let bound = channel.queue_bind(
        short(&settings.name(queue.name))?,
        short(&source)?,
        short(key)?,
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    answer(action, bound).await
}

fn title(settings: &Settings, object: &Object) -> String {
    format!("{} {}", object.kind.noun(), settings.name(object.name))
}

fn arguments(settings: &Settings, object: &Object) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in object.arguments {
        let value = match argument {
            Argument::Object(name) => AMQPValue::LongString(settings.name(name).into()),
            Argument::Word(word) => AMQPValue::LongString((*word).into()),
            Argument::Number(number) => AMQPValue::LongLongInt(i64::from(*number)),
        };
        table.insert(ShortString::from(*name), value);
    }
    table
}

/// A name as AMQP writes it: at most 255 bytes.
fn short(name: &str) -> Result<ShortString, RabbitError> {
    ShortString::try_new(name).map_err(|error| RabbitError::Refused {
        action: format!("use the name {name:.40}…"),
        why: error.to_string(),
        remedy: "choose a shorter amqp.prefix",
    })
}
