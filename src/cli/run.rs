//! `reprieve run`: the worker with its HTTP side, from the first look at the settings to the drained end. The loops belong
//! to the worker; here is what surrounds them.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Code, ExitError, parts};
use crate::broker::rabbitmq::{self, RabbitIngest, RabbitSink, RabbitSource, RabbitTail};
use crate::config::{Config, Database, Secret};
use crate::domain::rules::RuleSet;
use crate::health::Health;
use crate::http;
use crate::metrics::Metrics;
use crate::retry::Waits;
use crate::store::postgres::migrate::{self, FsyncOff, SchemaError};
use crate::store::postgres::{PostgresStore, clear_text_warning};
use crate::worker::{supervisor, turns};

mod reload;

use reload::Reload;

pub(super) async fn run(config: &Config) -> Result<(), ExitError> {
    let metrics = Metrics::new();
    let rules = reload::start(config, &metrics)?;
    let parts = Parts::new(config, rules.subscribe())?;
    let in_clear = [parts.rabbit.warning(), clear_text_warning(parts.database_url.expose())?];
    for warning in config.warnings().into_iter().chain(in_clear.into_iter().flatten()) {
        tracing::warn!("{warning}");
    }
    let (mut signals, hangup) = (Signals::new()?, Reload::signal()?);
    start_line(&rules.borrow());
    let health = Health::default();
    let listener = TcpListener::bind(config.http_listen).await.map_err(|error| {
        let listen = config.http_listen;
        ExitError::new(Code::Configuration, format!("cannot listen on {listen}: {error}; set REPRIEVE_HTTP_LISTEN"))
    })?;
    let views = parts::views(config)?;
    let desk = parts::desk(config)?;
    let router = http::router(http::State {
        health: health.clone(),
        views,
        desk,
        ingest: Arc::new(RabbitIngest::new(parts.rabbit.clone())),
        tail: Arc::new(RabbitTail::new(parts.rabbit.clone())),
        senders: if config.trust.is_some() { http::Senders::Vouched } else { http::Senders::Any },
        metrics: metrics.clone(),
        token: config.http_token.clone(),
    });
    let (stop, stopping) = watch::channel(false);
    let (ended, mut has_ended) = watch::channel(false);
    // The probes go on answering while the worker drains: not ready, but alive.
    let serving = tokio::spawn(http::serve(listener, router, async move {
        // An error means that the sender is gone, and the worker with it.
        has_ended.wait_for(|ended| *ended).await.ok();
    }));
    tracing::info!(http.listen = %config.http_listen, "probes and API answer on {}", config.http_listen);
    let reloading = tokio::spawn(Reload::new(config, rules, metrics).run(hangup));
    let result = {
        let mut working = std::pin::pin!(worker(parts, health.clone(), stopping));
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
async fn worker(parts: Parts, health: Health, mut stopping: watch::Receiver<bool>) -> Result<(), ExitError> {
    let checked = tokio::select! {
        biased;
        checked = wait_for_schema(&parts) => checked,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    };
    checked?;
    health.serving.on();
    let source = RabbitSource::new(parts.rabbit.clone(), health.broker_consume.clone());
    let sink = RabbitSink::new(parts.rabbit, health.broker_publish.clone());
    let store = PostgresStore::new(parts.database_url.expose(), health.database.clone(), parts.outbox_max)?;
    let run = supervisor::run(Box::new(source), Box::new(store), Box::new(sink), parts.turns, stopping);
    run.await.map_err(|error| ExitError::failed(error.to_string()))
}

/// What the worker is made of, checked before anything is started.
struct Parts {
    rabbit: rabbitmq::Settings,
    database_url: Secret,
    outbox_max: u64,
    fsync_off: FsyncOff,
    turns: turns::Settings,
}

impl Parts {
    fn new(config: &Config, rules: watch::Receiver<Arc<RuleSet>>) -> Result<Self, ExitError> {
        let offset = config.clock_offset;
        Ok(Self {
            rabbit: parts::rabbit(config)?,
            database_url: match config.database()? {
                Database::Postgres(url) => url.clone(),
                Database::Sqlite(_) => return Err(ExitError::new(Code::Configuration, "sqlite is not built yet")),
            },
            outbox_max: config.outbox_max,
            fsync_off: if config.database_allow_fsync_off { FsyncOff::Allowed } else { FsyncOff::Refused },
            turns: turns::Settings {
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
            },
        })
    }
}

/// A database that is away is waited for; one whose schema does not fit is refused.
async fn wait_for_schema(parts: &Parts) -> Result<(), ExitError> {
    let mut waits = Waits::new(parts.turns.wait_max);
    loop {
        match migrate::check(parts.database_url.expose(), parts.fsync_off).await {
            Err(error @ SchemaError::Away(_)) => {
                let wait = waits.next_wait();
                tracing::warn!("{error}; trying again in {:.1} s", wait.as_secs_f32());
                tokio::time::sleep(wait).await;
            }
            result => return Ok(result?),
        }
    }
}
