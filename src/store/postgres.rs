//! The Postgres store: [`PostgresStore`] runs turns on one held session. A turn is `read`, the caller's plan, `write`;
//! whatever goes wrong in between, or leaves in between, takes the session along, because nobody knows what a session would
//! do next whose answer was not waited for. It never waits and tries again: that is the caller's. Look-ups: [`views`], the
//! operator's: [`desk`].

/// Takes the one write lock until the transaction ends: everything that writes begins with it. The number is the program's name in
/// ASCII.
macro_rules! write_lock {
    () => {
        "SELECT pg_advisory_xact_lock(5937275320454706789)"
    };
}

pub mod audit;
mod connection;
pub mod desk;
mod exceptions;
pub mod facts;
pub mod gauges;
pub mod grants;
mod lent;
mod marked;
pub mod migrate;
mod notes;
mod read;
mod reviewers;
mod rings;
pub mod submissions;
mod tallies;
pub mod views;
mod write;

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{query_scalar, raw_sql};

use self::connection::Session;
use self::read::Loaded;
use self::rings::Ring;
use super::place::At;
use super::rows::BadRow;
use super::tallies::differences;
use super::{Committed, Plan, Store, StoreError, ViewError, Wanted};
use crate::domain::ids::ExceptionId;
use crate::health::Light;

/// Longest turn, its connection included: longer than any one timeout of the session, short enough to be noticed in 15 s.
const TURN_MAX: Duration = Duration::from_secs(12);

/// How often the size of the outbox is looked at.
const OUTBOX_LOOK: Duration = Duration::from_secs(1);

/// Never less than the number of rows, and found at both ends of the index.
const OUTBOX_BOUND: &str = "SELECT coalesce(max(id) - min(id) + 1, 0) FROM outbox";

const OUTBOX_COUNT: &str = "SELECT count(*) FROM outbox";

/// Every statement that turns prepare: for a test that asks a server for its plans.
pub fn statements() -> impl Iterator<Item = &'static str> {
    let outbox: &[&str] = &[OUTBOX_BOUND, OUTBOX_COUNT];
    let rooms = [exceptions::STATEMENTS, marked::STATEMENTS, notes::STATEMENTS, read::STATEMENTS];
    let others = [reviewers::STATEMENTS, rings::STATEMENTS, tallies::STATEMENTS, write::STATEMENTS, outbox];
    rooms.into_iter().chain(others).flatten().copied()
}

