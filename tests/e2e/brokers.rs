//! What every broker must do alike: the checks that each pair of `Ingest` and `Source` passes, run for `RabbitMQ` and for the broker
//! inside the process.
//!
//! They differ in one thing: `RabbitMQ` keeps what no worker has settled and gives it to a later one, the embedded broker ends with its
//! worker and says so to whoever waits. In the checks both are one: nothing is lost without a word.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use reprieve::broker::embedded;
use reprieve::broker::rabbitmq::{Certificates, RabbitIngest, RabbitSource, Settings, topology};
use reprieve::broker::{BATCH_BYTES_MAX, Batch, BrokerError, Handed, Ingest, Properties, Receipt, Source, Tag};
use reprieve::domain::outcome::Outcome;
use reprieve::health::Light;
use tokio::task::JoinSet;

use crate::support::stage::Stage;
use crate::support::trial;

const SOON: Duration = Duration::from_secs(20);
/// Nothing is expected any more.
const QUIET: Duration = Duration::from_millis(500);

/// How the library reaches the broker of a stage.
pub(crate) fn settings(stage: &Stage) -> Settings {
    Settings {
        uri: stage.amqp_url(),
        certificates: Certificates::default(),
        prefix: stage.prefix(),
        prefetch: 1_000,
        wait_max: Duration::from_secs(1),
    }
}

/// A message whose type is bound to the worker's queue; its bytes are its name.
pub(crate) fn named(name: &str) -> Handed {
    let headers = [("ce-type", "exception.submitted.v1"), ("ce-id", name)];
    let headers = headers.map(|(header, value)| (header.to_owned(), value.to_owned()));
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        headers: headers.into_iter().collect(),
        ..Properties::default()
    };
    Handed { properties, body: name.as_bytes().to_vec() }
}

/// Where the checks are made.
enum Broker {
    RabbitMq(Settings),
    Embedded,
}

/// A broker with one worker, and those who hand in to it.
struct Place {
    broker: Broker,
    ingest: Arc<dyn Ingest>,
    source: Box<dyn Source>,
    /// Those who wait for an answer, with what they have handed in.
    waiting: JoinSet<(Vec<String>, Result<Receipt, BrokerError>)>,
}

impl Place {
    async fn rabbitmq(stage: &Stage) -> Self {
        let settings = settings(stage);
        topology::apply(&settings).await.expect("the objects are declared");
        let source = Box::new(RabbitSource::new(settings.clone(), Light::default()));
        let ingest = Arc::new(RabbitIngest::new(settings.clone()));
        Self { broker: Broker::RabbitMq(settings), ingest, source, waiting: JoinSet::new() }
    }

    fn embedded() -> Self {
        let (ingest, source) = embedded::queue(100);
        Self { broker: Broker::Embedded, ingest: Arc::new(ingest), source: Box::new(source), waiting: JoinSet::new() }
    }

