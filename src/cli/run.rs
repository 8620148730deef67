//! `reprieve run`: the worker with its HTTP side, from the first look at the settings to the drained end. The loops belong
//! to the worker; here is what surrounds them. What they are made of, by the settings, is in `made`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Code, ExitError, parts};
use crate::broker::{Ingest, Tail};
use crate::config::Config;
use crate::domain::rules::RuleSet;
use crate::health::Health;
use crate::http;
use crate::metrics::Metrics;
use crate::spans::{self, Spans};
use crate::worker::{supervisor, turns};

mod made;
mod reload;
mod topology;

use made::Made;
use reload::Reload;

/// A worker that runs, for who wants to do something beside it.
pub(super) struct Beside {
    pub(super) health: Health,
    pub(super) ingest: Arc<dyn Ingest>,
    pub(super) tail: Arc<dyn Tail>,
}

pub(super) async fn run(config: &Config) -> Result<(), ExitError> {
    let listen = async || listen(config.http_listen).await.map_err(|error| unbound(config.http_listen, &error));
    work(config, Hangup::Reload, listen, async |_| ()).await
}

pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

pub(super) fn unbound(address: SocketAddr, error: &std::io::Error) -> ExitError {
    ExitError::new(Code::Configuration, format!("cannot listen on {address}: {error}; set REPRIEVE_HTTP_LISTEN"))
}

/// Works until a signal says to end. `listen` is asked once everything else has been found usable; `beside` runs until the first signal
/// and has no say in when that is.
pub(super) async fn work(
    config: &Config,
    on_hangup: Hangup,
    listen: impl AsyncFnOnce() -> Result<TcpListener, ExitError>,
    beside: impl AsyncFnOnce(Beside),
) -> Result<(), ExitError> {
    let metrics = Metrics::new();
    let rules = reload::start(config, &metrics)?;
    let health = Health::default();
    let made = made::make(config, &health)?;
    for warning in config.warnings().into_iter().chain(made.warnings.iter().cloned()) {
        tracing::warn!("{warning}");
    }
    let listener = listen().await?;
    let (mut signals, hangup) = (Signals::new(on_hangup)?, Reload::signal()?);
    start_line(&rules.borrow());
    let spans = spans::start(made.places.clone());
    let settings = turn_settings(config, rules.subscribe(), metrics.clone(), spans.clone());
    let router = http::router(http::State {
        health: health.clone(),
        views: parts::views(config)?,
        desk: parts::desk(config)?,
        metrics: metrics.clone(),
        gauges: http::Sampler::new(parts::gauges(config)?),
        token: config.http_token.clone(),
        ingest: Arc::clone(&made.ingest),
        tail: Arc::clone(&made.tail),
        senders: if config.trust.is_some() { http::Senders::Vouched } else { http::Senders::Any },
    });
    let (stop, stopping) = watch::channel(false);
    let (ended, mut has_ended) = watch::channel(false);
    let address = listener.local_addr().unwrap_or(config.http_listen);
    // The probes go on answering while the worker drains: not ready, but alive.
    let serving = tokio::spawn(http::serve(listener, router, async move {
        // An error means that the sender is gone, and the worker with it.
        has_ended.wait_for(|ended| *ended).await.ok();
    }));
    tracing::info!(http.listen = %address, "probes and API answer on {address}");
    let reloading = tokio::spawn(Reload::new(config, rules, metrics).run(hangup));
    let beside =
        beside(Beside { health: health.clone(), ingest: Arc::clone(&made.ingest), tail: Arc::clone(&made.tail) });
    let mut deadline = None;
    let result = {
        let mut working = std::pin::pin!(worker(made, settings, health.clone(), stopping));
        let mut beside = std::pin::pin!(async {
            beside.await;
            std::future::pending::<std::convert::Infallible>().await
        });
        tokio::select! {
            biased;
            result = &mut working => result,
            name = signals.next() => {
                tracing::info!("{name}: finishing what is in hand, for at most {:?}", config.shutdown_deadline);
                health.serving.off();
                stop.send_replace(true);
                let until = *deadline.insert(Instant::now() + config.shutdown_deadline);
                tokio::select! {
                    biased;
                    result = &mut working => result,
                    name = signals.next() => abandon(&format!("{name} again")),
                    () = tokio::time::sleep_until(until) => abandon("shutdown.deadline has passed"),
                }
            }
            never = &mut beside => match never {},
        }
    };
    reloading.abort();
    if result.is_ok() {
        tracing::info!("drained: nothing is left in hand");
    }
    close(spans, deadline.unwrap_or_else(|| Instant::now() + config.shutdown_deadline), &mut signals).await;
    ended.send_replace(true);
    serving.await.map_err(|error| ExitError::failed(format!("the HTTP side broke: {error}")))?;
    result
}

/// What runs, and by which rules.
fn start_line(rules: &RuleSet) {
    let version = env!("CARGO_PKG_VERSION");
    let named = reload::name(rules);
    tracing::info!(version, rules.version, rules.hash, "reprieve {version} starts with rules {named}");
}

/// Has the last spans exported, if there is time and nobody is in a hurry. Nothing depends on them.
async fn close(spans: Option<Arc<dyn Spans>>, until: Instant, signals: &mut Signals) {
    let Some(spans) = spans else { return };
    tokio::select! {
        biased;
        _ = signals.next() => {}
        () = spans.close(until) => {}
    }
}

/// Ends the process where it stands. That is always safe: what is not committed is delivered again, what is not confirmed
/// stays in the outbox.
fn abandon(why: &str) -> Result<(), ExitError> {
    tracing::warn!("{why}: ending at once; another start goes on where this one ended");
    std::process::exit(Code::Failed as i32)
}

/// The signals that ask for an end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Only where nobody is left when the terminal is closed; elsewhere it says that the rules have changed.
    hangup: Option<Signal>,
}

/// What the signal of a closed terminal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The rules have changed: daemons have no terminal.
    Reload,
    /// An end like any other.
    End,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub(super) fn new(hangup: Hangup) -> Result<Self, ExitError> {
        let listen =
            |kind| signal(kind).map_err(|error| ExitError::failed(format!("cannot listen for signals: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: if hangup == Hangup::End { Some(listen(SignalKind::hangup())?) } else { None },
        })
    }

    /// The next one, by name.
    pub(super) async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}

/// The start-up checks, then the two loops until `stopping` holds true and all is drained.
async fn worker(
    made: Made,
    settings: turns::Settings,
    health: Health,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), ExitError> {
    let checked = tokio::select! {
        biased;
        checked = made.schema.wait(settings.wait_max) => checked,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    };
    checked?;
    health.serving.on();
    let Made { source, store, sink, rabbit, .. } = made;
    let looking = tokio::spawn(topology::look(rabbit, settings.wait_max));
    let run = supervisor::run(source, store, sink, settings, stopping).await;
    looking.abort();
    run.map_err(|error| ExitError::failed(error.to_string()))
}

fn turn_settings(
    config: &Config,
    rules: watch::Receiver<Arc<RuleSet>>,
    metrics: Metrics,
    spans: Option<Arc<dyn Spans>>,
) -> turns::Settings {
    let offset = config.clock_offset;
    turns::Settings {
        batch_max: config.worker_batch_max,
        source: config.source.clone(),
        link: config.links_exception.clone(),
        parking_ttl: config.parking_ttl,
        parking_max: config.parking_max,
        wait_max: config.retry_wait_max,
        clock: Arc::new(move || chrono::Utc::now() + offset),
        rules,
        run: uuid::Uuid::new_v4(),
        trust: config.trust.clone(),
        metrics,
        spans,
    }
}
