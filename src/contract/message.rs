//! Messages as values: what the broker's side and the store's side both handle without looking inside.

use std::collections::BTreeMap;

/// What a message says about itself beside its body. Text that is no UTF-8, and headers that are no text, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Properties {
    /// The MIME type of the body.
    pub content_type: Option<String>,
    /// Anything but none is refused: nothing is decompressed.
    pub content_encoding: Option<String>,
    /// The publishing user, as verified by the broker.
    pub user_id: Option<String>,
    /// Text headers, by their names as sent.
    pub headers: BTreeMap<String, String>,
}

/// One event on its way out: the envelope, byte for byte; its routing key, id and headers are read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its row in the outbox.
    pub id: i64,
    /// The envelope.
    pub body: String,
}
