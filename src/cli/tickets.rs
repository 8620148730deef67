//! `reprieve tickets`: tickets, as far as exceptions named them. It only reads.

use chrono::Utc;
use clap::Subcommand;

use super::output::{self, Output, Paint};
use super::{Code, ExitError, exceptions, parts};
use crate::config::Config;
use crate::contract::shapes::lookups::TicketShape;
use crate::domain::ids::TicketId;
use crate::shapes;
use crate::store::desk::Limit;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show one ticket with its newest exceptions
    Show {
        /// Its id, as the ticketing system gave it
        id: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::Show { id } = command;
    let id = TicketId::parse(&id)
        .map_err(|error| ExitError::new(Code::Usage, format!("{id:?} is not a ticket id: {error}")))?;
    let found = parts::views(config)?.ticket(&id, Limit::DEFAULT).await?;
    let ticket =
        found.ok_or_else(|| ExitError::new(Code::NotFound, format!("no exception has named the ticket {id}")))?;
    output.object(&shapes::ticket(&ticket), table)?;
    if ticket.exceptions.next.is_some() {
        output::tell(&format!("there are more: reprieve exceptions list --ticket {id}"));
    }
    Ok(())
}

fn table(ticket: &TicketShape<'_>, paint: Paint) -> String {
    let head = format!("{}  runs until {}", paint.bold(ticket.ticket_id), ticket.current_due_date);
    format!("{head}\n\n{}", exceptions::rows(&ticket.exceptions, paint, Utc::now()))
}
