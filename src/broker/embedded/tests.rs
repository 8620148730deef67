use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use super::*;
use crate::broker::{
    BATCH_BYTES_MAX, Batch, Fate, Follow, Handed, Ingest as _, Outgoing, Position, Properties, Receipt, Sink as _,
    Source as _, Tail as _,
};

const ROOMY: usize = 100;
/// Longer than any wait but one that never ends; the clock of these tests does not wait.
const LONG: Duration = Duration::from_mins(10);

fn handed(body: impl Into<Vec<u8>>) -> Handed {
    Handed { properties: Properties::default(), body: body.into() }
}

fn all(bodies: &[&str]) -> Vec<Handed> {
    bodies.iter().map(|body| handed(*body)).collect()
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.deliveries.iter().map(|delivery| str::from_utf8(&delivery.body).unwrap()).collect()
}

type Handing = JoinHandle<Result<Receipt, BrokerError>>;

/// A caller, who has handed in what there is room for when this returns.
async fn caller(ingest: &EmbeddedIngest, messages: Vec<Handed>) -> Handing {
    let ingest = ingest.clone();
    let handing = tokio::spawn(async move { ingest.hand_in(messages).await });
    settle_down().await;
    handing
}

/// Lets every task run until it waits.
async fn settle_down() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn told(handing: Handing) -> Result<Receipt, BrokerError> {
    tokio::time::timeout(LONG, handing).await.expect("the caller waits for ever").unwrap()
}

#[track_caller]
fn is_away(told: Result<Receipt, BrokerError>, expected: &str) {
    match told {
        Err(BrokerError::Away(why)) if why.contains(expected) => {}
        other => panic!("{other:?} where {expected:?} was expected"),
    }
}

async fn next(source: &mut EmbeddedSource, max: usize) -> Batch {
    tokio::time::timeout(LONG, source.next(max)).await.expect("nothing comes").expect("it has ended")
}

