//! What goes out: each emission of a transition becomes one `CloudEvents` envelope, written once, as bytes. Its id is made
//! of what it is about, so every copy of it has the same id and the same bytes. What the fields mean: the integration guide.

use serde::Serialize;
use uuid::Uuid;

use super::inbound::Inbound;
use super::schema;
use crate::domain::actor::Actor;
use crate::domain::dates::Timestamp;
use crate::domain::emission::{Emission, RequesterNotice, ReviewerNotice};
use crate::domain::exception::{Cause, Enforcement, Exception, Status, Vote};

mod data;
#[cfg(test)]
pub(super) mod schemas;

use data::{
    Answer, Approver, Assigned, DeferralRequested, Moment, NotifyRequester, NotifyReviewer, Person, Rejected, Reviewer,
    StatusChanged, Summary, VoteRecorded,
};

const STATUS_CHANGED: &str = "exception.status_changed.v1";
const ASSIGNED: &str = "exception.assigned.v1";
const VOTE_RECORDED: &str = "exception.vote_recorded.v1";
const NOTIFY_REVIEWER: &str = "notification.reviewer.v1";
const NOTIFY_REQUESTER: &str = "notification.requester.v1";
const DEFERRAL_REQUESTED: &str = "ticket.deferral_requested.v1";
/// The type of the answer to an input that was refused or failed.
const REJECTED: &str = "event.rejected.v1";

/// What holds for all events of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// The setting `source`.
    pub source: &'a str,
    /// The setting `links.exception`: a URL in which `{exception_id}` stands for the id; empty for none.
    pub link: &'a str,
    /// The turn's time.
    pub now: Timestamp,
}

/// The event that caused others.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its id.
    pub id: &'a str,
    /// The trace it belongs to.
    pub traceparent: Option<&'a str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Envelope<'a, D> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Moment,
    datacontenttype: &'static str,
    dataschema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequencetype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: D,
}

/// Whether an input was refused or has failed, and which failure it became.
#[derive(Clone, Copy, Debug)]
pub enum Rejection {
    /// The business said no.
    Refused,
    /// It can never be processed.
    Failed(Uuid),
}

