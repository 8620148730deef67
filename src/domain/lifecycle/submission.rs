//! `exception.submitted`: T1 to T4. The guards are tried in order; then the rule's limits and what it decides by itself; only
//! then a level begins.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::{Ruling, Scene, close, date_guards, decided, enforce, tell_reviewers};
use crate::domain::actor::Actor;
use crate::domain::command::Submission;
use crate::domain::emission::{Emission, RequesterNotice, ReviewerNotice};
use crate::domain::exception::{Cause, Enforcement, Exception, Status};
use crate::domain::history::Chain;
use crate::domain::ids::Digest;
use crate::domain::json::Json;
use crate::domain::refusal::Refusal;
use crate::domain::rules::{Assignment, Auto, Derived, Facts, Level, Notify, Rule, RuleSet};
use crate::domain::ticket::Ticket;

/// What is known when a submission comes in.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The exception of this id.
    pub existing: Option<&'a Exception>,
    /// The ticket, if any exception named it before.
    pub ticket: Option<&'a Ticket>,
    /// Whether another request for the ticket is open.
    pub ticket_has_open: bool,
}

/// `exception.submitted`: T1, T2, T3, T4, T25.
pub fn submit(submission: &Submission, digest: Digest, before: Before<'_>, scene: Scene<'_>) -> Ruling {
    if let Some(existing) = before.existing {
        return if existing.submission == digest { Ruling::Nothing } else { Ruling::Refused(Refusal::ExceptionExists) };
    }
    new_exception(submission, digest, before, scene).into()
}

fn new_exception(
    submission: &Submission,
    digest: Digest,
    before: Before<'_>,
    scene: Scene<'_>,
) -> Result<(Exception, Vec<Emission>), Refusal> {
    let request = &submission.request;
    permitted(submission, before, scene)?;
    let earliest = earliest_due_date(submission, before.ticket);
    let derived = derive(submission, earliest, before.ticket, scene.today());
    let (rule, assignment) = scene.rules.find(&Facts { data: &submission.data, derived }, &request.requester);
    required(rule, &submission.data)?;
    let verdict = decided_by_policy(rule, &assignment, submission, derived, earliest);
    let mut exception = requested(submission, digest, assignment, scene);
    let opening = Emission::StatusChanged {
        from: None,
        to: exception.state(),
        cause: Cause::Submitted,
        actor: Actor::user(&request.requester),
        comment: None,
    };
    let mut emissions = vec![opening];
    match verdict {
        None => emissions.extend(assigned(&mut exception, before.ticket, scene)),
        Some(Cause::AutoApproved) => {
            let policy = Actor::policy(&rule.name);
            emissions.extend(enforce(&mut exception, Cause::AutoApproved, &policy, None, earliest, scene.now));
        }
        Some(cause) => {
            let policy = Actor::policy(&rule.name);
            let denied = (Status::Denied, Enforcement::None);
            emissions.push(close(&mut exception, denied.0, denied.1, cause, &policy, None, scene.now));
            emissions.push(decided(&policy, None));
        }
    }
    Ok((exception, emissions))
}

/// T3 and T4: what the rule decides by itself, at once and in the same revision. A broken limit comes before `auto`.
fn decided_by_policy(
    rule: &Rule,
    assignment: &Assignment,
    submission: &Submission,
    derived: Derived,
    earliest: NaiveDate,
) -> Option<Cause> {
    let auto = rule.auto.map(|auto| match auto {
        Auto::Approve => Cause::AutoApproved,
        Auto::Deny => Cause::AutoDenied,
    });
    broken_limit(assignment, submission, derived, earliest).or(auto)
}

/// The first limit that the request breaks, in the order of the contract's causes: the mandated date comes last.
pub(in crate::domain) fn broken_limit(
    assignment: &Assignment,
    submission: &Submission,
    derived: Derived,
    earliest: NaiveDate,
) -> Option<Cause> {
    let request = &submission.request;
    let by_date = assignment.broken_by(request.requested_due_date, request.current_due_date, earliest);
    let by_previous =
        assignment.broken_by_previous(derived.previous_exceptions).then_some(Cause::MaxPreviousExceptions);
    match by_date {
        Some(Cause::KevDueDate) | None => by_previous.or(by_date),
        other => other,
    }
}

