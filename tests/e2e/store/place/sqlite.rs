//! A file of its own; no server is needed.

use std::path::PathBuf;

use async_trait::async_trait;
use reprieve::health::Light;
use reprieve::store::Views;
use reprieve::store::audit::Audit;
use reprieve::store::desk::Desk;
use reprieve::store::lookups::Bounds;
use reprieve::store::sqlite::audit::SqliteAudit;
use reprieve::store::sqlite::desk::SqliteDesk;
use reprieve::store::sqlite::submissions::SqliteSubmissions;
use reprieve::store::sqlite::views::SqliteViews;
use reprieve::store::sqlite::{Outlet, SqliteStore, migrate};
use reprieve::store::submissions::Submissions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection, query_scalar, raw_sql};

use super::{Hand, Opened, Place, SOON, Sql, safe};
use crate::support::watchdog;

pub(crate) struct SqlitePlace(PathBuf);

impl SqlitePlace {
    pub(crate) fn new(case: &str) -> Self {
        let folder = watchdog::root().join(format!("sqlite-{case}"));
        std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("the case {case} is not unique: {error}"));
        Self(folder.join("reprieve.db"))
    }

    pub(crate) fn file(&self) -> &std::path::Path {
        &self.0
    }
}

#[async_trait(?Send)]
impl Place for SqlitePlace {
    async fn migrate(&self) {
        migrate::up(&self.0).await.expect("migrations run");
    }

    fn store(&self, light: Light, outbox_max: u64) -> Opened {
        Opened(Box::new(SqliteStore::new(&self.0, light, Outlet::Outbox { max: outbox_max })))
    }

    fn views_within(&self, bounds: Bounds) -> Box<dyn Views> {
        Box::new(SqliteViews::new(&self.0).within(bounds))
    }

    fn desk(&self) -> Box<dyn Desk> {
        Box::new(SqliteDesk::new(&self.0))
    }

    fn submissions(&self) -> Box<dyn Submissions> {
        Box::new(SqliteSubmissions::new(&self.0))
    }

    fn audit(&self) -> Box<dyn Audit> {
        Box::new(SqliteAudit::new(&self.0))
    }

    async fn hand(&self) -> Box<dyn Hand> {
        let options = SqliteConnectOptions::new().filename(&self.0).busy_timeout(SOON);
        Box::new(SqliteHand(options.connect().await.expect("the file is there")))
    }

    /// The write lock can be had.
    async fn nothing_is_open(&self) {
        let mut hand = self.hand().await;
        hand.lock().await;
        hand.unlock().await;
    }

    fn dialect(&self, sql: Sql) -> &'static str {
        sql.sqlite
    }
}

struct SqliteHand(SqliteConnection);

#[async_trait(?Send)]
impl Hand for SqliteHand {
    async fn run(&mut self, sql: &str) -> Result<(), String> {
        raw_sql(safe(sql)).execute(&mut self.0).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn texts(&mut self, sql: &str) -> Vec<String> {
        query_scalar(safe(sql)).fetch_all(&mut self.0).await.expect(sql)
    }

    async fn lock(&mut self) {
        self.run("BEGIN IMMEDIATE").await.expect("the lock");
    }
}