#[tokio::test(start_paused = true)]
async fn outcomes_come_back_in_order() {
    let (ingest, mut source) = queue(ROOMY);
    assert_eq!(ingest.hand_in(Vec::new()).await.unwrap(), Receipt::Committed(Vec::new()));
    let handing = caller(&ingest, all(&["a", "b", "c"])).await;
    let batch = next(&mut source, 500).await;
    assert_eq!(texts(&batch), ["a", "b", "c"]);
    assert!(batch.deliveries.iter().all(|delivery| delivery.earlier_deliveries == 0));
    assert!(!handing.is_finished(), "nothing is committed yet");
    let outcomes = [Outcome::Applied, Outcome::Refused("not_assigned"), Outcome::Parked];
    source.settle(batch.tag, &outcomes).await;
    assert_eq!(told(handing).await.unwrap(), Receipt::Committed(outcomes.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn one_caller_may_have_several_turns_and_a_turn_several_callers() {
    let (ingest, mut source) = queue(ROOMY);
    let first = caller(&ingest, all(&["a", "b", "c"])).await;
    let second = caller(&ingest, all(&["d"])).await;
    let batch = next(&mut source, 2).await;
    assert_eq!(texts(&batch), ["a", "b"]);
    source.settle(batch.tag, &[Outcome::Applied, Outcome::Repeated]).await;
    settle_down().await;
    assert!(!first.is_finished());
    let batch = next(&mut source, 2).await;
    assert_eq!(texts(&batch), ["c", "d"]);
    source.settle(batch.tag, &[Outcome::Failed("schema"), Outcome::Parked]).await;
    let outcomes = vec![Outcome::Applied, Outcome::Repeated, Outcome::Failed("schema")];
    assert_eq!(told(first).await.unwrap(), Receipt::Committed(outcomes));
    assert_eq!(told(second).await.unwrap(), Receipt::Committed(vec![Outcome::Parked]));
}

#[tokio::test(start_paused = true)]
async fn batches_are_cut_by_number_and_bytes() {
    let (ingest, mut source) = queue(ROOMY);
    let half = || handed(vec![0; BATCH_BYTES_MAX / 2]);
    let handing = caller(&ingest, vec![half(), half(), handed("x"), handed(vec![0; BATCH_BYTES_MAX - 1])]).await;
    for expected in [2, 2] {
        let batch = next(&mut source, 500).await;
        assert_eq!(batch.deliveries.len(), expected);
        source.settle(batch.tag, &vec![Outcome::Applied; expected]).await;
    }
    assert_eq!(told(handing).await.unwrap(), Receipt::Committed(vec![Outcome::Applied; 4]));
    let handing = caller(&ingest, vec![handed(vec![0; BATCH_BYTES_MAX + 1]), handed("x")]).await;
    for _ in 0..2 {
        let batch = next(&mut source, 0).await;
        assert_eq!(batch.deliveries.len(), 1, "at least one, whatever its size");
        source.settle(batch.tag, &[Outcome::Applied]).await;
    }
    told(handing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_hands_in_too_much_waits() {
    let (ingest, mut source) = queue(2);
    let handing = caller(&ingest, all(&["a", "b", "c", "d", "e"])).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let batch = next(&mut source, 500).await;
        assert!(batch.deliveries.len() <= 2, "no more than there is room for");
        seen.extend(texts(&batch).into_iter().map(str::to_owned));
        source.settle(batch.tag, &vec![Outcome::Applied; batch.deliveries.len()]).await;
        settle_down().await;
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    told(handing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_in_bytes() {
    let (ingest, mut source) = queue(ROOMY);
    let size = WAITING_BYTES_MAX as usize / 4;
    let handing = caller(&ingest, (0..5).map(|_| handed(vec![0; size])).collect()).await;
    assert_eq!(source.queue.len(), 4, "the fifth waits for room");
    let (too_large, after) = (
        caller(&ingest, vec![handed(vec![0; 2 * WAITING_BYTES_MAX as usize])]).await,
        caller(&ingest, all(&["x"])).await,
    );
    let mut lengths = Vec::new();
    while lengths.iter().sum::<usize>() < 7 {
        let batch = next(&mut source, 500).await;
        lengths.push(batch.deliveries.len());
        source.settle(batch.tag, &vec![Outcome::Applied; batch.deliveries.len()]).await;
        settle_down().await;
    }
    assert_eq!(lengths, [2, 2, 1, 1, 1], "also one that is larger than the queue");
    for handing in [handing, too_large, after] {
        told(handing).await.unwrap();
    }
    assert_eq!(ingest.room.available_permits(), WAITING_BYTES_MAX as usize);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_next_loses_nothing() {
    let (ingest, mut source) = queue(ROOMY);
    for number in 0..100_usize {
        assert!(source.next(500).now_or_never().is_none());
        let body = number.to_string();
        let handing = caller(&ingest, vec![handed(body.as_str())]).await;
        let batch = source.next(500).now_or_never().expect("it is there").unwrap();
        assert_eq!(texts(&batch), [body.as_str()]);
        source.settle(batch.tag, &[Outcome::Applied]).await;
        told(handing).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_its_messages() {
    let (ingest, mut source) = queue(ROOMY);
    let gone = caller(&ingest, all(&["a", "b"])).await;
    gone.abort();
    let stays = caller(&ingest, all(&["c"])).await;
    let batch = next(&mut source, 500).await;
    assert_eq!(texts(&batch), ["a", "b", "c"]);
    source.settle(batch.tag, &[Outcome::Applied, Outcome::Applied, Outcome::Parked]).await;
    assert_eq!(told(stays).await.unwrap(), Receipt::Committed(vec![Outcome::Parked]));
}

#[tokio::test(start_paused = true)]
async fn stopped_it_hands_out_what_is_there_and_takes_nothing_more() {
    let (ingest, mut source) = queue(2);
    let (taken, waits) = (caller(&ingest, all(&["a", "b"])).await, caller(&ingest, all(&["c"])).await);
    source.stop().await;
    is_away(told(waits).await, "send it again");
    is_away(ingest.hand_in(all(&["d"])).await, "shutting down");
    let batch = next(&mut source, 500).await;
    assert_eq!(texts(&batch), ["a", "b"]);
    source.settle(batch.tag, &[Outcome::Applied; 2]).await;
    assert_eq!(told(taken).await.unwrap(), Receipt::Committed(vec![Outcome::Applied; 2]));
    assert!(source.next(500).await.is_none());
    assert!(source.next(500).await.is_none(), "and stays so");
}

#[tokio::test(start_paused = true)]
async fn released_nobody_is_kept_waiting() {
    let (ingest, mut source) = queue(2);
    let in_hand = caller(&ingest, all(&["a"])).await;
    let old = next(&mut source, 500).await;
    let (buffered, waits) = (caller(&ingest, all(&["b", "c"])).await, caller(&ingest, all(&["d"])).await);
    source.release().await;
    is_away(told(in_hand).await, "does no harm");
    is_away(told(buffered).await, "send it again later");
    is_away(told(waits).await, "send it again later");
    is_away(ingest.hand_in(all(&["e"])).await, "send it again later");

    source.settle(old.tag, &[Outcome::Applied]).await;
    assert!(source.next(500).now_or_never().is_none(), "what was given back does not come again by itself");
    let handing = caller(&ingest, all(&["f"])).await;
    let batch = next(&mut source, 500).await;
    assert_eq!(texts(&batch), ["f"]);
    source.settle(old.tag, &[Outcome::Failed("schema")]).await;
    settle_down().await;
    assert!(!handing.is_finished(), "an old tag settles nothing");
    source.settle(batch.tag, &[Outcome::Applied]).await;
    told(handing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_its_worker_nobody_waits() {
    let (ingest, mut source) = queue(2);
    let in_hand = caller(&ingest, all(&["a"])).await;
    next(&mut source, 1).await;
    let (buffered, waits) = (caller(&ingest, all(&["b", "c"])).await, caller(&ingest, all(&["d"])).await);
    drop(source);
    is_away(told(in_hand).await, "not known whether it was taken");
    is_away(told(buffered).await, "not known whether it was taken");
    is_away(told(waits).await, "shutting down");
    is_away(ingest.hand_in(all(&["e"])).await, "shutting down");
}

#[tokio::test(start_paused = true)]
async fn the_sink_confirms_nothing() {
    let mut sink = EmbeddedSink;
    sink.ready().now_or_never().expect("at once");
    let events = [1, 2].map(|id| Outgoing { id, body: "{}".to_owned() });
    assert_eq!(sink.publish(&events).await, [Fate::Unknown; 2]);
    assert_eq!(sink.publish(&[]).await, []);
}

/// A log in memory, which can be made to fail.
#[derive(Default)]
struct FakeLog {
    rows: Mutex<Vec<(Position, String)>>,
    failing: Mutex<bool>,
    reads: AtomicUsize,
}

impl FakeLog {
    fn write(&self, positions: impl IntoIterator<Item = Position>) {
        self.rows.lock().unwrap().extend(positions.into_iter().map(|position| (position, format!("event {position}"))));
    }

    fn fail(&self, failing: bool) {
        *self.failing.lock().unwrap() = failing;
    }

    fn asked(&self) -> Result<Vec<(Position, String)>, BoxError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if *self.failing.lock().unwrap() {
            return Err("the disk is on fire".into());
        }
        Ok(self.rows.lock().unwrap().clone())
    }
}

#[async_trait]
impl EventLog for FakeLog {
    async fn page(&self, after: Position, limit: i64) -> Result<Vec<(Position, String)>, BoxError> {
        assert!((1..=1_000).contains(&limit), "pages are bounded");
        settle_down().await;
        let rows = self.asked()?.into_iter().filter(|(position, _)| *position > after);
        Ok(rows.take(usize::try_from(limit)?).collect())
    }

    async fn newest(&self) -> Result<Position, BoxError> {
        Ok(self.asked()?.last().map_or(0, |(position, _)| *position))
    }
}

fn followed() -> (Arc<FakeLog>, watch::Sender<Position>, EmbeddedTail) {
    let log = Arc::new(FakeLog::default());
    let (newest, seen) = watch::channel(0);
    let tail = EmbeddedTail::new(log.clone(), seen, Duration::from_secs(30));
    (log, newest, tail)
}

async fn position(follower: &mut Box<dyn Follow>) -> Option<Position> {
    let published = tokio::time::timeout(LONG, follower.next()).await.expect("nothing comes")?;
    let position = published.position.unwrap();
    assert_eq!(published.body, format!("event {position}"));
    Some(position)
}

#[tokio::test(start_paused = true)]
async fn a_follower_begins_where_it_says_and_goes_on() {
    let (log, newest, tail) = followed();
    log.write([2, 3, 7]);
    let mut from_two = tail.follow(Some(2)).await.unwrap();
    let mut from_now = tail.follow(None).await.unwrap();
    for expected in [3, 7] {
        assert_eq!(position(&mut from_two).await, Some(expected));
    }
    let waiting = tokio::spawn(async move { position(&mut from_now).await });
    settle_down().await;
    log.write([9]);
    newest.send_replace(9);
    assert_eq!(position(&mut from_two).await, Some(9));
    assert_eq!(waiting.await.unwrap(), Some(9));
}

#[tokio::test(start_paused = true)]
async fn long_logs_are_read_a_page_at_a_time_and_completely() {
    let (log, _newest, tail) = followed();
    log.write(1..=1_000);
    let mut follower = tail.follow(Some(0)).await.unwrap();
    for expected in 1..=1_000 {
        assert_eq!(position(&mut follower).await, Some(expected));
    }
    assert_eq!(log.reads.load(Ordering::Relaxed), 11);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_whenever_it_is_written_and_whoever_cancels() {
    let (log, newest, tail) = followed();
    let mut follower = tail.follow(None).await.unwrap();
    let writing = tokio::spawn(async move {
        for position in 1..=500 {
            log.write([position]);
            newest.send_replace(position);
            tokio::time::sleep(Duration::from_micros(700)).await;
        }
    });
    let mut expected = 1;
    let mut cancelled = 0;
    while expected <= 500 {
        match tokio::time::timeout(Duration::from_micros(1_500), follower.next()).await {
            Ok(published) => {
                assert_eq!(published.unwrap().position, Some(expected));
                expected += 1;
            }
            Err(_) => cancelled += 1,
        }
        assert!(cancelled < 100_000, "it makes no progress at {expected}");
    }
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_log_begins_at_the_start() {
    let (log, _newest, tail) = followed();
    log.write([1, 2]);
    let mut follower = tail.follow(Some(5_000)).await.unwrap();
    assert_eq!(position(&mut follower).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_waited_for() {
    let (log, newest, tail) = followed();
    log.write([1]);
    let mut follower = tail.follow(Some(0)).await.unwrap();
    log.fail(true);
    let Err(BrokerError::Away(why)) = tail.follow(None).await else { panic!("it was read") };
    assert!(why.contains("on fire"), "{why}");
    assert!(tokio::time::timeout(LONG, follower.next()).await.is_err());
    let reads = log.reads.load(Ordering::Relaxed);
    assert!((10..60).contains(&reads), "{reads} reads in ten minutes");
    log.fail(false);
    assert_eq!(position(&mut follower).await, Some(1));
    log.fail(true);
    newest.send_replace(2);
    drop(newest);
    assert_eq!(position(&mut follower).await, None, "nobody waits for a worker that is gone");
}

#[tokio::test(start_paused = true)]
async fn a_follower_ends_with_the_worker_after_what_was_written_last() {
    let (log, newest, tail) = followed();
    let mut follower = tail.follow(None).await.unwrap();
    let waiting = tokio::spawn(async move { [position(&mut follower).await, position(&mut follower).await] });
    settle_down().await;
    log.write([1]);
    drop(newest);
    assert_eq!(waiting.await.unwrap(), [Some(1), None]);
}
