//! What the API and `-o json` show of failures, parked events and the outbox.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::domain::dates::Timestamp;

/// `list`
#[derive(Debug, Serialize)]
pub struct ListShape<'a, T> {
    /// In the order of the list.
    pub items: &'a [T],
    /// For the next page; null at the end.
    pub next_cursor: Option<&'a str>,
}

/// `failure`, with what it was edited from and into.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is documented in `store::desk::StoredFailure`; the body is its bytes in base64")]
pub struct FailureShape<'a> {
    pub failure_id: Uuid,
    pub state: &'static str,
    pub reason: &'a str,
    pub message: &'a str,
    pub event_source: &'a str,
    pub event_id: &'a str,
    pub event_type: Option<&'a str>,
    pub exception_id: Option<&'a str>,
    pub fingerprint: &'a str,
    pub attempts: u32,
    pub received_at: Timestamp,
    pub edited_from: Option<Uuid>,
    pub edited_to: Option<Uuid>,
    pub body_base64: String,
    pub headers: &'a BTreeMap<String, String>,
}

/// `group`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is documented in `store::desk::Group`")]
pub struct GroupShape<'a> {
    pub fingerprint: &'a str,
    pub reason: &'a str,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub example_failure_id: Uuid,
}

/// `parked`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is documented in `store::desk::ParkedEvent`")]
pub struct ParkedShape<'a> {
    pub event_source: &'a str,
    pub event_id: &'a str,
    pub event_type: Option<&'a str>,
    pub exception_id: &'a str,
    pub parked_at: Timestamp,
    pub expires_at: Timestamp,
}

/// `outbox`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each is documented in `store::desk::OutboxState`")]
pub struct OutboxShape {
    pub pending: u64,
    pub unroutable: u64,
    pub oldest_age_s: Option<u64>,
}
