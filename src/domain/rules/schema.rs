//! The JSON Schema of the rules file, for editors: made of the tables of keys and words that the compiler reads with, so
//! that neither can say what the other does not know. What needs more than one place of the file to be seen (names that do not
//! exist, a quorum above the members) only `rules check` can say. Conditions are in `condition`, the file is in `schemas/`.

use serde_json::{Value, json};

use super::cases::{CASE, EXPECT, NO_AUTO};
use super::compile::limits::{DEADLINES, KEV_DUE_DATES, LIMITS, TIMERS};
use super::compile::rule::{
    AUTOS, DEFAULTS, FALLBACK_RULE, LEVEL, LEVELS_MAX, NAME_LENGTH_MAX, NOBODY, PEOPLE, PICKS, QUORUMS, RULE,
    may_name_people,
};
use super::compile::{
    API_VERSION, CONFIRMATIONS, DEFERRAL, FILE, GROUP, MAY_REQUEST, MAY_REVIEW, NOTIFY, SETTINGS, VERSION_LENGTH_MAX,
};
use crate::domain::fields::{DERIVED, Field, Kind, SUBMISSION};

mod condition;

/// The whole schema. The id is given by whoever publishes it.
pub(crate) fn schema(id: &str) -> Value {
    let mut definitions = condition::definitions();
    for (name, definition) in [
        ("limits", object(&LIMITS, &[], limit)),
        ("people", people()),
        ("level", object(&[&LEVEL[..], &TIMERS].concat(), &["reviewers"], in_level)),
        ("user", json!({ "type": ["string", "number"], "pattern": "^\\s*[!-~]{1,128}\\s*$" })),
        (
            "days",
            told(
                "A number of days, as in 90d.",
                &json!({ "type": "string", "pattern": "^0*[1-9][0-9]*d$", "maxLength": 5 }),
            ),
        ),
        (
            "time",
            told(
                "A time, as in 2d, 12h, 30m or 45s.",
                &json!({ "type": "string", "pattern": "^0*[1-9][0-9]*[dhms]$", "maxLength": 5 }),
            ),
        ),
        ("path", path(|_| true)),
    ] {
        definitions[name] = definition;
    }
    let mut schema = object(&FILE, &["apiVersion", "version", "settings", "fallback"], in_file);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(id);
    schema["title"] = json!("Reprieve rules file");
    schema["description"] =
        json!("What JSON Schema can say. `reprieve rules check` says all of it, `reprieve rules test` runs its tests.");
    schema["$defs"] = definitions;
    schema
}

fn in_file(key: &str) -> Value {
    match key {
        "apiVersion" => json!({ "const": API_VERSION }),
        "version" => told(
            "Stored with every assignment, with the file's hash.",
            &json!({ "type": ["string", "number"], "pattern": "\\S", "maxLength": VERSION_LENGTH_MAX }),
        ),
        "settings" => object(&SETTINGS, &["triage"], in_settings),
        "groups" => json!({ "type": "object", "additionalProperties": object(&GROUP, &GROUP, |_| some("user")) }),
        "defaults" => told(
            "What holds for every rule that does not say otherwise.",
            &object(&[&DEFAULTS[..], &TIMERS].concat(), &[], in_rule),
        ),
        "rules" => told("In order: the first that matches wins.", &json!({ "type": "array", "items": rule() })),
        "fallback" => told(
            "Who reviews what no rule matches.",
            &one_way(object(&[&FALLBACK_RULE[..], &TIMERS].concat(), &[], in_fallback)),
        ),
        "tests" => json!({ "type": "array", "items": object(&CASE, &["name", "expect"], in_case) }),
        other => unknown(other),
    }
}

fn in_settings(key: &str) -> Value {
    match key {
        "time_zone" => told(
            "Says when a day is over; UTC where it is left out.",
            &json!({ "type": "string", "examples": ["UTC", "Europe/Berlin"] }),
        ),
        "may_request" => told("Who may submit a request; everybody where it is left out.", &who(&MAY_REQUEST)),
        "may_review" => told("Who may review; whoever the file names where it is left out.", &who(&MAY_REVIEW)),
        "managers" => told("Who may reassign and revoke anything.", &list("user")),
        "triage" => told("Who reviews what nobody could be assigned to.", &some("user")),
        "reasons" => json!({
            "type": "array", "minItems": 1, "items": { "type": ["string", "number"], "pattern": "^[!-~]+$" },
        }),
        "notify" => words(&NOTIFY),
        "expiry_warnings" => told("When the requester is warned before the end.", &list("days")),
        "deferral" => object(&DEFERRAL, &[], |_| {
            let built = CONFIRMATIONS.iter().filter(|(_, to_be_built)| !to_be_built).map(|(word, _)| *word);
            json!({ "enum": built.collect::<Vec<_>>() })
        }),
        other => unknown(other),
    }
}

fn who(keys: &[&str]) -> Value {
    object(keys, &[], |key| match key {
        "any" => json!({ "type": "boolean" }),
        "users" => list("user"),
        "groups" => names(),
        "teams" => list("glob"),
        other => unknown(other),
    })
}

fn rule() -> Value {
    let rule = object(&[&RULE[..], &TIMERS].concat(), &["name", "match"], |key| match key {
        "name" => json!({ "type": ["string", "number"], "pattern": "\\S", "maxLength": NAME_LENGTH_MAX }),
        "description" => json!({ "type": ["string", "number"] }),
        "match" => told("All of it must hold.", &condition::conditions()),
        other => in_fallback(other),
    });
    one_way(rule)
}

