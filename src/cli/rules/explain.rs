//! `rules explain`: how a stored exception was routed, by the rules file that was in force; or how the present file would
//! route an event, for which no database is needed.
//!
//! What was known then comes from the stored submission, from when it was applied, and from the other exceptions of its
//! ticket; what the stored explanation says was found is taken from there. Absences of that day are only known from the
//! levels as they were filled.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;

use super::submission::{self, Document};
use crate::cli::output::Output;
use crate::cli::{Code, ExitError, input, parts};
use crate::config::Config;
use crate::domain::command::Submission;
use crate::domain::dates::Timestamp;
use crate::domain::exception::{Exception, Status};
use crate::domain::ids::ExceptionId;
use crate::domain::routing::{Question, Routing};
use crate::domain::rules::{Derived, Explanation, RuleSet};
use crate::domain::ticket::Ticket;
use crate::store::submissions::Submitted;

mod page;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The exception, as upstream calls it
    #[arg(required_unless_present = "event", conflicts_with = "event")]
    exception_id: Option<String>,
    /// Explain this event, or the data of a submission, without a database; - for standard input
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// How many exceptions of the ticket were approved before
    #[arg(long, value_name = "N", requires = "event", default_value_t = 0)]
    previous_exceptions: u32,
    /// The rules file of today, instead of the one the worker would use
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// The contract's `explanation`, all conditions in it, and what goes with it.
#[derive(Debug, Serialize)]
struct Explained {
    exception_id: ExceptionId,
    /// What the exception is now; nothing for an event.
    status: Option<Status>,
    /// When it was submitted, or the present time for an event.
    at: Timestamp,
    #[serde(flatten)]
    explanation: Explanation,
    /// What else the rule says; nothing where its file is not known any more.
    routing: Option<Routing>,
    derived: Option<Derived>,
    /// What the present file makes of it, where that is something else.
    today: Option<Routing>,
    /// What a person should know about this answer.
    notes: Vec<String>,
}

pub(super) async fn run(arguments: &Arguments, config: &Config, output: &Output) -> Result<(), ExitError> {
    let rules = arguments.rules.as_ref().unwrap_or(&config.rules);
    let explained = if let Some(file) = &arguments.event {
        let submission = event(file)?;
        of_event(&submission, arguments.previous_exceptions, &super::load(rules)?, now(config.clock_offset))
    } else {
        of_stored(arguments.exception_id.as_deref().unwrap_or_default(), rules, config).await?
    };
    output.object(&explained, page::page)
}

/// The worker's clock.
pub(super) fn now(offset: TimeDelta) -> Timestamp {
    chrono::Utc::now() + offset
}

fn event(file: &Path) -> Result<Submission, ExitError> {
    let mut opened = input::open(file)?;
    let mut text = String::new();
    let usage = |why: String| ExitError::new(Code::Usage, format!("{}: {why}", file.display()));
    opened.reader.read_to_string(&mut text).map_err(|error| usage(error.to_string()))?;
    match submission::read(&text) {
        Ok(Document::Submission(submission)) => Ok(*submission),
        Ok(Document::Other(other)) => Err(usage(format!("expected a submission, found the type {other}"))),
        Err(fault) => Err(usage(format!("{}: {}", fault.reason.word(), fault.message))),
    }
}

fn of_event(submission: &Submission, previous: u32, rules: &RuleSet, at: Timestamp) -> Explained {
    let ticket = Ticket {
        id: submission.ticket_id.clone(),
        earliest_due_date: submission.request.original_due_date,
        approved: previous,
        last_event_at: None,
    };
    let question = Question { submission, ticket: Some(&ticket), at };
    Explained {
        exception_id: submission.exception_id.clone(),
        status: None,
        at,
        explanation: question.explanation(rules),
        routing: Some(question.routing(rules)),
        derived: Some(question.derived(rules)),
        today: None,
        notes: Vec::new(),
    }
}

async fn of_stored(id: &str, rules: &Path, config: &Config) -> Result<Explained, ExitError> {
    let id = ExceptionId::parse(id)
        .map_err(|error| ExitError::new(Code::Usage, format!("{id:?} is not an exception id: {error}")))?;
    let submissions = parts::submissions(config)?;
    let found = submissions.of(&id).await?;
    let Some(stored) = found else {
        return Err(ExitError::new(Code::NotFound, format!("no exception has the id {id}")));
    };
    let text = submissions.rule_set(&stored.exception.assignment.rules_hash).await?;
    let then = text.and_then(|text| RuleSet::parse(&text).ok());
    let Ok(Document::Submission(submission)) = submission::read(&stored.data) else {
        return Err(ExitError::failed(format!("the stored submission of {id} cannot be read")));
    };
    Ok(again(&stored, &submission, then.as_ref(), super::load(rules).as_ref()))
}

/// Asks the same question again, of the rules of then and of today.
fn again(
    stored: &Submitted,
    submission: &Submission,
    then: Option<&RuleSet>,
    today: Result<&RuleSet, &ExitError>,
) -> Explained {
    let exception = &stored.exception;
    let ticket = ticket_then(&stored.ticket, exception);
    let question = Question { submission, ticket: Some(&ticket), at: stored.at };
    let assignment = &exception.assignment;
    let mut notes = Vec::new();
    let mut explanation = assignment.explanation.clone();
    let routing = then.map(|then| question.routing(then));
    match then {
        None => notes.push("the rules file of then is not stored: this is what was explained then".to_owned()),
        Some(then) => {
            let found = question.explanation(then);
            if found.rule == assignment.rule {
                explanation = Explanation { truncated: false, ..found };
                explanation.begun(exception);
            } else {
                let message = "asked again, the same file leads to the rule {}: this is what was explained then";
                notes.push(message.replace("{}", &found.rule));
            }
        }
    }
    let today = today.map(|today| question.routing(today));
    let differs = |today: &Routing| match &routing {
        Some(then) => then != today,
        None => assignment.rule != today.rule,
    };
    if let Err(error) = &today {
        notes.push(format!("today nothing can be said: {}", error.message.lines().next().unwrap_or_default()));
    }
    Explained {
        exception_id: exception.id.clone(),
        status: Some(exception.status),
        at: stored.at,
        derived: then.map(|then| question.derived(then)),
        today: today.ok().filter(differs),
        explanation,
        routing,
        notes,
    }
}

/// The ticket as it was. What the stored explanation says was found is better than what can be found now.
fn ticket_then(ticket: &Ticket, exception: &Exception) -> Ticket {
    let explanation = &exception.assignment.explanation;
    let mut ticket = ticket.clone();
    if let Some(previous) = explanation.found("previous_exceptions").and_then(|text| text.parse().ok()) {
        ticket.approved = previous;
    }
    let days = explanation.found("cumulative_extension_days").and_then(|text| text.parse().ok());
    let earliest = days
        .and_then(TimeDelta::try_days)
        .and_then(|days| exception.request.requested_due_date.checked_sub_signed(days));
    ticket.earliest_due_date = earliest.unwrap_or(ticket.earliest_due_date);
    ticket
}