impl Voice<'_> {
    /// The envelope of one emission. `exception` is the state after the transition; it counts the event.
    pub fn say(&self, exception: &mut Exception, emission: &Emission, origin: Option<Origin<'_>>) -> String {
        let sequence = format!("{:010}", exception.next_sequence());
        let exception = &*exception;
        match emission {
            Emission::StatusChanged { from, to, cause, actor, comment } => {
                let data = self.status_changed(exception, *from, *to, *cause, actor, comment.as_deref());
                self.envelope(STATUS_CHANGED, exception, &sequence, origin, data)
            }
            Emission::Assigned => self.envelope(ASSIGNED, exception, &sequence, origin, assigned(exception)),
            Emission::VoteRecorded { level, reviewer, approved_due_date, votes, votes_needed } => {
                let data = VoteRecorded {
                    exception_id: exception.id.as_str(),
                    ticket_id: exception.ticket_id.as_str(),
                    revision: exception.revision,
                    level: *level,
                    reviewer,
                    approved_due_date: *approved_due_date,
                    votes: *votes,
                    votes_needed: *votes_needed,
                    level_complete: votes >= votes_needed,
                    at: Moment::of(self.now),
                };
                self.envelope(VOTE_RECORDED, exception, &sequence, origin, data)
            }
            Emission::NotifyReviewer { kind, recipient, level, extension_days, previous_exceptions } => {
                let recipient = Reviewer { id: recipient, level: *level };
                let data = self.notify_reviewer(exception, *kind, recipient, *extension_days, *previous_exceptions);
                self.envelope(NOTIFY_REVIEWER, exception, &sequence, origin, data)
            }
            Emission::NotifyRequester { kind, decided_by, comment } => {
                let data = self.notify_requester(exception, *kind, decided_by.as_deref(), comment.as_deref());
                self.envelope(NOTIFY_REQUESTER, exception, &sequence, origin, data)
            }
            Emission::DeferralRequested { extension_days, cumulative_extension_days } => {
                let data = deferral_requested(exception, *extension_days, *cumulative_extension_days);
                self.envelope(DEFERRAL_REQUESTED, exception, &sequence, origin, data)
            }
        }
    }

    /// The envelope of `event.rejected`. Its id is made of the input's key, which is that of its (source, id) unless its sender
    /// was not trusted with it, of its content and the code: one for each.
    pub fn reject(
        &self,
        input: &Inbound,
        rejection: Rejection,
        code: &str,
        message: &str,
        exception: Option<&Exception>,
    ) -> String {
        let name = format!("urn:reprieve:{}/{}/{code}", input.key, input.digest);
        let named = input.exception_id.as_ref().map(crate::domain::ids::ExceptionId::as_str);
        let data = Rejected {
            exception_id: named,
            ticket_id: exception.map(|e| e.ticket_id.as_str()),
            revision: exception.map(|e| e.revision),
            event_id: &input.id,
            event_source: &input.source,
            event_type: input.event_type.as_deref(),
            kind: if matches!(rejection, Rejection::Refused) { Answer::Refused } else { Answer::Failed },
            code,
            message,
            failure_id: if let Rejection::Failed(id) = rejection { Some(id) } else { None },
        };
        write(&Envelope {
            specversion: "1.0",
            id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
            source: self.source,
            r#type: REJECTED,
            subject: named,
            time: Moment::of(self.now),
            datacontenttype: "application/json",
            dataschema: schema::id(REJECTED),
            correlationid: named,
            causationid: Some(&input.id),
            sequence: None,
            sequencetype: None,
            traceparent: input.traceparent.as_deref(),
            data,
        })
    }

    fn envelope<D: Serialize>(
        &self,
        kind: &str,
        exception: &Exception,
        sequence: &str,
        origin: Option<Origin<'_>>,
        data: D,
    ) -> String {
        let id = format!("urn:reprieve:{}/{sequence}/{kind}", exception.id);
        let subject = if kind.starts_with("ticket.") { exception.ticket_id.as_str() } else { exception.id.as_str() };
        write(&Envelope {
            specversion: "1.0",
            id: Uuid::new_v5(&Uuid::NAMESPACE_URL, id.as_bytes()),
            source: self.source,
            r#type: kind,
            subject: Some(subject),
            time: Moment::of(self.now),
            datacontenttype: "application/json",
            dataschema: schema::id(kind),
            correlationid: Some(exception.id.as_str()),
            causationid: origin.map(|origin| origin.id),
            sequence: Some(sequence),
            sequencetype: Some("Integer"),
            traceparent: origin.and_then(|origin| origin.traceparent),
            data,
        })
    }

    fn status_changed<'a>(
        &self,
        exception: &'a Exception,
        from: Option<(Status, Enforcement)>,
        to: (Status, Enforcement),
        cause: Cause,
        actor: &'a Actor,
        comment: Option<&'a str>,
    ) -> StatusChanged<'a> {
        StatusChanged {
            exception_id: exception.id.as_str(),
            ticket_id: exception.ticket_id.as_str(),
            revision: exception.revision,
            from_status: from.map(|from| from.0),
            to_status: to.0,
            from_enforcement: from.map(|from| from.1),
            to_enforcement: to.1,
            ended_reason: exception.ended_reason,
            cause,
            actor,
            comment,
            at: Moment::of(self.now),
            summary: summary(exception),
        }
    }

    fn notify_reviewer<'a>(
        &self,
        exception: &'a Exception,
        kind: ReviewerNotice,
        recipient: Reviewer<'a>,
        extension_days: i64,
        previous_exceptions: u32,
    ) -> NotifyReviewer<'a> {
        let request = &exception.request;
        NotifyReviewer {
            exception_id: exception.id.as_str(),
            ticket_id: exception.ticket_id.as_str(),
            revision: exception.revision,
            kind,
            recipient,
            ticket_title: &request.ticket_title,
            requester: &request.requester,
            reason: &request.reason,
            current_due_date: request.current_due_date,
            requested_due_date: request.requested_due_date,
            severity: &request.severity,
            extension_days,
            previous_exceptions,
            review_due_at: None,
            rule: &exception.assignment.rule,
            batch_id: request.batch_id.as_deref(),
            link: self.link_to(exception),
        }
    }

    fn notify_requester<'a>(
        &self,
        exception: &'a Exception,
        kind: RequesterNotice,
        decided_by: Option<&'a str>,
        comment: Option<&'a str>,
    ) -> NotifyRequester<'a> {
        let request = &exception.request;
        NotifyRequester {
            exception_id: exception.id.as_str(),
            ticket_id: exception.ticket_id.as_str(),
            revision: exception.revision,
            kind,
            recipient: Person { id: request.requester.as_str() },
            status: exception.status,
            approved_due_date: exception.approved_due_date,
            decided_by,
            comment,
            ticket_title: &request.ticket_title,
            current_due_date: request.current_due_date,
            requested_due_date: request.requested_due_date,
            link: self.link_to(exception),
        }
    }

    fn link_to(&self, exception: &Exception) -> Option<String> {
        (!self.link.is_empty()).then(|| self.link.replace("{exception_id}", exception.id.as_str()))
    }
}

