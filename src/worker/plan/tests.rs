//! For one order of first arrivals nothing else matters: added duplicates, redeliveries and other batch boundaries change no
//! state and no output byte.

use proptest::prelude::*;

use super::super::input::{submitted, wanted};
use super::waiting::PARKED_FOR_ONE_MAX;
use super::*;
use crate::broker::Delivery;
use crate::contract::trust::Trust;
use crate::domain::dates::parse_time;
use crate::domain::exception::{Enforcement, Status};
use crate::domain::history::Entry;
use crate::domain::ids::UserId;
use crate::store::{Failure, NewParked};

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings: { triage: [lead@example.com], reasons: [other] }
rules:
  - name: two-levels
    match: { ticket.severity: high }
    levels:
      - { reviewers: { users: [alice@example.com, zoe@example.com] } }
      - { reviewers: { users: [bob@example.com, chen@example.com] }, quorum: 2 }
  - name: by-load
    match: { ticket.severity: medium }
    levels:
      - { reviewers: { users: [alice@example.com, bob@example.com, chen@example.com] }, pick: least_loaded }
      - { reviewers: { users: [dee@example.com], fields: [requester.manager] }, pick: least_loaded }
  - name: by-load-at-once
    match: { ticket.severity: info }
    levels: [{ reviewers: { users: [dee@example.com], fields: [requester.manager] }, pick: least_loaded }]
fallback: { levels: [{ reviewers: { users: [alice@example.com] } }] }
"#;

/// A database as plain as can be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    inbox: BTreeMap<EventKey, (crate::domain::ids::Digest, Outcome)>,
    exceptions: BTreeMap<ExceptionId, Exception>,
    tickets: BTreeMap<TicketId, Ticket>,
    load: BTreeMap<UserId, u32>,
    history: Vec<Entry>,
    outbox: Vec<String>,
    parked: BTreeMap<i64, NewParked>,
    failures: BTreeMap<uuid::Uuid, Failure>,
    last_parked: i64,
}

fn now() -> Timestamp {
    parse_time("2026-11-24T09:00:00Z").unwrap()
}

impl Memory {
    fn snapshot(&self, inputs: &[Input], rules: &RuleSet) -> Snapshot {
        let mut wanted = wanted(inputs);
        wanted.load = rules.picked_by_load(submitted(inputs));
        let conflicts =
            |key: &EventKey| self.failures.values().filter(|f| f.event_key == *key).map(|f| f.digest).collect();
        let seen = |key: &EventKey| {
            let (digest, outcome) = *self.inbox.get(key)?;
            Some((*key, Seen { digest, failed: matches!(outcome, Outcome::Failed(_)), conflicts: conflicts(key) }))
        };
        let load = |user: &UserId| Some((user.clone(), *self.load.get(user)?));
        let parked = self.parked.iter().filter(|(_, event)| wanted.submitted.contains(&event.exception_id));
        Snapshot {
            database_time: now(),
            seen: wanted.events.keys().filter_map(seen).collect(),
            exceptions: self.exceptions.clone(),
            tickets: self.tickets.clone(),
            load: wanted.load_of(self.exceptions.values()).into_iter().filter_map(load).collect(),
            parked: parked.map(|(id, event)| ParkedRow { id: *id, event: event.clone() }).collect(),
            ..Snapshot::default()
        }
    }

    fn turn(&mut self, rules: &RuleSet, deliveries: &[Delivery]) {
        let inputs: Vec<Input> = deliveries.iter().cloned().map(|one| Input::of(one, None)).collect();
        self.turn_of(rules, &inputs);
    }