/// A rule says who reviews, or that nobody does, or decides by itself.
fn one_way(mut rule: Value) -> Value {
    rule["oneOf"] = json!(["levels", "reviewers", "auto"].map(|key| json!({ "required": [key] })));
    rule
}

fn in_fallback(key: &str) -> Value {
    match key {
        "levels" => json!({ "type": "array", "minItems": 1, "maxItems": LEVELS_MAX, "items": reference("level") }),
        "reviewers" => told("Nobody is assigned: triage decides.", &words(&NOBODY)),
        "auto" => told("The rule decides by itself.", &words(&AUTOS)),
        other => in_rule(other),
    }
}

/// What defaults and rules have in common.
fn in_rule(key: &str) -> Value {
    match key {
        "require" => told("Fields that must not be empty.", &list("path")),
        "limits" => reference("limits"),
        other => in_level(other),
    }
}

fn in_level(key: &str) -> Value {
    match key {
        "reviewers" => reference("people"),
        "escalate_to" => {
            told("Who is added where fewer reviewers are left than the quorum needs.", &reference("people"))
        }
        "quorum" => {
            let named: Vec<_> = QUORUMS.iter().filter(|(_, quorum)| quorum.is_some()).map(|(word, _)| *word).collect();
            let number = json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
            told("How many must approve.", &json!({ "anyOf": [{ "enum": named }, number] }))
        }
        "pick" => told("Who of the reviewers is asked.", &words(&PICKS)),
        "on_deadline" => words(&DEADLINES),
        timer if TIMERS.contains(&timer) => reference("time"),
        other => unknown(other),
    }
}

fn limit(key: &str) -> Value {
    match key {
        "max_previous_exceptions" => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        "kev_due_date" => told("Whether anything goes beyond the mandated date.", &words(&KEV_DUE_DATES)),
        "max_extension" | "max_cumulative_extension" => reference("days"),
        other => unknown(other),
    }
}

/// At least one person is named.
fn people() -> Value {
    let mut people = object(&PEOPLE, &[], |key| match key {
        "users" => list("user"),
        "groups" => names(),
        "fields" => json!({ "type": "array", "items": path(may_name_people) }),
        other => unknown(other),
    });
    let some = |key: &str| json!({ "required": [key], "properties": { key: { "minItems": 1 } } });
    people["anyOf"] = json!(PEOPLE.map(some));
    people
}

fn in_case(key: &str) -> Value {
    match key {
        "name" => json!({ "type": ["string", "number"] }),
        "request" => request(),
        "expect" => {
            let mut expect = object(&EXPECT, &[], |key| match key {
                "rule" => json!({ "type": ["string", "number"] }),
                "auto" => json!({ "enum": AUTOS.iter().map(|(word, _)| *word).chain([NO_AUTO]).collect::<Vec<_>>() }),
                "levels" => json!({ "type": "array", "items": list("user") }),
                other => unknown(other),
            });
            expect["minProperties"] = json!(1);
            expect
        }
        other => unknown(other),
    }
}

/// The fields of a submission, and the derived values; whatever is left out is neutral.
fn request() -> Value {
    let mut request = object(&DERIVED, &[], |_| json!({ "type": "integer" }));
    for field in &SUBMISSION {
        let (parent, name) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        let parent: String =
            parent.split('.').filter(|part| !part.is_empty()).map(|part| format!("/properties/{part}")).collect();
        let parent = request.pointer_mut(&parent).expect("outer fields stand first in the table");
        parent["properties"][name] = in_request(field);
    }
    request
}

fn in_request(field: &Field) -> Value {
    match field.kind {
        Kind::Object => json!({ "type": ["object", "null"], "properties": {}, "additionalProperties": false }),
        Kind::Custom => json!({ "type": ["object", "null"] }),
        Kind::Bool => json!({ "type": ["boolean", "null"] }),
        Kind::Date => json!({ "type": ["string", "null"], "pattern": condition::DATE, "format": "date" }),
        Kind::Severity => json!({ "anyOf": [condition::severity(), { "type": "null" }] }),
        Kind::User => json!({ "type": ["string", "null"], "pattern": "^\\s*[!-~]{1,128}\\s*$" }),
        Kind::Score => json!({ "type": ["string", "number", "null"], "pattern": condition::DECIMAL }),
        Kind::Count => json!({ "type": ["number", "null"] }),
        Kind::TextList | Kind::ObjectList => json!({ "type": ["array", "null"] }),
        Kind::Id | Kind::Word | Kind::Verdict | Kind::Text | Kind::LongText | Kind::Time => {
            json!({ "type": ["string", "number", "null"] })
        }
    }
}

/// An object of these keys and no others.
fn object(keys: &[&str], required: &[&str], property: impl Fn(&str) -> Value) -> Value {
    let properties: serde_json::Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), property(key))).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// A table has a key that nobody has described here.
fn unknown(key: &str) -> Value {
    panic!("the schema of the rules file does not know the key {key}")
}

fn told(description: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["description"] = json!(description);
    schema
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": reference(of) })
}

fn some(of: &str) -> Value {
    json!({ "type": "array", "minItems": 1, "items": reference(of) })
}

/// Names of groups.
fn names() -> Value {
    json!({ "type": "array", "items": { "type": ["string", "number"] } })
}

fn words<T>(words: &[(&str, T)]) -> Value {
    json!({ "enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

/// A field of the submission, or one of the sender's own.
fn path(is: fn(&Field) -> bool) -> Value {
    let known: Vec<_> = SUBMISSION.iter().filter(|field| is(field)).map(|field| field.path).collect();
    json!({ "anyOf": [{ "enum": known }, { "type": "string", "pattern": "^custom(\\.[^.]+)+$" }] })
}

#[cfg(test)]
mod tests;
