//! The `SQLite` store: the same ports as the Postgres one, in a file of this machine. [`SqliteStore`] runs turns: each is one
//! `BEGIN IMMEDIATE` transaction on one held connection. Look-ups and the operator's desk have connections of their own, which a
//! write-ahead log lets read beside it. The database's clock is the process's own. Whatever goes wrong in a turn, or leaves in
//! between, takes the connection along, and what it had not committed is rolled back.

pub mod audit;
mod connection;
pub mod desk;
mod exceptions;
pub mod gauges;
mod inbox;
mod lent;
pub mod lock;
pub mod log;
mod marked;
pub mod migrate;
mod notes;
mod outbox;
mod read;
mod reviewers;
#[cfg(test)]
mod scratch;
pub mod submissions;
mod tallies;
#[cfg(test)]
mod tests;
mod values;
pub mod views;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::raw_sql;
use sqlx::sqlite::SqliteConnection;

use self::connection::Session;
use self::log::LogWriter;
use self::read::Loaded;
use super::place::At;
use super::rows::BadRow;
use super::tallies::differences;
use super::{Changes, Committed, Plan, Store, StoreError, ViewError, Wanted};
use crate::domain::dates::Timestamp;
use crate::domain::ids::ExceptionId;
use crate::health::Light;

/// Longest turn, its connection included: longer than any one wait of the connection, short enough to be noticed in 15 s.
const TURN_MAX: Duration = Duration::from_secs(12);

/// How often the size of the outbox is looked at.
const OUTBOX_LOOK: Duration = Duration::from_secs(1);

/// Every statement that turns and readers of the log prepare: for a test that asks for their plans.
pub fn statements() -> impl Iterator<Item = &'static str> {
    let rooms = [exceptions::STATEMENTS, inbox::STATEMENTS, log::STATEMENTS, marked::STATEMENTS, notes::STATEMENTS];
    let others = [outbox::STATEMENTS, read::STATEMENTS, reviewers::STATEMENTS, tallies::STATEMENTS, write::STATEMENTS];
    rooms.into_iter().chain(others).flatten().copied()
}

/// Where the outgoing events of a turn go.
#[derive(Debug)]
pub enum Outlet {
    /// Into the outbox, from where they are published to another broker.
    Outbox {
        /// It counts as full from so many rows on.
        max: u64,
    },
    /// Into the log: there they are published. What stands in the outbox from before is moved there.
    Log(LogWriter),
}

/// Runs turns in a data file, one at a time in the whole of it.
pub struct SqliteStore {
    file: PathBuf,
    light: Light,
    outlet: Outlet,
    /// Taken out for the time of a turn: a panic, an error or a dropped future leaves nothing behind to be used again.
    held: Option<Session>,
    memory: Memory,
}

/// What need not be asked again in every turn. A turn works on a copy, which counts once it is committed.
#[derive(Clone, Debug, Default)]
struct Memory {
    outbox_looked_at: Option<Instant>,
    outbox_full: bool,
    /// Nothing is left in the outbox that has to be moved into the log.
    outbox_moved: bool,
    /// The newest row of the log is known to whoever follows, unless this turn adds to it.
    announced: bool,
    rule_set: Option<String>,
}

impl SqliteStore {
    /// A store that opens the file at its first turn. `light` is on while a connection is held that has run a good turn.
    pub fn new(file: &Path, light: Light, outlet: Outlet) -> Self {
        Self { file: file.to_owned(), light, outlet, held: None, memory: Memory::default() }
    }

    async fn attempt(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let mut session = if let Some(session) = self.held.take() {
            session
        } else {
            // It may be another file now: a copy that was restored.
            self.memory = Memory::default();
            Session::open(&self.file, &self.light).await?
        };
        let mut memory = self.memory.clone();
        let outcome = transact(&mut session.connection, wanted, plan, &mut memory, &self.outlet).await;
        match outcome {
            Ok(_) => {
                session.check()?;
                self.memory = memory;
            }
            Err(ref fault) if fault.is_refusal() => {
                raw_sql("ROLLBACK").execute(&mut session.connection).await.map_err(Fault::from)?;
            }
            Err(fault) => return Err(fault.into()),
        }
        session.proved();
        self.held = Some(session);
        Ok(outcome?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        match tokio::time::timeout(TURN_MAX, self.attempt(wanted, plan)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Late("no end of a turn", TURN_MAX).into()),
        }
    }
}

async fn transact(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    plan: &mut Plan<'_>,
    memory: &mut Memory,
    outlet: &Outlet,
) -> Result<Committed, Fault> {
    let Loaded { mut snapshot, mut keys, expired } = read::load(connection, wanted).await?;
    let now = snapshot.database_time;
    if let Outlet::Outbox { .. } = outlet {
        snapshot.claimed = outbox::claim(connection, wanted.claims_max, now).await?;
    }
    let mut outgoing = snapshot.claimed.clone();
    let mut claims_full = wanted.claims_max > 0 && outgoing.len() >= wanted.claims_max;
    let before = super::tallies::standings(&snapshot.exceptions);

    let mut changes = plan(snapshot);

    if let Some(rules) = changes.rule_set.as_ref().filter(|rules| memory.rule_set.as_ref() != Some(&rules.hash)) {
        write::keep_rule_set(connection, rules, now).await?;
        memory.rule_set = Some(rules.hash.clone());
    }
    write::store(connection, &changes, &mut keys, now).await?;
    tallies::write(connection, &differences(&before, &changes.exceptions)).await?;
    // After what was tried again is written: that is not marked any more.
    let marked = marked::next(connection, wanted.marked_max).await?;
    if wanted.expired_max > 0 {
        inbox::delete_old(connection, now).await?;
        log::delete_old(connection, now).await?;
    }
    let (mut newest, mut published) = (None, 0);
    match outlet {
        Outlet::Outbox { max } => {
            let written = outbox::write(connection, std::mem::take(&mut changes.outbox), changes.held, now).await?;
            if changes.held {
                outgoing.extend(written);
            }
            look_at_outbox(connection, memory, *max).await?;
        }
        Outlet::Log(writer) => {
            claims_full = wanted.claims_max > 0 && !memory.outbox_moved;
            published = tell(connection, &changes, memory, now).await?;
            claims_full &= !memory.outbox_moved;
            if published > 0 || !memory.announced {
                newest = Some((writer, log::newest(connection).await?));
                memory.announced = true;
            }
        }
    }
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    if let Some((writer, newest)) = newest {
        writer.announce(newest);
    }
    let outbox_full = memory.outbox_full;
    Ok(Committed { outcomes: changes.outcomes, outgoing, claims_full, expired, outbox_full, marked, published })
}

