//! What can never be processed: a failure with its bytes and its answer, or one that failed again.

use super::{Planner, Raw};
use crate::contract::inbound::Inbound;
use crate::contract::outbound::Rejection;
use crate::contract::reason::Reason;
use crate::store::{Again, Failure, FailureId, Outcome, Retried};

impl Planner<'_> {
    /// A failure, announced once for each reason.
    pub(super) fn fail(&mut self, inbound: &Inbound, reason: Reason, message: &str, raw: Raw<'_>) -> Outcome {
        let code = reason.word();
        let place = message.split_once(": ").map_or("", |(place, _)| place);
        let fingerprint = format!("{code}/{}/{place}", inbound.event_type.as_deref().unwrap_or("-"));
        let message = message.to_owned();
        if let Some(id) = raw.failure {
            if self.marked.get(&id).is_some_and(|mark| !mark.announced.contains(code)) {
                self.announce(inbound, id, code, &message);
            }
            let again = Some(Again { reason: code, message, fingerprint });
            self.changes.retried.push(Retried { id, again });
            return Outcome::Failed(code);
        }
        let name = format!("urn:reprieve:{}/{}", inbound.key, inbound.digest);
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes());
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
