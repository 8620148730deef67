//! Marks of one failure or of many. Those that are named are marked at once; those that a filter finds are counted first, and
//! the number is confirmed.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _, stderr, stdin};

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::{Filters, page};
use crate::cli::output::Output;
use crate::cli::{Code, ExitError};
use crate::shapes;
use crate::store::desk::{Desk, FailureState, Filter, Limit, Mark, MarkEffect};

/// Ids that a message names before it only counts.
const NAMED_MAX: usize = 5;

/// Ids in one transaction.
const CHUNK: usize = 1_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// Their ids
    #[arg(conflicts_with_all = ["all", "state", "reason", "event_type", "fingerprint", "exception", "since", "until"])]
    ids: Vec<Uuid>,
    /// Every open failure
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// Do not ask before many are changed
    #[arg(long)]
    yes: bool,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of it.
#[derive(Debug, Default, Serialize)]
struct Marked {
    dry_run: bool,
    changed: u64,
    already: u64,
    refused: Vec<Uuid>,
    unknown: Vec<Uuid>,
}

pub(super) async fn run(desk: &dyn Desk, mark: Mark, which: Which, output: &Output) -> Result<(), ExitError> {
    if which.ids.is_empty() {
        return by_filter(desk, mark, which, output).await;
    }
    let mut marked = Marked { dry_run: which.dry_run, ..Marked::default() };
    let ids: Vec<Uuid> = which.ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    for chunk in ids.chunks(CHUNK) {
        let found = if which.dry_run { desk.states(chunk).await } else { desk.mark(mark, chunk).await };
        marked.take(mark, chunk, &found.map_err(|error| partly(marked.changed, error.into()))?);
    }
    output.object(&marked, |marked, _| marked.text(mark))?;
    marked.end(mark)
}

