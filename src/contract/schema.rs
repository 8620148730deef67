//! The published JSON Schemas, one file a type in `schemas/`, and one of the rules file, embedded here. Nothing is checked against them at run time: for
//! what comes in the decoder is the authority, what goes out is what they are made from. The test below renews the files.

/// Which way events of a type go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Upstream publishes them.
    Inbound,
    /// The worker publishes them.
    Outbound,
}

/// One published schema.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The type it describes.
    pub event_type: &'static str,
    /// Which way these events go.
    pub direction: Direction,
    /// The file.
    pub text: &'static str,
}

macro_rules! schemas {
    ($($direction:ident $event_type:literal,)*) => {
        [$(Schema {
            event_type: $event_type,
            direction: Direction::$direction,
            text: include_str!(concat!("../../schemas/", $event_type, ".json")),
        }),*]
    };
}

/// All of them. A new type begins with an empty file.
pub const SCHEMAS: [Schema; 9] = schemas! {
    Inbound "exception.submitted.v1",
    Inbound "exception.decision.v1",
    Outbound "exception.status_changed.v1",
    Outbound "exception.assigned.v1",
    Outbound "exception.vote_recorded.v1",
    Outbound "notification.reviewer.v1",
    Outbound "notification.requester.v1",
    Outbound "ticket.deferral_requested.v1",
    Outbound "event.rejected.v1",
};

/// What the schema of the rules file is called: no type of event has a name like it.
pub const RULES: &str = "rules";

/// The schema of the rules file, for editors.
pub const RULES_TEXT: &str = include_str!("../../schemas/rules.json");

/// The schema of a type.
pub fn find(event_type: &str) -> Option<&'static Schema> {
    static ALL: [Schema; 9] = SCHEMAS;
    ALL.iter().find(|schema| schema.event_type == event_type)
}

/// A schema's id, as `dataschema` names it: the type's name with major and minor version.
pub fn id(event_type: &str) -> String {
    let (name, major) = event_type.rsplit_once(".v").unwrap_or((event_type, "1"));
    format!("urn:reprieve:schema:{name}:{major}.0")
}

#[cfg(test)]
mod inbound;
#[cfg(test)]
mod tests;
