//! What can never be processed: a failure with its bytes and its answer, or one that failed again.

use super::{Planner, Raw};
use crate::contract::inbound::Inbound;
use crate::contract::json::Fault;
use crate::contract::outbound::Rejection;
use crate::store::{Again, End, Failure, FailureId, Outcome, Retried, failure_id};

impl Planner<'_> {
    /// A failure, announced once for each reason.
    pub(super) fn fail(&mut self, inbound: &Inbound, fault: &Fault, raw: Raw<'_>) -> Outcome {
        let code = fault.reason.word();
        let place = fault.place.unwrap_or("-");
        let fingerprint = format!("{code}/{}/{place}", inbound.event_type.as_deref().unwrap_or("-"));
        let message = fault.message.clone();
        if let Some(id) = raw.failure {
            if self.marked.get(&id).is_some_and(|mark| !mark.announced.contains(code)) {
                self.announce(inbound, id, code, &message);
            }
            let again = Again { reason: code, message, fingerprint };
            self.changes.retried.push(Retried { id, end: End::Again(again) });
            return Outcome::Failed(code);
        }
        let id = failure_id(inbound.key, inbound.digest);
        self.announce(inbound, id, code, &message);
        self.changes.failures.push(Failure {
            id,
            event_key: inbound.key,
            digest: inbound.digest,
            reason: code,
            message,
            fingerprint,
            source: inbound.source.clone(),
            event_id: inbound.id.clone(),
            event_type: inbound.event_type.clone(),
            exception_id: inbound.exception_id.clone(),
            received_at: self.database_time,
            properties: raw.properties.clone(),
            body: raw.body.to_vec(),
        });
        Outcome::Failed(code)
    }

    fn announce(&mut self, inbound: &Inbound, id: FailureId, code: &str, message: &str) {
        let exception = inbound.exception_id.as_ref().and_then(|id| self.exceptions.get(id));
        let answer = self.terms.voice.reject(inbound, Rejection::Failed(id), code, message, exception);
        self.changes.outbox.push(answer);
    }
}
