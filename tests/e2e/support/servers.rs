//! One `RabbitMQ` and one `PostgreSQL`, started by `scripts/private-server`: shared by all cases, or a pair of their own
//! for those that break them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::certificates::{Certificates, broker_settings};
use super::process::{Process, free_port, tail};
use super::{eventually, watchdog};

/// A broker needs 5 to 11 s on an idle machine, and the machine is not idle.
const START_TIME_MAX: Duration = Duration::from_secs(90);
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// One question whether the server is there: a frozen one must not hold up the asking.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

static SHARED: OnceCell<Arc<Servers>> = OnceCell::const_new();
static PAIRS: AtomicUsize = AtomicUsize::new(0);

/// Ends the shared pair, if a case asked for it.
pub(crate) fn end_shared() {
    if let Some(servers) = SHARED.get() {
        servers.broker.kill9();
        servers.postgres.kill9();
    }
}

/// The pair.
pub(crate) struct Servers {
    pub(crate) broker: Server,
    pub(crate) postgres: Server,
    certificates: Certificates,
    tls_port: u16,
}

impl Servers {
    /// The pair all cases share. Nobody may break it: names are kept apart by database and `amqp.prefix`.
    pub(crate) async fn shared() -> Arc<Self> {
        Arc::clone(SHARED.get_or_init(|| async { Arc::new(Self::own().await) }).await)
    }

    /// A pair for one case, running and ready. It ends when dropped.
    pub(crate) async fn own() -> Self {
        let folder = watchdog::root().join(format!("servers-{}", PAIRS.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (certificates, tls_port) = (Certificates::make(folder.join("certificates")), free_port());
        let settings = folder.join("rabbitmq/conf.d");
        std::fs::create_dir_all(&settings).expect("the temporary folder can be written");
        std::fs::write(settings.join("tls.conf"), broker_settings(tls_port, &certificates)).expect("a settings file");
        let pair = Self {
            certificates,
            tls_port,
            broker: Server::new(Kind::RabbitMq, folder.join("rabbitmq")),
            postgres: Server::new(Kind::Postgres, folder.join("postgres")),
        };
        tokio::join!(pair.broker.start(), pair.postgres.start());
        pair
    }

    /// What the broker's TLS listener, and a database made to, accept.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The broker's second port.
    pub(crate) fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// The broker's URL for a virtual host.
    pub(crate) fn amqp_url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.broker.port, vhost.replace('/', "%2f"))
    }

    /// The database server's URL for a database.
    pub(crate) fn database_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.postgres.port)
    }

    /// Creates a database. The name is the harness's own, so it needs no quoting rules.
    pub(crate) async fn create_database(&self, name: &str) {
        let mut connection = self.connect("postgres").await;
        let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
        sqlx::query(statement).execute(&mut connection).await.expect("a new name");
        connection.close().await.expect("the server is there");
    }

    /// A connection past the product and past any proxy.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.database_url(database)).await.expect("the database server is ready")
    }

    /// Runs `rabbitmqctl` on this broker (about a second) and returns what it printed.
    pub(crate) async fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let command = tokio::process::Command::new(self.broker.folder.join("ctl")).args(arguments).output().await;
        let output = command.expect("the broker's folder holds the command");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {}: {errors}", arguments.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Creates a virtual host, for the few cases a prefix does not keep apart.
    pub(crate) async fn create_vhost(&self, name: &str) {
        self.rabbitmqctl(&["add_vhost", name]).await;
        self.rabbitmqctl(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    RabbitMq,
}

/// One server on a port and a folder that outlive its process.
pub(crate) struct Server {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Server {
    fn new(kind: Kind, folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        Self { kind, folder, port: free_port(), process: Mutex::new(None) }
    }

    /// The port it listens on, the same after every start.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server itself.
    pub(crate) fn pid(&self) -> u32 {
        self.with_process(Process::pid)
    }

    /// A crash: nothing is flushed, nobody is told.
    pub(crate) fn kill9(&self) {
        self.with_process(Process::kill9);
    }

    /// Freezes it: connections stay open and nothing answers.
    pub(crate) fn sigstop(&self) {
        self.with_process(|process| process.signal(Signal::STOP));
    }

    /// Lets it go on after [`Self::sigstop`].
    pub(crate) fn sigcont(&self) {
        self.with_process(|process| process.signal(Signal::CONT));
    }

    /// Shuts it down in good order and waits for its end.
    pub(crate) async fn stop(&self) {
        let signal = if self.kind == Kind::Postgres { Signal::INT } else { Signal::TERM };
        self.with_process(|process| process.signal(signal));
        eventually("the server's end", STOP_TIME_MAX, async || self.with_process(Process::exited)).await;
    }

    /// Starts it on the data it has and waits until it answers.
    ///
    /// A database server that was crashed may find children of its predecessor still ending and give up: it is started
    /// again until the deadline.
    pub(crate) async fn start(&self) {
        let started = tokio::time::timeout(START_TIME_MAX, async {
            self.spawn();
            while !self.answers().await {
                if self.with_process(Process::exited).is_some() {
                    self.spawn();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(started.await.is_ok(), "the server does not answer:\n{}", self.log());
    }

    /// Whether it speaks its protocol now.
    pub(crate) async fn answers(&self) -> bool {
        let probe = async {
            match self.kind {
                Kind::Postgres => self.answers_sql().await,
                Kind::RabbitMq => self.answers_amqp().await.unwrap_or(false),
            }
        };
        tokio::time::timeout(PROBE_TIME_MAX, probe).await.unwrap_or(false)
    }

    /// The end of its log, for a failure's report.
    pub(crate) fn log(&self) -> String {
        let file = if self.kind == Kind::Postgres { "log/postgres.log" } else { "log/console.log" };
        tail(&self.folder.join(file), 15) + &tail(&self.folder.join("script.log"), 5)
    }

    async fn answers_sql(&self) -> bool {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        match PgConnection::connect(&url).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    }

    /// A broker that is ready answers the protocol header with a method frame, whose first byte is 1.
    async fn answers_amqp(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        Ok(stream.read_u8().await? == 1)
    }

    fn spawn(&self) {
        let (kind, port) = (if self.kind == Kind::Postgres { "postgres" } else { "rabbitmq" }, self.port.to_string());
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-server"));
        command.args([kind.as_ref(), self.folder.as_os_str(), port.as_ref()]);
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // The old one first: its end removes the process id file the new one writes.
        drop(process.take());
        *process = Some(Process::spawn(command, &self.folder.join("script.log"), self.folder.join("server.pid")));
    }

    fn with_process<T>(&self, act: impl FnOnce(&Process) -> T) -> T {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        act(process.as_ref().expect("the server was started"))
    }
}

impl Drop for Server {
    /// A pair of its own ends with its case; the shared one is never dropped and is the watchdog's.
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(process.take());
        let epmd = self.folder.join("epmd.pid");
        let pid = std::fs::read_to_string(&epmd).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid {
            super::process::send(pid, Signal::KILL);
            std::fs::remove_file(epmd).expect("it was just read");
        }
    }
}
