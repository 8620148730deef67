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

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is not as the table says.
    pub problems: Vec<Problem>,
    /// What is there, but may be other than it should: to compare it, the broker wants the right to declare it.
    pub not_compared: Vec<String>,
}

/// Looks for everything. First passively, which needs no right to configure and creates nothing; what is there is then
/// declared again as it should be, for only that makes the broker compare type and arguments. It asks for the right to
/// declare first, and has no other question for it. Bindings cannot be asked for over AMQP: `apply` sets them again in any case.
pub async fn check(settings: &Settings) -> Result<Checked, RabbitError> {
    let connection = connect(settings, "topology").await?;
    let mut checked = Checked::default();
    for object in OBJECTS {
        let title = title(settings, object);
        let found = match declare(&channel(&connection).await?, settings, object, Look::Passive).await {
            Ok(()) => compare(&connection, settings, object).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Compared::Alike) => {}
            Ok(Compared::NotAllowed) => checked.not_compared.push(title),
            Err(RabbitError::Refused { why, remedy, .. }) => {
                checked.problems.push(Problem { object: title, what: why, remedy });
            }
            Err(error @ RabbitError::Unreachable { .. }) => return Err(error),
        }
    }
    Ok(checked)
}

/// What a worker sees of it when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// What is not there.
    pub missing: Vec<String>,
    /// What is there with another type or other arguments.
    pub different: Vec<Problem>,
    /// Whether all that is there was compared, as far as the first one that this user may not declare.
    pub is_compared: bool,
}

/// The same for the worker, which commonly has no right to configure: it looks, and compares until the broker refuses that once. The
/// broker logs each refusal, and it would be the same for every object. The first refusal that says something else ends it.
pub async fn look(settings: &Settings) -> Result<Sight, RabbitError> {
    let connection = connect(settings, "look at the topology").await?;
    let mut sight = Sight { is_compared: true, ..Sight::default() };
    for object in OBJECTS {
        match declare(&channel(&connection).await?, settings, object, Look::Passive).await {
            Ok(()) if sight.is_compared => match compare(&connection, settings, object).await {
                Ok(Compared::Alike) => {}
                Ok(Compared::NotAllowed) => sight.is_compared = false,
                Err(RabbitError::Refused { why, remedy, .. }) => {
                    sight.different.push(Problem { object: title(settings, object), what: why, remedy });
                }
                Err(error) => return Err(error),
            },
            Ok(()) => {}
            Err(RabbitError::Refused { why, .. }) if why.starts_with("NOT_FOUND") => {
                sight.missing.push(title(settings, object));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sight)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Passive,
    Declare,
}

enum Compared {
    Alike,
    NotAllowed,
}

/// Has the broker compare what is there already. What differs is its refusal, which names the first argument that does.
async fn compare(connection: &Connection, settings: &Settings, object: &Object) -> Result<Compared, RabbitError> {
    match declare(&channel(connection).await?, settings, object, Look::Declare).await {
        Ok(()) => Ok(Compared::Alike),
        Err(RabbitError::Refused { why, .. }) if why.starts_with("ACCESS_REFUSED") => Ok(Compared::NotAllowed),
        Err(error) => Err(error),
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
