//! The Postgres store against a real server. Each test is a function that takes the URL of a fresh, empty database of its
//! own; the harness starts the server and calls them. What every store must do alike belongs to the conformance suite.

pub(crate) mod faults;
mod material;
pub(crate) mod rows;
pub(crate) mod schema;
