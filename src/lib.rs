//! Reprieve: an asynchronous worker for vulnerability exception requests. Events in, rules, a
//! database, events out: on `RabbitMQ` and Postgres, or on embedded parts.
//!
//! In reading order: [`domain`] is the business, pure ([`domain::lifecycle`] holds every transition); [`contract`] is the wire;
//! [`store`] and [`broker`] are the ports to the database and to the broker, with what is behind them; [`worker`] is the two
//! loops between them ([`worker::plan`] decides what a turn writes). [`http`] and [`cli`] are what people and orchestrators use;
//! the rest is what all of them need. How it works and why: `ARCHITECTURE.md`.

pub mod broker;
pub mod cli;
pub mod config;
pub mod contract;
pub mod domain;
pub mod health;
pub mod http;
pub mod metrics;
pub mod retry;
pub mod shapes;
pub mod spans;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod worker;