    /// One more caller. The broker has what it has handed in when this returns, as far as there is room.
    async fn hand_in(&mut self, names: &[String]) {
        let (ingest, names) = (Arc::clone(&self.ingest), names.to_vec());
        self.waiting.spawn(async move {
            let told = ingest.hand_in(names.iter().map(|name| named(name)).collect()).await;
            (names, told)
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        if matches!(self.broker, Broker::RabbitMq(_)) {
            let (_, told) = self.waiting.join_next().await.unwrap().unwrap();
            assert_eq!(told.unwrap(), Receipt::Queued);
        }
    }

    async fn next(&mut self, max: usize) -> (Tag, Vec<String>) {
        let batch = tokio::time::timeout(SOON, self.source.next(max)).await.expect("nothing comes");
        let Batch { tag, deliveries } = batch.expect("the source has ended");
        assert!((1..=max).contains(&deliveries.len()), "a batch of {}, at most {max}", deliveries.len());
        (tag, deliveries.into_iter().map(|delivery| String::from_utf8(delivery.body).unwrap()).collect())
    }

    async fn settle(&mut self, tag: Tag, names: &[String]) {
        self.source.settle(tag, &vec![Outcome::Applied; names.len()]).await;
    }

    /// What is there that was never settled: what a later worker gets, and what callers were told is not done, this worker gone.
    async fn left(self) -> BTreeSet<String> {
        let Self { broker, source, mut waiting, .. } = self;
        drop(source);
        let mut left = BTreeSet::new();
        let told = async {
            while let Some(told) = waiting.join_next().await {
                match told.unwrap() {
                    (names, Err(BrokerError::Away(_))) => left.extend(names),
                    (_, Ok(Receipt::Committed(outcomes))) => assert!(outcomes.iter().all(|it| *it == Outcome::Applied)),
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(SOON, told).await.expect("somebody is never told");
        if let Broker::RabbitMq(settings) = broker {
            let mut later = RabbitSource::new(settings, Light::default());
            let mut wait = SOON / 2;
            while let Ok(batch) = tokio::time::timeout(wait, later.next(500)).await {
                for delivery in batch.expect("it was not stopped").deliveries {
                    let name = String::from_utf8(delivery.body).unwrap();
                    assert!(left.insert(name.clone()), "{name} came twice");
                }
                wait = QUIET;
            }
        }
        left
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:03}")).collect()
}

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}

async fn order_is_kept_and_batches_are_bounded(mut place: Place) {
    let (sent, mut came) = (names(90), Vec::new());
    place.hand_in(&sent[..60]).await;
    place.hand_in(&sent[60..]).await;
    while came.len() < sent.len() {
        let (tag, names) = place.next(7).await;
        place.settle(tag, &names).await;
        came.extend(names);
    }
    assert_eq!(came, sent);
    assert_eq!(place.left().await, BTreeSet::new());
}

async fn a_batch_is_bounded_in_bytes(mut place: Place) {
    const SIZE: usize = 250 * 1024;
    let large = |number: usize| number.to_string() + &"x".repeat(SIZE);
    let sent: Vec<_> = (0..40).map(large).collect();
    let ingest = Arc::clone(&place.ingest);
    let messages = sent.iter().map(|body| Handed { body: body.clone().into_bytes(), ..named("large") }).collect();
    let handing = tokio::spawn(async move { ingest.hand_in(messages).await });
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let (tag, names) = place.next(500).await;
        assert!(names.iter().map(String::len).sum::<usize>() <= BATCH_BYTES_MAX);
        place.settle(tag, &names).await;
        came.extend(names);
    }
    assert!(came == sent, "all of it, in order");
    handing.await.unwrap().unwrap();
}

async fn what_is_settled_does_not_come_again(mut place: Place) {
    for name in names(6) {
        place.hand_in(&[name]).await;
    }
    let (tag, settled) = place.next(2).await;
    place.settle(tag, &settled).await;
    let (_, in_hand) = place.next(2).await;
    assert_eq!([settled, in_hand].concat(), names(4));
    assert_eq!(place.left().await, set(&names(6)[2..]));
}

async fn stopped_it_drains_and_ends(mut place: Place) {
    for name in names(6) {
        place.hand_in(&[name]).await;
    }
    let (tag, mut drained) = place.next(2).await;
    place.settle(tag, &drained).await;
    place.source.stop().await;
    while let Some(Batch { tag, deliveries }) =
        tokio::time::timeout(SOON, place.source.next(3)).await.expect("it neither hands out nor ends")
    {
        let names: Vec<_> = deliveries.into_iter().map(|it| String::from_utf8(it.body).unwrap()).collect();
        place.settle(tag, &names).await;
        drained.extend(names);
    }
    assert!(place.source.next(3).await.is_none(), "it stays ended");
    assert_eq!(drained, names(drained.len()), "in order");
    let late = place.ingest.hand_in(vec![named("late")]).await;
    let refused = matches!(late, Err(BrokerError::Away(_)));
    assert!(refused || matches!(late, Ok(Receipt::Queued)), "{late:?}");
    let mut left = place.left().await;
    assert_eq!(left.remove("late"), !refused);
    assert_eq!(left, set(&names(6)[drained.len()..]), "each is drained, or left for a later one");
}

async fn an_old_tag_settles_nothing(mut place: Place) {
    place.hand_in(&names(1)).await;
    let (old, _) = place.next(500).await;
    place.source.release().await;
    place.settle(old, &names(1)).await;
    // Whatever number the broker gives it, it is not the old one.
    let again = tokio::time::timeout(Duration::from_secs(2), place.source.next(500)).await.ok().flatten();
    if let Some(again) = again {
        assert_ne!(again.tag, old);
        place.settle(old, &names(1)).await;
    }
    place.hand_in(&["new".to_owned()]).await;
    let (_, new) = place.next(500).await;
    assert_eq!(new, ["new"]);
    place.settle(old, &names(1)).await;
    assert_eq!(place.left().await, BTreeSet::from(["m000".to_owned(), "new".to_owned()]));
}

async fn a_cancelled_wait_loses_nothing(mut place: Place) {
    let (sent, mut came) = (names(30), Vec::new());
    for name in &sent {
        let waits = [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(2)];
        for wait in waits {
            if let Ok(batch) = tokio::time::timeout(wait, place.source.next(2)).await {
                let Batch { tag, deliveries } = batch.expect("it was not stopped");
                let names: Vec<_> = deliveries.into_iter().map(|it| String::from_utf8(it.body).unwrap()).collect();
                place.settle(tag, &names).await;
                came.extend(names);
            }
        }
        place.hand_in(std::slice::from_ref(name)).await;
    }
    while came.len() < sent.len() {
        let (tag, names) = place.next(500).await;
        place.settle(tag, &names).await;
        came.extend(names);
    }
    assert_eq!(came, sent);
    assert_eq!(place.left().await, BTreeSet::new());
}

type Check = fn(Place) -> Pin<Box<dyn Future<Output = ()>>>;

/// Each check by its name.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        [$((stringify!($check), (|place| Box::pin($check(place))) as Check)),*]
    };
}

pub(crate) fn cases() -> Vec<Trial> {
    let checks = checks![
        order_is_kept_and_batches_are_bounded,
        a_batch_is_bounded_in_bytes,
        what_is_settled_does_not_come_again,
        stopped_it_drains_and_ends,
        an_old_tag_settles_nothing,
        a_cancelled_wait_loses_nothing,
    ];
    let each = checks.into_iter().flat_map(|(name, check)| {
        let rabbitmq = trial(format!("brokers::{name}::rabbitmq"), move || async move {
            check(Place::rabbitmq(&Stage::shared(name).await).await).await;
        });
        let embedded =
            trial(format!("brokers::{name}::embedded"), move || async move { check(Place::embedded()).await });
        [rabbitmq, embedded]
    });
    each.collect()
}