fn assigned(exception: &Exception) -> Assigned<'_> {
    let (level, assignment) = (&exception.level, &exception.assignment);
    Assigned {
        exception_id: exception.id.as_str(),
        ticket_id: exception.ticket_id.as_str(),
        revision: exception.revision,
        level: level.number,
        reviewers: &level.reviewers,
        quorum: level.quorum,
        unassigned: level.unassigned,
        rule: &assignment.rule,
        rules_version: &assignment.rules_version,
        rules_hash: &assignment.rules_hash,
        explanation: &assignment.explanation,
        review_due_at: None,
        summary: summary(exception),
    }
}

fn deferral_requested(
    exception: &Exception,
    extension_days: i64,
    cumulative_extension_days: i64,
) -> DeferralRequested<'_> {
    let request = &exception.request;
    DeferralRequested {
        exception_id: exception.id.as_str(),
        ticket_id: exception.ticket_id.as_str(),
        revision: exception.revision,
        expected_due_date: request.current_due_date,
        new_due_date: exception.approved_due_date.unwrap_or(request.requested_due_date),
        requested_due_date: request.requested_due_date,
        original_due_date: request.original_due_date,
        extension_days,
        cumulative_extension_days,
        reason: &request.reason,
        approved_by: approvers(exception),
        lock_scope: true,
    }
}

/// The counted votes, or the rule that approved by itself.
fn approvers(exception: &Exception) -> Vec<Approver> {
    let policy = exception.decided_by_policy().map(|policy| Approver {
        id: policy.id,
        level: 0,
        at: Moment::of(exception.decided_at.unwrap_or(exception.updated_at)),
    });
    let vote = |vote: &Vote| Approver { id: vote.reviewer.to_string(), level: vote.level, at: Moment::of(vote.at) };
    exception.votes.iter().map(vote).chain(policy).collect()
}

fn summary(exception: &Exception) -> Summary<'_> {
    let request = &exception.request;
    Summary {
        ticket_title: &request.ticket_title,
        severity: &request.severity,
        requester: &request.requester,
        team: request.team.as_deref(),
        reason: &request.reason,
        original_due_date: request.original_due_date,
        current_due_date: request.current_due_date,
        requested_due_date: request.requested_due_date,
        approved_due_date: exception.approved_due_date,
    }
}

fn write<D: Serialize>(envelope: &Envelope<'_, D>) -> String {
    serde_json::to_string(envelope).expect("texts, numbers and dates are always JSON")
}
