//! The business itself, pure: no async, no I/O, no clock, no randomness, and nothing of the wire. Time is an argument.
//! Start with [`lifecycle`]: the whole table of transitions.

pub mod actor;
pub mod audit;
pub mod command;
pub mod dates;
pub mod emission;
pub mod exception;
pub mod fields;
pub mod history;
pub mod ids;
pub mod json;
pub mod lifecycle;
pub mod outcome;
pub mod refusal;
pub mod routing;
pub mod rules;
pub mod ticket;