async fn by_filter(desk: &dyn Desk, mark: Mark, which: Which, output: &Output) -> Result<(), ExitError> {
    let usage = |message: &str| Err(ExitError::new(Code::Usage, message));
    if !which.all && which.filters.given().next().is_none() {
        return usage("say which: ids, filters such as --reason, or --all");
    }
    let mut filter = narrowed(which.filters.read()?, mark)?;
    let asks = stdin().is_terminal() && stderr().is_terminal();
    if !which.dry_run && !which.yes && !asks {
        return usage(
            "many failures are changed at once only with --yes, where nobody can be asked; --dry-run shows which",
        );
    }
    let tally = desk.count(&filter).await?;
    // What comes in while it runs was not counted, and is not changed.
    filter.until = Some(filter.until.map_or(tally.as_of, |until| until.min(tally.as_of)));
    let mut marked = Marked { dry_run: which.dry_run, ..Marked::default() };
    if which.dry_run {
        marked.changed = tally.count;
        let groups = desk.groups(&filter, Limit::DEFAULT).await?;
        let shapes: Vec<_> = groups.iter().map(shapes::group).collect();
        return output
            .object(&marked, |marked, paint| format!("{}\n{}", marked.text(mark), page::groups(&shapes, paint)));
    }
    if tally.count > 0 && !which.yes && !confirmed(mark, tally.count)? {
        return Err(ExitError::failed("nothing was changed"));
    }
    let mut after = None;
    loop {
        let step = desk.mark_next(mark, &filter, after, Limit::STEP).await;
        let step = step.map_err(|error| partly(marked.changed, error.into()))?;
        marked.changed += step.changed;
        progress(marked.changed, tally.count, step.next.is_some());
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    output.object(&marked, |marked, _| marked.text(mark))
}

/// Only the states the mark is for: whoever means all of them means those.
fn narrowed(mut filter: Filter, mark: Mark) -> Result<Filter, ExitError> {
    let takes = mark.takes();
    if let Some(state) = filter.states.iter().find(|state| !takes.contains(state)) {
        let words: Vec<_> = takes.iter().map(|state| state.word()).collect();
        let done = match mark {
            Mark::Retry => "retried",
            Mark::Discard => "discarded",
        };
        let message = format!("--state {state}: only what is {} can be {done}", words.join(" or "));
        return Err(ExitError::new(Code::Usage, message));
    }
    if filter.states.is_empty() {
        filter.states = takes.to_vec();
    }
    Ok(filter)
}

/// An error after a part was done is another kind of end than one before anything was.
fn partly(changed: u64, error: ExitError) -> ExitError {
    if changed == 0 {
        return error;
    }
    let message = format!("{}; {changed} were changed before: run it again for the rest", error.message);
    ExitError::failed(message)
}

fn confirmed(mark: Mark, count: u64) -> Result<bool, ExitError> {
    let verb = if mark == Mark::Retry { "retry" } else { "discard" };
    let asked = write!(stderr().lock(), "{verb} {}? [y/N] ", failures(count)).and_then(|()| stderr().flush());
    let mut answer = String::new();
    asked.and_then(|()| stdin().read_line(&mut answer)).map_err(|error| ExitError::failed(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// One line that is written over, for whoever waits at a terminal.
fn progress(done: u64, count: u64, goes_on: bool) {
    if stderr().is_terminal() && (goes_on || done > Limit::STEP.get().unsigned_abs()) {
        let end = if goes_on { "" } else { "\n" };
        // Nobody is left to be told that stderr is gone.
        write!(stderr().lock(), "\r{done} of {count}{end}").ok();
    }
}

fn failures(count: u64) -> String {
    if count == 1 { "1 failure".to_owned() } else { format!("{count} failures") }
}

impl Marked {
    /// Adds what was found of some of the ids.
    fn take(&mut self, mark: Mark, ids: &[Uuid], found: &[(Uuid, FailureState)]) {
        for (id, state) in found {
            match mark.effect(*state) {
                MarkEffect::Changed => self.changed += 1,
                MarkEffect::Already => self.already += 1,
                MarkEffect::Forbidden => self.refused.push(*id),
            }
        }
        let known: BTreeSet<Uuid> = found.iter().map(|(id, _)| *id).collect();
        self.unknown.extend(ids.iter().filter(|id| !known.contains(id)));
    }

    fn text(&self, mark: Mark) -> String {
        let state = mark.makes();
        let verb = if self.dry_run { "would be marked" } else { "marked" };
        let already = if self.already > 0 { format!("; {} needed no mark", self.already) } else { String::new() };
        format!("{} {verb}: {state}{already}", failures(self.changed))
    }

    fn end(&self, mark: Mark) -> Result<(), ExitError> {
        let mut said = Vec::new();
        if !self.unknown.is_empty() {
            said.push(format!("no failure has the id {}", named(&self.unknown)));
        }
        if !self.refused.is_empty() {
            let state = mark.makes();
            said.push(format!("being retried or resolved, so it cannot be {state}: {}", named(&self.refused)));
        }
        let code = match (self.changed + self.already, self.refused.len(), self.unknown.len()) {
            (_, 0, 0) => return Ok(()),
            (0, 0, _) => Code::NotFound,
            (0, ..) => Code::Refused,
            _ => Code::Failed,
        };
        Err(ExitError::new(code, said.join("; ")))
    }
}

fn named(ids: &[Uuid]) -> String {
    let mut names: Vec<String> = ids.iter().take(NAMED_MAX).map(Uuid::to_string).collect();
    if ids.len() > NAMED_MAX {
        names.push(format!("and {} more", ids.len() - NAMED_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(found: &[(u128, FailureState)], ids: &[u128]) -> Result<(), Code> {
        let mut marked = Marked::default();
        let found: Vec<_> = found.iter().map(|(id, state)| (Uuid::from_u128(*id), *state)).collect();
        let ids: Vec<_> = ids.iter().copied().map(Uuid::from_u128).collect();
        marked.take(Mark::Discard, &ids, &found);
        marked.end(Mark::Discard).map_err(|error| error.code)
    }

    #[test]
    fn the_exit_code_says_what_became_of_the_ids() {
        use FailureState::{Discarded, Open, Resolved, Retrying};
        assert_eq!(ended(&[(1, Open), (2, Discarded)], &[1, 2]), Ok(()));
        assert_eq!(ended(&[], &[1]), Err(Code::NotFound));
        assert_eq!(ended(&[(1, Retrying), (2, Resolved)], &[1, 2]), Err(Code::Refused));
        assert_eq!(ended(&[(1, Retrying)], &[1, 2]), Err(Code::Refused));
        assert_eq!(ended(&[(1, Open)], &[1, 2]), Err(Code::Failed));
        assert_eq!(ended(&[(1, Open), (2, Resolved)], &[1, 2]), Err(Code::Failed));
    }

    #[test]
    fn a_mark_by_filter_keeps_to_the_states_it_is_for() {
        use FailureState::{Discarded, Open, Resolved};
        let of = |states: &[FailureState], mark| {
            let filter = Filter { states: states.to_vec(), ..Filter::default() };
            narrowed(filter, mark).map(|filter| filter.states).map_err(|error| error.code)
        };
        assert_eq!(of(&[], Mark::Retry), Ok(vec![Open, Discarded]));
        assert_eq!(of(&[], Mark::Discard), Ok(vec![Open]));
        assert_eq!(of(&[Open], Mark::Retry), Ok(vec![Open]));
        assert_eq!(of(&[Resolved], Mark::Retry), Err(Code::Usage));
        assert_eq!(of(&[Discarded], Mark::Discard), Err(Code::Usage));
    }

    #[test]
    fn an_error_after_a_part_was_done_says_so() {
        let away = || ExitError::new(Code::Unreachable, "gone");
        assert_eq!(partly(0, away()).code, Code::Unreachable);
        let error = partly(7, away());
        assert!(error.code == Code::Failed && error.message.contains("7 were changed"), "{error}");
    }
}
