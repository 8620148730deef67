//! The schemas of what comes in, made of the tables that the decoder checks against.

use serde_json::{Map, Value, json};

use crate::contract::fields::{LIST_ITEMS_MAX, LONG_TEXT_BYTES_MAX, SCORE_LENGTH_MAX, TEXT_BYTES_MAX};
use crate::contract::inbound::{ATTRIBUTE_CHARS_MAX, BUILT};
use crate::contract::schema;
use crate::domain::command::Verdict;
use crate::domain::fields::{Field, Kind, SEVERITIES};
use crate::domain::ids::is_hidden;

/// Each inbound type with its schema.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    let table = |event_type| crate::contract::inbound::table(event_type).expect("what is built has a table");
    BUILT.into_iter().map(|event_type| (event_type, envelope(event_type, table(event_type)))).collect()
}

fn envelope(event_type: &str, table: &[Field]) -> Value {
    let attribute = json!({
        "type": "string", "minLength": 1, "maxLength": ATTRIBUTE_CHARS_MAX, "pattern": format!("^[^{}]*$", hidden()),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema::id(event_type),
        "title": event_type,
        "description": "What JSON Schema can say. Beyond it: texts are bounded in bytes, a name stands once in an object, \
                        the body has at most 256 KiB and 32 levels. `reprieve schema validate` says all of it.",
        "type": "object",
        "properties": {
            "specversion": { "const": "1.0" },
            "id": attribute,
            "source": attribute,
            "type": { "const": event_type },
            "time": { "type": ["string", "null"], "format": "date-time" },
            "data_base64": false,
            "data": data(table),
        },
        "required": ["specversion", "id", "source", "type", "data"],
        "propertyNames": { "pattern": NO_NUL },
        "additionalProperties": ATTRIBUTE.to_value(),
        "$defs": {
            "attribute": {
                "description": "An attribute that nobody here knows.",
                "pattern": NO_NUL,
                "items": ATTRIBUTE.to_value(),
                "propertyNames": { "pattern": NO_NUL },
                "additionalProperties": ATTRIBUTE.to_value(),
            },
            "anything": {
                "description": "What no field names is kept; its texts and lists are bounded too.",
                "maxLength": TEXT_BYTES_MAX,
                "pattern": NO_NUL,
                "maxItems": LIST_ITEMS_MAX,
                "items": ANYTHING.to_value(),
                "propertyNames": { "pattern": NO_NUL },
                "additionalProperties": ANYTHING.to_value(),
            },
        },
    })
}

const NO_NUL: &str = "^[^\\u0000]*$";

/// A reference to a definition.
struct Definition(&'static str);
const ANYTHING: Definition = Definition("#/$defs/anything");
const ATTRIBUTE: Definition = Definition("#/$defs/attribute");

impl Definition {
    fn to_value(&self) -> Value {
        json!({ "$ref": self.0 })
    }
}

/// The object that the paths of a table make up.
fn data(table: &[Field]) -> Value {
    let mut data = object(&json!("object"));
    for field in table {
        let (parent, name) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        let pointer: String =
            parent.split('.').filter(|part| !part.is_empty()).map(|part| format!("/properties/{part}")).collect();
        let parent = data.pointer_mut(&pointer).expect("outer fields stand first in a table");
        parent["properties"][name] = property(field);
        if field.required {
            let required = parent["required"].as_array_mut().expect("`object` makes it a list");
            required.push(json!(name));
        }
    }
    data
}

fn object(types: &Value) -> Value {
    json!({
        "type": types, "properties": {}, "required": [],
        "propertyNames": { "pattern": NO_NUL }, "additionalProperties": ANYTHING.to_value(),
    })
}

fn property(field: &Field) -> Value {
    let types = |of: &[&'static str]| match (of, field.required) {
        ([one], true) => json!(one),
        _ => json!(of.iter().copied().chain((!field.required).then_some("null")).collect::<Vec<_>>()),
    };
    let string = |rest: Value| {
        let mut schema = json!({ "type": types(&["string"]) });
        let (schema_members, rest) = (schema.as_object_mut().expect("an object"), rest.as_object().cloned());
        schema_members.extend::<Map<String, Value>>(rest.expect("an object"));
        schema
    };
    match field.kind {
        Kind::Id => string(json!({ "pattern": "^[A-Za-z0-9._:@+-]{1,128}$" })),
        Kind::User => {
            string(json!({ "pattern": "^[ \\t\\r\\n]*[!-~]{1,128}[ \\t\\r\\n]*$", "maxLength": TEXT_BYTES_MAX }))
        }
        Kind::Word => string(json!({ "pattern": "^[!-~]+$", "maxLength": TEXT_BYTES_MAX })),
        Kind::Severity => string(json!({ "pattern": in_any_case(&SEVERITIES), "description": words(&SEVERITIES) })),
        Kind::Verdict => {
            let verdicts = Verdict::ALL.map(Verdict::word);
            string(json!({ "pattern": in_any_case(&verdicts), "description": words(&verdicts) }))
        }
        Kind::Text => string(json!({ "maxLength": TEXT_BYTES_MAX, "pattern": NO_NUL })),
        Kind::LongText => string(json!({ "maxLength": LONG_TEXT_BYTES_MAX, "pattern": NO_NUL })),
        Kind::Date => string(json!({ "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })),
        Kind::Time => string(json!({ "format": "date-time" })),
        Kind::Bool => json!({ "type": types(&["boolean"]) }),
        Kind::Count => json!({ "type": types(&["integer"]), "minimum": 0, "maximum": u32::MAX }),
        Kind::Score => json!({
            "type": types(&["string", "number"]), "pattern": "^[0-9]+(\\.[0-9]+)?$", "maxLength": SCORE_LENGTH_MAX,
        }),
        Kind::TextList => json!({
            "type": types(&["array"]), "maxItems": LIST_ITEMS_MAX,
            "items": { "type": "string", "maxLength": TEXT_BYTES_MAX, "pattern": NO_NUL },
        }),
        Kind::ObjectList => json!({
            "type": types(&["array"]), "maxItems": LIST_ITEMS_MAX,
            "items": {
                "type": "object", "propertyNames": { "pattern": NO_NUL },
                "additionalProperties": { "type": ["string", "null"], "maxLength": TEXT_BYTES_MAX, "pattern": NO_NUL },
            },
        }),
        Kind::Object | Kind::Custom => object(&types(&["object"])),
    }
}

/// A pattern that matches each of the words in any case.
fn in_any_case(words: &[&str]) -> String {
    let letter = |c: char| match c {
        c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        c => c.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

fn words(words: &[&str]) -> String {
    format!("{}, in any case", words.join(", "))
}

/// The characters of [`is_hidden`], as ranges of a character class.
fn hidden() -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for c in ('\0'..=char::MAX).filter(|c| is_hidden(*c)).map(u32::from) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == c => *last = c,
            _ => ranges.push((c, c)),
        }
    }
    let range =
        |(first, last)| if first == last { format!("\\u{first:04x}") } else { format!("\\u{first:04x}-\\u{last:04x}") };
    ranges.into_iter().map(range).collect()
}
