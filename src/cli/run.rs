//! `reprieve run`: the worker with its HTTP side, from the first look at the settings to the drained end. The loops belong
//! to the worker; here is what surrounds them. What they are made of, by the settings, is in `made`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Code, ExitError, parts};
use crate::broker::{Ingest, Tail};
use crate::config::Config;
use crate::domain::rules::RuleSet;
use crate::health::Health;
use crate::http;
use crate::metrics::Metrics;
use crate::worker::{supervisor, turns};

mod made;
mod reload;

use made::Made;
use reload::Reload;

/// A worker that runs, for who wants to do something beside it.
pub(super) struct Beside {
    pub(super) health: Health,
    pub(super) ingest: Arc<dyn Ingest>,
    pub(super) tail: Arc<dyn Tail>,
}

pub(super) async fn run(config: &Config) -> Result<(), ExitError> {
    let listener = listen(config.http_listen).await.map_err(|error| unbound(config.http_listen, &error))?;
    work(config, listener, async |_| std::future::pending().await).await
}

pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

pub(super) fn unbound(address: SocketAddr, error: &std::io::Error) -> ExitError {
    ExitError::new(Code::Configuration, format!("cannot listen on {address}: {error}; set REPRIEVE_HTTP_LISTEN"))
}

/// Works until a signal says to end, with `beside` at its side; that has no say in when it ends.
pub(super) async fn work(
    config: &Config,
    listener: TcpListener,
    beside: impl AsyncFnOnce(Beside),
) -> Result<(), ExitError> {
    let metrics = Metrics::new();
    let rules = reload::start(config, &metrics)?;
    let health = Health::default();
    let made = made::make(config, &health)?;
    for warning in config.warnings().into_iter().chain(made.warnings.iter().cloned()) {
        tracing::warn!("{warning}");
    }
    let (mut signals, hangup) = (Signals::new()?, Reload::signal()?);
    start_line(&rules.borrow());
    let settings = turn_settings(config, rules.subscribe());
    let router = http::router(http::State {
        health: health.clone(),
        views: parts::views(config)?,
        desk: parts::desk(config)?,
        metrics: metrics.clone(),
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
    let result = {
        let mut working = std::pin::pin!(worker(made, settings, health.clone(), stopping));
        let mut beside = std::pin::pin!(async {
            beside.await;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            biased;
            result = &mut working => result,
            name = signals.next() => {
                tracing::info!("{name}: finishing what is in hand, for at most {:?}", config.shutdown_deadline);
                health.serving.off();
                stop.send_replace(true);
                tokio::select! {
                    biased;
                    result = &mut working => result,
                    name = signals.next() => abandon(&format!("{name} again")),
                    () = tokio::time::sleep(config.shutdown_deadline) => abandon("shutdown.deadline has passed"),
                }
            }
            () = &mut beside => Ok(()),
        }
    };
    reloading.abort();
    if result.is_ok() {
        tracing::info!("drained: nothing is left in hand");
    }
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

/// Ends the process where it stands. That is always safe: what is not committed is delivered again, what is not confirmed
/// stays in the outbox.
fn abandon(why: &str) -> Result<(), ExitError> {
    tracing::warn!("{why}: ending at once; another start goes on where this one ended");
    std::process::exit(Code::Failed as i32)
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    fn new() -> Result<Self, ExitError> {
        let listen =
            |kind| signal(kind).map_err(|error| ExitError::failed(format!("cannot listen for signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The next one, by name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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
    let Made { source, store, sink, .. } = made;
    let run = supervisor::run(source, store, sink, settings, stopping);
    run.await.map_err(|error| ExitError::failed(error.to_string()))
}

fn turn_settings(config: &Config, rules: watch::Receiver<Arc<RuleSet>>) -> turns::Settings {
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
    }
}
