//! The rules file as a tree in which every value knows its place and every number stands as it was written. Whether the
//! tree makes sense is asked elsewhere: [`super::reader`] and what reads with it.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::decimal::Decimal;
use super::report::{Finding, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What it is. Maps keep the order of the file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As written; what YAML takes for a number and is no decimal is a text here.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The name of a member and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) name: String,
}

impl Node {
    /// Reads YAML. What is no YAML at all, or names a key twice, ends it at the first fault.
    pub(super) fn parse(text: &str) -> Result<Self, Finding> {
        // `yes`, `no`, `on` and `off` are words of the language here, never booleans in disguise.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            underscored_numbers_as_strings: true,
            duplicate_keys: DuplicateKeyPolicy::Error,
            with_snippet: false,
        };
        let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let at = error.location().map_or(Place::default(), |location| place(&location));
            let message = error.without_snippet().to_string();
            // The reader adds the place once more, and advice to those who program it.
            let message = message.split(" at line ").next().unwrap_or_default();
            let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
            Finding { at, path: String::new(), message: message.to_owned(), suggestion: None }
        })?;
        Ok(node(raw, text))
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// What the YAML reader gives: a number is only known to be one.
enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place(location: &Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number => {
            let written = written(&raw.defined, text);
            if Decimal::parse(&written).is_some() { Value::Number(written) } else { Value::Text(written) }
        }
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(members) => Value::Map(
            members
                .into_iter()
                .map(|(key, value)| (Key { at: place(&key.referenced), name: key.value }, node(value, text)))
                .collect(),
        ),
    };
    Node { at: place(&raw.referenced), value }
}

/// The characters of a value in the file.
fn written(location: &Location, text: &str) -> String {
    let span = location.span();
    let from = span.byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let length = span.byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    text.get(from..from.saturating_add(length)).unwrap_or_default().trim().to_owned()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(node: &'a Node, name: &str) -> (&'a Key, &'a Node) {
        let Value::Map(members) = &node.value else { panic!("{node:?}") };
        members.iter().find(|(key, _)| key.name == name).map(|(key, value)| (key, value)).unwrap()
    }

    #[test]
    fn a_value_knows_its_place_and_a_number_stands_as_written() {
        let node = Node::parse("a: &x 8.10\nb: { c: [1, 0.10000000000000000001], d: *x }\ne: yes\nf: 0x10\n").unwrap();
        let number = |node: &Node| match &node.value {
            Value::Number(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        let (key, value) = member(&node, "a");
        assert_eq!((key.at, number(value)), (Place { line: 1, column: 1 }, "8.10".to_owned()));
        let (key, b) = member(&node, "b");
        assert_eq!(key.at, Place { line: 2, column: 1 });
        let (key, list) = member(b, "c");
        assert_eq!(key.at, Place { line: 2, column: 6 });
        let Value::List(items) = &list.value else { panic!() };
        assert_eq!((items[1].at, number(&items[1])), (Place { line: 2, column: 13 }, "0.10000000000000000001".into()));
        assert_eq!(number(member(b, "d").1), "8.10");
        assert!(matches!(&member(&node, "e").1.value, Value::Text(text) if text == "yes"));
        assert!(matches!(&member(&node, "f").1.value, Value::Text(text) if text == "0x10"));
    }

    #[test]
    fn what_is_no_yaml_ends_at_the_first_fault() {
        for (text, line, message) in
            [("a: [1\nb: 2\n", 2, ""), ("a: 1\na: 2\n", 2, "duplicate mapping key"), ("a: b: c", 1, "")]
        {
            let fault = Node::parse(text).unwrap_err();
            assert_eq!(fault.at.line, line, "{fault:?}");
            assert!(fault.message.contains(message) && !fault.message.is_empty(), "{fault:?}");
        }
    }
}
