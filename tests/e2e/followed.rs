//! What comes and goes over HTTP, at the broker: handed in by `RabbitIngest`, followed by `RabbitTail`. No worker takes part.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use reprieve::broker::rabbitmq::{RabbitIngest, RabbitTail, Settings, topology};
use reprieve::broker::{BrokerError, Follow, Handed, Ingest, Properties, Receipt, Tail};
use serde_json::json;

use crate::brokers::{named, settings};
use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::traffic::submit;

const SOON: Duration = Duration::from_secs(20);
/// The bound that the port names, and a little for a busy machine.
const ANSWERED: Duration = Duration::from_secs(7);

async fn next(follower: &mut Box<dyn Follow>) -> Option<String> {
    let published = tokio::time::timeout(SOON, follower.next()).await.expect("nothing comes")?;
    assert_eq!(published.position, None, "nobody can go on from there");
    Some(published.body)
}

fn structured(body: &[u8]) -> Handed {
    let content_type = Some("application/cloudevents+json; charset=utf-8".to_owned());
    Handed { properties: Properties { content_type, ..Properties::default() }, body: body.to_vec() }
}

/// Everything in a queue, in order.
async fn drain(client: &Client, queue: &str, count: usize) -> Vec<Delivery> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = client.channel().await.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await;
    let taken = consumer.expect("the queue is there").take(count).map(Result::unwrap).collect();
    tokio::time::timeout(SOON, taken).await.expect("not so many came")
}

fn text(value: Option<&lapin::types::ShortString>) -> &str {
    value.map(lapin::types::ShortString::as_str).unwrap_or_default()
}

