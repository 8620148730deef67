//! Reprieve.

pub mod broker;
pub mod contract;
pub mod domain;
pub mod store;
