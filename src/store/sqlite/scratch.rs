//! A folder for a test, with a data file that may be in it; both are gone when the test is.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::{SqliteStore, connection, migrate};
use crate::store::{Changes, Committed, Snapshot, Store, StoreError, Wanted};

pub(super) struct Scratch {
    folder: PathBuf,
    file: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("reprieve-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("data.db");
        Self { folder, file }
    }

    /// With a data file.
    pub(super) async fn migrated() -> Self {
        let scratch = Self::new();
        migrate::up(scratch.file()).await.unwrap();
        scratch
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// A connection beside the one that is tested.
    pub(super) async fn plain(&self) -> SqliteConnection {
        connection::connect(&connection::of_people(&self.file)).await.unwrap()
    }

    /// Runs statements beside what is tested.
    pub(super) async fn run(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.plain().await).await.unwrap();
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(&mut self.plain().await).await.unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

pub(super) async fn turn<F>(store: &mut SqliteStore, wanted: &Wanted, mut plan: F) -> Result<Committed, StoreError>
where
    F: FnMut(Snapshot) -> Changes + Send,
{
    store.turn(wanted, &mut plan).await
}

pub(super) async fn write(store: &mut SqliteStore, changes: &Changes) -> Committed {
    turn(store, &Wanted::default(), |_| changes.clone()).await.unwrap()
}

pub(super) async fn read(store: &mut SqliteStore, wanted: &Wanted) -> Snapshot {
    let mut seen = None;
    turn(store, wanted, |snapshot| {
        seen = Some(snapshot);
        Changes::default()
    })
    .await
    .unwrap();
    seen.unwrap()
}
