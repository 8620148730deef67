use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;

use super::queue::QUEUE_MAX;
use super::*;
use crate::domain::outcome::Outcome;
use crate::spans::Processed;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00";

fn rabbit() -> Places {
    let queues = vec!["p.exceptions.worker".to_owned(), "p.exceptions.worker.dead".to_owned()];
    Places { system: "rabbitmq", queues, exchange: "p.exceptions.events".to_owned(), commit_publishes: false }
}

fn embedded() -> Places {
    let name = "embedded".to_owned();
    Places { system: "reprieve", queues: vec![name.clone()], exchange: name, commit_publishes: true }
}

/// Spans into memory.
struct Bench {
    otel: Otel,
    made: mpsc::Receiver<SpanData>,
}

impl Bench {
    fn new(places: Places) -> Self {
        let (queue, made) = queue::queue();
        Self { otel: Otel::into(queue, places, watch::channel(false).0), made }
    }

    fn turn(&mut self, queue: Option<u16>, events: &[Processed<'_>]) -> Vec<SpanData> {
        self.otel.turn(&Turn { began: Instant::now(), queue, events });
        self.made()
    }

    fn sent(&mut self, events: &[Sent<'_>]) -> Vec<SpanData> {
        self.otel.sent(Instant::now(), events);
        self.made()
    }

    fn made(&mut self) -> Vec<SpanData> {
        std::iter::from_fn(|| self.made.try_recv().ok()).collect()
    }
}

fn event<'a>(id: &'a str, traceparent: Option<&'a str>) -> Processed<'a> {
    Processed {
        id,
        source: "urn:tickets",
        event_type: Some("exception.submitted.v1"),
        traceparent,
        exception_id: Some("EX-1"),
        failure: None,
        outcome: Outcome::Applied,
    }
}

fn attributes(span: &SpanData) -> Vec<String> {
    span.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect()
}

fn links(span: &SpanData) -> Vec<String> {
    span.links.links.iter().map(|link| link.span_context.span_id().to_string()).collect()
}

fn id(span: &SpanData) -> String {
    span.span_context.span_id().to_string()
}

#[tokio::test(start_paused = true)]
async fn an_event_hangs_on_the_context_it_came_with() {
    let mut bench = Bench::new(rabbit());
    let began = Instant::now();
    tokio::time::advance(Duration::from_millis(250)).await;
    bench.otel.turn(&Turn { began, queue: Some(1), events: &[event("e-1", Some(SAMPLED))] });
    let made = bench.made();
    let [span] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(span.name, "process p.exceptions.worker.dead");
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(span.parent_span_is_remote && links(span) == ["b7ad6b7169203331"]);
    assert_eq!(span.status, Status::Unset);
    assert_eq!(span.end_time.duration_since(span.start_time).unwrap(), Duration::from_millis(250));
    let expected = [
        "messaging.system=rabbitmq",
        "messaging.operation.name=process",
        "messaging.operation.type=process",
        "messaging.destination.name=p.exceptions.worker.dead",
        "messaging.message.id=e-1",
        "cloudevents.event_source=urn:tickets",
        "cloudevents.event_type=exception.submitted.v1",
        "reprieve.exception.id=EX-1",
        "reprieve.outcome=applied",
    ];
    assert_eq!(attributes(span), expected);
}

#[test]
fn a_batch_is_linked_with_its_sampled_events_both_ways() {
    let mut bench = Bench::new(rabbit());
    let events = [event("e-1", Some(SAMPLED)), event("e-2", Some(UNSAMPLED)), event("e-3", None)];
    let made = bench.turn(Some(0), &events);
    let [batch, first, third] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(batch.name, "process p.exceptions.worker");
    let of_the_batch: Vec<_> = attributes(batch).into_iter().skip(3).collect();
    assert_eq!(of_the_batch, ["messaging.destination.name=p.exceptions.worker", "messaging.batch.message_count=3"]);
    assert!(batch.span_kind == SpanKind::Consumer && batch.parent_span_id.to_string() == "0000000000000000");
    assert_eq!(links(batch), ["b7ad6b7169203331".to_owned(), id(third)]);
    assert_eq!(links(first), ["b7ad6b7169203331".to_owned(), id(batch)]);
    assert_eq!(links(third), [id(batch)]);
    assert_eq!(third.parent_span_id.to_string(), "0000000000000000");
    assert_ne!(third.span_context.trace_id(), batch.span_context.trace_id());
}

#[test]
fn a_turn_of_which_nothing_is_sampled_leaves_nothing() {
    let mut bench = Bench::new(rabbit());
    assert!(bench.turn(Some(0), &[event("e-1", Some(UNSAMPLED)), event("e-2", Some(UNSAMPLED))]).is_empty());
}

#[test]
fn the_links_of_a_batch_are_bounded() {
    let mut bench = Bench::new(rabbit());
    let made = bench.turn(Some(0), &vec![event("e", Some(SAMPLED)); 500]);
    assert_eq!((made.len(), made[0].links.links.len()), (501, 128));
}

#[test]
fn the_outcome_is_told_and_only_a_failure_is_an_error() {
    #[track_caller]
    fn check(outcome: Outcome, expected: &[&str], status: &Status) {
        let mut bench = Bench::new(embedded());
        let made = bench.turn(Some(0), &[Processed { outcome, ..event("e-1", Some(SAMPLED)) }]);
        let told: Vec<_> = attributes(&made[0]).into_iter().skip(8).collect();
        assert!(told == expected && made[0].status == *status, "{made:?}");
    }
    check(Outcome::Applied, &["reprieve.outcome=applied"], &Status::Unset);
    check(Outcome::Repeated, &["reprieve.outcome=repeated"], &Status::Unset);
    check(Outcome::Parked, &["reprieve.outcome=parked"], &Status::Unset);
    let refused = ["reprieve.outcome=refused", "reprieve.code=self_approval"];
    check(Outcome::Refused("self_approval"), &refused, &Status::Unset);
    let failed = ["reprieve.outcome=failed", "reprieve.code=schema", "error.type=schema"];
    check(Outcome::Failed("schema"), &failed, &Status::error("schema"));
}

#[test]
fn a_failure_that_is_tried_again_came_from_no_queue() {
    let mut bench = Bench::new(rabbit());
    let made = bench.turn(None, &[Processed { failure: Some(Uuid::nil()), ..event("e-1", None) }]);
    assert_eq!(made[0].name, "process");
    let told = attributes(&made[0]);
    assert!(told.contains(&format!("reprieve.failure.id={}", Uuid::nil())), "{told:?}");
    assert!(!told.iter().any(|pair| pair.starts_with("messaging.destination.name")), "{told:?}");
}

#[test]
fn what_is_no_context_begins_a_trace() {
    for text in [
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "-------------------------------------------------------",
    ] {
        let made = Bench::new(rabbit()).turn(Some(0), &[event("e-1", Some(text))]);
        assert!(made[0].parent_span_id.to_string() == "0000000000000000" && made[0].links.links.is_empty(), "{text}");
    }
}

fn envelope(traceparent: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"o-1","type":"exception.status_changed.v1","source":"urn:reprieve","correlationid":"EX-1",
        "traceparent":"{traceparent}","data":{{"comment":"hunter2"}}}}"#
    )
}

