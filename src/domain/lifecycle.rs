//! The whole table of transitions: (state, command, rules, now) to a ruling. Pure; the numbers T1 to T25 and the order of the
//! guards are those of ARCHITECTURE.md, "Transitions". The first guard that fails names the code.

use chrono::NaiveDate;

use super::actor::{Actor, ActorKind};
use super::command::{Decision, Submission, Verdict};
use super::dates::{Timestamp, day};
use super::emission::{Emission, RequesterNotice, ReviewerNotice};
use super::exception::{Cause, EndedReason, Enforcement, Exception, Status, Vote};
use super::history::Chain;
use super::ids::Digest;
use super::json::Json;
use super::refusal::Refusal;
use super::rules::{Assignment, Derived, Facts, Level, Rule, RuleSet};
use super::ticket::Ticket;

/// What comes of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// The exception after it, and what is said.
    Applied(Box<Exception>, Vec<Emission>),
    /// A repeat: applied without effect.
    Nothing,
    /// No.
    Refused(Refusal),
}

impl From<Result<(Exception, Vec<Emission>), Refusal>> for Ruling {
    fn from(result: Result<(Exception, Vec<Emission>), Refusal>) -> Self {
        match result {
            Ok((exception, emissions)) => Ruling::Applied(Box::new(exception), emissions),
            Err(refusal) => Ruling::Refused(refusal),
        }
    }
}

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

/// `exception.submitted`: T1, T2, T4, T25.
pub fn submit(submission: &Submission, digest: Digest, before: Before<'_>, rules: &RuleSet, now: Timestamp) -> Ruling {
    if let Some(existing) = before.existing {
        return if existing.submission == digest { Ruling::Nothing } else { Ruling::Refused(Refusal::ExceptionExists) };
    }
    new_exception(submission, digest, before, rules, now).into()
}

fn new_exception(
    submission: &Submission,
    digest: Digest,
    before: Before<'_>,
    rules: &RuleSet,
    now: Timestamp,
) -> Result<(Exception, Vec<Emission>), Refusal> {
    let request = &submission.request;
    let today = day(now, rules.zone);
    permitted(submission, before, rules, today)?;
    let derived = derive(submission, before.ticket, today);
    let (rule, mut assignment) = rules.find(&Facts { data: &submission.data, derived }, &request.requester);
    required(rule, &submission.data)?;
    let over_limit = derived.extension_days > rule.max_extension_days;
    let level = assignment.begin(1, &request.requester).unwrap_or_else(nobody);
    let exception = Exception {
        id: submission.exception_id.clone(),
        ticket_id: submission.ticket_id.clone(),
        submission: digest,
        request: request.clone(),
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 0,
        assignment,
        level,
        votes: Vec::new(),
        decisions: std::collections::BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain: Chain::default(),
        created_at: now,
        updated_at: now,
        decided_at: None,
    };
    let opening = Emission::StatusChanged {
        from: None,
        to: exception.state(),
        cause: Cause::Submitted,
        actor: Actor::user(&request.requester),
        comment: None,
    };
    Ok(if over_limit { denied_by_policy(exception, opening, now) } else { assigned(exception, opening, before.ticket) })
}

/// A level nobody can fill still has a number and can never be completed by nobody.
fn nobody() -> Level {
    Level { number: 1, reviewers: Vec::new(), quorum: 1, unassigned: true }
}

/// The guards of a submission up to the rules.
fn permitted(submission: &Submission, before: Before<'_>, rules: &RuleSet, today: NaiveDate) -> Result<(), Refusal> {
    let request = &submission.request;
    if !rules.may_request(&request.requester, request.team.as_deref()) {
        return Err(Refusal::RequesterNotPermitted);
    }
    if !rules.reasons.contains(&request.reason) {
        return Err(Refusal::UnknownReason);
    }
    date_guards(request.requested_due_date, request.current_due_date, today)?;
    if before.ticket_has_open { Err(Refusal::OpenRequestExists) } else { Ok(()) }
}

fn date_guards(date: NaiveDate, current: NaiveDate, today: NaiveDate) -> Result<(), Refusal> {
    if date <= current {
        return Err(Refusal::DateNotAfterCurrent);
    }
    if date < today { Err(Refusal::DateInPast) } else { Ok(()) }
}

