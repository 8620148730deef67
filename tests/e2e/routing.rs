//! What the rules file says, seen from outside: each way a request can be routed, decided or turned away, as the events that
//! leave the queue for it. The order of the guards and the operators are the domain's own tests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::amqp::{Client, Event, Message};
use crate::support::stage::Stage;
use crate::traffic::{decide, decision, envelope, submission};

const SOON: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(300);

/// The case's name stands in `custom.case`; the ticket's date is 2036-12-05, the requested one 57 days later.
const RULES: &str = r#"
apiVersion: reprieve/v1
version: "1"
settings:
  triage: [lead@example.com]
  managers: [boss@example.com]
  may_request: { users: [zoe@example.com, dana@example.com], teams: ["pay*"] }
groups:
  owners: { members: [dana@example.com, eli@example.com, fay@example.com] }
rules:
  - { name: nobody, match: { custom.case: nobody }, reviewers: none }
  - { name: trifle, match: { custom.case: "trifle*" }, auto: approve, limits: { max_extension: 30d } }
  - { name: hopeless, match: { custom.case: hopeless }, auto: deny }
  - name: limits
    match: { custom.case: "limits*" }
    levels: [{ reviewers: { groups: [owners] } }]
    limits: { max_extension: 60d, max_cumulative_extension: 90d, max_previous_exceptions: 0 }
  - { name: exploited, match: { ticket.kev: true }, levels: [{ reviewers: { users: [eli@example.com] } }] }
  - { name: require, match: { custom.case: require }, require: [compensating_controls], reviewers: none }
  - { name: all, match: { custom.case: all }, levels: [{ reviewers: { groups: [owners] }, quorum: 2 }] }
  - { name: hash, match: { custom.case: hash }, levels: [{ reviewers: { groups: [owners] }, quorum: 2, pick: hash }] }
  - name: escalate
    match: { custom.case: escalate }
    levels: [{ reviewers: { users: [zoe@example.com] }, escalate_to: { users: [eli@example.com] } }]
  - name: fields
    match: { custom.case: fields }
    levels: [{ reviewers: { fields: [requester.manager] } }]
  - name: two
    match: { custom.case: two }
    levels:
      - { reviewers: { users: [gil@example.com] } }
      - { reviewers: { groups: [owners] }, pick: hash }
fallback: { reviewers: none }
"#;

/// Everybody whom the file names is told.
const TELL_ALL: &str = r#"
apiVersion: reprieve/v1
version: "2"
settings: { triage: [lead@example.com], notify: all }
groups: { owners: { members: [dana@example.com, eli@example.com, zoe@example.com] } }
rules:
  - name: dana
    match: { custom.case: told }
    levels: [{ reviewers: { users: [dana@example.com] } }, { reviewers: { groups: [owners] } }]
fallback: { reviewers: none }
"#;