/// The URL cannot be used. Nothing of it is repeated, in the driver's words neither: any part of it may be a password.
#[derive(Debug, thiserror::Error)]
#[error("the database URL cannot be used: {0}; expected postgres://user@host/database")]
pub struct BadUrl(&'static str);

impl BadUrl {
    /// The driver repeats a parameter's value, and the value may be one that was meant for another.
    fn of(error: &sqlx::Error) -> Self {
        let text = error.to_string();
        Self(match () {
            () if text.contains("ssl_mode") => {
                "its sslmode is none of disable, prefer, require, verify-ca, verify-full"
            }
            () if text.contains("port") || text.contains("digit") => "its port is no number",
            () => "it is no URL with a host that can be read",
        })
    }
}

/// The options of the session that runs turns: for a test that asks a server for its plans.
pub fn turn_options(url: &str) -> Result<PgConnectOptions, BadUrl> {
    connection::turn_options(url).map_err(|error| BadUrl::of(&error))
}

/// What is said at the start of the worker where the password and all that is stored leave this machine unencrypted.
pub fn clear_text_warning(url: &str) -> Result<Option<String>, BadUrl> {
    let host = connection::clear_text_host(url).map_err(|error| BadUrl::of(&error))?;
    Ok(host.map(|host| {
        format!(
            "the database's sslmode lets password and data travel to {host} in clear text: write sslmode=verify-full in \
             DATABASE_URL, with sslrootcert for an authority of your own"
        )
    }))
}

/// Runs turns in a Postgres database, one at a time in the whole of it.
pub struct PostgresStore {
    options: PgConnectOptions,
    light: Light,
    /// Taken out for the time of a turn: a panic, an error or a dropped future leaves nothing behind to be used again.
    held: Option<Session>,
    outbox_max: u64,
    memory: Memory,
}

/// What need not be asked again in every turn. A turn works on a copy, which counts once it is committed.
#[derive(Clone, Debug, Default)]
struct Memory {
    ring: Ring,
    outbox_looked_at: Option<Instant>,
    outbox_full: bool,
    rule_set: Option<String>,
}

impl PostgresStore {
    /// A store that connects at its first turn. `light` is on while a session is held that has run a good turn. The outbox
    /// counts as full from `outbox_max` rows on.
    pub fn new(url: &str, light: Light, outbox_max: u64) -> Result<Self, BadUrl> {
        Ok(Self { options: turn_options(url)?, light, held: None, outbox_max, memory: Memory::default() })
    }

    async fn attempt(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, Fault> {
        let mut session = if let Some(session) = self.held.take() {
            session
        } else {
            // It may be another database now: restored, or a replica in its place.
            self.memory = Memory::default();
            Session::open(&self.options, &self.light).await?
        };
        let mut memory = self.memory.clone();
        let outcome = transact(&mut session.connection, wanted, plan, &mut memory, self.outbox_max).await;
        match outcome {
            Ok(_) => self.memory = memory,
            Err(ref fault) if fault.is_refusal() => {
                raw_sql("ROLLBACK").execute(&mut session.connection).await?;
            }
            Err(fault) => return Err(fault),
        }
        session.proved();
        self.held = Some(session);
        outcome
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn turn(&mut self, wanted: &Wanted, plan: &mut Plan<'_>) -> Result<Committed, StoreError> {
        let outcome = tokio::time::timeout(TURN_MAX, self.attempt(wanted, plan)).await;
        outcome.unwrap_or(Err(Fault::Late("no end of a turn", TURN_MAX))).map_err(|fault| {
            let is_refusal = fault.is_refusal();
            if is_refusal {
                StoreError::Refused(Box::new(fault))
            } else {
                StoreError::Away(fault.at(&self.options).into())
            }
        })
    }
}

async fn transact(
    connection: &mut PgConnection,
    wanted: &Wanted,
    plan: &mut Plan<'_>,
    memory: &mut Memory,
    outbox_max: u64,
) -> Result<Committed, Fault> {
    let Loaded { snapshot, mut keys, epoch, expired } = read::load(connection, wanted).await?;
    let mut outgoing = snapshot.claimed.clone();
    let claims_full = wanted.claims_max > 0 && outgoing.len() >= wanted.claims_max;
    let before = super::tallies::standings(&snapshot.exceptions);

    let mut changes = plan(snapshot);

    if !changes.inbox.is_empty() {
        memory.ring = memory.ring.at(epoch, connection).await?;
    }
    if let Some(rules) = changes.rule_set.as_ref().filter(|rules| memory.rule_set.as_ref() != Some(&rules.hash)) {
        write::keep_rule_set(connection, rules).await?;
        memory.rule_set = Some(rules.hash.clone());
    }
    let written = write::store(connection, &mut changes, &mut keys, memory.ring.number()).await?;
    tallies::write(connection, &differences(&before, &changes.exceptions)).await?;
    // After what was tried again is written: that is not marked any more.
    let marked = marked::next(connection, wanted.marked_max).await?;
    if changes.held {
        outgoing.extend(written);
    }
    if memory.outbox_looked_at.is_none_or(|at| at.elapsed() >= OUTBOX_LOOK) {
        memory.outbox_full = outbox_is_full(connection, outbox_max).await?;
        memory.outbox_looked_at = Some(Instant::now());
    }
    raw_sql("COMMIT").execute(connection).await.map_err(Fault::Commit)?;
    let outbox_full = memory.outbox_full;
    Ok(Committed { outcomes: changes.outcomes, outgoing, claims_full, expired, outbox_full, marked, published: 0 })
}

async fn outbox_is_full(connection: &mut PgConnection, outbox_max: u64) -> Result<bool, Fault> {
    let reaches = |rows: i64| u64::try_from(rows).is_ok_and(|rows| rows >= outbox_max);
    if !reaches(query_scalar(OUTBOX_BOUND).fetch_one(&mut *connection).await?) {
        return Ok(false);
    }
    Ok(reaches(query_scalar(OUTBOX_COUNT).fetch_one(connection).await?))
}

/// What went wrong, before it is known whose fault it is.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}", told(.0))]
    Database(#[from] sqlx::Error),
    #[error("no answer to COMMIT that says what became of it: {}", told(.0))]
    Commit(#[source] sqlx::Error),
    #[error("{said}; {1}", said = told(.0))]
    NoSession(#[source] sqlx::Error, &'static str),
    #[error("{0} within {1:?}")]
    Late(&'static str, Duration),
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

    /// With the database it is about.
    fn at(self, options: &PgConnectOptions) -> At {
        let is_advised = matches!(self, Fault::NoSession(..));
        At::new(connection::place(options), self).advised(is_advised)
    }

    /// For those who look.
    fn seen(self, options: &PgConnectOptions) -> ViewError {
        match self {
            Fault::Row(row) => row.shown(),
            away => ViewError::Away(away.at(options).into()),
        }
    }

    /// Whether the content is at fault: data exceptions, violated constraints, exceeded limits. Of an unanswered COMMIT only
    /// a violated constraint is known not to have been written.
    fn is_refusal(&self) -> bool {
        match self {
            Fault::Database(error) => ["22", "23", "54"].contains(&class(error).as_str()),
            Fault::Commit(error) => class(error) == "23",
            Fault::Contradiction(_) | Fault::Row(BadRow::Unreadable { .. }) => true,
            Fault::Late(..) | Fault::NoSession(..) | Fault::Row(BadRow::Newer { .. }) => false,
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

/// In the server's words where it has spoken: the driver adds the line of the server's own source.
fn told(error: &sqlx::Error) -> String {
    match error.as_database_error().map(|said| (said.message(), said.code())) {
        Some((message, Some(code))) => format!("{message} (SQLSTATE {code})"),
        Some((message, None)) => message.to_owned(),
        None => error.to_string(),
    }
}

/// The first two characters of the SQLSTATE; empty when there is none.
fn class(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.map(|code| code.chars().take(2).collect()).unwrap_or_default()
}
