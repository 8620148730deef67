//! Mistakes as somebody might make them in the decoder. Each has to be found, or the mutations prove nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::oracle::{self, Sight};
use super::properties::Decode;
use crate::contract::inbound::{Inbound, Message, decode};
use crate::contract::json::Fault;
use crate::contract::reason::Reason;
use crate::domain::ids::Digest;
use crate::domain::json::Json;

/// Each with its name.
pub(crate) const BUGS: [(&str, Decode); 14] = [
    ("the digest is taken over members in the order they came", unsorted),
    ("the digest is taken over floats", floats),
    ("the digest is taken over the stored bytes", stored_bytes),
    ("the digest depends on the mode", by_mode),
    ("the last of two equal names wins", last_name_wins),
    ("the rest after a document is ignored", rest_ignored),
    ("what is no UTF-8 is replaced", lossy),
    ("U+0000 is dropped", nul_dropped),
    ("depth is told as a syntax error", depth_is_syntax),
    ("what cannot be read has no id", no_id),
    ("a second look sees something else", forgetful),
    ("everything is refused", refuses),
    ("the stored data is trimmed", trimmed),
    ("a long input takes time by its square", quadratic),
];

fn with_digest(mut inbound: Inbound, data: &str) -> Inbound {
    let event_type = inbound.event_type.clone().unwrap_or_default();
    let sha = Sha256::new().chain_update((event_type.len() as u64).to_be_bytes()).chain_update(event_type);
    inbound.digest = Digest::of_sha256(&sha.chain_update(data).finalize().into());
    inbound
}

fn value_of(inbound: &Inbound) -> Option<Json> {
    match oracle::look(inbound.content.as_ref().ok()?.data.as_bytes()) {
        Sight::Read(look) => Some(look.value),
        _ => None,
    }
}

fn in_order(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name:?}:{}", in_order(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        plain => oracle::canonical(plain),
    }
}

fn unsorted(message: &Message<'_>) -> Inbound {
    let inbound = decode(message);
    match value_of(&inbound) {
        Some(value) => with_digest(inbound, &in_order(&value)),
        None => inbound,
    }
}

fn floats(message: &Message<'_>) -> Inbound {
    let inbound = decode(message);
    let value =
        inbound.content.as_ref().ok().and_then(|content| serde_json::from_str::<serde_json::Value>(&content.data).ok());
    match value {
        Some(value) => with_digest(inbound, &value.to_string()),
        None => inbound,
    }
}

fn stored_bytes(message: &Message<'_>) -> Inbound {
    let inbound = decode(message);
    match inbound.content.as_ref().ok().map(|content| content.data.clone()) {
        Some(data) => with_digest(inbound, &data),
        None => inbound,
    }
}

fn by_mode(message: &Message<'_>) -> Inbound {
    let inbound = decode(message);
    let text = format!("{}{:?}", inbound.digest, message.content_type);
    with_digest(inbound, &text)
}

fn last_name_wins(message: &Message<'_>) -> Inbound {
    let inbound = decode(message);
    let again = inbound.content.as_ref().is_err_and(|fault| fault.reason == Reason::DuplicateKey);
    match serde_json::from_slice::<serde_json::Value>(message.body) {
        Ok(value) if again => decode(&Message { body: value.to_string().as_bytes(), ..*message }),
        _ => inbound,
    }
}

fn rest_ignored(message: &Message<'_>) -> Inbound {
    let mut documents = serde_json::Deserializer::from_slice(message.body).into_iter::<serde::de::IgnoredAny>();
    match documents.next() {
        Some(Ok(_)) => decode(&Message { body: &message.body[..documents.byte_offset()], ..*message }),
        _ => decode(message),
    }
}

fn lossy(message: &Message<'_>) -> Inbound {
    decode(&Message { body: String::from_utf8_lossy(message.body).as_bytes(), ..*message })
}

fn nul_dropped(message: &Message<'_>) -> Inbound {
    let body = String::from_utf8_lossy(message.body).replace("\\u0000", "");
    let inbound = decode(message);
    match &inbound.content {
        Err(fault) if fault.reason == Reason::BadText => decode(&Message { body: body.as_bytes(), ..*message }),
        _ => inbound,
    }
}

fn depth_is_syntax(message: &Message<'_>) -> Inbound {
    let mut inbound = decode(message);
    if let Err(fault) = &mut inbound.content
        && fault.reason == Reason::TooDeep
    {
        fault.reason = Reason::BadJson;
    }
    inbound
}

fn no_id(message: &Message<'_>) -> Inbound {
    let mut inbound = decode(message);
    if inbound.source == crate::contract::inbound::UNREADABLE {
        inbound.id.clear();
    }
    inbound
}

fn forgetful(message: &Message<'_>) -> Inbound {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let mut inbound = decode(message);
    if inbound.event_type.is_none() {
        inbound.traceparent = Some(LOOKS.fetch_add(1, Ordering::Relaxed).to_string());
    }
    inbound
}

fn refuses(message: &Message<'_>) -> Inbound {
    let mut inbound = decode(message);
    inbound.content = Err(Fault::new(Reason::Schema, "no"));
    inbound
}

fn trimmed(message: &Message<'_>) -> Inbound {
    let mut inbound = decode(message);
    if let Ok(content) = &mut inbound.content {
        content.data = content.data.replace("  ", " ").replace(' ', "");
    }
    inbound
}

fn quadratic(message: &Message<'_>) -> Inbound {
    let long = message.body.len() / 200_000;
    std::thread::sleep(std::time::Duration::from_millis(1_100 * u64::try_from(long).unwrap_or_default()));
    decode(message)
}
