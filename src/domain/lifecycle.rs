//! The whole table of transitions: (state, command, rules, now) to a ruling. Pure; the numbers T1 to T25 and the order of the
//! guards are those of ARCHITECTURE.md, "Transitions". The first guard that fails names the code.

use chrono::NaiveDate;

use super::actor::Actor;
use super::command::{Decision, Verdict};
use super::dates::{Timestamp, day};
use super::emission::{Emission, RequesterNotice, ReviewerNotice};
use super::exception::{Cause, EndedReason, Enforcement, Exception, Status, Vote};
use super::ids::{Digest, ExceptionId, UserId};
use super::refusal::Refusal;
use super::rules::{Assignment, Filling, People, RuleSet};
use super::ticket::Ticket;

mod submission;

pub use submission::{Before, submit};
pub(super) use submission::{broken_limit, derive, earliest_due_date};

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

/// What holds while a turn decides.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// Absences and load, as they are at this point of the turn.
    pub people: &'a People,
    /// The turn's time.
    pub now: Timestamp,
}

impl Scene<'_> {
    fn today(&self) -> NaiveDate {
        day(self.now, self.rules.zone)
    }

    fn filling<'a>(&'a self, exception: &'a ExceptionId, requester: &'a UserId) -> Filling<'a> {
        Filling { exception, requester, people: self.people, rules: self.rules }
    }
}

fn tell_reviewers(exception: &Exception, kind: ReviewerNotice, ticket: Option<&Ticket>) -> Vec<Emission> {
    let level = &exception.level;
    level.reviewers.iter().map(|user| notice(exception, kind, user, level.number, ticket)).collect()
}

fn notice(
    exception: &Exception,
    kind: ReviewerNotice,
    recipient: &UserId,
    level: u32,
    ticket: Option<&Ticket>,
) -> Emission {
    let request = &exception.request;
    Emission::NotifyReviewer {
        kind,
        recipient: recipient.clone(),
        level,
        extension_days: (request.requested_due_date - request.current_due_date).num_days(),
        previous_exceptions: ticket.map_or(0, |ticket| ticket.approved),
    }
}

/// `exception.decision`: T6, T8, T9, T25.
pub fn decide(exception: &Exception, decision: &Decision, digest: Digest, ticket: &Ticket, scene: Scene<'_>) -> Ruling {
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
    next.updated_at = scene.now;
    next.decisions.insert(decision.decision_id.clone(), digest);
    let emissions = match decision.verdict {
        Verdict::Deny => deny(&mut next, decision, scene.now),
        Verdict::Approve => approve(&mut next, decision, ticket, scene),
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
        let others =
            exception.assignment.levels.iter().zip(1..).filter(|(_, number)| *number != exception.level.number);
        let elsewhere = others.into_iter().any(|(level, _)| level.candidates.contains(reviewer))
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

/// T6, and T8 where it completes the last level. The next level is filled now, with whoever is there now.
fn approve(
    exception: &mut Exception,
    decision: &Decision,
    ticket: &Ticket,
    scene: Scene<'_>,
) -> Result<Vec<Emission>, Refusal> {
    let (reviewer, level) = (&decision.reviewer, exception.level.number);
    if exception.votes_at(level).any(|vote| vote.reviewer == *reviewer) {
        return Err(Refusal::AlreadyVoted);
    }
    let date = decision.approved_due_date.unwrap_or(exception.request.requested_due_date);
    let current = exception.request.current_due_date;
    date_guards(date, current, scene.today())?;
    if exception.assignment.broken_by(date, current, ticket.earliest_due_date).is_some() {
        return Err(Refusal::DateOverLimit);
    }
    exception.votes.push(Vote { reviewer: reviewer.clone(), level, approved_due_date: date, at: scene.now });
    let votes = u32::try_from(exception.votes_at(level).count()).unwrap_or(u32::MAX);
    if votes < exception.level.quorum {
        return Ok(vec![vote_recorded(exception, decision, date, votes)]);
    }
    let requester = exception.request.requester.clone();
    let mut assignment: Assignment = exception.assignment.clone();
    let Some(next) = assignment.begin(level + 1, scene.filling(&exception.id, &requester)) else {
        let actor = Actor::user(&decision.reviewer);
        let (earliest, comment) = (ticket.earliest_due_date, decision.comment.clone());
        return Ok(enforce(exception, Cause::Approved, &actor, comment, earliest, scene.now));
    };
    let recorded = vote_recorded(exception, decision, date, votes);
    (exception.level, exception.assignment) = (next, assignment);
    let mut emissions = vec![recorded, Emission::Assigned];
    emissions.extend(tell_reviewers(exception, ReviewerNotice::LevelReady, Some(ticket)));
    Ok(emissions)
}

fn date_guards(date: NaiveDate, current: NaiveDate, today: NaiveDate) -> Result<(), Refusal> {
    if date <= current {
        return Err(Refusal::DateNotAfterCurrent);
    }
    if date < today { Err(Refusal::DateInPast) } else { Ok(()) }
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
fn enforce(
    exception: &mut Exception,
    cause: Cause,
    actor: &Actor,
    comment: Option<String>,
    earliest: NaiveDate,
    now: Timestamp,
) -> Vec<Emission> {
    let requested = exception.request.requested_due_date;
    let date = exception.votes.iter().map(|vote| vote.approved_due_date).min().unwrap_or(requested);
    exception.approved_due_date = Some(date);
    let closing = close(exception, Status::Approved, Enforcement::InForce, cause, actor, comment.clone(), now);
    let deferral = Emission::DeferralRequested {
        extension_days: (date - exception.request.current_due_date).num_days(),
        cumulative_extension_days: (date - earliest).num_days(),
    };
    vec![closing, deferral, decided(actor, comment)]
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