    fn turn_of(&mut self, rules: &RuleSet, inputs: &[Input]) {
        let terms = Terms {
            rules,
            voice: Voice { source: "urn:reprieve", link: "", now: now() },
            held: true,
            parking_ttl: Duration::from_secs(60),
            parking_max: 1_000,
            store_rule_set: false,
            parked_blamed: None,
        };
        let changes = plan(inputs, &Settled::default(), &terms, self.snapshot(inputs, rules));
        assert_eq!(changes.outcomes.len(), inputs.len());
        for row in changes.inbox {
            assert_eq!(self.inbox.insert(row.key, (row.digest, row.outcome)), None, "an event has one row");
        }
        for InboxRow { key, digest, outcome } in changes.ended {
            *self.inbox.get_mut(&key).expect("a parked event is in the inbox") = (digest, outcome);
        }
        self.exceptions.extend(changes.exceptions.into_iter().map(|e| (e.id.clone(), e)));
        self.tickets.extend(changes.tickets.into_iter().map(|t| (t.id.clone(), t)));
        for (user, difference) in changes.load {
            let load = self.load.entry(user).or_default();
            *load = load.checked_add_signed(i32::try_from(difference).unwrap()).expect("no load is negative");
        }
        self.history.extend(changes.history);
        self.outbox.extend(changes.outbox);
        for id in changes.unpark {
            assert!(self.parked.remove(&id).is_some());
        }
        for event in changes.park {
            self.last_parked += 1;
            self.parked.insert(self.last_parked, event);
        }
        self.failures.extend(changes.failures.into_iter().map(|f| (f.id, f)));
    }

    /// What counts: an id of a parked row does not.
    fn comparable(mut self) -> (Self, Vec<NewParked>) {
        self.last_parked = 0;
        (self.clone(), std::mem::take(&mut self.parked).into_values().collect())
    }
}

fn delivery(event_type: &str, id: &str, data: &serde_json::Value) -> Delivery {
    let envelope =
        serde_json::json!({ "specversion": "1.0", "id": id, "source": "t", "type": event_type, "data": data });
    let properties = Properties { content_type: Some("application/cloudevents+json".into()), ..Properties::default() };
    Delivery { properties, body: envelope.to_string().into_bytes(), earlier_deliveries: 0 }
}

