//! The wire: what comes in is read strictly ([`inbound`]), what goes out is written once and never again ([`outbound`]).
//! Names and limits are those of the integration guide.

pub mod digest;
pub mod fields;
pub mod inbound;
pub mod json;
pub mod message;
pub mod outbound;
pub mod reason;
pub mod remedy;
pub mod schema;
pub mod shapes;
pub mod trust;
