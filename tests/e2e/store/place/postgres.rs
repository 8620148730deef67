//! A database on the shared Postgres server.

use async_trait::async_trait;
use reprieve::health::Light;
use reprieve::store::Views;
use reprieve::store::audit::Audit;
use reprieve::store::desk::Desk;
use reprieve::store::lookups::Bounds;
use reprieve::store::postgres::audit::PostgresAudit;
use reprieve::store::postgres::desk::PostgresDesk;
use reprieve::store::postgres::submissions::PostgresSubmissions;
use reprieve::store::postgres::views::PostgresViews;
use reprieve::store::postgres::{PostgresStore, migrate};
use reprieve::store::submissions::Submissions;
use sqlx::{PgConnection, query_scalar, raw_sql};

use super::{Hand, Opened, Place, SOON, Sql, safe};
use crate::store::material::{backends, plain};
use crate::support::stage::Stage;

pub(crate) struct PostgresPlace(String);

impl PostgresPlace {
    pub(crate) async fn new(case: &str) -> Self {
        let name: String = format!("c_{case}").chars().take(60).collect();
        Self(Stage::shared(&name).await.database_url())
    }
}

#[async_trait(?Send)]
impl Place for PostgresPlace {
    async fn migrate(&self) {
        migrate::up(&self.0).await.expect("migrations run");
    }

    fn store(&self, light: Light, outbox_max: u64) -> Opened {
        Opened(Box::new(PostgresStore::new(&self.0, light, outbox_max).expect("a URL")))
    }

    fn views_within(&self, bounds: Bounds) -> Box<dyn Views> {
        Box::new(PostgresViews::new(&self.0).expect("a URL").within(bounds))
    }

    fn desk(&self) -> Box<dyn Desk> {
        Box::new(PostgresDesk::new(&self.0).expect("a URL"))
    }

    fn submissions(&self) -> Box<dyn Submissions> {
        Box::new(PostgresSubmissions::new(&self.0).expect("a URL"))
    }

    fn audit(&self) -> Box<dyn Audit> {
        Box::new(PostgresAudit::new(&self.0).expect("a URL"))
    }

    async fn hand(&self) -> Box<dyn Hand> {
        Box::new(PostgresHand(plain(&self.0).await))
    }

    /// The server has noticed that the session of the turn is gone.
    async fn nothing_is_open(&self) {
        let mut other = plain(&self.0).await;
        let gone = async || backends(&mut other).await.is_empty().then_some(());
        crate::support::eventually("the end of the session", SOON, gone).await;
    }

    fn dialect(&self, sql: Sql) -> &'static str {
        sql.postgres
    }
}

struct PostgresHand(PgConnection);

#[async_trait(?Send)]
impl Hand for PostgresHand {
    async fn run(&mut self, sql: &str) -> Result<(), String> {
        raw_sql(safe(sql)).execute(&mut self.0).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn texts(&mut self, sql: &str) -> Vec<String> {
        query_scalar(safe(sql)).fetch_all(&mut self.0).await.expect(sql)
    }

    async fn lock(&mut self) {
        self.run("BEGIN; SELECT pg_advisory_xact_lock(5937275320454706789)").await.expect("the lock");
    }
}
