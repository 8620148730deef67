//! `reprieve exceptions`: what is known of exception requests. It only reads.

use clap::{Args, Subcommand};

mod list;
mod table;

pub(super) use list::rows;

use super::output::Output;
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::contract::shapes::ShapeError;
use crate::domain::exception::Exception;
use crate::domain::ids::ExceptionId;
use crate::shapes;
use crate::store::Views;
use crate::store::desk::{Limit, Page};
use crate::store::lookups::{ENTRIES_MAX, Newer, Selection, StoredEntry};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List exceptions, the newest first
    List {
        #[command(flatten)]
        filters: Box<Filters>,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<Newer>,
        /// At most so many
        #[arg(long, default_value = "50")]
        limit: Limit,
    },
    /// Show one exception with its votes and the newest 1,000 entries of its history
    Show {
        /// Its id, as upstream gave it
        id: String,
    },
    /// Show what happened to one exception, the oldest first
    History {
        /// Its id, as upstream gave it
        id: String,
    },
}

/// Which exceptions are meant.
#[derive(Debug, Default, Args)]
pub(super) struct Filters {
    #[arg(
        long,
        value_name = "STATUS",
        help = "requested, under_review, approved, denied or cancelled; several with commas"
    )]
    status: Vec<String>,
    #[arg(long, value_name = "WORD", help = "none, pending, in_force or ended; several with commas")]
    enforcement: Vec<String>,
    /// Who is to review it now
    #[arg(long, value_name = "ID")]
    reviewer: Option<String>,
    /// Who asked for it
    #[arg(long, value_name = "ID")]
    requester: Option<String>,
    /// critical, high, medium, low or info; several with commas
    #[arg(long, value_name = "WORD")]
    severity: Vec<String>,
    /// Its ticket
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// The ticket runs until a day before this one: the approved date while enforced, else the one of the request
    #[arg(long, value_name = "DATE")]
    due_before: Option<String>,
    /// Enforced, and until a day from today to so many days ahead, as 30d
    #[arg(long, value_name = "DAYS")]
    expiring_within: Option<String>,
    /// Its id, its ticket's id or its requester begins so; titles are not searched
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
}

impl Filters {
    fn read(&self) -> Result<Selection, ExitError> {
        let several = |values: &Vec<String>| (!values.is_empty()).then(|| values.join(","));
        let values = [
            several(&self.status),
            several(&self.enforcement),
            self.reviewer.clone(),
            self.requester.clone(),
            several(&self.severity),
            self.ticket.clone(),
            self.due_before.clone(),
            self.expiring_within.clone(),
            self.q.clone(),
        ];
        let (mut selection, now) = (Selection::default(), chrono::Utc::now());
        for (name, value) in Selection::NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))) {
            let bad = |error| ExitError::new(Code::Usage, format!("--{} {error}", name.replace('_', "-")));
            selection.set(name, &value, now).map_err(bad)?;
        }
        Ok(selection)
    }
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let views = parts::views(config)?;
    match command {
        Command::List { filters, cursor, limit } => {
            let page = find(views.as_ref(), &filters.read()?, cursor, limit).await?;
            let cursor = page.next.map(|cursor| cursor.to_string());
            output.page(&shapes::exceptions(&page), cursor.as_deref(), list::table)
        }
        Command::Show { id } => {
            let id = read(&id)?;
            let view = views.exception(&id).await?.ok_or_else(|| unknown(&id))?;
            output.object(&shapes::detail(&view)?, table::detail)
        }
        Command::History { id } => {
            let id = read(&id)?;
            let entries = history(views.as_ref(), &id).await?;
            output.array(&shapes::history(&id, &entries)?, table::history)
        }
    }
}

/// A full page, if there are so many: one that is short and goes on has only not looked at all of them.
async fn find(
    views: &dyn Views,
    selection: &Selection,
    after: Option<Newer>,
    limit: Limit,
) -> Result<Page<Exception, Newer>, ExitError> {
    let mut page = views.exceptions(selection, after, limit).await?;
    while let (Some(after), Some(rest)) = (page.next, limit.rest(page.items.len())) {
        let more = views.exceptions(selection, Some(after), rest).await?;
        page.items.extend(more.items);
        page.next = more.next;
    }
    Ok(page)
}

/// All entries there are, page by page.
async fn history(views: &dyn Views, id: &ExceptionId) -> Result<Vec<StoredEntry>, ExitError> {
    let mut entries: Vec<StoredEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.number);
        let page = views.history(id, after).await?.ok_or_else(|| unknown(id))?;
        let is_last = u32::try_from(page.len()).is_ok_and(|entries| entries < ENTRIES_MAX);
        entries.extend(page);
        if is_last {
            return Ok(entries);
        }
    }
}

fn read(id: &str) -> Result<ExceptionId, ExitError> {
    ExceptionId::parse(id)
        .map_err(|error| ExitError::new(Code::Usage, format!("{id:?} is not an exception id: {error}")))
}

fn unknown(id: &ExceptionId) -> ExitError {
    ExitError::new(Code::NotFound, format!("no exception has the id {id}"))
}

impl From<ShapeError> for ExitError {
    fn from(error: ShapeError) -> Self {
        Self::failed(error.to_string())
    }
}
