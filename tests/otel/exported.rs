//! What comes out, and that nothing depends on it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::collector::{Answer, Collector, Span};
use crate::worker::{Worker, envelope, submission};

const CLIENT: u64 = 3;
const CONSUMER: u64 = 5;
const ERROR: u64 = 2;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A trace context: who made the message, in which trace.
fn context(number: u8, flags: &str) -> String {
    format!("00-{}-{}-{flags}", trace(number), parent(number))
}

fn trace(number: u8) -> String {
    format!("{number:032x}")
}

fn parent(number: u8) -> String {
    format!("{number:016x}")
}

fn of_trace(spans: &[Span], number: u8) -> Vec<Span> {
    spans.iter().filter(|span| span.trace == trace(number)).cloned().collect()
}

#[test]
fn an_event_and_what_it_causes_hang_on_the_context_it_came_with() {
    let collector = Collector::start(Answer::Taken);
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let worker = Worker::start(&[(ENDPOINT, &collector.url()), attributes]);
    let broken = envelope("x-3", "exception.decision.v1", &json!({ "comment": "hunter2" }), Some(&context(3, "01")));
    let events = [submission("1", Some(&context(1, "01"))), submission("2", Some(&context(2, "00"))), broken];
    assert_eq!(worker.hand_in(&events), ["applied", "applied", "failed"]);
    let log = worker.end();
    assert!(!log.contains("spans do not reach"), "{log}");

    let requests = collector.requests();
    let head = &requests[0].head;
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let spans = collector.spans();
    let resource = &spans[0].resource;
    assert_eq!(resource["service.name"], "reprieve");
    assert_eq!(resource["deployment.environment.name"], "test");

    let first = of_trace(&spans, 1);
    assert!(
        first.iter().all(|span| span.parent == parent(1) && span.nanoseconds.0 <= span.nanoseconds.1),
        "{first:#?}"
    );
    let processed: Vec<_> = first.iter().filter(|span| span.name == "process embedded").collect();
    let [processed] = processed.as_slice() else { panic!("{first:#?}") };
    assert_eq!((processed.kind, processed.status), (CONSUMER, 0));
    assert_eq!((processed.at("messaging.message.id"), processed.at("reprieve.outcome")), ("s-1", "applied"));
    let mut sent: Vec<_> = first.iter().filter(|span| span.kind == CLIENT).map(|span| span.name.as_str()).collect();
    sent.sort_unstable();
    let expected = [
        "send embedded:exception.assigned.v1",
        "send embedded:exception.status_changed.v1",
        "send embedded:notification.requester.v1",
    ];
    assert!(expected.iter().all(|name| sent.contains(name)) && sent.len() + 1 == first.len(), "{first:#?}");
    assert!(first.iter().all(|span| span.at("reprieve.exception.id") == "EX-1"), "{first:#?}");

    assert!(of_trace(&spans, 2).is_empty(), "its sender does not sample it: {spans:#?}");

    let third = of_trace(&spans, 3);
    let failed = third.iter().find(|span| span.name == "process embedded").unwrap();
    assert_eq!((failed.status, failed.at("error.type"), failed.at("reprieve.code")), (ERROR, "schema", "schema"));
    // The events may have been taken in one turn, or in several.
    for batch in spans.iter().filter(|span| !span.at("messaging.batch.message_count").is_empty()) {
        let linked = spans.iter().filter(|span| span.links.contains(&batch.id)).count();
        assert!(batch.parent.is_empty() && linked == batch.links.len() && linked > 0, "{batch:#?}");
    }
    for secret in ["hunter2", "zoe@example.com", "OpenSSL"] {
        let shown = |body: &[u8]| body.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!requests.iter().any(|request| shown(&request.body)), "{secret} is exported");
    }
}

#[test]
fn spans_come_while_the_worker_runs() {
    let collector = Collector::start(Answer::Taken);
    let url = format!("{}/in", collector.url());
    let worker = Worker::start(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url), ("OTEL_SERVICE_NAME", "vex")]);
    worker.hand_in(&[submission("1", None)]);
    worker.eventually("spans", |_| collector.requests().first().cloned());
    assert!(collector.requests()[0].head.starts_with("post /in http/1.1"));
    let spans = collector.spans();
    assert_eq!(spans[0].resource["service.name"], "vex");
    assert!(spans.iter().all(|span| span.parent.is_empty()), "{spans:#?}");
    worker.end();
}

#[test]
fn the_environment_says_how_many() {
    let collector = Collector::start(Answer::Taken);
    let url = collector.url();
    let (all, none) = (("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_TRACES_SAMPLER", "always_off"));
    for turned_off in [none, ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let worker = Worker::start(&[(ENDPOINT, &url), turned_off]);
        worker.hand_in(&[submission("1", Some(&context(1, "01")))]);
        worker.end();
        assert!(collector.requests().is_empty(), "{turned_off:?}");
    }
    let worker = Worker::start(&[(ENDPOINT, &url), all]);
    worker.hand_in(&[submission("1", Some(&context(1, "00")))]);
    worker.end();
    assert!(!of_trace(&collector.spans(), 1).is_empty());
}

#[test]
fn the_worker_goes_on_without_a_collector() {
    // Nobody listens there any more.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hanging = Collector::start(Answer::Never);
    for url in [format!("http://{free}"), hanging.url()] {
        let worker = Worker::start(&[(ENDPOINT, &url)]);
        let began = Instant::now();
        for number in 0..20 {
            assert_eq!(worker.hand_in(&[submission(&number.to_string(), Some(&context(1, "01")))]), ["applied"]);
        }
        worker.eventually("word of it", |log| log.contains("spans do not reach").then_some(()));
        assert_eq!(worker.hand_in(&[submission("last", None)]), ["applied"]);
        let began_to_end = Instant::now();
        let log = worker.end();
        assert!(began_to_end.elapsed() < Duration::from_secs(8), "{:?}: {log}", began_to_end.elapsed());
        assert_eq!(log.matches("spans do not reach").count(), 1, "after {:?}: {log}", began.elapsed());
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_is_said_and_stops_nothing() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let cases: [&[(&str, &str)]; 2] =
        [&[(ENDPOINT, "https://me:hunter2@collector:4318")], &[(ENDPOINT, "http://127.0.0.1:4317"), grpc]];
    for environment in cases {
        let worker = Worker::start(environment);
        assert_eq!(worker.hand_in(&[submission("1", None)]), ["applied"]);
        let log = worker.end();
        assert_eq!(log.matches("no spans are exported: OTEL_EXPORTER_OTLP_ENDPOINT").count(), 1, "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
