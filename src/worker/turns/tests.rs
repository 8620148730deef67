use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use uuid::Uuid;

use super::*;
use crate::broker::Delivery;
use crate::contract::message::Properties;
use crate::domain::dates::parse_time;
use crate::metrics::Metrics;
use crate::store::{MessageKey, Note, Plan};

fn rules(version: &str) -> Arc<RuleSet> {
    let text = format!(
        "apiVersion: reprieve/v1\nversion: \"{version}\"\nsettings: {{ triage: [lead@example.com] }}\nfallback: {{ reviewers: none }}\n"
    );
    Arc::new(RuleSet::parse(&text).unwrap())
}

fn submission(number: u32) -> Delivery {
    let envelope = serde_json::json!({
        "specversion": "1.0", "id": format!("s-{number}"), "source": "t", "type": "exception.submitted.v1", "data": {
            "exception_id": format!("EX-{number}"), "requester": { "id": "zoe@example.com" }, "reason": "other",
            "requested_due_date": "2027-01-31",
            "ticket": { "id": format!("SEC-{number}"), "title": "t", "severity": "low", "current_due_date": "2026-12-05" },
        },
    });
    let properties = Properties { content_type: Some("application/cloudevents+json".into()), ..Properties::default() };
    Delivery { properties, body: envelope.to_string().into_bytes(), earlier_deliveries: 0 }
}

/// One submission after the other.
struct Queue(VecDeque<Delivery>);

#[async_trait]
impl Source for Queue {
    async fn next(&mut self, _max: usize) -> Option<Batch> {
        let delivery = self.0.pop_front()?;
        Some(Batch { tag: Tag { generation: 1, channel: 1, last: 1 }, deliveries: vec![delivery] })
    }
    async fn settle(&mut self, _tag: Tag, _outcomes: &[Outcome]) {}
    async fn stop(&mut self) {}
    async fn release(&mut self) {}
}

/// A database whose answers are lost as it was told, while the rules change.
struct Forgetful {
    rules: watch::Sender<Arc<RuleSet>>,
    next: VecDeque<Option<Arc<RuleSet>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Store for Forgetful {
    async fn turn(&mut self, _wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let changes = plan(crate::store::Snapshot::default());
        let Some(exception) = changes.exceptions.first() else { return Ok(Committed::default()) };
        let stored = changes.rule_set.as_ref().map_or("known", |row| row.version.as_str());
        self.seen.lock().unwrap().push(format!("{} {} {stored}", exception.id, exception.assignment.rules_version));
        if let Some(next) = self.next.pop_front().flatten() {
            self.rules.send_replace(next);
            return Err(StoreError::Away("no reply to COMMIT".into()));
        }
        Ok(Committed { outcomes: changes.outcomes, ..Committed::default() })
    }
}

fn settings(in_force: watch::Receiver<Arc<RuleSet>>) -> Settings {
    Settings {
        batch_max: 500,
        source: "urn:reprieve".to_owned(),
        link: String::new(),
        parking_ttl: Duration::from_secs(60),
        parking_max: 1_000,
        wait_max: Duration::from_secs(30),
        clock: Arc::new(|| parse_time("2026-11-24T09:00:00Z").unwrap()),
        rules: in_force,
        run: Uuid::from_u128(7),
        trust: None,
        metrics: Metrics::new(),
        spans: None,
    }
}

/// Runs the loop until the source has ended. Nobody publishes, so no fate will come.
async fn run_with(source: impl Source + 'static, store: impl Store + 'static, in_force: watch::Receiver<Arc<RuleSet>>) {
    let (hands, _hands) = mpsc::channel(1);
    let (_, fates) = mpsc::unbounded_channel();
    let ((_up, sink_up), (_stop, stop)) = (watch::channel(false), watch::channel(false));
    run(Box::new(source), Box::new(store), Links { hands, fates, sink_up, stop }, settings(in_force)).await;
}

/// What three submissions see, when the database's answers are these: `None` commits, `Some` is lost, while the rules change to it.
async fn seen_by_three(answers: Vec<Option<Arc<RuleSet>>>) -> Vec<String> {
    let (sender, in_force) = watch::channel(rules("1"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Forgetful { rules: sender, next: answers.into(), seen: Arc::clone(&seen) };
    run_with(Queue((1..=3).map(submission).collect()), store, in_force).await;
    seen.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_turn_keeps_the_rules_it_began_with_however_often_it_is_repeated() {
    // The last word says which rules the turn stores beside: each set once, and not before a turn with it is committed.
    let expected = ["EX-1 1 1", "EX-1 1 1", "EX-2 2 2", "EX-3 2 known"];
    assert_eq!(seen_by_three(vec![Some(rules("2"))]).await, expected);
}

/// What comes back may be a database restored from before, which knows nothing of the rules.
#[tokio::test(start_paused = true)]
async fn after_an_outage_the_rules_are_stored_again() {
    let expected = ["EX-1 1 1", "EX-2 1 known", "EX-2 1 1", "EX-3 1 known"];
    assert_eq!(seen_by_three(vec![None, Some(rules("1"))]).await, expected);
}

/// One suspect, until it is settled; what happens to it is noted in order.
struct Suspected {
    delivery: Option<Delivery>,
    told: Arc<Mutex<Vec<&'static str>>>,
}

#[async_trait]
impl Source for Suspected {
    async fn next(&mut self, _max: usize) -> Option<Batch> {
        let delivery = self.delivery.take()?;
        Some(Batch { tag: Tag { generation: 1, channel: 1, last: 1 }, deliveries: vec![delivery] })
    }
    async fn settle(&mut self, _tag: Tag, _outcomes: &[Outcome]) {}
    async fn stop(&mut self) {}
    async fn release(&mut self) {
        self.told.lock().unwrap().push("released");
    }
}

/// A database in which submissions cannot be written until the source has given its messages back.
struct HalfLocked {
    notes: BTreeMap<MessageKey, Note>,
    /// Notes too, but for the first.
    notes_locked: bool,
    told: Arc<Mutex<Vec<&'static str>>>,
}

#[async_trait]
impl Store for HalfLocked {
    async fn turn(&mut self, _wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let changes = plan(Snapshot { notes: self.notes.clone(), ..Snapshot::default() });
        let mut told = self.told.lock().unwrap();
        if !changes.exceptions.is_empty() {
            if told.contains(&"released") {
                return Ok(Committed { outcomes: changes.outcomes, ..Committed::default() });
            }
            return Err(StoreError::Away("a table is locked".into()));
        }
        if !changes.noted.is_empty() {
            told.push("taken back");
            if self.notes_locked {
                return Err(StoreError::Away("a table is locked".into()));
            }
        }
        told.extend(changes.notes.iter().map(|_| "noted"));
        self.notes.extend(changes.notes);
        self.notes.retain(|key, _| !changes.noted.contains(key));
        Ok(Committed::default())
    }
}

/// A process that lives takes its note back before another one gets the message; where it cannot, it gives the message back all the same.
#[tokio::test(start_paused = true)]
async fn a_note_is_taken_back_before_its_message_is_given_back() {
    for notes_locked in [false, true] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let delivery = Delivery { earlier_deliveries: 2, ..submission(1) };
        let source = Suspected { delivery: Some(delivery), told: Arc::clone(&told) };
        let store = HalfLocked { notes: BTreeMap::new(), notes_locked, told: Arc::clone(&told) };
        let (_sender, in_force) = watch::channel(rules("1"));
        run_with(source, store, in_force).await;
        assert_eq!(*told.lock().unwrap(), ["noted", "taken back", "released"], "notes locked: {notes_locked}");
    }
}