/// Few ids, so that events meet: repeats under new ids, conflicts, early and late decisions, second requests for a ticket.
fn event() -> impl Strategy<Value = Delivery> {
    let submission = (0..30u32, 0..4u32, 0..3u32, 0..5u32).prop_map(|(id, exception, ticket, kind)| {
        let data = serde_json::json!({
            "exception_id": format!("EX-{exception}"),
            "ticket": {
                "id": format!("SEC-{ticket}"), "title": "t", "severity": (["high", "medium", "low"][kind as usize % 3]),
                "current_due_date": "2026-12-05",
            },
            "requester": { "id": "zoe@example.com", "manager": "fay@example.com" },
            "reason": if kind == 4 { "whim" } else { "other" }, "requested_due_date": "2027-01-31",
        });
        delivery("exception.submitted.v1", &format!("s-{id}"), &data)
    });
    let who = prop::sample::select(vec!["alice", "bob", "chen", "dee", "fay", "zoe", "lead"]);
    let decision =
        (0..40u32, 0..4u32, who, any::<bool>(), 0..20u32).prop_map(|(id, exception, who, approve, number)| {
            let data = serde_json::json!({
                "decision_id": format!("D-{number}"), "exception_id": format!("EX-{exception}"),
                "decision": if approve || number % 3 > 0 { "approve" } else { "deny" },
                "reviewer": { "id": format!("{who}@example.com") }, "comment": "c",
            });
            delivery("exception.decision.v1", &format!("d-{id}"), &data)
        });
    let broken = (0..3u32).prop_map(|id| delivery("x.v1", &format!("b-{id}"), &serde_json::Value::Null));
    prop_oneof![4 => submission, 8 => decision, 1 => broken]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn only_the_order_of_first_arrivals_matters(
        events in prop::collection::vec(event(), 1..60),
        again in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        cuts in prop::collection::vec(1..12usize, 1..80),
    ) {
        let rules = RuleSet::parse(RULES).unwrap();
        let mut one_by_one = Memory::default();
        for event in &events {
            one_by_one.turn(&rules, std::slice::from_ref(event));
        }
        let mut disturbed = events.clone();
        for (which, place) in again {
            // A copy anywhere after its first arrival.
            let event = events[which.index(events.len())].clone();
            let first = disturbed.iter().position(|other| other.body == event.body).unwrap();
            disturbed.insert(first + 1 + place.index(disturbed.len() - first), event);
        }
        let mut batched = Memory::default();
        let mut rest = disturbed.as_slice();
        for cut in cuts.into_iter().cycle() {
            let (batch, later) = rest.split_at(cut.min(rest.len()));
            batched.turn(&rules, batch);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        // The count is that of the open exceptions, whoever was picked.
        let mut counted: BTreeMap<UserId, u32> = BTreeMap::new();
        for user in batched.exceptions.values().flat_map(Exception::assigned) {
            *counted.entry(user.clone()).or_default() += 1;
        }
        batched.load.retain(|_, load| *load > 0);
        one_by_one.load.retain(|_, load| *load > 0);
        prop_assert_eq!(&counted, &batched.load);
        let ((one, parked_one), (two, parked_two)) = (one_by_one.comparable(), batched.comparable());
        prop_assert_eq!(parked_one, parked_two);
        prop_assert_eq!(&one.outbox, &two.outbox);
        prop_assert_eq!(Memory { parked: BTreeMap::new(), ..one }, Memory { parked: BTreeMap::new(), ..two });
    }
}

#[test]
fn t3_what_a_rule_approves_is_in_force_and_supersedes_the_older_one() {
    let text =
        RULES.replace("rules:\n", "rules:\n  - { name: small, match: { ticket.severity: low }, auto: approve }\n");
    let rules = RuleSet::parse(&text).unwrap();
    let submitted = |id: &str, due: &str| {
        let data = serde_json::json!({
            "exception_id": id, "requester": { "id": "zoe@example.com" }, "reason": "other", "requested_due_date": due,
            "ticket": { "id": "SEC-1", "title": "t", "severity": "low", "current_due_date": "2026-12-05" },
        });
        delivery("exception.submitted.v1", id, &data)
    };
    let mut memory = Memory::default();
    memory.turn(&rules, &[submitted("EX-1", "2026-12-20"), submitted("EX-2", "2026-12-30")]);
    let state = |id: &str| memory.exceptions[&ExceptionId::parse(id).unwrap()].state();
    assert_eq!(state("EX-1"), (Status::Approved, Enforcement::Ended));
    assert_eq!(state("EX-2"), (Status::Approved, Enforcement::InForce));
    assert_eq!(memory.tickets[&TicketId::parse("SEC-1").unwrap()].approved, 2);
    let read = |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let events: Vec<_> = memory.outbox.iter().map(read).collect();
    let of = |event: &serde_json::Value| {
        format!("{} {}", event["type"].as_str().unwrap(), event["data"]["exception_id"].as_str().unwrap())
    };
    let told: Vec<_> = events.iter().map(of).collect();
    let one = |id: &str| {
        let types = [
            "exception.status_changed",
            "exception.status_changed",
            "ticket.deferral_requested",
            "notification.requester",
        ];
        types.map(|name| format!("{name}.v1 {id}")).to_vec()
    };
    let superseded = vec!["exception.status_changed.v1 EX-1".to_owned()];
    assert_eq!(told, [one("EX-1"), one("EX-2"), superseded].concat());
    let deferral = events.iter().find(|event| event["type"] == "ticket.deferral_requested.v1").unwrap();
    let approvers = serde_json::json!([{ "id": "policy:small", "level": 0, "at": "2026-11-24T09:00:00.000000Z" }]);
    assert_eq!(deferral["data"]["approved_by"], approvers);
    assert_eq!(events[8]["data"]["actor"], serde_json::json!({ "id": "policy:small", "kind": "policy" }));
}

#[test]
fn only_so_many_wait_for_one_submission() {
    let rules = RuleSet::parse(RULES).unwrap();
    let early = |number: u64| {
        let data = serde_json::json!({
            "decision_id": format!("D-{number}"), "exception_id": "EX-1", "decision": "approve", "reviewer": { "id": "alice@example.com" },
        });
        delivery("exception.decision.v1", &format!("d-{number}"), &data)
    };
    let events: Vec<_> = (0..PARKED_FOR_ONE_MAX + 5).map(early).collect();
    let inputs: Vec<Input> = events.iter().cloned().map(|one| Input::of(one, None)).collect();
    let terms = Terms {
        rules: &rules,
        voice: Voice { source: "urn:reprieve", link: "", now: now() },
        held: true,
        parking_ttl: Duration::from_secs(60),
        parking_max: 100_000,
        store_rule_set: false,
        parked_blamed: None,
    };
    let mut snapshot = Memory::default().snapshot(&inputs, &rules);
    snapshot.parked_for = BTreeMap::from([(ExceptionId::parse("EX-1").unwrap(), Waiting { events: 3, bytes: 0 })]);
    snapshot.parked_count = 3;
    let changes = plan(&inputs, &Settled::default(), &terms, snapshot);
    assert_eq!((changes.park.len(), changes.failures.len()), (997, 8));

    // The same in a turn that also brings a submission, which is refused: then the rows are here, and nobody has counted.
    let parked = changes.park[..3].iter().cloned().zip(1..).map(|(event, id)| ParkedRow { id, event }).collect();
    let snapshot = Snapshot { parked, ..Memory::default().snapshot(&inputs, &rules) };
    let changes = plan(&inputs, &Settled::default(), &terms, snapshot);
    assert_eq!((changes.park.len(), changes.failures.len()), (997, 8));
}

/// A forged decision under the id of a genuine one that is still to come must not make that one a conflict.
#[test]
fn what_is_turned_away_takes_nobodys_place() {
    let rules = RuleSet::parse(RULES).unwrap();
    let mut trust = Trust::default();
    trust.allow("reviews", vec!["exception.decision.v1".to_owned()]).unwrap();
    trust.allow("ticketing", vec!["exception.submitted.v1".to_owned()]).unwrap();
    let submission = delivery(
        "exception.submitted.v1",
        "s-1",
        &serde_json::json!({
            "exception_id": "EX-1", "requester": { "id": "zoe@example.com" }, "reason": "other",
            "requested_due_date": "2027-01-31",
            "ticket": { "id": "SEC-1", "title": "t", "severity": "low", "current_due_date": "2026-12-05" },
        }),
    );
    let decision = delivery(
        "exception.decision.v1",
        "d-1",
        &serde_json::json!({
            "decision_id": "D-1", "exception_id": "EX-1", "decision": "approve", "comment": "c",
            "reviewer": { "id": "alice@example.com" },
        }),
    );
    let by = |user: Option<&str>, delivery: &Delivery| {
        let mut delivery = delivery.clone();
        delivery.properties.user_id = user.map(str::to_owned);
        Input::of(delivery, Some(&trust))
    };
    let mut forged = decision.clone();
    forged.body = String::from_utf8(forged.body).unwrap().replace("approve", "deny").into_bytes();
    let mut memory = Memory::default();
    memory.turn_of(&rules, &[by(None, &submission), by(Some("ticketing"), &forged), by(None, &decision)]);
    memory.turn_of(&rules, &[by(Some("mallory"), &decision), by(None, &decision)]);
    // Parked: judged when it came, and not again when the submission releases it.
    memory.turn_of(&rules, &[by(Some("reviews"), &decision)]);
    memory.turn_of(&rules, &[by(Some("ticketing"), &submission), by(Some("ticketing"), &forged)]);
    let outcomes = |input: &Input| memory.inbox.get(&input.inbound.key).map(|(_, outcome)| *outcome);
    assert_eq!(outcomes(&by(Some("reviews"), &decision)), Some(Outcome::Applied));
    assert_eq!(outcomes(&by(Some("ticketing"), &submission)), Some(Outcome::Applied));
    let mut failed: Vec<_> = memory.failures.values().map(|f| (f.reason, f.event_id.as_str())).collect();
    failed.sort_unstable();
    let unauthenticated = ["d-1", "d-1", "s-1"].map(|id| ("unauthenticated", id));
    assert_eq!(failed, [unauthenticated.as_slice(), &[("unauthorized", "d-1")]].concat());
    let ids =
        memory.outbox.iter().map(|event| serde_json::from_str::<serde_json::Value>(event).unwrap()["id"].to_string());
    assert_eq!(ids.collect::<BTreeSet<_>>().len(), memory.outbox.len(), "no two answers are copies of one another");
}

#[test]
fn requests_of_one_turn_are_spread_by_load_and_a_level_to_come_sees_it_too() {
    let rules = RuleSet::parse(RULES).unwrap();
    let submitted = |number: u32, severity: &str| {
        let data = serde_json::json!({
            "exception_id": format!("EX-{number}"), "requester": { "id": "zoe@example.com", "manager": "fay@example.com" },
            "reason": "other", "requested_due_date": "2027-01-31",
            "ticket": { "id": format!("SEC-{number}"), "title": "t", "severity": severity, "current_due_date": "2026-12-05" },
        });
        delivery("exception.submitted.v1", &format!("s-{number}"), &data)
    };
    let decided = |number: u32, reviewer: &UserId| {
        let data = serde_json::json!({
            "decision_id": format!("D-{number}"), "exception_id": format!("EX-{number}"), "decision": "approve",
            "reviewer": { "id": reviewer },
        });
        delivery("exception.decision.v1", &format!("d-{number}-{}", reviewer.as_str()), &data)
    };
    let mut memory = Memory::default();
    let loads = |memory: &Memory| {
        let all = memory.load.iter().filter(|(_, load)| **load > 0);
        all.map(|(user, load)| format!("{} {load}", user.as_str().split('@').next().unwrap())).collect::<Vec<_>>()
    };
    memory.turn(&rules, &(1..=6).map(|number| submitted(number, "medium")).collect::<Vec<_>>());
    assert_eq!(loads(&memory), ["alice 2", "bob 2", "chen 2"]);
    memory.turn(&rules, &(7..=9).map(|number| submitted(number, "medium")).collect::<Vec<_>>());
    assert_eq!(loads(&memory), ["alice 3", "bob 3", "chen 3"]);

    // The second level is that of the stored plan, whatever the rules are now, and its candidates are those of the event too.
    let others = RuleSet::parse(&RULES.replace("least_loaded", "all")).unwrap();
    let approvals = |numbers: std::ops::RangeInclusive<u32>| {
        let of = |number: u32| {
            let exception = &memory.exceptions[&ExceptionId::parse(&format!("EX-{number}")).unwrap()];
            decided(number, exception.assigned().first().unwrap())
        };
        numbers.map(of).collect::<Vec<_>>()
    };
    let (first, second) = (approvals(1..=3), approvals(4..=6));
    memory.turn(&others, &first);
    let of_level_two = |memory: &Memory| {
        loads(memory).into_iter().filter(|load| load.starts_with("dee") || load.starts_with("fay")).collect::<Vec<_>>()
    };
    assert_eq!(of_level_two(&memory).len(), 2);
    memory.turn(&others, &second);
    assert_eq!(of_level_two(&memory), ["dee 3", "fay 3"]);

    // Whom only the event names is counted from turn to turn like the others.
    for number in 10..=15 {
        memory.turn(&rules, &[submitted(number, "info")]);
    }
    assert_eq!(of_level_two(&memory), ["dee 6", "fay 6"]);
}
