//! Reprieve.

pub mod broker;
pub mod contract;
pub mod domain;
pub mod health;
pub mod retry;
pub mod store;
pub mod worker;
