//! Spans of the real binary, on embedded parts: no server is needed. With the feature `otel` they come out at a collector of this
//! test, which reads the protocol by itself; without it the binary says what is missing.
//!
//!     cargo test --features otel --test otel

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod worker;

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod exported;

#[cfg(not(feature = "otel"))]
#[test]
fn a_binary_without_the_feature_says_so_once() {
    let worker = worker::Worker::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")]);
    worker.hand_in(&[worker::submission("1", None)]);
    let log = worker.end();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("OTEL_")).collect();
    assert!(lines.len() == 1 && lines[0].contains("--features otel"), "{log}");

    let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("OTEL_SDK_DISABLED", "true")];
    let log = worker::Worker::start(&disabled).end();
    assert!(!log.contains("OTEL_"), "{log}");
}
