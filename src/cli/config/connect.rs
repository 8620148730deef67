//! `config check --connect`: broker and database are asked what a worker would meet. Nothing is written, and nothing declared that
//! is not there.

use std::path::Path;

use super::check::Checked;
use super::{Code, Config, ExitError};
use crate::broker::rabbitmq::topology;
use crate::cli::{parts, topology as topology_command};
use crate::config::{Broker, Database};
use crate::store::postgres::facts::{Facts, facts};
use crate::store::postgres::grants;
use crate::store::postgres::migrate::FsyncOff;
use crate::store::schema::SchemaError;
use crate::store::{postgres, sqlite};
use crate::worker::turns::SKEW_MAX_S;

/// Only doing it would tell, and what is read or written here would be somebody's.
const NO_RIGHTS: &str =
    "; whether it may read and write there was not asked (`reprieve topology print` shows what it needs)";

/// Asks both at once.
pub(super) async fn run(config: &Config, checked: &mut Checked) {
    let (mut of_database, mut of_broker) = (Checked::default(), Checked::default());
    tokio::join!(database(config, &mut of_database), broker(config, &mut of_broker));
    checked.take(of_database);
    checked.take(of_broker);
}

async fn database(config: &Config, checked: &mut Checked) {
    match config.database() {
        Ok(Database::Postgres(url)) => match facts(url.expose()).await {
            Ok(facts) => {
                told(&facts, config, checked);
                schema(url.expose(), checked).await;
            }
            Err(error) => failed("database", error.into(), checked),
        },
        Ok(Database::Sqlite(file)) => data_file(&file, checked).await,
        Err(error) => failed("database", error.into(), checked),
    }
}

fn told(facts: &Facts, config: &Config, checked: &mut Checked) {
    checked.see("database", format!("PostgreSQL {}, as {}", facts.version, facts.user));
    if facts.is_read_only {
        let message = "it can only be read, as a replica can: name the primary in DATABASE_URL";
        checked.error("database", Code::Failed, message);
    }
    match (facts.fsync, config.database_allow_fsync_off) {
        (true, _) => checked.see("database", "fsync is on"),
        (false, true) => checked.warn("database", "fsync is off, which is allowed: for tests only"),
        (false, false) => failed("database", SchemaError::FsyncOff.into(), checked),
    }
    // With the offset a worker would judge by.
    match clock(facts.clock_ahead_s + config.clock_offset.as_seconds_f64()) {
        Ok(near) => checked.see("database", near),
        Err(far) => checked.warn("database", far),
    }
}

/// What to say of a clock that is so far ahead of the database's: `Err` if it is too far.
fn clock(ahead_s: f64) -> Result<String, String> {
    let direction = if ahead_s < 0.0 { "behind" } else { "ahead of" };
    let shown = format!("this machine's clock is {:.1} s {direction} the database's", ahead_s.abs());
    if ahead_s.abs() > SKEW_MAX_S {
        return Err(format!(
            "{shown}: dates would be judged by it; mend the time service of the wrong one, or take clock.offset away if it is set"
        ));
    }
    Ok(shown)
}

/// Without the schema there is nothing to have a right to.
async fn schema(url: &str, checked: &mut Checked) {
    if let Err(error) = postgres::migrate::check(url, FsyncOff::Allowed).await {
        return failed("database", error.into(), checked);
    }
    checked.see("database", "the schema is the one this program needs");
    match grants::missing(url).await {
        Ok(missing) if missing.is_empty() => checked.see("database", "this role has the rights of a worker"),
        Ok(missing) => {
            let message = format!(
                "this role lacks {}: run `reprieve migrate grants ROLE --apply` as the owner of the tables",
                missing.join(", ")
            );
            checked.error("database", Code::Failed, message);
        }
        Err(error) => failed("database", error.into(), checked),
    }
}

/// The worker brings its file up to date itself.
async fn data_file(file: &Path, checked: &mut Checked) {
    match sqlite::migrate::check(file).await {
        Ok(()) => checked.see("database", "the data file is there, and its schema is the one this program needs; whether its disk has room was not tried"),
        Err(error @ (SchemaError::NoFile(_) | SchemaError::Missing | SchemaError::Older(_))) => {
            checked.see("database", format!("{error}; a worker does it at its start"));
        }
        Err(error) => failed("database", error.into(), checked),
    }
}

async fn broker(config: &Config, checked: &mut Checked) {
    let rabbit = match config.broker() {
        Ok(Broker::Rabbit(_)) => parts::rabbit(config),
        Ok(Broker::Embedded) => return checked.see("broker", "embedded: there is none to ask"),
        Err(error) => Err(error.into()),
    };
    let rabbit = match rabbit {
        Ok(rabbit) => rabbit,
        Err(error) => return failed("broker", error, checked),
    };
    let topology::Checked { problems, not_compared } = match topology::check(&rabbit).await {
        Ok(found) => found,
        Err(error) => return failed("broker", error.into(), checked),
    };
    let not_compared = topology_command::not_compared(&not_compared);
    if problems.is_empty() {
        let how = if not_compared.is_none() { "as it should be" } else { "there" };
        checked.see("broker", format!("it takes this user, and every exchange and queue is {how}{NO_RIGHTS}"));
    }
    for problem in problems {
        let message = format!("{}: {}; {}", problem.object, problem.what, problem.remedy);
        checked.error("broker", Code::Failed, message);
    }
    if let Some(told) = not_compared {
        checked.see("broker", told);
    }
}

/// Who has answered was reached, whatever the answer.
fn failed(about: &str, error: ExitError, checked: &mut Checked) {
    let code = if matches!(error.code, Code::Unreachable | Code::Configuration) { error.code } else { Code::Failed };
    checked.error(about, code, error.message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_far_off_from_five_minutes_on_either_way() {
        for (ahead_s, is_far, shown) in [
            (0.0, false, "0.0 s ahead of"),
            (300.0, false, "300.0 s ahead of"),
            (-300.0, false, "300.0 s behind"),
            (300.1, true, "300.1 s ahead of"),
            (-300.1, true, "300.1 s behind"),
            (-31_536_000.0, true, "31536000.0 s behind"),
        ] {
            let told = clock(ahead_s);
            assert_eq!(told.is_err(), is_far, "{ahead_s}: {told:?}");
            let text = told.unwrap_or_else(|far| far);
            assert!(text.contains(&format!("clock is {shown} the database's")), "{ahead_s}: {text}");
            assert_eq!(text.contains("mend the time service"), is_far, "{text}");
        }
    }
}
