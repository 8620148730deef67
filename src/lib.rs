//! Reprieve.

pub mod broker;
pub mod cli;
pub mod config;
pub mod contract;
pub mod domain;
pub mod health;
pub mod http;
pub mod retry;
pub mod store;
pub mod telemetry;
pub mod worker;
