//! What people look at, on a few connections of its own: a slow look-up never holds up a turn. Each statement is
//! a transaction of its own: nothing here begins one, so that a look-up that is given up leaves none open behind it.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};

use super::{Target, read};
use crate::domain::exception::Exception;
use crate::domain::ids::ExceptionId;
use crate::store::{StoredEntry, ViewError, Views};

/// Look-ups at once: they are small, and must never take the connections that turns need.
const CONNECTIONS_MAX: u32 = 4;
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

const EXCEPTION: &str =
    "SELECT key, id, ticket_id, revision, sequence, entries, head, document FROM exceptions WHERE id = $1";
/// The fields in the order the hash takes them.
const HISTORY: &str = "SELECT entry, (extract(epoch FROM at) * 1000000)::bigint::text, kind, actor, actor_kind, coalesce(source, ''), \
    coalesce(event_id, ''), coalesce(event_type, ''), outcome, coalesce(code, ''), revision::text, body, hash \
    FROM history WHERE exception_key = $1 ORDER BY entry";

/// Look-ups on Postgres.
#[derive(Clone, Debug)]
pub struct PostgresViews(PgPool);

impl PostgresViews {
    /// Connects when first asked.
    pub fn new(target: &Target) -> Self {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_MAX);
        Self(pool.connect_lazy_with(target.options()))
    }

    async fn find(&self, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, super::TurnError> {
        let Some(row) = sqlx::query(EXCEPTION).bind(id.as_str()).fetch_optional(&self.0).await? else {
            return Ok(None);
        };
        let key: i64 = row.try_get("key")?;
        let rows = sqlx::query(HISTORY).bind(key).fetch_all(&self.0).await?;
        let entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((read::exception(&row)?, entries)))
    }
}

fn entry(row: &PgRow) -> Result<StoredEntry, super::TurnError> {
    let number: i32 = row.try_get(0)?;
    let mut fields: [String; 11] = Default::default();
    for (place, field) in fields.iter_mut().enumerate() {
        *field = row.try_get(place + 1)?;
    }
    Ok(StoredEntry { number: u32::try_from(number).unwrap_or_default(), fields, hash: row.try_get("hash")? })
}

#[async_trait]
impl Views for PostgresViews {
    async fn exception(&self, id: &ExceptionId) -> Result<Option<(Exception, Vec<StoredEntry>)>, ViewError> {
        self.find(id).await.map_err(|error| ViewError(Box::new(error)))
    }
}
