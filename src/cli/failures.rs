//! `reprieve failures`: what could not be processed is found, understood and mended. Retry and edit only mark: the running
//! worker takes what is marked. What a failure looks like is in `page` and `body`, changes of many in `marks`.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use uuid::Uuid;

mod body;
mod marks;
mod page;

use super::output::{self, Output};
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::contract::inbound::BODY_BYTES_MAX;
use crate::shapes;
use crate::store::desk::{Cursor, Desk, Edit, Edited, Filter, Limit, Mark, StoredFailure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List failures, the newest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<Cursor>,
        /// At most so many
        #[arg(long, default_value = "50")]
        limit: Limit,
    },
    /// Count failures by their kind, the most frequent first
    Groups {
        #[command(flatten)]
        filters: Filters,
        /// At most so many
        #[arg(long, default_value = "50")]
        limit: Limit,
    },
    /// Show one failure: what is wrong, its bytes, and what to do
    Show {
        /// Its id
        id: Uuid,
        /// Print the body's bytes and nothing else
        #[arg(long)]
        raw: bool,
    },
    /// Have the worker try failures again
    Retry(marks::Which),
    /// Put failures aside that nobody needs
    Discard(marks::Which),
    /// Put other bytes in the place of a failure's and have the worker try them
    Edit {
        /// Its id
        id: Uuid,
        /// The new body: a file, or - for standard input
        #[arg(long, value_name = "FILE")]
        body: PathBuf,
        /// The new body's MIME type, if it is another
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
    },
}

/// Which failures are meant.
#[derive(Debug, Default, Args)]
pub(super) struct Filters {
    /// open, retrying, resolved, discarded or all [default: open]
    #[arg(long)]
    state: Option<String>,
    /// The reason, as `schema`
    #[arg(long)]
    reason: Option<String>,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// One kind of failure, as `failures groups` shows it
    #[arg(long)]
    fingerprint: Option<String>,
    /// The exception the event names
    #[arg(long, value_name = "ID")]
    exception: Option<String>,
    /// Received then or later: a time, or an age as in 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Received before: a time, or an age as in 2h
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filters {
    /// By the names of the API.
    fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values =
            [&self.state, &self.reason, &self.event_type, &self.fingerprint, &self.exception, &self.since, &self.until];
        Filter::NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn read(&self) -> Result<Filter, ExitError> {
        let (mut filter, now) = (Filter::open(), chrono::Utc::now());
        for (name, value) in self.given() {
            filter.set(name, value, now).map_err(|error| ExitError::new(Code::Usage, format!("--{name} {error}")))?;
        }
        Ok(filter)
    }
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let desk = parts::desk(config)?;
    match command {
        Command::List { filters, cursor, limit } => {
            let page = desk.failures(&filters.read()?, cursor, limit).await?;
            let items: Vec<_> = page.items.iter().map(shapes::failure).collect();
            output.page(&items, page.next.map(|cursor| cursor.to_string()).as_deref(), page::list)
        }
        Command::Groups { filters, limit } => {
            let groups = desk.groups(&filters.read()?, limit).await?;
            output.list(&groups.iter().map(shapes::group).collect::<Vec<_>>(), page::groups)
        }
        Command::Show { id, raw } => {
            if raw {
                return output::raw(&desk.body(id).await?.ok_or_else(|| unknown(id))?);
            }
            let failure = find(desk.as_ref(), id).await?;
            output.object(&shapes::failure(&failure), |_, paint| page::one(&failure, paint))
        }
        Command::Retry(which) => marks::run(desk.as_ref(), Mark::Retry, which, output).await,
        Command::Discard(which) => marks::run(desk.as_ref(), Mark::Discard, which, output).await,
        Command::Edit { id, body, content_type } => {
            edit(desk.as_ref(), id, &Edit { body: read(&body)?, content_type }, output).await
        }
    }
}

async fn find(desk: &dyn Desk, id: Uuid) -> Result<StoredFailure, ExitError> {
    desk.failure(id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: Uuid) -> ExitError {
    ExitError::new(Code::NotFound, format!("no failure has the id {id}"))
}

async fn edit(desk: &dyn Desk, old: Uuid, edit: &Edit, output: &Output) -> Result<(), ExitError> {
    let refused = |message: String| Err(ExitError::new(Code::Refused, message));
    let (new, said) = match desk.edit(old, edit).await? {
        Edited::Made(new, fault) => {
            if let Some(fault) = fault {
                output::tell(&format!("with these bytes it would fail again: {}", output::tame(&fault)));
            }
            (new, format!("failure {new} has the new bytes and is marked: retrying; {old} is discarded"))
        }
        Edited::Already(new) => (new, format!("this edit was made before, as failure {new}: nothing changed")),
        Edited::Unknown => return Err(unknown(old)),
        Edited::Forbidden(state) => {
            return refused(format!("failure {old} is {state}: only what is open or discarded can be edited"));
        }
        Edited::NotTheBytes => {
            let what = format!("failure {old} was turned away for who sent it, and an edit does not change that");
            return refused(format!("{what}: let the user publish this type in [trust], then retry it"));
        }
        Edited::ChangesNothing(same) if same == old => {
            return refused(format!("the edit changes nothing: use `reprieve failures retry {old}`"));
        }
        Edited::ChangesNothing(same) => {
            let what = format!("failure {same} has this event id and content already, so the edit changes nothing");
            return refused(format!("{what}: use `reprieve failures retry {same}`"));
        }
    };
    let failure = find(desk, new).await?;
    output.object(&shapes::failure(&failure), |_, _| said)
}

/// The bytes of an edit: never more than are processed, so that none is stored that cannot be.
fn read(file: &Path) -> Result<Vec<u8>, ExitError> {
    let name = file.display();
    let unreadable = |error| ExitError::new(Code::Usage, format!("cannot read {name}: {error}"));
    let source: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(stdin()) } else { Box::new(File::open(file).map_err(unreadable)?) };
    let mut body = Vec::new();
    source.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut body).map_err(unreadable)?;
    if body.len() > BODY_BYTES_MAX {
        let message = format!("{name} has more than {BODY_BYTES_MAX} bytes, the most that are processed");
        return Err(ExitError::new(Code::Refused, message));
    }
    Ok(body)
}
