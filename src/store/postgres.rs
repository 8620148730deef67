//! The store on Postgres: all SQL is in this room, beside the code that runs it. One connection runs turns, one at a time in
//! the whole database; look-ups have their own few ([`views`]). The schema: [`migrate`].

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use tokio::time::timeout;

use crate::domain::dates::Timestamp;
use crate::health::Light;
use crate::store::{Changes, Committed, Plan, Store, StoreError, Wanted};

mod connection;
pub mod migrate;
mod read;
pub mod views;
mod write;

pub use connection::Target;

/// After so long a turn is abandoned together with its connection. Longer than the session's own timeouts (10 s), which end
/// what the server can still end.
const TURN_MAX: Duration = Duration::from_secs(12);
/// Serialises turns; the number means nothing, but is the same in every version.
const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(7236837264531173); \
    SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now";

/// Why a statement, or what it returned, did not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("the row of {id} cannot be read: {message}")]
    Row { id: String, message: String },
}

impl TurnError {
    /// Whether the content is to blame: SQLSTATE classes 22 (data), 23 (integrity), 54 (limits), or a row nobody can read.
    /// Anything else is an outage.
    fn blames_content(&self) -> bool {
        match self {
            TurnError::Sql(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }
            TurnError::Sql(_) => false,
            TurnError::Row { .. } => true,
        }
    }
}

/// Runs turns on one connection.
#[derive(Debug)]
pub struct PostgresStore {
    target: Target,
    light: Light,
    outbox_max: u64,
    /// Taken out for the duration of a turn: whatever ends it early, also a panic or a dropped future, drops the connection
    /// and with it the open transaction.
    connection: Option<PgConnection>,
    memory: Memory,
}

/// What a store remembers between turns.
#[derive(Debug, Default)]
struct Memory {
    /// The epoch of the inbox ring that was last made ready.
    epoch: Option<i64>,
    outbox_full: bool,
}

impl PostgresStore {
    /// A store that connects at its first turn. `light` says whether it is connected.
    pub fn new(target: Target, light: Light, outbox_max: u64) -> Self {
        Self { target, light, outbox_max, connection: None, memory: Memory::default() }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let connection = self.connection.take();
        if connection.is_none() {
            self.light.off();
        }
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.target.connect().await.map_err(|error| StoreError::Away(Box::new(error)))?,
        };
        let turn = run(&mut connection, wanted, plan, &mut self.memory, self.outbox_max);
        match timeout(TURN_MAX, turn).await {
            Ok(Ok(committed)) => {
                self.light.on();
                self.connection = Some(connection);
                Ok(committed)
            }
            Ok(Err(error)) if error.blames_content() => {
                let undone = timeout(TURN_MAX, sqlx::raw_sql("ROLLBACK").execute(&mut connection)).await;
                self.connection = undone.is_ok_and(|result| result.is_ok()).then_some(connection);
                Err(StoreError::Refused(Box::new(error)))
            }
            Ok(Err(error)) => {
                self.light.off();
                Err(StoreError::Away(Box::new(error)))
            }
            Err(elapsed) => {
                self.light.off();
                Err(StoreError::Away(Box::new(elapsed)))
            }
        }
    }
}

async fn run(
    connection: &mut PgConnection,
    wanted: &Wanted,
    plan: &mut Plan<'_>,
    memory: &mut Memory,
    outbox_max: u64,
) -> Result<Committed, TurnError> {
    let now = begin(connection).await?;
    let (snapshot, keys) = read::snapshot(connection, wanted, now).await?;
    let claimed = snapshot.claimed.clone();
    let expired = snapshot.parked.iter().filter(|row| row.event.expires_at <= now).count();
    let changes: Changes = plan(snapshot);
    let epoch = write::enter_ring(connection, now, memory.epoch).await?;
    let own = write::changes(connection, &changes, keys, epoch).await?;
    let mut outbox_full = memory.outbox_full;
    if wanted.expired_max > 0 {
        outbox_full = read::outbox_is_full(connection, outbox_max).await?;
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    *memory = Memory { epoch: Some(epoch), outbox_full };
    let claims_full = wanted.claims_max > 0 && claimed.len() >= wanted.claims_max;
    let outgoing = if changes.held { claimed.into_iter().chain(own).collect() } else { claimed };
    Ok(Committed { outcomes: changes.outcomes, outgoing, claims_full, expired, outbox_full })
}

/// Begins, takes the lock as a statement of its own, so that what follows sees everything committed before, and says what
/// time the transaction began.
async fn begin(connection: &mut PgConnection) -> Result<Timestamp, TurnError> {
    let rows = sqlx::raw_sql(BEGIN).fetch_all(connection).await?;
    let micros = rows.last().map(|row| row.try_get::<i64, _>("now")).transpose()?;
    micros.and_then(Timestamp::from_timestamp_micros).ok_or_else(|| unreadable("the database's clock", "no time"))
}

fn unreadable(id: &str, message: impl ToString) -> TurnError {
    TurnError::Row { id: id.to_owned(), message: message.to_string() }
}
