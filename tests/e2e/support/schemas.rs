//! The published schemas, read from `schemas/` as an integrator would.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

static READ: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

/// The schema of a type, if there is one.
pub(crate) fn find(event_type: &str) -> Option<Arc<Validator>> {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = read.get(event_type) {
        return Some(Arc::clone(validator));
    }
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{event_type}.json"));
    let text = std::fs::read_to_string(file).ok().filter(|_| event_type.chars().all(known))?;
    let mut schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    if !event_type.starts_with("exception.submitted.") && !event_type.starts_with("exception.decision.") {
        close(&mut schema);
    }
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema);
    let validator = Arc::new(validator.expect("a schema is a schema"));
    read.insert(event_type.to_owned(), Arc::clone(&validator));
    Some(validator)
}

/// Consumers have to bear fields that were added later; the worker must not publish any that the schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && members.contains_key("required") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Fails where an event does not fit the schema of its type.
#[track_caller]
pub(crate) fn check(event: &Value) {
    let event_type = event["type"].as_str().expect("an event has a type");
    let schema = find(event_type).unwrap_or_else(|| panic!("no schema for {event_type}"));
    assert!(schema.is_valid(event), "{}\n{event}", complaints(&schema, event));
}

/// What a schema says against an event.
pub(crate) fn complaints(schema: &Validator, event: &Value) -> String {
    schema.iter_errors(event).map(|error| format!("{}: {error}\n", error.instance_path())).collect()
}
