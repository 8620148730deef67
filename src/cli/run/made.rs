//! What the worker is made of: servers and the way to them, or the embedded parts. All of it is checked before anything is started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::broker::embedded::{self, EmbeddedSink, EmbeddedTail, EventLog};
use crate::broker::rabbitmq::{self, RabbitIngest, RabbitSink, RabbitSource, RabbitTail};
use crate::broker::{Ingest, Position, Sink, Source, Tail};
use crate::cli::{ExitError, parts};
use crate::config::{Broker, Config, Database, Secret};
use crate::health::Health;
use crate::retry::{Trouble, Waits};
use crate::spans::Places;
use crate::store::Store;
use crate::store::postgres::migrate::FsyncOff;
use crate::store::postgres::{self, PostgresStore, clear_text_warning};
use crate::store::schema::SchemaError;
use crate::store::sqlite::lock::WorkerLock;
use crate::store::sqlite::log::{SqliteLog, announcements};
use crate::store::sqlite::{self, Outlet, SqliteStore};

/// What runs, what is handed in and followed beside it, and what has to be looked at before.
pub(super) struct Made {
    pub(super) source: Box<dyn Source>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) store: Box<dyn Store>,
    pub(super) ingest: Arc<dyn Ingest>,
    pub(super) tail: Arc<dyn Tail>,
    pub(super) schema: Schema,
    pub(super) warnings: Vec<String>,
    /// Where exchanges and queues have to be, if there is such a place.
    pub(super) rabbit: Option<rabbitmq::Settings>,
    /// What the places are called in spans.
    pub(super) places: Places,
}

/// The schema that is worked on.
pub(super) enum Schema {
    /// Another process brings it up to date: there may be many workers.
    Postgres { url: Secret, fsync_off: FsyncOff },
    /// This one does, being the only one. The lock is held as long as this lives.
    Sqlite { file: PathBuf, _lock: WorkerLock },
}

/// The broker's half.
struct Border {
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
    ingest: Arc<dyn Ingest>,
    tail: Arc<dyn Tail>,
    outlet: Outlet,
    rabbit: Option<rabbitmq::Settings>,
}

/// Makes all of it. Nothing is connected yet; only the lock of an embedded database is taken.
pub(super) fn make(config: &Config, health: &Health) -> Result<Made, ExitError> {
    let Border { source, sink, ingest, tail, outlet, rabbit } = border(config, health)?;
    let mut warnings: Vec<String> = rabbit.iter().filter_map(rabbitmq::Settings::warning).collect();
    let light = health.database.clone();
    let (store, schema): (Box<dyn Store>, Schema) = match config.database()? {
        Database::Postgres(url) => {
            warnings.extend(clear_text_warning(url.expose())?);
            let fsync_off = if config.database_allow_fsync_off { FsyncOff::Allowed } else { FsyncOff::Refused };
            let store = PostgresStore::new(url.expose(), light, config.outbox_max)?;
            (Box::new(store), Schema::Postgres { url: url.clone(), fsync_off })
        }
        Database::Sqlite(file) => {
            let lock = WorkerLock::take(&file)?;
            warnings.extend(begun_anew(&file, &lock));
            (Box::new(SqliteStore::new(&file, light, outlet)), Schema::Sqlite { file, _lock: lock })
        }
    };
    let places = places(rabbit.as_ref());
    Ok(Made { source, sink, store, ingest, tail, schema, warnings, rabbit, places })
}

/// An embedded broker has neither queues nor exchanges that anybody could know.
fn places(rabbit: Option<&rabbitmq::Settings>) -> Places {
    let Some(rabbit) = rabbit else {
        let name = "embedded".to_owned();
        return Places { system: "reprieve", queues: vec![name.clone()], exchange: name, commit_publishes: true };
    };
    let exchange = rabbit.name(rabbitmq::topology::EVENTS);
    Places { system: "rabbitmq", queues: rabbit.consumed(), exchange, commit_publishes: false }
}

/// A start on a file that is not there makes it. Nobody should find out later that it was meant to be there.
fn begun_anew(file: &Path, lock: &WorkerLock) -> Option<String> {
    let name = file.display();
    match (file.exists(), lock.was_there()) {
        (true, _) => None,
        (false, false) => {
            tracing::info!("{name} is not there yet: it is made");
            None
        }
        (false, true) => Some(format!(
            "a worker has had {name} before, and it is gone: a new, empty one is begun; if that is not what you want, stop, and \
             bring the old one back"
        )),
    }
}

fn border(config: &Config, health: &Health) -> Result<Border, ExitError> {
    if let (Broker::Embedded, Database::Sqlite(file)) = (config.broker()?, config.database()?) {
        let (ingest, source) = embedded::queue(config.amqp_prefetch.into());
        let (writer, newest) = announcements();
        // There is no connection that could be lost.
        health.broker_consume.on();
        health.broker_publish.on();
        return Ok(Border {
            source: Box::new(source),
            sink: Box::new(EmbeddedSink),
            ingest: Arc::new(ingest),
            tail: Arc::new(EmbeddedTail::new(Arc::new(Log(SqliteLog::new(&file))), newest, config.retry_wait_max)),
            outlet: Outlet::Log(writer),
            rabbit: None,
        });
    }
    let rabbit = parts::rabbit(config)?;
    Ok(Border {
        source: Box::new(RabbitSource::new(rabbit.clone(), health.broker_consume.clone())),
        sink: Box::new(RabbitSink::new(rabbit.clone(), health.broker_publish.clone())),
        ingest: Arc::new(RabbitIngest::new(rabbit.clone())),
        tail: Arc::new(RabbitTail::new(rabbit.clone())),
        outlet: Outlet::Outbox { max: config.outbox_max },
        rabbit: Some(rabbit),
    })
}

/// The event log of the database, as the broker's side knows it.
struct Log(SqliteLog);

#[async_trait]
impl EventLog for Log {
    async fn page(&self, after: Position, limit: i64) -> Result<Vec<(Position, String)>, embedded::BoxError> {
        let rows = self.0.page(after, limit).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.body)).collect())
    }

    async fn newest(&self) -> Result<Position, embedded::BoxError> {
        Ok(self.0.newest().await?)
    }
}

impl Schema {
    /// A database that is away is waited for; one whose schema does not fit is refused.
    pub(super) async fn wait(&self, wait_max: Duration) -> Result<(), ExitError> {
        let (mut waits, mut trouble) = (Waits::new(wait_max), Trouble::default());
        loop {
            match self.check().await {
                Err(error @ SchemaError::Away(_)) if matches!(self, Schema::Postgres { .. }) => {
                    let (why, wait) = (error.to_string(), waits.next_wait());
                    if let Some(still) = trouble.shows(&why) {
                        tracing::warn!("{why}{still}; trying again in {:.1} s", wait.as_secs_f32());
                    }
                    tokio::time::sleep(wait).await;
                }
                result => return Ok(result?),
            }
        }
    }

    async fn check(&self) -> Result<(), SchemaError> {
        match self {
            Schema::Postgres { url, fsync_off } => postgres::migrate::check(url.expose(), *fsync_off).await,
            Schema::Sqlite { file, .. } => {
                sqlite::migrate::up(file).await?;
                sqlite::migrate::check(file).await
            }
        }
    }
}
