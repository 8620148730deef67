//! Where a case of the conformance suite plays: one fresh, empty database of some kind, and what a case does to it past the store.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use reprieve::health::Light;
use reprieve::store::audit::Audit;
use reprieve::store::desk::Desk;
use reprieve::store::lookups::Bounds;
use reprieve::store::submissions::Submissions;
use reprieve::store::{Committed, Plan, Store, StoreError, Views, Wanted};
use sqlx::AssertSqlSafe;

/// Far from full.
pub(crate) const OUTBOX_MAX: u64 = 1_000_000;

/// One database.
#[async_trait(?Send)] // the driver's migrations cannot be shown to be
pub(crate) trait Place {
    /// Brings the schema.
    async fn migrate(&self);

    /// A store on it, another at each call, whether the schema is there or not.
    fn store(&self, light: Light, outbox_max: u64) -> Opened;

    fn views(&self) -> Box<dyn Views> {
        self.views_within(Bounds::default())
    }

    /// Views that look no further than this for one page.
    fn views_within(&self, bounds: Bounds) -> Box<dyn Views>;

    fn desk(&self) -> Box<dyn Desk>;

    fn submissions(&self) -> Box<dyn Submissions>;

    fn audit(&self) -> Box<dyn Audit>;

    /// A connection that knows nothing of the store.
    async fn hand(&self) -> Box<dyn Hand>;

    /// Waits until the last turn that was left in the middle holds up nobody any more.
    async fn nothing_is_open(&self);

    /// A store on the schema.
    async fn open(&self) -> Opened {
        self.migrate().await;
        self.store(Light::default(), OUTBOX_MAX)
    }

    /// How many rows a table has.
    async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT CAST(count(*) AS text) FROM {table}");
        let counted = self.hand().await.texts(&sql).await;
        counted.first().and_then(|number| number.parse().ok()).expect("a count")
    }

    /// Does to the rows what no store does.
    async fn tamper(&self, sql: Sql) {
        let text = self.dialect(sql);
        self.hand().await.run(text).await.expect(text);
    }

    /// One text of each row.
    async fn texts(&self, sql: Sql) -> Vec<String> {
        self.hand().await.texts(self.dialect(sql)).await
    }

    fn dialect(&self, sql: Sql) -> &'static str;
}

/// Statements that mean the same.
#[derive(Clone, Copy)]
pub(crate) struct Sql {
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

/// The same words in both dialects.
pub(crate) const fn sql(both: &'static str) -> Sql {
    Sql { postgres: both, sqlite: both }
}

/// A connection to the database past the store.
#[async_trait(?Send)]
pub(crate) trait Hand {
    async fn run(&mut self, sql: &str) -> Result<(), String>;

    async fn texts(&mut self, sql: &str) -> Vec<String>;

    /// Begins a transaction with the lock that every turn and every mark takes.
    async fn lock(&mut self);

    /// Ends it.
    async fn unlock(&mut self) {
        self.run("COMMIT").await.expect("the lock was held");
    }
}

/// A store of whatever kind.
pub(crate) struct Opened(pub(crate) Box<dyn Store>);

#[async_trait]
impl Store for Opened {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        self.0.turn(wanted, plan).await
    }
}

/// Longest wait for what should happen at once.
const SOON: Duration = Duration::from_secs(10);

fn safe(sql: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.to_owned())
}