#[test]
fn an_event_that_goes_out_hangs_on_what_caused_it() {
    let envelope = envelope(SAMPLED);
    let made = Bench::new(rabbit()).sent(&[Sent { envelope: &envelope, error: None }]);
    let [span] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(span.name, "send p.exceptions.events:exception.status_changed.v1");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert!(span.parent_span_id.to_string() == "b7ad6b7169203331" && links(span) == ["b7ad6b7169203331"]);
    let expected = [
        "messaging.system=rabbitmq",
        "messaging.operation.name=send",
        "messaging.operation.type=send",
        "messaging.destination.name=p.exceptions.events:exception.status_changed.v1",
        "messaging.message.id=o-1",
        "messaging.rabbitmq.destination.routing_key=exception.status_changed.v1",
        "messaging.message.conversation_id=EX-1",
        "reprieve.exception.id=EX-1",
    ];
    assert_eq!(attributes(span), expected);
    assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
}

#[test]
fn an_unsampled_cause_hides_what_it_causes_and_a_lost_event_is_an_error() {
    let (sampled, unsampled) = (envelope(SAMPLED), envelope(UNSAMPLED));
    let sent = [
        Sent { envelope: &unsampled, error: Some("unroutable") },
        Sent { envelope: &sampled, error: Some("unroutable") },
        Sent { envelope: "{", error: None },
    ];
    let made = Bench::new(embedded()).sent(&sent);
    let [span] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(span.status, Status::error("unroutable"));
    let told = attributes(span);
    assert!(told.contains(&"error.type=unroutable".to_owned()), "{told:?}");
    assert!(!told.iter().any(|pair| pair.starts_with("messaging.rabbitmq")), "{told:?}");
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (queue, _kept) = queue::queue();
    let dropped = queue.dropped();
    let otel = Otel::into(queue, rabbit(), watch::channel(false).0);
    for _ in 0..QUEUE_MAX + 10 {
        otel.turn(&Turn { began: Instant::now(), queue: Some(0), events: &[event("e-1", None)] });
    }
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 10);
}

#[test]
fn a_sampler_that_the_sdk_would_pass_over_is_said() {
    #[track_caller]
    fn check(sampler: &str, argument: &str, expected: Option<&str>) {
        let fault = sampler_fault(|name| Some(if name.ends_with("_ARG") { argument } else { sampler }.to_owned()));
        match (fault, expected) {
            (Some(fault), Some(part)) => assert!(fault.contains(part), "{fault}"),
            (fault, expected) => assert_eq!(fault.as_deref(), expected),
        }
    }
    check("", "", None);
    check("always_off", "", None);
    check("parentbased_traceidratio", "0.05", None);
    check("parentbased_traceidratio", "5%", Some("\"5%\" is no number from 0 to 1"));
    check("traceidratio", "", Some("is no number"));
    check("traceidratio", "2", Some("is no number"));
    check("xray", "", Some("\"xray\" is none of always_on"));
}
