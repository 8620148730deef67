//! For tests: a file with the schema, gone with the value.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlSafeStr, raw_sql};
use uuid::Uuid;

use super::connection;

pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Without the schema, and without the file.
    pub(super) fn nothing() -> Self {
        let folder = std::env::temp_dir().join(format!("reprieve-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// With the schema.
    pub(super) async fn new() -> Self {
        let scratch = Self::nothing();
        let options = connection::of_people(&scratch.file()).create_if_missing(true);
        let mut connection = options.synchronous(SqliteSynchronous::Off).connect().await.unwrap();
        sqlx::migrate!("migrations/sqlite").run(&mut connection).await.unwrap();
        scratch
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("reprieve.db")
    }

    pub(super) async fn connect(&self) -> SqliteConnection {
        connection::of_people(&self.file()).connect().await.unwrap()
    }

    pub(super) async fn run(&self, sql: impl SqlSafeStr) {
        raw_sql(sql).execute(&mut self.connect().await).await.unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