fn derive(submission: &Submission, ticket: Option<&Ticket>, today: NaiveDate) -> Derived {
    let request = &submission.request;
    let earliest = ticket.map_or(request.original_due_date, |t| t.earliest_due_date.min(request.original_due_date));
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
fn assigned(exception: Exception, opening: Emission, ticket: Option<&Ticket>) -> (Exception, Vec<Emission>) {
    let kind = if exception.level.unassigned { ReviewerNotice::Unassigned } else { ReviewerNotice::Assigned };
    let mut emissions = vec![opening, Emission::Assigned];
    emissions.extend(tell_reviewers(&exception, kind, ticket));
    emissions.push(Emission::NotifyRequester { kind: RequesterNotice::Received, decided_by: None, comment: None });
    (exception, emissions)
}

/// T4: the limit decides, at once and in the same revision.
fn denied_by_policy(mut exception: Exception, opening: Emission, now: Timestamp) -> (Exception, Vec<Emission>) {
    let actor = Actor { id: format!("policy:{}", exception.assignment.rule), kind: ActorKind::Policy };
    let closing = close(&mut exception, Status::Denied, Enforcement::None, Cause::MaxExtension, &actor, None, now);
    let told = decided(&actor, None);
    (exception, vec![opening, closing, told])
}

fn tell_reviewers(exception: &Exception, kind: ReviewerNotice, ticket: Option<&Ticket>) -> Vec<Emission> {
    let request = &exception.request;
    let notice = |recipient: &super::ids::UserId| Emission::NotifyReviewer {
        kind,
        recipient: recipient.clone(),
        level: exception.level.number,
        extension_days: (request.requested_due_date - request.current_due_date).num_days(),
        previous_exceptions: ticket.map_or(0, |ticket| ticket.approved),
    };
    exception.level.reviewers.iter().map(notice).collect()
}

/// `exception.decision`: T6, T8, T9, T25.
pub fn decide(
    exception: &Exception,
    decision: &Decision,
    digest: Digest,
    ticket: &Ticket,
    rules: &RuleSet,
    now: Timestamp,
) -> Ruling {
    match exception.decisions.get(&decision.decision_id) {
        Some(known) if *known == digest => return Ruling::Nothing,
        Some(_) => return Ruling::Refused(Refusal::DecisionExists),
        None => {}
    }
    if let Err(refusal) = may_act(exception, decision) {
        return Ruling::Refused(refusal);
    }
    let mut next = exception.clone();
    next.revision += 1;
    next.updated_at = now;
    next.decisions.insert(decision.decision_id.clone(), digest);
    let emissions = match decision.verdict {
        Verdict::Deny => deny(&mut next, decision, now),
        Verdict::Approve => approve(&mut next, decision, ticket, day(now, rules.zone), now),
    };
    emissions.map(|emissions| (next, emissions)).into()
}

/// The guards that hold for every decision.
fn may_act(exception: &Exception, decision: &Decision) -> Result<(), Refusal> {
    let reviewer = &decision.reviewer;
    if !exception.is_open() {
        return Err(Refusal::AlreadyFinal);
    }
    if *reviewer == exception.request.requester {
        return Err(Refusal::SelfApproval);
    }
    if !exception.level.reviewers.contains(reviewer) {
        let elsewhere = exception.assignment.levels.iter().any(|level| level.candidates.contains(reviewer))
            || exception.votes.iter().any(|vote| vote.reviewer == *reviewer);
        return Err(if elsewhere { Refusal::WrongLevel } else { Refusal::NotAssigned });
    }
    let stale = exception.amended_at_revision.is_some_and(|at| decision.expected_revision.is_none_or(|seen| seen < at));
    if stale { Err(Refusal::StaleRevision) } else { Ok(()) }
}

/// T9.
fn deny(exception: &mut Exception, decision: &Decision, now: Timestamp) -> Result<Vec<Emission>, Refusal> {
    let comment = decision.comment.clone().filter(|comment| !comment.trim().is_empty());
    if comment.is_none() {
        return Err(Refusal::CommentRequired);
    }
    let actor = Actor::user(&decision.reviewer);
    let closing = close(exception, Status::Denied, Enforcement::None, Cause::Denied, &actor, comment.clone(), now);
    Ok(vec![closing, decided(&actor, comment)])
}

/// T6, and T8 where it completes the last level.
fn approve(
    exception: &mut Exception,
    decision: &Decision,
    ticket: &Ticket,
    today: NaiveDate,
    now: Timestamp,
) -> Result<Vec<Emission>, Refusal> {
    let (reviewer, level) = (&decision.reviewer, exception.level.number);
    if exception.votes_at(level).any(|vote| vote.reviewer == *reviewer) {
        return Err(Refusal::AlreadyVoted);
    }
    let date = decision.approved_due_date.unwrap_or(exception.request.requested_due_date);
    let current = exception.request.current_due_date;
    date_guards(date, current, today)?;
    if (date - current).num_days() > exception.assignment.max_extension_days {
        return Err(Refusal::DateOverLimit);
    }
    exception.votes.push(Vote { reviewer: reviewer.clone(), level, approved_due_date: date, at: now });
    let votes = u32::try_from(exception.votes_at(level).count()).unwrap_or(u32::MAX);
    if votes < exception.level.quorum {
        return Ok(vec![vote_recorded(exception, decision, date, votes)]);
    }
    let requester = exception.request.requester.clone();
    let mut assignment: Assignment = exception.assignment.clone();
    match assignment.begin(level + 1, &requester) {
        Some(next) => {
            let recorded = vote_recorded(exception, decision, date, votes);
            (exception.level, exception.assignment) = (next, assignment);
            let mut emissions = vec![recorded, Emission::Assigned];
            emissions.extend(tell_reviewers(exception, ReviewerNotice::LevelReady, Some(ticket)));
            Ok(emissions)
        }
        None => Ok(enforce(exception, decision, ticket, now)),
    }
}

fn vote_recorded(exception: &Exception, decision: &Decision, date: NaiveDate, votes: u32) -> Emission {
    Emission::VoteRecorded {
        level: exception.level.number,
        reviewer: decision.reviewer.clone(),
        approved_due_date: date,
        votes,
        votes_needed: exception.level.quorum,
    }
}

/// T8: the earliest date of all counted votes of all levels counts. The deferral is in force at once: waiting for the
/// ticketing system's confirmation is not built yet.
fn enforce(exception: &mut Exception, decision: &Decision, ticket: &Ticket, now: Timestamp) -> Vec<Emission> {
    let requested = exception.request.requested_due_date;
    let date = exception.votes.iter().map(|vote| vote.approved_due_date).min().unwrap_or(requested);
    exception.approved_due_date = Some(date);
    let actor = Actor::user(&decision.reviewer);
    let comment = decision.comment.clone();
    let closing =
        close(exception, Status::Approved, Enforcement::InForce, Cause::Approved, &actor, comment.clone(), now);
    let deferral = Emission::DeferralRequested {
        extension_days: (date - exception.request.current_due_date).num_days(),
        cumulative_extension_days: (date - ticket.earliest_due_date).num_days(),
    };
    vec![closing, deferral, decided(&actor, comment)]
}

fn decided(actor: &Actor, comment: Option<String>) -> Emission {
    Emission::NotifyRequester { kind: RequesterNotice::Decided, decided_by: Some(actor.id.clone()), comment }
}

/// T23: a newer exception of the ticket came into force; this one is over, for good.
pub fn supersede(older: &Exception, actor: &Actor, now: Timestamp) -> (Exception, Vec<Emission>) {
    let mut next = older.clone();
    next.revision += 1;
    next.updated_at = now;
    next.ended_reason = Some(EndedReason::Superseded);
    let from = next.state();
    next.enforcement = Enforcement::Ended;
    next.cause = Cause::Superseded;
    let changed = Emission::StatusChanged {
        from: Some(from),
        to: next.state(),
        cause: Cause::Superseded,
        actor: actor.clone(),
        comment: None,
    };
    (next, vec![changed])
}

/// Makes the decision final.
fn close(
    exception: &mut Exception,
    status: Status,
    enforcement: Enforcement,
    cause: Cause,
    actor: &Actor,
    comment: Option<String>,
    now: Timestamp,
) -> Emission {
    let from = exception.state();
    exception.status = status;
    exception.enforcement = enforcement;
    exception.cause = cause;
    exception.decided_at = Some(now);
    Emission::StatusChanged { from: Some(from), to: exception.state(), cause, actor: actor.clone(), comment }
}

#[cfg(test)]
mod tests;