pub(crate) async fn what_is_handed_in_is_queued_as_it_is() {
    let stage = Stage::shared("handed_in").await;
    topology::apply(&settings(&stage)).await.unwrap();
    let ingest = RabbitIngest::new(settings(&stage));
    let envelope = submit("1", "low").body;
    let unknown = json!({ "specversion": "1.0", "id": "x", "source": "s", "type": "mistyped.v1" }).to_string();
    let long = Properties {
        content_type: Some("c".repeat(300)),
        headers: (0..200).map(|number| (format!("h{number}"), "v".repeat(1_024))).collect(),
        ..Properties::default()
    };
    let handed = vec![
        structured(&envelope),
        named("binary"),
        structured(br#"{"type":7}"#),
        structured(unknown.as_bytes()),
        Handed { properties: Properties { content_encoding: Some("gzip".into()), ..long }, body: vec![0; 256 * 1024] },
    ];
    assert_eq!(ingest.hand_in(Vec::new()).await.unwrap(), Receipt::Queued);
    assert_eq!(ingest.hand_in(handed).await.unwrap(), Receipt::Queued);

    let client = Client::connect(&stage).await;
    let queued = drain(&client, &stage.object("exceptions.worker"), 4).await;
    let keys: Vec<_> = queued.iter().map(|message| message.routing_key.as_str()).collect();
    let unreadable = "exception.unreadable";
    assert_eq!(keys, ["exception.submitted.v1", "exception.submitted.v1", unreadable, unreadable]);
    assert_eq!(queued[0].data, envelope);
    for message in &queued {
        assert_eq!(*message.properties.delivery_mode(), Some(2));
        assert_eq!(text(message.properties.user_id().as_ref()), "guest");
    }
    let of = |place: usize| &queued[place].properties;
    assert_eq!(text(of(0).content_type().as_ref()), "application/cloudevents+json; charset=utf-8");
    assert_eq!(text(of(0).message_id().as_ref()), "s-1");
    assert_eq!(text(of(1).content_type().as_ref()), "application/json");
    assert_eq!(text(of(1).message_id().as_ref()), "binary");
    let headers = of(1).headers().clone().unwrap();
    assert_eq!(headers.inner().len(), 2);
    assert!(headers.contains_key("ce-type"));
    assert_eq!(*of(2).message_id(), None);
    assert_eq!(text(of(3).content_encoding().as_ref()), "gzip");
    assert_eq!(queued[3].data.len(), 256 * 1024);
    let unrouted = drain(&client, &stage.object("exceptions.unrouted"), 1).await;
    assert_eq!((unrouted[0].routing_key.as_str(), unrouted[0].data.as_slice()), ("mistyped.v1", unknown.as_bytes()));
}

pub(crate) async fn what_is_published_is_followed_by_each() {
    let stage = Stage::shared("followed").await;
    topology::apply(&settings(&stage)).await.unwrap();
    let (client, tail) = (Client::connect(&stage).await, RabbitTail::new(settings(&stage)));
    let exchange = stage.object("exceptions.events");
    let publish = async |bodies: &[Vec<u8>]| {
        let messages: Vec<_> = bodies.iter().map(|body| Message::raw("exception.assigned.v1", body.clone())).collect();
        client.publish_to(&exchange, &messages).await;
    };
    publish(&[b"before".to_vec()]).await;
    let (mut first, mut second) = (tail.follow(None).await.unwrap(), tail.follow(Some(7)).await.unwrap());
    publish(&[b"one".to_vec(), vec![0xFF], b"two".to_vec()]).await;
    for follower in [&mut first, &mut second] {
        assert_eq!(next(follower).await.unwrap(), "one");
        assert_eq!(next(follower).await.unwrap(), "two", "what is no text is nobody's");
    }
    drop(second);
    // More than is acknowledged together several times over, cancelled at every step.
    let many: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    publish(&many.iter().map(|body| body.clone().into_bytes()).collect::<Vec<_>>()).await;
    let mut came = Vec::new();
    let ends = Instant::now() + SOON;
    while came.len() < many.len() {
        let wait = Duration::from_micros(came.len() as u64 % 300);
        if let Ok(published) = tokio::time::timeout(wait, first.next()).await {
            came.push(published.expect("the connection is open").body);
        }
        assert!(Instant::now() < ends, "only {} came", came.len());
    }
    assert_eq!(came, many);
    publish(&[b"last".to_vec()]).await;
    assert_eq!(next(&mut first).await.unwrap(), "last");
}

/// A user with these rights on every name, and the settings to log in as that user.
async fn user(stage: &Stage, name: &str, [configure, write, read]: [&str; 3]) -> Settings {
    let name = format!("{}{name}", stage.prefix());
    stage.servers().rabbitmqctl(&["add_user", &name, "secret"]).await;
    stage.servers().rabbitmqctl(&["set_permissions", &name, configure, write, read]).await;
    let uri = stage.amqp_url().replacen("guest:guest", &format!("{name}:secret"), 1);
    Settings { uri, ..settings(stage) }
}

#[track_caller]
fn is_refused<T>(answer: Result<T, BrokerError>, says: &[&str]) {
    match answer {
        Err(BrokerError::Refused(why)) => {
            let missing: Vec<_> = says.iter().filter(|word| !why.contains(**word)).collect();
            assert!(missing.is_empty() && !why.contains("secret"), "{why}: {missing:?}");
        }
        Err(BrokerError::Away(why)) => panic!("away: {why}"),
        Ok(_) => panic!("it was allowed"),
    }
}

pub(crate) async fn without_the_right_both_are_refused_by_name() {
    let stage = Stage::shared("no_right").await;
    let (inbound, events) = (stage.object("exceptions.inbound"), stage.object("exceptions.events"));
    let missing = RabbitIngest::new(settings(&stage)).hand_in(vec![named("a")]).await;
    is_refused(missing, &["NOT_FOUND", "topology apply"]);
    topology::apply(&settings(&stage)).await.unwrap();

    // What the worker has by itself.
    let plain = user(&stage, "plain", ["^$", "exceptions.events$", ".*"]).await;
    let ingest = RabbitIngest::new(plain.clone());
    for count in [1, 50] {
        let handed = (0..count).map(|number| named(&number.to_string())).collect();
        is_refused(ingest.hand_in(handed).await, &["ACCESS_REFUSED", &inbound, "grant the user write on "]);
    }
    is_refused(RabbitTail::new(plain).follow(None).await, &["ACCESS_REFUSED", "amq.gen", "configure", &events]);

    // With what `topology print` shows for both ways.
    let printed = topology::table(&settings(&stage));
    let (_, both) = printed.split_once("where it does both:\n").unwrap();
    let rights: Vec<_> = both.lines().next().unwrap().split('\'').skip(1).step_by(2).collect();
    let granted = user(&stage, "granted", [rights[0], rights[1], rights[2]]).await;
    assert_eq!(RabbitIngest::new(granted.clone()).hand_in(vec![named("a")]).await.unwrap(), Receipt::Queued);
    let mut follower = RabbitTail::new(granted).follow(None).await.unwrap();
    Client::connect(&stage).await.publish_to(&events, &[Message::raw("event.rejected.v1", "seen")]).await;
    assert_eq!(next(&mut follower).await.unwrap(), "seen");

    let stranger = Settings { uri: stage.amqp_url().replacen("guest:guest", "guest:secret", 1), ..settings(&stage) };
    is_refused(RabbitIngest::new(stranger).hand_in(vec![named("a")]).await, &["ACCESS_REFUSED", "AMQP_URL"]);
}

#[track_caller]
fn is_away<T>(answer: Result<T, BrokerError>, since: Instant, says: &str) {
    assert!(since.elapsed() < ANSWERED, "answered after {:?}", since.elapsed());
    match answer {
        Err(BrokerError::Away(why)) => assert!(why.contains(says), "{why}"),
        Err(BrokerError::Refused(why)) => panic!("refused: {why}"),
        Ok(_) => panic!("it was taken"),
    }
}

pub(crate) async fn a_broker_in_trouble_is_away_within_the_deadline() {
    let stage = Stage::own("followed_away").await;
    topology::apply(&settings(&stage)).await.unwrap();
    let (ingest, tail) = (RabbitIngest::new(settings(&stage)), RabbitTail::new(settings(&stage)));
    assert_eq!(ingest.hand_in(vec![named("a")]).await.unwrap(), Receipt::Queued);
    let mut follower = tail.follow(None).await.unwrap();

    stage.servers().rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
    for expected in [SOON, Duration::from_secs(1)] {
        let since = Instant::now();
        is_away(ingest.hand_in(vec![named("b")]).await, since, "for now");
        assert!(since.elapsed() < expected, "a broker that is known to be blocked is not waited for");
    }
    stage.servers().rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    let taken = async || ingest.hand_in(vec![named("c")]).await.ok();
    assert_eq!(eventually("the broker takes messages again", SOON, taken).await, Receipt::Queued);

    // Followers that are gone leave nothing behind.
    for _ in 0..5 {
        drop(tail.follow(None).await.unwrap());
    }
    let alone = async || {
        let connections = stage.servers().rabbitmqctl(&["list_connections", "client_properties"]).await;
        let queues = stage.servers().rabbitmqctl(&["list_queues", "name"]).await;
        (connections.matches("reprieve follow").count() == 1 && queues.matches("amq.gen").count() == 1).then_some(())
    };
    eventually("one follower is left", SOON, alone).await;

    stage.servers().broker.sigstop();
    let since = Instant::now();
    is_away(ingest.hand_in(vec![named("d")]).await, since, "does no harm");
    let since = Instant::now();
    let frozen = tokio::time::timeout(ANSWERED, ingest.hand_in(vec![named("e")])).await.expect("it waits for ever");
    is_away(frozen, since, "RabbitMQ");
    assert_eq!(next(&mut follower).await, None, "the follower learns of it by the missing heartbeats");
    stage.servers().broker.sigcont();
    stage.servers().broker.kill9();
    let since = Instant::now();
    is_away(ingest.hand_in(vec![named("f")]).await, since, "");
    is_away(tail.follow(None).await, since, "connect to");
    stage.servers().broker.start().await;
    assert_eq!(ingest.hand_in(vec![named("g")]).await.unwrap(), Receipt::Queued);
    drop(tail.follow(None).await.unwrap());
}