/// The exception before anybody was asked.
fn requested(submission: &Submission, digest: Digest, assignment: Assignment, scene: Scene<'_>) -> Exception {
    Exception {
        id: submission.exception_id.clone(),
        ticket_id: submission.ticket_id.clone(),
        submission: digest,
        request: submission.request.clone(),
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 0,
        assignment,
        level: Level::none(),
        votes: Vec::new(),
        decisions: BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain: Chain::default(),
        created_at: scene.now,
        updated_at: scene.now,
        decided_at: None,
    }
}

/// The guards of a submission up to the rules.
fn permitted(submission: &Submission, before: Before<'_>, scene: Scene<'_>) -> Result<(), Refusal> {
    let request = &submission.request;
    if !scene.rules.may_request(&request.requester, request.team.as_deref()) {
        return Err(Refusal::RequesterNotPermitted);
    }
    if !scene.rules.reasons.contains(&request.reason) {
        return Err(Refusal::UnknownReason);
    }
    date_guards(request.requested_due_date, request.current_due_date, scene.today())?;
    if before.ticket_has_open { Err(Refusal::OpenRequestExists) } else { Ok(()) }
}

pub(in crate::domain) fn earliest_due_date(submission: &Submission, ticket: Option<&Ticket>) -> NaiveDate {
    let original = submission.request.original_due_date;
    ticket.map_or(original, |ticket| ticket.earliest_due_date.min(original))
}

pub(in crate::domain) fn derive(
    submission: &Submission,
    earliest: NaiveDate,
    ticket: Option<&Ticket>,
    today: NaiveDate,
) -> Derived {
    let request = &submission.request;
    Derived {
        extension_days: (request.requested_due_date - request.current_due_date).num_days(),
        cumulative_extension_days: (request.requested_due_date - earliest).num_days(),
        previous_exceptions: ticket.map_or(0, |ticket| i64::from(ticket.approved)),
        days_to_due: (request.current_due_date - today).num_days(),
    }
}

fn required(rule: &Rule, data: &Json) -> Result<(), Refusal> {
    let empty = |path: &String| match data.at(path) {
        None => true,
        Some(Json::Text(text)) => text.trim().is_empty(),
        Some(Json::List(items)) => items.is_empty(),
        Some(Json::Object(members)) => members.is_empty(),
        Some(_) => false,
    };
    if rule.require.iter().any(empty) { Err(Refusal::FieldRequired) } else { Ok(()) }
}

/// T1, and T2 where the level stays unassigned.
fn assigned(exception: &mut Exception, ticket: Option<&Ticket>, scene: Scene<'_>) -> Vec<Emission> {
    let filling = scene.filling(&exception.id, &exception.request.requester);
    exception.level = exception.assignment.begin(1, filling).unwrap_or_else(nobody);
    let kind = if exception.level.unassigned { ReviewerNotice::Unassigned } else { ReviewerNotice::Assigned };
    let mut emissions = vec![Emission::Assigned];
    emissions.extend(tell_reviewers(exception, kind, ticket));
    emissions.extend(tell_everybody(exception, ticket, scene.rules));
    emissions.push(Emission::NotifyRequester { kind: RequesterNotice::Received, decided_by: None, comment: None });
    emissions
}

/// A level nobody can fill can never be completed by nobody.
fn nobody() -> Level {
    Level { unassigned: true, ..Level::none() }
}

/// `notify: all`: whoever might review is told as of level 0, which gives no right. Nobody is told twice, and the requester
/// not as a reviewer.
fn tell_everybody(exception: &Exception, ticket: Option<&Ticket>, rules: &RuleSet) -> Vec<Emission> {
    if rules.notify == Notify::Assigned {
        return Vec::new();
    }
    let told: BTreeSet<_> = exception.level.reviewers.iter().chain([&exception.request.requester]).collect();
    let others = rules.eligible().iter().filter(|user| !told.contains(user));
    others.map(|user| super::notice(exception, ReviewerNotice::Assigned, user, 0, ticket)).collect()
}
