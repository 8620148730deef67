//! Balanced books: what must hold once everything has drained, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use reprieve::domain::exception::Exception;
use reprieve::domain::history::link;
use reprieve::store::Outcome;
use serde_json::Value;

use super::database::State;
use super::model::{Case, End, Model};
use super::traffic::Sent;
use super::world::World;

/// Checks the world at rest. `Err` says what is wrong with it.
pub(crate) fn judge(world: &World) -> Result<(), String> {
    let sent: BTreeMap<_, _> = world.sent.iter().map(|sent| ((sent.key, sent.digest), sent)).collect();
    let version = |exception: &Exception| (exception.id.to_string(), exception.assignment.rules_version.clone());
    let versions = world.database.exceptions.values().map(version).collect();
    let model = Model::fold(&world.database.log, &sent, &world.planted, versions)?;
    at_rest(world)?;
    outcomes(world, &model, &sent)?;
    failures(world, &model, &sent)?;
    let said = Said::read(world)?;
    same("answers", &model.rejected, &said.rejected)?;
    let database = &world.database;
    same("exceptions", &keys(&model.cases), &database.exceptions.keys().map(ToString::to_string).collect())?;
    for (id, exception) in &database.exceptions {
        let case = &model.cases[id.as_str()];
        state(exception, case)?;
        history(world, exception, case)?;
        let about = said.about.get(id.as_str()).cloned().unwrap_or_default();
        same(&format!("{id}: outputs"), &case.said, &about)?;
        deferrals(exception, &about)?;
        if !database.rule_sets.contains(&exception.assignment.rules_hash) {
            return Err(format!("{id}: the rules it was assigned by are not stored"));
        }
    }
    let counted = database.load.iter().filter(|(_, load)| **load > 0);
    same("open assignments", &model.load(), &counted.map(|(user, load)| (user.as_str(), *load)).collect())?;
    for (id, ticket) in &database.tickets {
        let approved = model.approved.get(id.as_str()).copied().unwrap_or_default();
        same(&format!("{id}: approved exceptions"), &approved, &ticket.approved)?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, found: &T) -> Result<(), String> {
    if wanted == found { Ok(()) } else { Err(format!("{what}:\n  expected {wanted:?}\n  found    {found:?}")) }
}

fn keys(cases: &BTreeMap<String, Case>) -> Vec<String> {
    cases.keys().cloned().collect()
}

/// Nothing is left anywhere, and what was committed to the outbox went out.
fn at_rest(world: &World) -> Result<(), String> {
    let database = &world.database;
    // A note outlives its process, and its message if another process settles that without one.
    if let Some((key, note)) =
        database.notes.iter().find(|(_, note)| !note.run.is_nil() && !world.dead.contains(&note.run))
    {
        return Err(format!("at rest there is a note about message {key}: {note:?}"));
    }
    if !world.broker.is_empty() || !database.outbox.is_empty() || !database.parked.is_empty() {
        let (outbox, parked) = (database.outbox.len(), database.parked.len());
        return Err(format!("at rest: queue {:?}, outbox {outbox}, parked {parked}", world.broker));
    }
    match database.bodies.keys().find(|row| !world.published.contains_key(row)) {
        Some(row) => Err(format!("row {row} left the outbox but was never published")),
        None => Ok(()),
    }
}

type Index<'a> = BTreeMap<(reprieve::store::EventKey, reprieve::domain::ids::Digest), &'a Sent>;

/// Each distinct (source, id) has exactly one outcome, the one it has to have; each other content is a conflict.
fn outcomes(world: &World, model: &Model<'_>, sent: &Index<'_>) -> Result<(), String> {
    for ((key, digest), sent) in sent {
        let Some((first, outcome)) = world.database.inbox.get(key) else {
            return Err(format!("the event {} has no outcome", sent.id));
        };
        let expected = model.ends.get(key).copied();
        let found = match outcome {
            Outcome::Applied | Outcome::Repeated => End::Applied,
            Outcome::Refused(code) => End::Refused(code),
            Outcome::Failed(reason) => End::Failed(reason),
            Outcome::Parked => End::Parked,
        };
        same(&format!("outcome of {}", sent.id), &expected, &Some(found))?;
        let known = |set: &BTreeSet<_>| set.contains(&(*key, *digest));
        if first != digest && !known(&model.conflicts) && !known(&model.processed) {
            return Err(format!("the event {} came with other content, and nobody noticed", sent.id));
        }
    }
    let distinct: std::collections::BTreeSet<_> = sent.keys().map(|(key, _)| *key).collect();
    same("events in the inbox", &distinct.len(), &world.database.inbox.len())
}

/// A failure keeps the bytes, and is open if and only if its event has no other end.
fn failures(world: &World, model: &Model<'_>, sent: &Index<'_>) -> Result<(), String> {
    let database = &world.database;
    let mut open = BTreeMap::new();
    for (name, failure) in &database.failures {
        let sent = sent[name];
        if failure.body != sent.body || failure.properties != sent.properties {
            return Err(format!("the failure of {} does not hold its bytes", sent.id));
        }
        let desk = &database.desk[&failure.id];
        if desk.state != State::Resolved {
            open.insert(*name, desk.reason);
        }
    }
    same("open failures", &model.open, &open)?;
    let mut failed = database.inbox.iter().filter(|(_, row)| matches!(row.1, Outcome::Failed(_)));
    match failed.find(|(key, row)| !database.failures.contains_key(&(**key, row.0))) {
        Some((key, _)) => Err(format!("the event {key} failed, and there is no failure")),
        None => Ok(()),
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap_or("null").to_owned()
}

/// The state is the model's.
fn state(exception: &Exception, case: &Case) -> Result<(), String> {
    let id = &exception.id;
    let state = (word(&exception.status), word(&exception.enforcement));
    same(&format!("{id}: state"), &(case.state.0.to_owned(), case.state.1.to_owned()), &state)?;
    same(&format!("{id}: superseded"), &case.superseded, &exception.ended_reason.is_some())?;
    same(&format!("{id}: revision"), &case.revision, &exception.revision)?;
    same(&format!("{id}: approved date"), &case.approved, &exception.approved_due_date)?;
    same(&format!("{id}: level"), &case.level, &(exception.level.number as usize))?;
    let votes: Vec<_> =
        exception.votes.iter().map(|v| (v.reviewer.as_str(), v.level as usize, v.approved_due_date)).collect();
    same(&format!("{id}: votes"), &case.votes, &votes)?;
    let last = case.said.len();
    same(&format!("{id}: sequence"), &last, &(exception.sequence as usize))
}

/// The history is the model's, and its chain holds up to the head that the exception keeps.
fn history(world: &World, exception: &Exception, case: &Case) -> Result<(), String> {
    let id = &exception.id;
    let entries = world.database.history.get(id).map(Vec::as_slice).unwrap_or_default();
    let mut head = [0; 32];
    let mut found = Vec::new();
    for (entry, number) in entries.iter().zip(1..) {
        let what = &entry.happening;
        head = link(&head, id.as_str(), number, &what.fields());
        same(&format!("{id}: hash of entry {number}"), &head, &entry.hash)?;
        let event = what.event.as_ref().map_or("-", |event| &event.id);
        let outcome = format!("{} {}", what.outcome.word(), what.code.unwrap_or_default());
        found.push(format!("r{} {event} {} by {}: {outcome}", what.revision, what.kind, what.actor.id));
    }
    same(&format!("{id}: head of the chain"), &exception.chain.head, &head)?;
    same(&format!("{id}: entries"), &(exception.chain.entries as usize), &entries.len())?;
    same(&format!("{id}: history"), &case.history, &found)
}

/// Approved, whatever became of it later, if and only if the ticket was deferred, once.
fn deferrals(exception: &Exception, about: &[String]) -> Result<(), String> {
    let approved = usize::from(word(&exception.status) == "approved");
    let deferrals = about.iter().filter(|said| said.contains(": defer ")).count();
    same(&format!("{}: deferrals", exception.id), &approved, &deferrals)
}

/// All that went out, each once, as the model says it.
#[derive(Default)]
struct Said {
    about: BTreeMap<String, Vec<String>>,
    rejected: BTreeMap<String, u32>,
}

impl Said {
    fn read(world: &World) -> Result<Self, String> {
        let mut said = Self::default();
        let mut ids = std::collections::BTreeSet::new();
        for body in world.database.bodies.values() {
            let event: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
            if !ids.insert(event["id"].to_string()) {
                return Err(format!("two outputs have one id: {body}"));
            }
            let data = &event["data"];
            if event["type"] == "event.rejected.v1" {
                let of = [&data["event_source"], &data["event_id"], &data["kind"], &data["code"]];
                *said.rejected.entry(of.map(text).join(" ")).or_default() += 1;
            } else {
                let (sequence, cause) = (text(&event["sequence"]), text(&event["causationid"]));
                let line = format!("{sequence} r{} because of {cause}: {}", data["revision"], describe(&event, data)?);
                said.about.entry(text(&data["exception_id"])).or_default().push(line);
            }
        }
        said.about.values_mut().for_each(|lines| lines.sort());
        Ok(said)
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value, of: fn(&Value) -> &Value) -> String {
    value
        .as_array()
        .map(|items| items.iter().map(|item| text(of(item))).collect::<Vec<_>>().join(","))
        .unwrap_or_default()
}

fn describe(event: &Value, data: &Value) -> Result<String, String> {
    let field = |name: &str| text(&data[name]);
    Ok(match text(&event["type"]).as_str() {
        "exception.status_changed.v1" => format!(
            "status {}/{}>{}/{} {} {}",
            field("from_status"),
            field("from_enforcement"),
            field("to_status"),
            field("to_enforcement"),
            field("cause"),
            text(&data["actor"]["id"])
        ),
        "exception.assigned.v1" => format!(
            "assigned level {} to {} quorum {} unassigned {}",
            field("level"),
            list(&data["reviewers"], |reviewer| reviewer),
            field("quorum"),
            field("unassigned")
        ),
        "exception.vote_recorded.v1" => format!(
            "vote {} level {} until {} {}/{}",
            field("reviewer"),
            field("level"),
            field("approved_due_date"),
            field("votes"),
            field("votes_needed")
        ),
        "notification.reviewer.v1" => {
            format!(
                "tell {} {} level {}",
                text(&data["recipient"]["id"]),
                field("kind"),
                text(&data["recipient"]["level"])
            )
        }
        "notification.requester.v1" => {
            format!("tell {} {} {}", text(&data["recipient"]["id"]), field("kind"), field("status"))
        }
        "ticket.deferral_requested.v1" => format!(
            "defer {} until {} by {}",
            field("ticket_id"),
            field("new_due_date"),
            list(&data["approved_by"], |by| &by["id"])
        ),
        other => return Err(format!("an output of the unknown type {other}")),
    })
}
