//! The operator's desk, on a few connections of its own. Sessions cannot write but in the transaction of a mark, and every
//! mark takes the write lock as a turn does: what a turn has read cannot change under it. What is asked is in `look`, what is
//! changed in `mark`.

pub(super) mod look;
mod mark;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::lent::{self, Lent, in_time};
use super::{BadUrl, Fault};
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
use crate::store::desk::{
    Cursor, Desk, DeskError, Edit, Edited, FailureState, Filter, FilterCount, Group, Limit, Mark, OutboxState, Page,
    ParkedEvent, Step, StoredFailure,
};

/// Longest work once there is a connection: a little more than the server's own limit, which says better what was wrong.
const WORK_MAX: Duration = Duration::from_secs(9);

/// One statement serves every filter: planned for the values it is given, it is as good as one without the parts that are not
/// set. A mark waits for the lock behind turns, and longer than a frozen one can hold it.
const SETTINGS: [(&str, &str); 3] =
    [("default_transaction_read_only", "on"), ("statement_timeout", "8s"), ("plan_cache_mode", "force_custom_plan")];

/// Every statement of the desk that is prepared: for a test that does.
pub fn statements() -> impl Iterator<Item = &'static str> {
    [look::STATEMENTS, mark::STATEMENTS].into_iter().flatten().copied()
}

/// The operator's desk in a Postgres database.
pub struct PostgresDesk {
    pool: PgPool,
}

/// Lends a connection for one piece of work and gives it back only if that ended well.
macro_rules! with {
    ($desk:ident, $connection:ident => $work:expr) => {{
        let outcome = async {
            let mut lent = Lent::from(&$desk.pool).await?;
            let $connection: &mut PgConnection = lent.connection()?;
            let done = in_time(WORK_MAX, $work).await?;
            lent.give_back();
            Ok::<_, Fault>(done)
        };
        outcome.await.map_err(|fault| DeskError(fault.at(&$desk.pool.connect_options()).into()))
    }};
}

impl PostgresDesk {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Ok(Self { pool: lent::pool(url, "reprieve desk", &SETTINGS)? })
    }
}

#[async_trait]
impl Desk for PostgresDesk {
    async fn failures(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Page<StoredFailure, Cursor>, DeskError> {
        with!(self, connection => look::failures(connection, filter, after, limit))
    }

    async fn failure(&self, id: Uuid) -> Result<Option<StoredFailure>, DeskError> {
        with!(self, connection => look::failure(connection, id))
    }

    async fn body(&self, id: Uuid) -> Result<Option<Vec<u8>>, DeskError> {
        with!(self, connection => look::body(connection, id))
    }

    async fn groups(&self, filter: &Filter, limit: Limit) -> Result<Vec<Group>, DeskError> {
        with!(self, connection => look::groups(connection, filter, limit))
    }

    async fn parked(
        &self,
        exception: Option<&ExceptionId>,
        after: Option<ParkedId>,
        limit: Limit,
    ) -> Result<Page<ParkedEvent, ParkedId>, DeskError> {
        with!(self, connection => look::parked(connection, exception, after, limit))
    }

    async fn outbox(&self) -> Result<OutboxState, DeskError> {
        with!(self, connection => look::outbox(connection))
    }

    async fn count(&self, filter: &Filter) -> Result<FilterCount, DeskError> {
        with!(self, connection => look::count(connection, filter))
    }

    async fn states(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        with!(self, connection => look::states(connection, ids))
    }

    async fn mark(&self, mark: Mark, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        with!(self, connection => mark::these(connection, mark, ids))
    }

    async fn mark_next(
        &self,
        mark: Mark,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Step, DeskError> {
        with!(self, connection => mark::next(connection, mark, filter, after, limit))
    }

    async fn edit(&self, id: Uuid, edit: &Edit) -> Result<Edited, DeskError> {
        with!(self, connection => mark::edit(connection, id, edit))
    }
}
