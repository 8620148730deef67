//! The schemas of what goes out, derived from the very types that are written: they cannot say anything else.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::{
    ASSIGNED, Assigned, DEFERRAL_REQUESTED, DeferralRequested, Envelope, NOTIFY_REQUESTER, NOTIFY_REVIEWER,
    NotifyRequester, NotifyReviewer, REJECTED, Rejected, STATUS_CHANGED, StatusChanged, VOTE_RECORDED, VoteRecorded,
};
use crate::contract::schema;

/// Each outgoing type with its schema.
pub(in crate::contract) fn all() -> Vec<(&'static str, Value)> {
    vec![
        of::<StatusChanged<'_>>(STATUS_CHANGED),
        of::<Assigned<'_>>(ASSIGNED),
        of::<VoteRecorded<'_>>(VOTE_RECORDED),
        of::<NotifyReviewer<'_>>(NOTIFY_REVIEWER),
        of::<NotifyRequester<'_>>(NOTIFY_REQUESTER),
        of::<DeferralRequested<'_>>(DEFERRAL_REQUESTED),
        of::<Rejected<'_>>(REJECTED),
    ]
}

fn of<D: JsonSchema>(event_type: &'static str) -> (&'static str, Value) {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<Envelope<'_, D>>().to_value();
    schema["$id"] = json!(schema::id(event_type));
    schema["title"] = json!(event_type);
    for (name, constant) in [
        ("specversion", "1.0"),
        ("type", event_type),
        ("datacontenttype", "application/json"),
        ("dataschema", &schema::id(event_type)),
        ("sequencetype", "Integer"),
    ] {
        let property = &mut schema["properties"][name];
        assert!(property.is_object(), "an envelope has {name}");
        *property = json!({ "const": constant });
    }
    // Attributes are left out, never null; those that tie an event to its exception stand in all but this one.
    for name in ["subject", "correlationid", "causationid", "traceparent"] {
        schema["properties"][name] = json!({ "type": "string" });
    }
    schema["properties"]["sequence"] = json!({ "type": "string", "pattern": "^[0-9]{10}$" });
    if event_type == REJECTED {
        schema["properties"]["sequence"] = json!(false);
        schema["properties"]["sequencetype"] = json!(false);
    } else {
        let required = schema["required"].as_array_mut().expect("an envelope requires some of its attributes");
        required.extend(["subject", "correlationid", "sequence", "sequencetype"].map(Value::from));
    }
    (event_type, schema)
}
