use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Mutex;

use async_trait::async_trait;
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::subscriber::DefaultGuard;

use super::super::queue::{QUEUE_MAX, queue};
use super::*;

/// What the collector does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Takes,
    IsAway,
    Refuses,
    Hangs,
}

use Does::{Hangs, IsAway, Refuses, Takes as TakesIt};

/// Does what it is told, then takes everything.
#[derive(Clone, Default)]
struct Fake {
    next: Arc<Mutex<VecDeque<Does>>>,
    /// How many spans each request has brought that was taken.
    taken: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Takes for Fake {
    async fn take(&self, body: Bytes) -> Result<(), NotTaken> {
        let does = self.next.lock().unwrap().pop_front().unwrap_or(TakesIt);
        match does {
            TakesIt => {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                self.taken.lock().unwrap().push(scopes.map(|scope| scope.spans.len()).sum());
                Ok(())
            }
            IsAway => Err(NotTaken::Later("nobody is there".to_owned())),
            Refuses => Err(NotTaken::Never("it answers 400".to_owned())),
            Hangs => std::future::pending().await,
        }
    }
}

impl fmt::Display for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

/// The log of this thread, in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    tracer: SdkTracer,
    fake: Fake,
    close: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn new(does: &[Does]) -> Self {
        let fake = Fake { next: Arc::new(Mutex::new(does.iter().copied().collect())), ..Fake::default() };
        let (queue, spans) = queue();
        let (close, closing) = watch::channel(false);
        let export = Export::new(fake.clone(), &Resource::builder_empty().build(), queue.dropped(), closing);
        let running = tokio::spawn(export.run(spans));
        let tracer = SdkTracerProvider::builder().with_span_processor(queue).build().tracer("test");
        Self { tracer, fake, close, running }
    }

    fn spans(&self, count: usize) {
        for _ in 0..count {
            drop(self.tracer.start("span"));
        }
    }

    fn taken(&self) -> Vec<usize> {
        self.fake.taken.lock().unwrap().clone()
    }

    async fn end(self) -> Vec<usize> {
        self.close.send_replace(true);
        self.running.await.unwrap();
        self.fake.taken.lock().unwrap().clone()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn spans_wait_a_second_for_others_and_no_batch_is_too_large() {
    let bench = Bench::new(&[]);
    bench.spans(3);
    tokio::time::sleep(Duration::from_millis(900)).await;
    bench.spans(2);
    assert!(bench.taken().is_empty());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.taken(), [5]);
    bench.spans(2 * BATCH_MAX + 1);
    pass(2).await;
    assert_eq!(bench.taken(), [5, BATCH_MAX, BATCH_MAX, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_said_once_and_what_had_room_is_exported_afterwards() {
    let (log, _guard) = Log::begin();
    let bench = Bench::new(&[IsAway; 8]);
    bench.spans(1);
    pass(2).await;
    bench.spans(QUEUE_MAX + 10);
    assert!(bench.taken().is_empty());
    pass(180).await;
    bench.spans(1);
    pass(20).await;
    bench.spans(1);
    pass(20).await;
    assert_eq!(bench.taken().iter().sum::<usize>(), 1 + QUEUE_MAX + 2);
    let lines = log.lines();
    let [away, back] = lines.as_slice() else { panic!("{lines:#?}") };
    assert!(away.contains("WARN") && away.contains("spans do not reach fake: nobody is there"), "{away}");
    assert!(back.contains("INFO") && back.contains("fake takes spans again, 10 were dropped"), "{back}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_and_does_not_hold_up_the_next() {
    let (log, _guard) = Log::begin();
    let bench = Bench::new(&[Refuses]);
    bench.spans(2);
    pass(2).await;
    bench.spans(3);
    pass(2).await;
    assert_eq!(bench.end().await, [3]);
    let lines = log.lines();
    assert!(lines.len() == 2 && lines[1].contains("2 spans were dropped that fake has not taken"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_all_is_exported_at_once() {
    let bench = Bench::new(&[]);
    bench.spans(BATCH_MAX + 1);
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert_eq!(bench.end().await, [BATCH_MAX, 1]);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_a_collector_that_is_away_is_asked_once_more() {
    let bench = Bench::new(&[IsAway; 100]);
    bench.spans(BATCH_MAX + 1);
    pass(60).await;
    let began = Instant::now();
    assert!(bench.end().await.is_empty());
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_collector_that_hangs() {
    async fn check(left: Duration, expected: Duration) {
        let Bench { tracer, close, running, .. } = Bench::new(&[Hangs]);
        drop(tracer.start("span"));
        pass(2).await;
        let places =
            crate::spans::Places { system: "x", queues: Vec::new(), exchange: String::new(), commit_publishes: false };
        let otel = super::super::Otel {
            task: Mutex::new(Some(running)),
            ..super::super::Otel::into(queue().0, places, close)
        };
        let began = Instant::now();
        crate::spans::Spans::close(&otel, began + left).await;
        let took = began.elapsed();
        assert!(took >= expected && took <= expected + Duration::from_millis(2), "{took:?}");
    }
    check(Duration::from_secs(25), Duration::from_secs(3)).await;
    check(Duration::from_secs(1), Duration::from_secs(1)).await;
    check(Duration::ZERO, Duration::ZERO).await;
}
