//! Conditions: for each kind of thing that a field can hold, what may be asked of it.

use serde_json::{Map, Value, json};

use super::{object, reference, told};
use crate::domain::fields::{DERIVED, SEVERITIES, SUBMISSION};
use crate::domain::rules::compile::condition::{Holds, OPERATORS, PATH_LENGTH_MAX};

pub(super) const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
pub(super) const DECIMAL: &str = "^-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]{1,9})?$";
/// Beside `*` nothing stands there that is special in other globs.
const GLOB: &str = "^([^*]*|[^?\\[\\]{}\\\\]*)$";
const PERSON: &str = "^\\s*[!-~]{1,128}\\s*$";

const KINDS: [(Holds, &str); 10] = [
    (Holds::Text, "text"),
    (Holds::Person, "person"),
    (Holds::Severity, "severity"),
    (Holds::Reason, "reason"),
    (Holds::Date, "date"),
    (Holds::Bool, "bool"),
    (Holds::Number, "number"),
    (Holds::Texts, "texts"),
    (Holds::Parts, "parts"),
    (Holds::Anything, "anything"),
];

/// What stands under `match`.
pub(super) fn conditions() -> Value {
    let known = SUBMISSION.iter().map(|field| field.path).chain(DERIVED);
    let condition = |path: &str| {
        let holds = Holds::of(path).expect("a path of the table is known");
        (path.to_owned(), test(holds))
    };
    let properties: Map<String, Value> = known.map(condition).collect();
    json!({
        "type": "object",
        "minProperties": 1,
        "properties": properties,
        "patternProperties": { "^custom(\\.[^.]+)+$": test(Holds::Anything) },
        "propertyNames": { "maxLength": PATH_LENGTH_MAX },
        "additionalProperties": false,
    })
}

/// A definition for each kind.
pub(super) fn definitions() -> Value {
    let mut definitions = json!({ "glob": { "type": ["string", "number"], "pattern": GLOB } });
    for (holds, name) in KINDS {
        definitions[format!("test_{name}")] = definition(holds);
    }
    definitions
}

fn test(holds: Holds) -> Value {
    let (_, name) = KINDS.iter().find(|(kind, _)| *kind == holds).expect("every kind has a name");
    reference(&format!("test_{name}"))
}

fn definition(holds: Holds) -> Value {
    let mut ways = equality(holds);
    if holds.is_one() {
        let list = json!({ "type": "array", "minItems": 1, "items": test(holds) });
        ways.push(told("Any of these.", &list));
    }
    let taken: Vec<_> = OPERATORS.into_iter().filter(|operator| holds.takes(operator)).collect();
    let mut operators = object(&taken, &[], |operator| match operator {
        "not" => test(holds),
        "present" => json!({ "type": "boolean" }),
        "any" | "all" => json!({ "type": "array", "minItems": 1, "items": test(holds.element()) }),
        "before" | "after" => day(),
        "gt" | "gte" | "lt" | "lte" => amount(),
        other => panic!("the schema of the rules file does not know the operator {other}"),
    });
    operators["minProperties"] = json!(1);
    ways.push(operators);
    json!({ "anyOf": ways })
}

/// What a plain value may be.
fn equality(holds: Holds) -> Vec<Value> {
    let glob = json!({ "type": "string", "pattern": "\\*" });
    let text = match holds {
        Holds::Person => vec![json!({ "anyOf": [{ "type": "string", "pattern": PERSON }, glob] })],
        Holds::Severity => vec![severity(), json!({ "allOf": [glob, { "pattern": GLOB }] })],
        holds if holds.is_text() => vec![json!({ "type": "string", "pattern": GLOB })],
        _ => Vec::new(),
    };
    let other = match holds {
        Holds::Bool => vec![json!({ "type": "boolean" })],
        Holds::Number => vec![amount()],
        Holds::Date => vec![day()],
        Holds::Anything => vec![json!({ "type": ["boolean", "number"] })],
        _ => Vec::new(),
    };
    text.into_iter().chain(other).collect()
}

/// A severity: those of the editor's list, and any other spelling.
pub(super) fn severity() -> Value {
    let letter = |c: char| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase());
    let words: Vec<String> = SEVERITIES.iter().map(|word| word.chars().map(letter).collect()).collect();
    json!({ "anyOf": [{ "enum": SEVERITIES }, { "type": "string", "pattern": format!("^({})$", words.join("|")) }] })
}

fn amount() -> Value {
    json!({ "type": ["number", "string"], "pattern": DECIMAL })
}

fn day() -> Value {
    json!({ "type": "string", "pattern": DATE, "format": "date" })
}
