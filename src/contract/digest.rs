//! What an event is known by: the key of its (source, id), and the digest of its content. Both are stored for a long time
//! and compared across versions: the forms below never change.

use sha2::{Digest as _, Sha256};

use super::inbound::Message;
use super::message::Properties;
use crate::domain::ids::{Digest, hex};
use crate::domain::json::Json;

/// SHA-256 over the length of `source` (8 bytes, big-endian), `source`, `id`; the first half.
pub fn event_key(source: &str, id: &str) -> Digest {
    let sha = Sha256::new().chain_update((source.len() as u64).to_be_bytes()).chain_update(source).chain_update(id);
    Digest::of_sha256(&sha.finalize().into())
}

/// The digest of an event that was read: SHA-256 over the length of `type` (8 bytes, big-endian), `type`, and the
/// canonical form of `data`.
pub fn of_content(event_type: &str, data: &Json) -> [u8; 32] {
    let mut canonical = String::new();
    write_canonical(data, &mut canonical);
    of_text(event_type, canonical.as_bytes())
}

/// The same over bytes that could not be read as JSON.
pub fn of_text(event_type: &str, data: &[u8]) -> [u8; 32] {
    let sha = Sha256::new().chain_update((event_type.len() as u64).to_be_bytes()).chain_update(event_type);
    sha.chain_update(data).finalize().into()
}

/// SHA-256 in hex over a body and its content type: the id of an input whose own cannot be read.
pub fn of_unreadable(body: &[u8], content_type: &str) -> String {
    let hash: [u8; 32] = Sha256::new().chain_update(body).chain_update(content_type).finalize().into();
    hex(&hash)
}

/// SHA-256 over a message as it came, unread; the first half. Not over what brokers add on the way (`x-*`): a copy from a
/// dead-letter queue is the same message.
pub fn of_message(properties: &Properties, body: &[u8]) -> Digest {
    let content_type = properties.content_type.as_deref().unwrap_or_default();
    let headers = properties.headers.iter().filter(|(name, _)| !name.starts_with("x-"));
    let parts = headers.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let mut sha = Sha256::new();
    for part in [content_type.as_bytes()].into_iter().chain(parts).chain([body]) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    Digest::of_sha256(&sha.finalize().into())
}

/// The key of a message whose sender is not trusted with it: no key of an event, since no source is so long. It is made of all
/// that is reported, so that the same again is a repeat and anything else a failure of its own.
pub fn of_untrusted(user: Option<&str>, source: &str, id: &str, digest: Digest, message: &Message<'_>) -> Digest {
    let digest = digest.to_string();
    let mut sha = Sha256::new().chain_update(u64::MAX.to_be_bytes()).chain_update([u8::from(user.is_some())]);
    for part in [user.unwrap_or_default(), source, id, &digest, message.content_type.unwrap_or_default()] {
        sha = sha.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
    }
    Digest::of_sha256(&sha.chain_update(message.body).finalize().into())
}

/// Canonical JSON: members sorted by the bytes of their unescaped names, no white space, strings with the fewest escapes
/// (`\"`, `\\`, and `\u00xx` below U+0020), numbers as written.
fn write_canonical(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(true) => out.push_str("true"),
        Json::Bool(false) => out.push_str("false"),
        Json::Number(number) => out.push_str(number),
        Json::Text(text) => write_string(text, out),
        Json::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_canonical(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_string(name, out);
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::json;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        write_canonical(&json::read(text.as_bytes()).unwrap().value, &mut out);
        out
    }

    /// Eleven fixed vectors: body, canonical form, digest under the type `t`. Made once by an independent program.
    const VECTORS: [(&str, &str, &str); 11] = include!("digest_vectors.in");

    #[test]
    fn the_digest_is_what_it_always_was() {
        for (body, form, digest) in VECTORS {
            assert_eq!(canonical(body), form, "{body}");
            assert_eq!(hex(&of_content("t", &json::read(body.as_bytes()).unwrap().value)), digest, "{body}");
        }
    }

    #[test]
    fn the_type_is_part_of_the_content() {
        let data = Json::Object(Vec::new());
        assert_ne!(of_content("a", &data), of_content("b", &data));
        assert_ne!(of_text("ab", b"c"), of_text("a", b"bc"));
    }

    #[test]
    fn source_and_id_cannot_be_shifted() {
        assert_ne!(event_key("ab", "c"), event_key("a", "bc"));
        assert_eq!(event_key("ticketing", "1").to_string(), "27cafd99f5d391c06196497c47fcf269");
    }
}