/// A request, what is different about it, and what is said about it, in order.
type Row = (&'static str, fn(&mut Value), &'static [&'static str]);

const ASKED: &str = "requested submitted zoe";

const ROWS: [Row; 19] = [
    // T1.
    (
        "all",
        |_| {},
        &[
            ASKED,
            "assigned 1 [dana eli fay] 2",
            "reviewer assigned dana 1",
            "reviewer assigned eli 1",
            "reviewer assigned fay 1",
            "requester received",
        ],
    ),
    (
        "own",
        |data| {
            data["custom"]["case"] = json!("all");
            data["requester"]["id"] = json!("  DANA@Example.com ");
        },
        &[
            "requested submitted dana",
            "assigned 1 [eli fay] 2",
            "reviewer assigned eli 1",
            "reviewer assigned fay 1",
            "requester received",
        ],
    ),
    // Whom the hash picks was computed by an independent program.
    (
        "hash",
        |_| {},
        &[
            ASKED,
            "assigned 1 [dana eli] 2",
            "reviewer assigned dana 1",
            "reviewer assigned eli 1",
            "requester received",
        ],
    ),
    ("escalate", |_| {}, &[ASKED, "assigned 1 [eli] 1", "reviewer assigned eli 1", "requester received"]),
    (
        "fields",
        |data| data["requester"]["manager"] = json!(" Kim@Example.com"),
        &[ASKED, "assigned 1 [kim] 1", "reviewer assigned kim 1", "requester received"],
    ),
    ("two", |_| {}, &[ASKED, "assigned 1 [gil] 1", "reviewer assigned gil 1", "requester received"]),
    (
        "team",
        |data| data["requester"] = json!({ "id": "mia@example.com", "team": "Payments-EU" }),
        &["requested submitted mia", UNASSIGNED[0], UNASSIGNED[1], UNASSIGNED[2]],
    ),
    // T2.
    ("nobody", |_| {}, &[ASKED, UNASSIGNED[0], UNASSIGNED[1], UNASSIGNED[2]]),
    // T3, and what a rule may not approve.
    (
        "trifle",
        |data| data["requested_due_date"] = json!("2036-12-20"),
        &[ASKED, "approved auto_approved policy:trifle", "deferral 2036-12-20 policy:trifle/0", "requester decided"],
    ),
    ("trifle-long", |_| {}, &[ASKED, "denied max_extension policy:trifle", "requester decided"]),
    (
        "trifle-kev",
        |data| {
            data["ticket"]["kev"] = json!(true);
            data["requested_due_date"] = json!("2036-12-20");
        },
        &[ASKED, "assigned 1 [eli] 1", "reviewer assigned eli 1", "requester received"],
    ),
    // T4.
    ("hopeless", |_| {}, &[ASKED, "denied auto_denied policy:hopeless", "requester decided"]),
    (
        "limits-long",
        |data| data["requested_due_date"] = json!("2037-02-04"),
        &[ASKED, "denied max_extension policy:limits", "requester decided"],
    ),
    (
        "limits-sum",
        |data| data["ticket"]["original_due_date"] = json!("2036-10-01"),
        &[ASKED, "denied max_cumulative_extension policy:limits", "requester decided"],
    ),
    (
        // The ticket of `trifle`, which was approved.
        "limits-again",
        |data| data["ticket"]["id"] = json!("SEC-trifle"),
        &[ASKED, "denied max_previous_exceptions policy:limits", "requester decided"],
    ),
    (
        "kev",
        |data| {
            data["ticket"]["kev"] = json!(true);
            data["ticket"]["kev_due_date"] = json!("2037-01-30");
        },
        &[ASKED, "denied kev_due_date policy:exploited", "requester decided"],
    ),
    (
        "limits",
        |_| {},
        &[
            ASKED,
            "assigned 1 [dana eli fay] 1",
            "reviewer assigned dana 1",
            "reviewer assigned eli 1",
            "reviewer assigned fay 1",
            "requester received",
        ],
    ),
    // T25.
    ("require", |_| {}, &["rejected refused field_required"]),
    (
        "stranger",
        |data| data["requester"] = json!({ "id": "mallory@example.com", "team": "shop" }),
        &["rejected refused requester_not_permitted"],
    ),
];

const UNASSIGNED: [&str; 3] = ["assigned 1 [lead] 1 unassigned", "reviewer unassigned lead 1", "requester received"];

fn request(name: &str, change: fn(&mut Value)) -> Message {
    let mut data = submission(name, "high");
    data["custom"] = json!({ "case": name });
    change(&mut data);
    Message::structured(&envelope(&format!("s-{name}"), "exception.submitted.v1", &data))
}

/// One line about an event: what the table looks at.
fn told(event: &Value) -> String {
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or("-").replace("@example.com", "");
    let all = |list: &Value| list.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ");
    match event["type"].as_str().unwrap() {
        "exception.status_changed.v1" => {
            format!("{} {} {}", text(&data["to_status"]), text(&data["cause"]), text(&data["actor"]["id"]))
        }
        "exception.assigned.v1" => {
            let unassigned = if data["unassigned"] == true { " unassigned" } else { "" };
            format!("assigned {} [{}] {}{unassigned}", data["level"], all(&data["reviewers"]), data["quorum"])
        }
        "exception.vote_recorded.v1" => format!("vote {} {}", data["level"], text(&data["reviewer"])),
        "notification.reviewer.v1" => {
            let recipient = &data["recipient"];
            format!("reviewer {} {} {}", text(&data["kind"]), text(&recipient["id"]), recipient["level"])
        }
        "notification.requester.v1" => format!("requester {}", text(&data["kind"])),
        "ticket.deferral_requested.v1" => {
            let by = data["approved_by"].as_array().unwrap();
            let by: Vec<_> = by.iter().map(|vote| format!("{}/{}", text(&vote["id"]), vote["level"])).collect();
            format!("deferral {} {}", text(&data["new_due_date"]), by.join(" "))
        }
        "event.rejected.v1" => format!("rejected {} {}", text(&data["kind"]), text(&data["code"])),
        other => panic!("an event of type {other}"),
    }
}

/// What was said about each exception, in order.
fn by_exception(seen: &[Event]) -> BTreeMap<String, Vec<String>> {
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in seen {
        let event = event.json();
        let id = event["data"]["exception_id"].as_str().unwrap().to_owned();
        said.entry(id).or_default().push(told(&event));
    }
    said
}

#[track_caller]
fn check(seen: &[Event], name: &str, expected: &[&str]) {
    let said = by_exception(seen);
    let said = said.get(&format!("EX-{name}")).cloned().unwrap_or_default();
    assert_eq!(said, expected, "{name}");
}

pub(crate) async fn the_whole_rules_file_acts_through_the_queue() {
    let stage = Stage::shared("routing").await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["rules", "check"]).await;
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;

    let mut events = client.events().await;
    let requests: Vec<_> = ROWS.iter().map(|(name, change, _)| request(name, *change)).collect();
    client.publish(&requests).await;
    crate::books::at_rest(&stage, ROWS.len(), SOON).await;
    let seen = events.settle(QUIET).await;
    for (name, _, expected) in ROWS {
        check(seen, name, expected);
    }
    votes_are_held_to_the_rules(&stage, &client).await;
    worker.sigterm();
    worker.wait_exit(SOON).await;

    let worker = setup.rules(TELL_ALL).start();
    worker.wait_ready(SOON).await;
    everybody_is_told_once_and_may_not_decide(&stage, &client).await;
    assert!(worker.exited().is_none());
}

/// The requests of the table, decided: the limits that were stored with them, the level that begins late, and who has no right.
async fn votes_are_held_to_the_rules(stage: &Stage, client: &Client) {
    let mut events = client.events().await;
    let mut too_far = decision("limits", "approve", "dana");
    too_far["approved_due_date"] = json!("2037-02-04");
    let mut hand_over = decision("limits", "reassign", "boss");
    hand_over["reassign_to"] = json!("kim@example.com");
    let decided = |id: &str, data: &Value| Message::structured(&envelope(id, "exception.decision.v1", data));
    let decisions = [
        decided("too-far", &too_far),
        // Managers have no right yet: what a manager may do is not built, so the decision is no valid one.
        decided("hand-over", &hand_over),
        decide("limits", "approve", "boss"),
        decide("limits", "approve", "eli"),
        // Not picked, and so without a right.
        decide("hash", "approve", "fay"),
        decide("two", "approve", "gil"),
        // On an unassigned level triage decides.
        decide("nobody", "approve", "lead"),
    ];
    client.publish(&decisions).await;
    crate::books::at_rest(stage, ROWS.len() + decisions.len(), SOON).await;
    let seen = events.settle(QUIET).await;
    check(
        seen,
        "limits",
        &[
            "rejected refused date_over_limit",
            "rejected failed schema",
            "rejected refused not_assigned",
            "approved approved eli",
            "deferral 2037-01-31 eli/1",
            "requester decided",
        ],
    );
    check(seen, "hash", &["rejected refused not_assigned"]);
    check(seen, "two", &["vote 1 gil", "assigned 2 [dana] 1", "reviewer level_ready dana 2"]);
    check(seen, "nobody", &["approved approved lead", "deferral 2037-01-31 lead/1", "requester decided"]);
}

/// `notify: all`, after the rules were changed: what is open keeps the assignment that it has.
async fn everybody_is_told_once_and_may_not_decide(stage: &Stage, client: &Client) {
    let mut events = client.events().await;
    let inputs = [
        request("told", |_| {}),
        decide("told", "approve", "lead"),
        decide("two", "approve", "dana"),
        request("told-triage", |_| {}),
    ];
    client.publish(&inputs).await;
    crate::books::at_rest(stage, ROWS.len() + 7 + inputs.len(), SOON).await;
    let seen = events.settle(QUIET).await;
    check(
        seen,
        "told",
        &[
            ASKED,
            "assigned 1 [dana] 1",
            "reviewer assigned dana 1",
            "reviewer assigned eli 0",
            "reviewer assigned lead 0",
            "requester received",
            "rejected refused not_assigned",
        ],
    );
    check(
        seen,
        "told-triage",
        &[ASKED, UNASSIGNED[0], UNASSIGNED[1], "reviewer assigned dana 0", "reviewer assigned eli 0", UNASSIGNED[2]],
    );
    check(seen, "two", &["approved approved dana", "deferral 2037-01-31 gil/1 dana/2", "requester decided"]);
}
