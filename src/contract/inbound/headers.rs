//! The attributes that the headers of a message in binary mode make up.

use std::collections::BTreeMap;

use crate::domain::json::Json;

/// The envelope. An attribute that two headers spell differently says nothing.
pub(super) fn attributes(headers: &BTreeMap<String, String>) -> Json {
    let told = told(headers).into_iter();
    Json::Object(told.filter_map(|(name, text)| Some((name, Json::Text(text?.to_owned())))).collect())
}

/// An attribute that two headers say different things about, if any: the one form as over HTTP and the other as in the AMQP
/// binding, or the same in another case. Whoever reads only one of them would see another event.
pub(super) fn contradiction(headers: &BTreeMap<String, String>) -> Option<String> {
    told(headers).into_iter().find(|(_, text)| text.is_none()).map(|(name, _)| name)
}

/// Each attribute with its text, or with none where the headers contradict each other.
fn told(headers: &BTreeMap<String, String>) -> BTreeMap<String, Option<&str>> {
    let mut told: BTreeMap<String, Option<&str>> = BTreeMap::new();
    for (header, text) in headers {
        if let Some(name) = attribute(header) {
            let known = told.entry(name).or_insert(Some(text));
            *known = known.filter(|known| *known == text);
        }
    }
    told
}

/// The attribute a header stands for: `ce-*` as over HTTP, `cloudEvents:*` as in the AMQP binding.
fn attribute(header: &str) -> Option<String> {
    let lower = header.to_ascii_lowercase();
    let name = lower.strip_prefix("ce-").or_else(|| lower.strip_prefix("cloudevents:"))?;
    Some(name.to_owned())
}
