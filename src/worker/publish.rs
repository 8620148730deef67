//! The second loop: publishes what turns have committed, a hand at a time, and reports each event's fate. It decides
//! nothing, and knows no database: what it does not confirm stays in the outbox and comes again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::nowhere::Nowhere;
use super::plan::Settled;
use crate::broker::{Fate, Outgoing, Sink};
use crate::metrics::{Metrics, Published};
use crate::retry::Trouble;
use crate::spans::{Sent, Spans};

/// How long a row of the outbox stays with the instance that wrote or claimed it, by the database's clock, from the
/// beginning of that turn.
pub const HOLD: Duration = Duration::from_secs(15);
/// How long publishing keeps a hand, from the beginning of its turn. Shorter than [`HOLD`], so that nobody else has it.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often an idle sink is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const _: () = assert!(PATIENCE.as_secs() < HOLD.as_secs());

/// Events this instance may publish, until a moment.
#[derive(Debug)]
pub struct Hand {
    /// Rows of the outbox.
    pub events: Vec<Outgoing>,
    /// When they are no longer ours.
    pub until: Instant,
}

/// Publishes hands until no more can come. `up` says whether the sink is worth handing to.
pub async fn publish(
    mut sink: Box<dyn Sink>,
    mut hands: mpsc::Receiver<Hand>,
    fates: mpsc::UnboundedSender<Settled>,
    up: watch::Sender<bool>,
    metrics: Metrics,
    spans: Option<Arc<dyn Spans>>,
) {
    let (mut nowhere, mut trouble) = (Nowhere::default(), Trouble::default());
    loop {
        wait_until_ready(sink.as_mut(), &mut hands, &up).await;
        let hand = tokio::select! {
            biased;
            hand = hands.recv() => hand,
            // A sink that goes down while there is nothing to publish is noticed too.
            () = sleep(LOOK_AGAIN) => {
                nowhere.look();
                continue;
            }
        };
        let Some(hand) = hand else { return };
        if hand.until <= Instant::now() {
            continue;
        }
        let began = Instant::now();
        let result = timeout_at(hand.until, sink.publish(&hand.events)).await;
        let known = result.unwrap_or_else(|_| vec![Fate::Unknown; hand.events.len()]);
        nowhere.note(&hand.events, &known);
        let unknown = known.iter().filter(|fate| **fate == Fate::Unknown).count();
        if unknown == 0 {
            trouble.over();
        } else {
            tell_unknown(unknown, &mut trouble);
            metrics.published(Published::Retried, unknown as u64);
            up.send_replace(false);
        }
        if let Some(spans) = &spans {
            spans.sent(began, &told(&hand.events, &known));
        }
        if fates.send(settle(&hand.events, &known)).is_err() {
            return;
        }
    }
}

/// Says whether the sink is up. While it is not, hands are let go, so that the turns are never held up by it: their rows come
/// free by themselves.
async fn wait_until_ready(sink: &mut dyn Sink, hands: &mut mpsc::Receiver<Hand>, up: &watch::Sender<bool>) {
    if sink.ready().now_or_never().is_none() {
        up.send_replace(false);
        loop {
            tokio::select! {
                biased;
                () = sink.ready() => break,
                hand = hands.recv() => if hand.is_none() { return },
            }
        }
    }
    up.send_if_modified(|up| !std::mem::replace(up, true));
}

/// As it is told to who exports spans.
fn told<'a>(events: &'a [Outgoing], fates: &[Fate]) -> Vec<Sent<'a>> {
    let error = |fate: &Fate| match fate {
        Fate::Confirmed => None,
        Fate::Unroutable => Some("unroutable"),
        Fate::Unknown => Some("unconfirmed"),
    };
    events.iter().zip(fates).map(|(event, fate)| Sent { envelope: &event.body, error: error(fate) }).collect()
}

/// Why is the sink's to say. While it goes on, hand after hand, it is said once.
fn tell_unknown(unknown: usize, trouble: &mut Trouble) {
    let Some(still) = trouble.shows("unknown") else { return };
    let events = if unknown == 1 { "1 published event" } else { &format!("{unknown} published events") };
    warn!(
        events = unknown,
        "the fate of {events} is unknown{still}: what is not confirmed stays in the outbox and goes out again"
    );
}

/// Rows by what became of them; of unknown ones nothing is said.
fn settle(events: &[Outgoing], fates: &[Fate]) -> Settled {
    let with =
        |fate: Fate| events.iter().zip(fates).filter(move |(_, f)| **f == fate).map(|(event, _)| event.id).collect();
    Settled { confirmed: with(Fate::Confirmed), unroutable: with(Fate::Unroutable) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::spans::Turn;

    /// Says what it is told to.
    struct Fates(Vec<Fate>);

    #[async_trait]
    impl Sink for Fates {
        async fn ready(&mut self) {}

        async fn publish(&mut self, _events: &[Outgoing]) -> Vec<Fate> {
            sleep(Duration::from_millis(20)).await;
            std::mem::take(&mut self.0)
        }
    }

    /// Keeps what it is told.
    #[derive(Default)]
    struct Listener(Mutex<Vec<String>>);

    #[async_trait]
    impl Spans for Listener {
        fn turn(&self, _turn: &Turn<'_>) {}

        fn sent(&self, began: Instant, events: &[Sent<'_>]) {
            let told = events.iter().map(|sent| format!("{:?} {} {:?}", began.elapsed(), sent.envelope, sent.error));
            self.0.lock().unwrap().extend(told);
        }

        fn commit_publishes(&self) -> bool {
            false
        }

        async fn close(&self, _until: Instant) {}
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_is_told_with_what_became_of_it() {
        let sink = Fates(vec![Fate::Confirmed, Fate::Unroutable, Fate::Unknown]);
        let events = ["a", "b", "c"].into_iter().zip(1..).map(|(body, id)| Outgoing { id, body: body.to_owned() });
        let hand = Hand { events: events.collect(), until: Instant::now() + PATIENCE };
        let (hands, hands_in) = mpsc::channel(1);
        hands.send(hand).await.unwrap();
        drop(hands);
        let ((fates, _kept), (up, _is_up)) = (mpsc::unbounded_channel(), watch::channel(false));
        let listener = Arc::new(Listener::default());
        publish(Box::new(sink), hands_in, fates, up, Metrics::new(), Some(Arc::clone(&listener) as Arc<dyn Spans>))
            .await;
        let told = ["20ms a None", "20ms b Some(\"unroutable\")", "20ms c Some(\"unconfirmed\")"];
        assert_eq!(*listener.0.lock().unwrap(), told);
    }
}
