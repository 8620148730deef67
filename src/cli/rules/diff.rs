//! `rules diff`: which requests another rules file would route differently. It asks both files what the worker would ask,
//! with what was known when each request came in.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;

use super::explain::now;
use super::submission::{self, Document};
use crate::cli::output::Output;
use crate::cli::{Code, ExitError, input, parts, schema};
use crate::config::Config;
use crate::domain::dates::Timestamp;
use crate::domain::ids::{ExceptionId, UserId};
use crate::domain::routing::{Question, Routing};
use crate::domain::rules::RuleSet;

mod change;
mod table;

pub(super) use change::{changes, word};

/// Most requests that are looked at unless more are asked for: enough for a month of a large company, done in seconds.
const REQUESTS_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The rules file there is
    old: PathBuf,
    /// The rules file that is to replace it
    new: PathBuf,
    /// Look at requests of the database from so long ago
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = last)]
    last: Duration,
    /// Look at these events instead: one, an array, or JSON lines; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "last")]
    events: Option<PathBuf>,
    /// Look at no more than so many of the newest requests
    #[arg(long, value_name = "N", default_value_t = REQUESTS_MAX)]
    max: usize,
    /// End with 1 if a request would be routed differently
    #[arg(long)]
    exit_code: bool,
}

fn last(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).ok().filter(|span| TimeDelta::from_std(*span).is_ok());
    span.ok_or_else(|| "expected a time such as 30d or 12h".to_owned())
}

/// One request that would be routed differently.
#[derive(Debug, Serialize)]
struct Differing {
    exception_id: ExceptionId,
    requester: UserId,
    at: Timestamp,
    /// What is different: `rule`, `auto`, `limit`, `refused`, `levels`.
    changed: Vec<&'static str>,
    old: Routing,
    new: Routing,
}

/// So many requests went from one rule to another, or stay with one that now says something else.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Move {
    old: String,
    new: String,
    count: usize,
}

#[derive(Debug, Serialize)]
struct DiffShape {
    looked_at: usize,
    different: usize,
    /// Events of other types, and stored requests that cannot be read.
    skipped: usize,
    /// Whether all there were were looked at, and not only the newest.
    complete: bool,
    moves: Vec<Move>,
    items: Vec<Differing>,
}

/// The two files, and what was found so far.
struct Comparison {
    old: RuleSet,
    new: RuleSet,
    looked_at: usize,
    skipped: usize,
    complete: bool,
    items: Vec<Differing>,
}

pub(super) async fn run(arguments: &Arguments, config: &Config, output: &Output) -> Result<(), ExitError> {
    let (old, new) = (super::load(&arguments.old)?, super::load(&arguments.new)?);
    let mut comparison = Comparison { old, new, looked_at: 0, skipped: 0, complete: true, items: Vec::new() };
    let now = now(config.clock_offset);
    match &arguments.events {
        Some(file) => from_file(&mut comparison, file, arguments.max, now)?,
        None => from_database(&mut comparison, arguments, config, now).await?,
    }
    let shape = comparison.shape();
    output.object(&shape, table::table)?;
    if arguments.exit_code && shape.different > 0 {
        return Err(ExitError::failed(format!("{} requests would be routed differently", shape.different)));
    }
    Ok(())
}

fn from_file(comparison: &mut Comparison, file: &Path, max: usize, now: Timestamp) -> Result<(), ExitError> {
    let mut opened = input::open(file)?;
    let usage = |why: String| ExitError::new(Code::Usage, format!("{}: {why}", file.display()));
    let mut text = String::new();
    opened.reader.read_to_string(&mut text).map_err(|error| usage(error.to_string()))?;
    let documents = schema::split(&text).map_err(|error| usage(error.to_string()))?;
    if documents.is_empty() {
        return Err(input::empty(&opened.name));
    }
    for (line, document) in documents {
        if comparison.looked_at == max {
            comparison.complete = false;
            break;
        }
        match submission::read(document) {
            Ok(Document::Submission(submission)) => {
                comparison.look(Question { submission: &submission, ticket: None, at: now });
            }
            Ok(Document::Other(_)) => comparison.skipped += 1,
            Err(fault) => return Err(usage(format!("line {line}: {}: {}", fault.reason.word(), fault.message))),
        }
    }
    Ok(())
}

/// Page by page from the newest, until a whole page is older than is asked for: the clock that wrote the times may have been
/// set back in between.
async fn from_database(
    comparison: &mut Comparison,
    arguments: &Arguments,
    config: &Config,
    now: Timestamp,
) -> Result<(), ExitError> {
    let submissions = parts::submissions(config)?;
    let since = TimeDelta::from_std(arguments.last).ok().and_then(|last| now.checked_sub_signed(last));
    let mut cursor = None;
    loop {
        let (page, next) = submissions.recent(cursor).await?;
        let mut any = false;
        for stored in page.iter().filter(|stored| since.is_none_or(|since| stored.at >= since)) {
            any = true;
            if comparison.looked_at == arguments.max {
                comparison.complete = false;
                return Ok(());
            }
            match submission::read(&stored.data) {
                Ok(Document::Submission(submission)) => {
                    let ticket = Some(&stored.ticket);
                    comparison.look(Question { submission: &submission, ticket, at: stored.at });
                }
                _ => comparison.skipped += 1,
            }
        }
        if !any || next.is_none() {
            return Ok(());
        }
        cursor = next;
    }
}

impl Comparison {
    fn look(&mut self, question: Question<'_>) {
        self.looked_at += 1;
        let (old, new) = (question.routing(&self.old), question.routing(&self.new));
        if old == new {
            return;
        }
        let mut changed: Vec<_> = changes(&old, &new).iter().map(|change| change.of).collect();
        changed.dedup();
        self.items.push(Differing {
            exception_id: question.submission.exception_id.clone(),
            requester: question.submission.request.requester.clone(),
            at: question.at,
            changed,
            old,
            new,
        });
    }

    fn shape(self) -> DiffShape {
        let mut moves: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for item in &self.items {
            *moves.entry((&item.old.rule, &item.new.rule)).or_default() += 1;
        }
        let mut moves: Vec<_> = moves
            .into_iter()
            .map(|((old, new), count)| Move { old: old.to_owned(), new: new.to_owned(), count })
            .collect();
        moves.sort_by_key(|it| std::cmp::Reverse(it.count));
        DiffShape {
            looked_at: self.looked_at,
            different: self.items.len(),
            skipped: self.skipped,
            complete: self.complete,
            moves,
            items: self.items,
        }
    }
}

#[cfg(test)]
mod tests;
