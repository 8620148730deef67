//! What comes before its submission waits; with the submission it is applied, in the order of arrival, and after a time it
//! fails.

use super::{Current, Planner, Raw};
use crate::contract::inbound::Inbound;
use crate::contract::json::Fault;
use crate::contract::reason::Reason;
use crate::domain::ids::ExceptionId;
use crate::store::{NewParked, Outcome, ParkedRow};
use crate::worker::input::decode;

/// Most events that wait for one submission: all of them are applied in its turn, which has a deadline.
pub(super) const PARKED_FOR_ONE_MAX: u64 = 1_000;
/// Most bytes that wait for one submission: as many as one batch of deliveries may have.
const PARKED_BYTES_FOR_ONE_MAX: u64 = 4 * 1024 * 1024;

impl Planner<'_> {
    /// Begins to wait, unless too many wait already, or it has waited before and is tried again too early.
    pub(super) fn park(&mut self, inbound: &Inbound, exception_id: &ExceptionId, raw: Raw<'_>) -> Outcome {
        let mark = raw.failure.and_then(|id| self.marked.get(&id));
        if mark.is_some_and(|mark| mark.reason == Reason::Orphaned.word()) {
            let fault = Fault::new(Reason::Orphaned, "its submission is still not there: try again when it is");
            return self.fail(inbound, &fault, raw);
        }
        let waiting = self.parked_for.entry(exception_id.clone()).or_default();
        let bytes = waiting.bytes + raw.body.len() as u64;
        let too_many = waiting.events >= PARKED_FOR_ONE_MAX || bytes > PARKED_BYTES_FOR_ONE_MAX;
        if too_many || self.parked_count >= self.terms.parking_max {
            let message = "its exception is not there, and as many events as may wait for it, or at all, wait already";
            return self.fail(inbound, &Fault::new(Reason::Orphaned, message), raw);
        }
        waiting.events += 1;
        waiting.bytes = bytes;
        self.parked_count += 1;
        self.changes.park.push(NewParked {
            exception_id: exception_id.clone(),
            event_key: inbound.key,
            parked_at: self.database_time,
            expires_at: self.database_time + self.terms.parking_ttl,
            properties: raw.properties.clone(),
            body: raw.body.to_vec(),
        });
        Outcome::Parked
    }

    /// The submission is there: what came too early is applied now, in the order of arrival.
    pub(super) fn release_parked(&mut self, exception_id: &ExceptionId) {
        let stored: Vec<_> = self.parked.extract_if(.., |_, row| row.event.exception_id == *exception_id).collect();
        for (id, row) in stored {
            self.changes.unpark.push(id);
            self.unpark(&row.event);
        }
        let waiting = std::mem::take(&mut self.changes.park);
        let (early, later): (Vec<_>, _) = waiting.into_iter().partition(|event| event.exception_id == *exception_id);
        self.changes.park = later;
        for event in early {
            self.unpark(&event);
        }
    }

    fn unpark(&mut self, event: &NewParked) {
        self.parked_count = self.parked_count.saturating_sub(1);
        let inbound = decode(&event.properties, &event.body);
        let outcome = match (&inbound.content, self.terms.parked_blamed) {
            (Ok(content), None) => self.act(Current { inbound: &inbound, content }),
            (Err(fault), _) | (_, Some(fault)) => self.fail(&inbound, fault, as_parked(event)),
        };
        self.ended(event.event_key, inbound.digest, outcome);
        self.changes.released.push(outcome);
    }

    /// What has waited too long becomes a failure.
    pub(super) fn expire(&mut self) {
        let database_time = self.database_time;
        let expired: Vec<_> = self.parked.extract_if(.., |_, row| row.event.expires_at <= database_time).collect();
        for (id, ParkedRow { event, .. }) in expired {
            let inbound = decode(&event.properties, &event.body);
            let fault = Fault::new(Reason::Orphaned, "its submission did not come within parking.ttl");
            let outcome = self.fail(&inbound, &fault, as_parked(&event));
            self.changes.unpark.push(id);
            self.ended(event.event_key, inbound.digest, outcome);
            self.changes.released.push(outcome);
        }
    }
}

fn as_parked(event: &NewParked) -> Raw<'_> {
    Raw { properties: &event.properties, body: &event.body, failure: None }
}
