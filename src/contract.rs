//! The wire: what comes in is read strictly ([`decode`]), what goes out is written once and never again ([`outgoing`]).
//! Names and limits are those of the integration guide.

pub mod reason;
pub mod shapes;
