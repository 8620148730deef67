//! `reprieve parked`: events that came before the submission they need. It only reads.

use clap::Subcommand;

use super::output::{self, Output, Paint, tame, time};
use super::{Code, ExitError, parts};
use crate::config::Config;
use crate::contract::shapes::desk::ParkedShape;
use crate::domain::ids::ExceptionId;
use crate::shapes;
use crate::store::ParkedId;
use crate::store::desk::Limit;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List them in the order of arrival
    List {
        /// Only those that wait for this exception
        #[arg(long, value_name = "ID")]
        exception: Option<String>,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<ParkedId>,
        /// At most so many
        #[arg(long, default_value = "50")]
        limit: Limit,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::List { exception, cursor, limit } = command;
    let parse = |id: &String| {
        ExceptionId::parse(id).map_err(|error| ExitError::new(Code::Usage, format!("--exception {id:?}: {error}")))
    };
    let exception = exception.as_ref().map(parse).transpose()?;
    let page = parts::desk(config)?.parked(exception.as_ref(), cursor, limit).await?;
    let items: Vec<_> = page.items.iter().map(shapes::parked).collect();
    output.page(&items, page.next.map(|cursor| cursor.to_string()).as_deref(), table)
}

fn table(events: &[ParkedShape<'_>], paint: Paint) -> String {
    if events.is_empty() {
        return "nothing is parked".to_owned();
    }
    let row = |event: &ParkedShape<'_>| {
        [
            event.exception_id.to_owned(),
            time(event.parked_at),
            time(event.expires_at),
            tame(event.event_type.unwrap_or("-")).into_owned(),
            tame(event.event_source).into_owned(),
            tame(event.event_id).into_owned(),
        ]
    };
    output::table(["EXCEPTION", "PARKED", "EXPIRES", "TYPE", "SOURCE", "ID"], events.iter().map(row), paint)
}