/// Writes into the log, after what an earlier run has left in the outbox; gives how many it wrote.
async fn tell(
    connection: &mut SqliteConnection,
    changes: &Changes,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<u64, Fault> {
    let moved = if memory.outbox_moved { 0 } else { log::move_outbox(connection, now).await? };
    memory.outbox_moved = moved < log::MOVED_MAX;
    if !memory.outbox_moved {
        // Behind what was told before: the next turn goes on there.
        outbox::write(connection, changes.outbox.clone(), false, now).await?;
        return Ok(moved);
    }
    log::append(connection, now, &changes.outbox).await?;
    Ok(moved + changes.outbox.len() as u64)
}

async fn look_at_outbox(connection: &mut SqliteConnection, memory: &mut Memory, max: u64) -> Result<(), Fault> {
    if memory.outbox_looked_at.is_none_or(|at| at.elapsed() >= OUTBOX_LOOK) {
        memory.outbox_full = outbox::is_full(connection, max).await?;
        memory.outbox_looked_at = Some(Instant::now());
    }
    Ok(())
}

/// What went wrong, before it is known whose fault it is.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}", told(.0))]
    Database(#[from] sqlx::Error),
    #[error("no answer to COMMIT that says what became of it: {}", told(.0))]
    Commit(#[source] sqlx::Error),
    #[error("{0} within {1:?}")]
    Late(&'static str, Duration),
    /// Whoever looks does not make it.
    #[error("there is no data file {}: run `reprieve migrate up`, or start the worker, to make it", .0.display())]
    Missing(PathBuf),
    #[error("{} is another file than the one that was worked on: it is opened anew; stop the worker before a restore", .0.display())]
    Replaced(PathBuf),
    #[error(transparent)]
    Row(#[from] BadRow),
    /// What is to be written contradicts what is there: only this input can be at fault, and nothing of it is written.
    #[error("a turn contradicts the database: {0}")]
    Contradiction(String),
}

impl Fault {
    fn unreadable(what: &'static str, id: &str, why: &dyn fmt::Display) -> Self {
        Fault::Row(BadRow::unreadable(what, id, why))
    }

    /// For those who look: what is known of the place is in the cause, where it matters.
    fn at(self) -> At {
        let is_advised = match &self {
            Fault::Missing(_) | Fault::Replaced(_) => true,
            Fault::Database(error) => ADVISED.contains(&primary(error)),
            _ => false,
        };
        At::new("the database", self).advised(is_advised)
    }

    /// Whether the content is at fault: violated constraints, wrong types, exceeded limits.
    fn is_refusal(&self) -> bool {
        match self {
            Fault::Database(error) | Fault::Commit(error) => CONTENT.contains(&primary(error)),
            Fault::Contradiction(_) | Fault::Row(BadRow::Unreadable { .. }) => true,
            Fault::Late(..) | Fault::Missing(_) | Fault::Replaced(_) | Fault::Row(BadRow::Newer { .. }) => false,
        }
    }
}

/// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT`, `SQLITE_MISMATCH`.
const CONTENT: [i32; 3] = [18, 19, 20];

impl From<Fault> for ViewError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Row(row) => row.shown(),
            away => ViewError::Away(away.at().into()),
        }
    }
}

/// What is wrong with a row that is asked for by its id, if it is the row that is wrong.
fn of_exception(id: &ExceptionId) -> impl Fn(sqlx::Error) -> Fault {
    move |error| match error {
        sqlx::Error::ColumnDecode { source, .. } => Fault::unreadable("exception", id.as_str(), &source),
        error => error.into(),
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        if fault.is_refusal() { StoreError::Refused(Box::new(fault)) } else { StoreError::Away(Box::new(fault)) }
    }
}

/// Those for which [`told`] knows what helps.
const ADVISED: [i32; 5] = [8, 11, 13, 14, 26];

/// The primary result code; 0 when there is none.
fn primary(error: &sqlx::Error) -> i32 {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // The extended codes keep the primary one in their lowest byte.
    code.and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff
}

/// What `SQLite` says, and what helps where that is known.
fn told(error: &sqlx::Error) -> String {
    let Some(said) = error.as_database_error() else { return error.to_string() };
    let message = said.message();
    match primary(error) {
        5 | 6 => format!("{message}: another process holds the write lock for long"),
        8 => format!("{message}: the file or its folder can only be read; give this user the right to write both"),
        13 => format!("{message}: make room on the disk, and work goes on by itself"),
        14 => format!("{message}: check that the folder exists and that this user may write in it"),
        11 | 26 => format!("{message}: the file is damaged or no database; put it aside and restore a copy"),
        _ => message.to_owned(),
    }
}
