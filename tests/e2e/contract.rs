//! The contract from outside: names, fields and exit codes as integrators rely on them, driven through the built binary,
//! the broker and HTTP alone. What goes out is in `outputs`, what is turned away in `rejections`, what scripts see in `commands`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};

mod commands;
mod outputs;
mod rejections;

pub(crate) use commands::{
    exit_codes_are_as_written, probes_tell_alive_from_ready, the_worker_needs_no_configure_right,
};
pub(crate) use outputs::{
    a_request_goes_through_two_levels, an_unroutable_notification_waits_for_its_queue,
    both_modes_and_mistyped_routing_keys_are_read, nobody_to_review_goes_to_triage,
};
pub(crate) use rejections::{
    an_orphan_becomes_a_failure, refusals_are_answered_once_and_change_nothing,
    repeats_have_no_effect_and_conflicts_are_told, what_cannot_be_processed_is_stored_and_announced,
};

const SOON: Duration = Duration::from_secs(20);

const RULES: &str = r#"
apiVersion: reprieve/v1
version: "7"
settings: { triage: [lead@example.com], reasons: [fix_unavailable] }
rules:
  - name: two-levels
    match: { ticket.severity: critical }
    levels:
      - { reviewers: { users: [dana@example.com] } }
      - { reviewers: { users: [alice@example.com, bob@example.com] }, quorum: 2 }
  - name: nobody
    match: { ticket.severity: info }
    reviewers: none
fallback:
  require: [justification]
  levels: [{ reviewers: { users: [alice@example.com] } }]
"#;

async fn stage(name: &str) -> (Stage, WorkerSetup, Client) {
    let stage = Stage::shared(name).await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    (stage, setup, client)
}

async fn ready(setup: &WorkerSetup) -> Worker {
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    worker
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn check_keys(value: &Value, expected: &str) {
    assert_eq!(keys(value), expected.split_whitespace().collect(), "{value}");
}

/// What every event about an exception has.
const ABOUT: &str = "exception_id ticket_id revision ";
