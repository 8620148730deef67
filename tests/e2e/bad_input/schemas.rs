//! The published schemas, held against the table of inputs and the examples of the documents.

use std::path::Path;

use serde_json::Value;

use super::table::{Outcome, STRUCTURED, cases};
use crate::support::schemas;

/// Rows that fail for what JSON Schema cannot say.
const BEYOND_SCHEMA: [&str; 3] =
    ["a text over 4 KiB of fewer characters", "year 0", "a number of more than 32 characters"];

/// What is accepted is valid; what fails for a reason that a schema can see is not.
pub(crate) async fn the_schemas_agree_with_the_table() {
    let (mut accepted, mut refused) = (0, 0);
    for case in cases() {
        for input in &case.inputs {
            let is_structured =
                input.message.properties.content_type().as_ref().is_some_and(|it| it.as_str() == STRUCTURED);
            let Ok(event) = serde_json::from_slice::<Value>(&input.message.body) else { continue };
            let event_type = event["type"].as_str().unwrap_or("exception.submitted.v1").to_owned();
            let Some(schema) = schemas::find(&event_type).filter(|_| is_structured && event.is_object()) else {
                continue;
            };
            let valid = schema.is_valid(&event);
            match case.outcome {
                Outcome::Failed("schema" | "bad_text" | "bad_time" | "unsupported_version") => {
                    let beyond = BEYOND_SCHEMA.contains(&case.input.as_str());
                    assert!(valid == beyond, "{}: valid by the schema is {valid}: {event}", case.input);
                    refused += usize::from(!valid);
                }
                // Names that stand twice, sizes, and whatever was decided by what came before: not a schema's business.
                Outcome::Failed(_) => {}
                _ => {
                    assert!(valid, "{}: {}", case.input, schemas::complaints(&schema, &event));
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 100 && refused > 300, "{accepted} accepted, {refused} refused");
}

/// The events of the guide and of the example file are valid.
pub(crate) async fn examples_fit_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/integration.md")).unwrap();
    let lines = std::fs::read_to_string(root.join("examples/events.jsonl")).unwrap();
    let examples = guide.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let mut count = 0;
    for text in examples.chain(lines.lines()) {
        schemas::check(&serde_json::from_str(text).unwrap());
        count += 1;
    }
    assert!(count > 8, "{count} examples");
}
