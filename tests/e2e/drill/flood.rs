//! Five hundred bad messages of three kinds among two hundred good ones.

use std::time::Duration;

use super::FLOOD;
use super::transcript::Transcript;
use crate::support::amqp::{Client, Message};
use crate::support::eventually;
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{RULES, decide, envelope, submission, submit};

const SOON: Duration = Duration::from_secs(60);
const GOOD: usize = 200;
const TRUNCATED: usize = 300;
const EARLY: usize = 199;

/// A submission whose ticket has no severity that is a text.
fn wrong() -> serde_json::Value {
    let mut data = submission("W", "high");
    data["ticket"]["severity"] = 7.into();
    envelope("s-W", "exception.submitted.v1", &data)
}

/// All in one order: two bad ones, a good one, and so on.
fn flood() -> Vec<Message> {
    let whole = envelope("t", "exception.submitted.v1", &submission("T", "low")).to_string();
    let truncated = (0..TRUNCATED).map(|number| {
        let cut = format!("{number} {}", &whole[..whole.len() / 2]);
        Message::raw("exception.submitted.v1", cut).content_type("application/cloudevents+json")
    });
    let early = (0..EARLY).map(|number| decide(&format!("E{number:03}"), "approve", "alice"));
    let mut bad = truncated.chain(early).chain([Message::structured(&wrong())]).collect::<Vec<_>>().into_iter();
    let mut all = Vec::new();
    for number in 0..GOOD {
        all.extend(bad.by_ref().take(2));
        all.push(submit(&format!("G{number:03}"), "low"));
    }
    all.extend(bad);
    all
}

async fn failures(setup: &WorkerSetup, count: u64) {
    let counted = async || {
        let groups: serde_json::Value =
            serde_json::from_str(&setup.cli_ok(&["failures", "groups", "-o", "json"]).await).unwrap();
        let groups = groups["items"].as_array().unwrap().clone();
        (groups.iter().map(|group| group["count"].as_u64().unwrap()).sum::<u64>() == count).then_some(())
    };
    eventually(&format!("{count} open failures"), SOON, counted).await;
}

pub(crate) async fn five_hundred_bad_messages_among_good_ones() {
    let stage = Stage::shared("drill_flood").await;
    let setup = stage.worker().rules(RULES).env("REPRIEVE_PARKING__TTL", "2s");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    client.publish(&flood()).await;
    failures(&setup, 500).await;
    let mut told = Transcript::new(FLOOD, &[]);

    told.say("Upstream has had a bad deployment: among good requests there are bodies that are cut, decisions whose submissions never came, and one submission with a wrong field. The log has a line for each, and the alarm is [ReprieveFailuresGrowing](operations.md#reprievefailuresgrowing). The worker is well, and the good ones went through at once:");
    told.log(&worker, 0, "failed: schema").await;
    told.probe(&worker, 200, "ready").await;
    told.run(&setup, "audit verify", 0).await;
    told.say("Begin with the kinds, not with the five hundred:");
    told.run(&setup, "failures groups", 0).await;

    told.say("### The one with a wrong field\n\nIts page says what is wrong, what helps, and what to type:");
    let found = setup.cli_ok(&["failures", "list", "--reason", "schema", "-o", "jsonl"]).await;
    let failure: serde_json::Value = serde_json::from_str(found.trim()).unwrap();
    let id = told.id(failure["failure_id"].as_str().unwrap());
    told.run(&setup, &format!("failures show {id}"), 0).await;
    told.say(
        "Save the bytes, put the field right, ask whether it would be read, and have it tried. The old bytes are kept:",
    );
    let mended = wrong().to_string().replace("\"severity\":7", "\"severity\":\"high\"");
    assert_ne!(mended, wrong().to_string());
    std::fs::write(stage.folder().join("body.json"), mended).unwrap();
    told.typed(&format!(
        "$ reprieve failures show {id} --raw > body.json\n$ sed -i 's/\"severity\":7/\"severity\":\"high\"/' body.json"
    ));
    told.run(&setup, "schema validate body.json", 0).await;
    told.run(&setup, &format!("failures edit {id} --body body.json"), 0).await;
    let resolved = async || {
        let shown = setup.cli_ok(&["failures", "list", "--state", "resolved", "-o", "jsonl"]).await;
        shown.contains("failure_id").then_some(())
    };
    eventually("the edit to be applied", SOON, resolved).await;

    told.say("### The decisions without their submissions\n\nUpstream sends the submissions; then all of the kind are tried again, by filter. First what it would be, then the same with `--yes`:");
    let submissions: Vec<_> = (0..EARLY).map(|number| submit(&format!("E{number:03}"), "low")).collect();
    client.publish(&submissions).await;
    crate::books::at_rest(&stage, 500 + GOOD + EARLY, SOON).await;
    told.run(&setup, "failures retry --reason orphaned --dry-run", 0).await;
    told.run(&setup, "failures retry --reason orphaned --yes", 0).await;
    let approved = async || {
        let sql = "SELECT count(*) FROM exceptions WHERE status = 'approved'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        (usize::try_from(count) == Ok(EARLY)).then_some(())
    };
    eventually("every decision that came too early to be applied", SOON, approved).await;
    told.run(&setup, "failures groups", 0).await;

    told.say("### What is cut\n\nNobody can mend half a body: upstream sends those anew, and these are put aside. They stay in the database with their bytes:");
    told.run(&setup, "failures discard --reason bad_json --yes", 0).await;
    told.say(
        "Nothing is open, nothing waits, and every decision that was tried again is in the history, which is whole:",
    );
    told.run(&setup, "failures groups", 0).await;
    told.run(&setup, "parked list", 0).await;
    told.run(&setup, "outbox status", 0).await;
    told.run(&setup, "audit verify", 0).await;
    crate::crashes::end(&[worker]).await;
    told.end();
}
