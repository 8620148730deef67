//! `reprieve run`: the worker with its HTTP side, from the first look at the settings to the drained end. The loops belong
//! to the worker; here is what surrounds them.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Code, ExitError};
use crate::config::Config;
use crate::health::Health;
use crate::http;
use crate::store::Views;

pub(super) async fn run(config: &Config) -> Result<(), ExitError> {
    config.database_url()?;
    config.amqp_url()?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::new()?;
    let health = Health::default();
    let listener = TcpListener::bind(config.http_listen).await.map_err(|error| {
        let listen = config.http_listen;
        ExitError::new(Code::Configuration, format!("cannot listen on {listen}: {error}; set REPRIEVE_HTTP_LISTEN"))
    })?;
    let views = views(config).await?;
    let router = http::router(http::State { health: health.clone(), views, token: config.http_token.clone() });
    let (stop, stopping) = watch::channel(false);
    let (ended, mut has_ended) = watch::channel(false);
    // The probes go on answering while the worker drains: not ready, but alive.
    let serving = tokio::spawn(http::serve(listener, router, async move {
        // An error means that the sender is gone, and the worker with it.
        has_ended.wait_for(|ended| *ended).await.ok();
    }));
    tracing::info!(http.listen = %config.http_listen, "probes and API answer on {}", config.http_listen);
    let result = {
        let mut working = std::pin::pin!(worker(config, health.clone(), stopping));
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
    ended.send_replace(true);
    serving.await.map_err(|error| ExitError::failed(format!("the HTTP side broke: {error}")))?;
    result
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

/// CALL SITE: `store::postgres::views` on the configured database. It must not wait for the database: the probes have to
/// answer while it is away.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn views(_config: &Config) -> Result<Arc<dyn Views>, ExitError> {
    Err(ExitError::new(Code::Unreachable, "run is not connected to the store yet"))
}

/// CALL SITE: the start-up checks (schema, rules), then `health.serving.on()`, then `worker::supervisor` until `stopping`
/// holds true and all is drained.
#[expect(clippy::unused_async, reason = "what it stands in for waits")]
async fn worker(_config: &Config, _health: Health, _stopping: watch::Receiver<bool>) -> Result<(), ExitError> {
    Err(ExitError::new(Code::Unreachable, "run is not connected to the worker yet"))
}
