//! Events that are well-formed: what came before them decides.

use serde_json::{Value, json};

use super::{Outcome, Table, envelope, set, structured};

pub(super) fn add(table: &mut Table) {
    repeats(table);
    waiting(table);
    refusals(table);
}

fn again(good: &Value, id: &str) -> Value {
    set(good.clone(), "id", &json!(id))
}

fn repeats(table: &mut Table) {
    table.section = "Repeats and conflicts";
    let good = table.submission();
    let mut later = set(good.clone(), "time", &json!("2026-11-24T09:00:00Z"));
    later["subject"] = json!("x");
    let inputs = vec![structured(&good), structured(&later), super::binary(&good, "ce-")];
    table.row("the same source, id and content, in either mode", Outcome::Repeated, inputs).before =
        vec![structured(&good).message];
    let good = table.submission();
    let other = set(good.clone(), "data.ticket.title", &json!("other"));
    table
        .row("the same source and id, other content", Outcome::Failed("id_conflict"), vec![structured(&other)])
        .before = vec![structured(&good).message];
    let good = table.submission();
    table
        .row(
            "the same `exception_id` and content under a new id",
            Outcome::Repeated,
            vec![structured(&again(&good, "new-1"))],
        )
        .before = vec![structured(&good).message];
    let good = table.submission();
    let other = again(&set(good.clone(), "data.ticket.title", &json!("other")), "new-2");
    table
        .row("the same `exception_id`, other content", Outcome::Refused("exception_exists"), vec![structured(&other)])
        .before = vec![structured(&good).message];
    let (submission, decision) = table.decision();
    let before = vec![structured(&submission).message, structured(&decision).message];
    table
        .row(
            "the same `decision_id` and content under a new id",
            Outcome::Repeated,
            vec![structured(&again(&decision, "new-3"))],
        )
        .before = before;
    let (submission, decision) = table.decision();
    let other = again(&set(decision.clone(), "data.comment", &json!("other")), "new-4");
    table
        .row("the same `decision_id`, other content", Outcome::Refused("decision_exists"), vec![structured(&other)])
        .before = vec![structured(&submission).message, structured(&decision).message];
}

fn waiting(table: &mut Table) {
    table.section = "Order";
    let (submission, decision) = table.decision();
    table.row("a decision before its submission", Outcome::Parked, vec![structured(&decision)]).after =
        vec![structured(&submission).message];
    let (submission, decision) = table.decision();
    let second = envelope(
        "second-1",
        super::DECISION,
        set(decision.clone(), "data.decision", &json!("approve"))["data"].clone(),
    );
    let second = set(second, "data.decision_id", &json!("D-second"));
    table
        .row("a second decision after the final one", Outcome::Refused("already_final"), vec![structured(&second)])
        .before = vec![structured(&submission).message, structured(&decision).message];
}

fn refusals(table: &mut Table) {
    table.section = "Refusals";
    let mut decided = |input: &str, code: &'static str, changes: &[(&str, &str)]| {
        let (submission, mut decision) = table.decision();
        for (path, value) in changes {
            decision = set(decision, path, &json!(value));
        }
        table.row(input, Outcome::Refused(code), vec![structured(&decision)]).before =
            vec![structured(&submission).message];
    };
    for spelling in ["zoe@example.com", " ZOE@example.com ", "Zoe@EXAMPLE.com"] {
        let input = format!("a decision by the requester, spelled `{spelling}`");
        decided(&input, "self_approval", &[("data.reviewer.id", spelling), ("data.decision", "approve")]);
    }
    decided("a decision by a stranger", "not_assigned", &[("data.reviewer.id", "mallory@example.com")]);
    decided("a denial without a comment, with a blank one", "comment_required", &[("data.comment", " \t\n")]);
    decided(
        "an approved date that is the current one",
        "date_not_after_current",
        &[("data.decision", "approve"), ("data.approved_due_date", "2036-12-05")],
    );
    decided(
        "an approved date over the limit",
        "date_over_limit",
        &[("data.decision", "approve"), ("data.approved_due_date", "2038-12-05")],
    );
    decided(
        "an approved date in year 9999",
        "date_over_limit",
        &[("data.decision", "approve"), ("data.approved_due_date", "9999-12-31")],
    );
    table.submissions(
        "a requested date that is the current one, or before it",
        Outcome::Refused("date_not_after_current"),
        &[("data.requested_due_date", json!("2036-12-05")), ("data.requested_due_date", json!("0001-01-01"))],
    );
    table.submissions(
        "a reason the rules do not know",
        Outcome::Refused("unknown_reason"),
        &[("data.reason", json!("whim"))],
    );
    let (good, other) = (table.submission(), table.submission());
    let other = set(other, "data.ticket.id", &good["data"]["ticket"]["id"]);
    table
        .row("a second open request for the ticket", Outcome::Refused("open_request_exists"), vec![structured(&other)])
        .before = vec![structured(&good).message];
    let critical = set(table.submission(), "data.ticket.severity", &json!("critical"));
    let vote = |id: &str| {
        let data = json!({ "decision_id": id, "exception_id": critical["data"]["exception_id"], "decision": "approve", "reviewer": { "id": "alice@example.com" } });
        envelope(id, super::DECISION, data)
    };
    table
        .row("two approvals by the same reviewer", Outcome::Refused("already_voted"), vec![structured(&vote("vote-2"))])
        .before = vec![structured(&critical).message, structured(&vote("vote-1")).message];
    table.section = "Assignment";
    table.submissions(
        "the only reviewer is the requester: triage is told, nothing is approved",
        Outcome::Applied,
        &[("data.requester.id", json!("Alice@example.com"))],
    );
}
