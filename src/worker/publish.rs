//! The second loop: publishes what turns have committed, a hand at a time, and reports each event's fate. It decides
//! nothing, and knows no database: what it does not confirm stays in the outbox and comes again.

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
