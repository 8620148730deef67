//! Reprieve.

pub mod broker;
pub mod config;
pub mod contract;
pub mod domain;
pub mod health;
pub mod retry;
pub mod store;
