//! `data` of each type: checked against its table of fields, then read into a command.

use super::{DECISION, SUBMITTED};
use crate::contract::fields::Fields;
use crate::domain::command::{Command, Decision, Submission, Verdict};
use crate::domain::dates::parse_date;
use crate::domain::exception::Request;
use crate::domain::fields::{self, Field};
use crate::domain::ids::{DecisionId, ExceptionId, TicketId, UserId};
use crate::domain::json::Json;

/// `data` as it came and as it was read.
pub(super) struct Data {
    pub(super) text: String,
    pub(super) value: Json,
}

/// The fields of a type that is built: what the decoder checks and the schemas are made of.
pub(in crate::contract) fn table(event_type: &str) -> Option<&'static [Field]> {
    match event_type {
        SUBMITTED => Some(&fields::SUBMISSION),
        DECISION => Some(&fields::DECISION),
        _ => None,
    }
}

/// What `data` asks for. Whatever is wrong with it is noted in `fields`; then there is no command, or it is not looked at.
pub(super) fn command(event_type: &str, fields: &mut Fields<'_>) -> Option<Command> {
    let table = table(event_type)?;
    fields.bounds(table);
    for field in table {
        fields.check(field);
    }
    let data = fields.data();
    match event_type {
        SUBMITTED => submission(data),
        DECISION => decision(data),
        _ => None,
    }
}

fn submission(data: &Json) -> Option<Command> {
    let date = |path| data.text_at(path).and_then(parse_date);
    let text = |path| data.text_at(path).map(str::to_owned);
    let current_due_date = date("ticket.current_due_date")?;
    let request = Request {
        ticket_title: text("ticket.title")?,
        severity: text("ticket.severity")?.to_ascii_lowercase(),
        requester: UserId::parse(data.text_at("requester.id")?).ok()?,
        team: text("requester.team"),
        reason: text("reason")?.to_ascii_lowercase(),
        original_due_date: date("ticket.original_due_date").unwrap_or(current_due_date),
        current_due_date,
        requested_due_date: date("requested_due_date")?,
        previous_exception_id: data.text_at("previous_exception_id").and_then(|id| ExceptionId::parse(id).ok()),
        batch_id: text("batch_id"),
    };
    Some(Command::Submit(Box::new(Submission {
        exception_id: ExceptionId::parse(data.text_at("exception_id")?).ok()?,
        ticket_id: TicketId::parse(data.text_at("ticket.id")?).ok()?,
        request,
        data: data.clone(),
    })))
}

fn decision(data: &Json) -> Option<Command> {
    let count = |path| match data.at(path) {
        Some(Json::Number(number)) => number.parse().ok(),
        _ => None,
    };
    Some(Command::Decide(Decision {
        decision_id: DecisionId::parse(data.text_at("decision_id")?).ok()?,
        exception_id: ExceptionId::parse(data.text_at("exception_id")?).ok()?,
        verdict: Verdict::parse(data.text_at("decision")?)?,
        reviewer: UserId::parse(data.text_at("reviewer.id")?).ok()?,
        approved_due_date: data.text_at("approved_due_date").and_then(parse_date),
        comment: data.text_at("comment").map(str::to_owned),
        expected_revision: count("expected_revision"),
    }))
}
