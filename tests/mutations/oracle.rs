//! What a body says, read by `serde_json` alone: the second opinion that the product's reader is held to. Numbers stay as
//! written and equal names are kept, so that digests can be computed and duplicates be seen without the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::json::Json;

/// One level more than the contract allows: deeper is not looked.
const DEPTH_LOOKED_AT: usize = 33;

/// What was seen.
pub(crate) enum Sight {
    /// No UTF-8, a byte order mark, or a byte that is zero.
    NoText,
    /// Not one JSON document, or a lone surrogate.
    NoJson,
    /// JSON, nested deeper than the contract allows.
    Deep,
    /// A document.
    Read(Look),
}

/// A document.
pub(crate) struct Look {
    pub(crate) value: Json,
    pub(crate) depth: usize,
    pub(crate) duplicate: bool,
    pub(crate) nul: bool,
}

/// Looks at a body.
pub(crate) fn look(body: &[u8]) -> Sight {
    let Ok(text) = std::str::from_utf8(body) else { return Sight::NoText };
    if text.starts_with('\u{feff}') || text.contains('\0') {
        return Sight::NoText;
    }
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
        // serde_json itself goes 128 levels deep: what is refused for that was not read to its end.
        let deep =
            serde_json::from_str::<serde::de::IgnoredAny>(text).is_err_and(|e| e.to_string().contains("recursion"));
        return if deep { Sight::Deep } else { Sight::NoJson };
    };
    let mut look = Look { value: Json::Null, depth: 0, duplicate: false, nul: false };
    match read(raw.get(), 0, &mut look) {
        None => Sight::NoJson,
        Some(_) if look.depth >= DEPTH_LOOKED_AT => Sight::Deep,
        Some(value) => Sight::Read(Look { value, ..look }),
    }
}

fn read(text: &str, depth: usize, look: &mut Look) -> Option<Json> {
    look.depth = look.depth.max(depth);
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match text.as_bytes().first()? {
        b'{' | b'[' if depth + 1 >= DEPTH_LOOKED_AT => {
            look.depth = DEPTH_LOOKED_AT;
            Some(Json::Null)
        }
        b'{' => {
            let members = serde_json::from_str::<Members<'_>>(text).ok()?.0;
            let mut names = BTreeSet::new();
            look.duplicate |= members.iter().any(|(name, _)| !names.insert(name));
            look.nul |= members.iter().any(|(name, _)| name.contains('\0'));
            look.depth = look.depth.max(depth + 1);
            let members = members.iter().map(|(name, raw)| Some((name.clone(), read(raw.get(), depth + 1, look)?)));
            members.collect::<Option<_>>().map(Json::Object)
        }
        b'[' => {
            look.depth = look.depth.max(depth + 1);
            let items = serde_json::from_str::<Vec<&RawValue>>(text).ok()?;
            items.iter().map(|raw| read(raw.get(), depth + 1, look)).collect::<Option<_>>().map(Json::List)
        }
        b'"' => {
            let text: String = serde_json::from_str(text).ok()?;
            look.nul |= text.contains('\0');
            Some(Json::Text(text))
        }
        b't' => Some(Json::Bool(true)),
        b'f' => Some(Json::Bool(false)),
        b'n' => Some(Json::Null),
        _ => Some(Json::Number(text.to_owned())),
    }
}

/// An object with all its members, equal names too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Canonical JSON as ARCHITECTURE.md words it, from the words alone.
pub(crate) fn canonical(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.clone(),
        Json::Text(text) => quoted(text),
        Json::List(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Json::Object(members) => {
            let sorted: BTreeMap<&[u8], (&str, &Json)> =
                members.iter().map(|(name, value)| (name.as_bytes(), (name.as_str(), value))).collect();
            let members = sorted.values().map(|(name, value)| format!("{}:{}", quoted(name), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\u{1f}' => out.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            _ => out.push(c),
        }
    }
    out + "\""
}

/// Another spelling of the same document: members in reverse, white space wherever it may stand, every character escaped.
pub(crate) fn respelled(value: &Json) -> String {
    let escaped = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    };
    match value {
        Json::Text(text) => escaped(text),
        Json::List(items) => format!("[ {}\r\n]", items.iter().map(respelled).collect::<Vec<_>>().join(" ,\t")),
        Json::Object(members) => {
            let members =
                members.iter().rev().map(|(name, value)| format!("{} :\n{}", escaped(name), respelled(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(" , "))
        }
        plain => canonical(plain),
    }
}
