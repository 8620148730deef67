//! A case's own corner of the servers: a database, a name prefix on the broker, a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::servers::Servers;
use super::watchdog;
use super::worker::WorkerSetup;

/// Where one case plays. Nothing of it is visible to another case.
pub(crate) struct Stage {
    servers: Arc<Servers>,
    name: String,
    vhost: String,
    folder: PathBuf,
}

impl Stage {
    /// On the servers all cases share. `name` is the case's and unique: lower-case letters, digits and `_`.
    pub(crate) async fn shared(name: &str) -> Self {
        Self::on(Servers::shared().await, name).await
    }

    /// On a pair of servers of its own, which the case may break.
    pub(crate) async fn own(name: &str) -> Self {
        Self::on(Arc::new(Servers::own().await), name).await
    }

    async fn on(servers: Arc<Servers>, name: &str) -> Self {
        let folder = watchdog::root().join(name);
        std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("the stage {name} is not unique: {error}"));
        servers.create_database(name).await;
        Self { servers, name: name.to_owned(), vhost: "/".to_owned(), folder }
    }

    /// The same stage in a virtual host of its own (about two seconds).
    pub(crate) async fn with_own_vhost(mut self) -> Self {
        self.servers.create_vhost(&self.name).await;
        self.vhost.clone_from(&self.name);
        self
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A folder for the case's files, removed with the process.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The broker, past any proxy.
    pub(crate) fn amqp_url(&self) -> String {
        self.servers.amqp_url(&self.vhost)
    }

    /// The case's database, past any proxy.
    pub(crate) fn database_url(&self) -> String {
        self.servers.database_url(&self.name)
    }

    /// What the worker puts in front of every broker object's name.
    pub(crate) fn prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// The full name of a broker object.
    pub(crate) fn object(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// A connection to the case's database.
    pub(crate) async fn connect(&self) -> sqlx::PgConnection {
        self.servers.connect(&self.name).await
    }

    /// A worker for this stage, with the example rules.
    pub(crate) fn worker(&self) -> WorkerSetup {
        WorkerSetup::new(&self.folder)
            .amqp_url(&self.amqp_url())
            .database_url(&self.database_url())
            .env("REPRIEVE_AMQP__PREFIX", &self.prefix())
    }
}
