//! The operator's desk, on a few connections of its own. Those that look cannot write, and every mark takes the write lock as a
//! turn does: what a turn has read cannot change under it. What is asked is in `look`, what is changed in `mark`.

pub(super) mod look;
mod mark;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::Fault;
use super::lent::{Access, Lender};
use crate::domain::ids::ExceptionId;
use crate::store::ParkedId;
use crate::store::desk::{
    Cursor, Desk, DeskError, Edit, Edited, FailureState, Filter, FilterCount, Group, Limit, Mark, OutboxState, Page,
    ParkedEvent, Step, StoredFailure,
};

/// Longest work once there is a connection: longer than the wait for the write lock, which says better what was wrong.
const WORK_MAX: Duration = Duration::from_secs(9);

/// Every statement of the desk that is prepared: for a test that does.
pub fn statements() -> impl Iterator<Item = &'static str> {
    look::statements().chain(mark::statements())
}

/// The operator's desk in a file.
pub struct SqliteDesk {
    lender: Lender,
}

impl SqliteDesk {
    /// Opens the file when it is asked.
    pub fn new(file: &Path) -> Self {
        Self { lender: Lender::of(file, WORK_MAX) }
    }

    async fn lend<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Fault>,
    ) -> Result<T, DeskError> {
        self.lender.lend(access, work).await.map_err(|fault| DeskError(fault.at().into()))
    }
}

/// A piece of work as [`Lender::lend`] takes it.
macro_rules! on {
    ($connection:ident => $work:expr) => {
        async |$connection: &mut SqliteConnection| $work.await
    };
}

#[async_trait]
impl Desk for SqliteDesk {
    async fn failures(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Page<StoredFailure, Cursor>, DeskError> {
        self.lend(Access::Look, on!(connection => look::failures(connection, filter, after, limit))).await
    }

    async fn failure(&self, id: Uuid) -> Result<Option<StoredFailure>, DeskError> {
        self.lend(Access::Look, on!(connection => look::failure(connection, id))).await
    }

    async fn body(&self, id: Uuid) -> Result<Option<Vec<u8>>, DeskError> {
        self.lend(Access::Look, on!(connection => look::body(connection, id))).await
    }

    async fn groups(&self, filter: &Filter, limit: Limit) -> Result<Vec<Group>, DeskError> {
        self.lend(Access::Look, on!(connection => look::groups(connection, filter, limit))).await
    }

    async fn parked(
        &self,
        exception: Option<&ExceptionId>,
        after: Option<ParkedId>,
        limit: Limit,
    ) -> Result<Page<ParkedEvent, ParkedId>, DeskError> {
        self.lend(Access::Look, on!(connection => look::parked(connection, exception, after, limit))).await
    }

    async fn outbox(&self) -> Result<OutboxState, DeskError> {
        self.lend(Access::Look, on!(connection => look::outbox(connection))).await
    }

    async fn count(&self, filter: &Filter) -> Result<FilterCount, DeskError> {
        self.lend(Access::Look, on!(connection => look::count(connection, filter))).await
    }

    async fn states(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        self.lend(Access::Look, on!(connection => look::states(connection, ids))).await
    }

    async fn mark(&self, mark: Mark, ids: &[Uuid]) -> Result<Vec<(Uuid, FailureState)>, DeskError> {
        self.lend(Access::Mark, on!(connection => mark::these(connection, mark, ids))).await
    }

    async fn mark_next(
        &self,
        mark: Mark,
        filter: &Filter,
        after: Option<Cursor>,
        limit: Limit,
    ) -> Result<Step, DeskError> {
        self.lend(Access::Mark, on!(connection => mark::next(connection, mark, filter, after, limit))).await
    }

    async fn edit(&self, id: Uuid, edit: &Edit) -> Result<Edited, DeskError> {
        self.lend(Access::Mark, on!(connection => mark::edit(connection, id, edit))).await
    }
}
