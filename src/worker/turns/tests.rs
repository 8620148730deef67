use std::sync::Mutex;

use async_trait::async_trait;
use uuid::Uuid;

use super::*;
use crate::broker::Delivery;
use crate::contract::message::Properties;
use crate::domain::dates::parse_time;
use crate::metrics::Metrics;
use crate::store::Plan;

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

/// A database whose first answer to each submission is lost, while the rules change.
struct Forgetful {
    rules: watch::Sender<Arc<RuleSet>>,
    next: VecDeque<Arc<RuleSet>>,
    seen: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Store for Forgetful {
    async fn turn(&mut self, _wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let changes = plan(crate::store::Snapshot::default());
        let Some(exception) = changes.exceptions.first() else { return Ok(Committed::default()) };
        let stored = changes.rule_set.as_ref().map_or("known", |row| row.version.as_str());
        self.seen.lock().unwrap().push(format!("{} {} {stored}", exception.id, exception.assignment.rules_version));
        if let Some(next) = self.next.pop_front() {
            self.rules.send_replace(next);
            return Err(StoreError::Away("no reply to COMMIT".into()));
        }
        Ok(Committed { outcomes: changes.outcomes, ..Committed::default() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_keeps_the_rules_it_began_with_however_often_it_is_repeated() {
    let (sender, in_force) = watch::channel(rules("1"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = Forgetful { rules: sender, next: VecDeque::from([rules("2")]), seen: Arc::clone(&seen) };
    let (hands, _hands) = mpsc::channel(1);
    // Nobody publishes, so no fate will come.
    let (_, fates) = mpsc::unbounded_channel();
    let ((_up, sink_up), (_stop, stop)) = (watch::channel(false), watch::channel(false));
    let settings = Settings {
        batch_max: 500,
        source: "urn:reprieve".to_owned(),
        link: String::new(),
        parking_ttl: Duration::from_secs(60),
        parking_max: 1_000,
        wait_max: Duration::from_secs(30),
        clock: Arc::new(|| parse_time("2026-11-24T09:00:00Z").unwrap()),
        rules: in_force,
        run: Uuid::nil(),
        trust: None,
        metrics: Metrics::new(),
        spans: None,
    };
    let source = Queue((1..=3).map(submission).collect());
    run(Box::new(source), Box::new(store), Links { hands, fates, sink_up, stop }, settings).await;
    // The last word says which rules the turn stores beside: each set once, and not before a turn with it is committed.
    assert_eq!(*seen.lock().unwrap(), ["EX-1 1 1", "EX-1 1 1", "EX-2 2 2", "EX-3 2 known"]);
}
