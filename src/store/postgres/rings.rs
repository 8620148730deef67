//! Where new rows of the inbox go, and when old ones are dropped: four rings, each emptied whole when its turn comes again.
//! An epoch is 15 days, so what was seen is known for 45 days or more, by the database's clock alone. It is no timer: the
//! first turn of an epoch moves on by one ring, whatever the distance, so a clock that jumps costs one ring and not all.

use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{query, query_as, raw_sql};

use super::Fault;

/// A dump or a report that holds a ring locked is not waited for: writers go on in the ring before for so long.
const BUSY_WAIT: Duration = Duration::from_mins(1);

/// SQLSTATE of a lock that was not to be had at once.
const LOCK_NOT_AVAILABLE: &str = "55P03";

const NEWEST: &str = "SELECT ring, epoch FROM inbox_rings ORDER BY epoch DESC LIMIT 1";

const ENTER: &str = "\
INSERT INTO inbox_rings (ring, epoch) VALUES ($1::smallint, $2::bigint)
ON CONFLICT ON CONSTRAINT inbox_rings_pkey DO UPDATE SET epoch = EXCLUDED.epoch";

const EMPTY_0: &str = "SAVEPOINT ring; LOCK TABLE inbox_0 IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE inbox_0";
const EMPTY_1: &str = "SAVEPOINT ring; LOCK TABLE inbox_1 IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE inbox_1";
const EMPTY_2: &str = "SAVEPOINT ring; LOCK TABLE inbox_2 IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE inbox_2";
const EMPTY_3: &str = "SAVEPOINT ring; LOCK TABLE inbox_3 IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE inbox_3";

/// Every statement of this file that is prepared.
pub(super) const STATEMENTS: &[&str] = &[NEWEST, ENTER];

/// The ring that is written to, as far as this process knows. To be kept only when the turn is committed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ring {
    /// Its number, the partition, and the epoch it was entered in.
    entered: Option<(i16, i64)>,
    /// It could not be left, and this is when to try again.
    again_at: Option<Instant>,
}

impl Ring {
    /// The partition that new rows belong to.
    pub(super) fn number(self) -> i16 {
        self.entered.map_or(0, |(ring, _)| ring)
    }

    /// The ring for this epoch, entered and emptied if nobody has done so. Once entered, a ring stays the one that is
    /// written to until the next is: so nothing new is ever emptied, also when the clock is set back.
    pub(super) async fn at(self, epoch: i64, connection: &mut PgConnection) -> Result<Self, Fault> {
        let is_current = self.entered.is_some_and(|(_, entered)| entered >= epoch);
        if is_current || self.again_at.is_some_and(|at| Instant::now() < at) {
            return Ok(self);
        }
        let newest: Option<(i16, i64)> = query_as(NEWEST).fetch_optional(&mut *connection).await?;
        let next = match newest {
            Some((_, entered)) if entered >= epoch => return Ok(Self { entered: newest, again_at: None }),
            Some((ring, _)) => (ring + 1).rem_euclid(4),
            None => {
                // Nobody was here before, so nothing is old and nothing is emptied: a reader cannot hold this up, and rows that
                // were written without it would be lost with the next attempt.
                query(ENTER).bind(0_i16).bind(epoch).execute(connection).await?;
                return Ok(Self { entered: Some((0, epoch)), again_at: None });
            }
        };
        match raw_sql(empty(next)).execute(&mut *connection).await {
            Ok(_) => {
                query(ENTER).bind(next).bind(epoch).execute(connection).await?;
                Ok(Self { entered: Some((next, epoch)), again_at: None })
            }
            Err(error) if is_busy(&error) => {
                raw_sql("ROLLBACK TO SAVEPOINT ring").execute(connection).await?;
                Ok(Self { entered: newest, again_at: Some(Instant::now() + BUSY_WAIT) })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn empty(ring: i16) -> &'static str {
    match ring {
        0 => EMPTY_0,
        1 => EMPTY_1,
        2 => EMPTY_2,
        _ => EMPTY_3,
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}
