//! `reprieve stats`: how things stand, once or for as long as somebody looks. It only reads.

use std::time::Duration;

use chrono::Utc;
use clap::Args;

use super::output::{Output, Paint, Printed, columns, tell, time};
use super::{ExitError, parts};
use crate::config::Config;
use crate::contract::shapes::lookups::StatsShape;
use crate::shapes;
use crate::store::ViewError;

/// Between two looks: people see it as live, and the database hardly sees it.
const EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Look again every 2 s until interrupted; where no terminal is, a line each time
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let views = parts::views(config)?;
    if !command.watch {
        let stats = views.stats(Utc::now().date_naive()).await?;
        return output.object(&shapes::stats(&stats), block);
    }
    let render = if output.is_live_table() { block } else { line };
    let mut ticks = tokio::time::interval(EVERY);
    let (mut lines, mut told) = (0, String::new());
    loop {
        ticks.tick().await;
        let stats = match views.stats(Utc::now().date_naive()).await {
            Ok(stats) => shapes::stats(&stats),
            // One watches during an outage above all: each cause is told once.
            Err(ViewError::Away(cause)) => {
                let why = cause.to_string();
                if told != why {
                    tell(&format!("{why}; looking again every {} s", EVERY.as_secs()));
                    (lines, told) = (0, why);
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if output.again(&stats, lines, render)? == Printed::Enough {
            return Ok(());
        }
        lines = block(&stats, Paint::Plain).lines().count();
        told.clear();
    }
}

fn block(stats: &StatsShape, paint: Paint) -> String {
    let worry = |count: u64| if count > 0 { paint.bad(count) } else { "0".to_owned() };
    let days = |days: u64| format!("oldest {days} d");
    let row = |name: &str, value: String, more: String| vec![name.to_owned(), value, more];
    let unassigned = match stats.unassigned {
        0 => String::new(),
        count => format!("{} unassigned", paint.bad(count)),
    };
    let oldest = stats.oldest_open_days.map(days).into_iter();
    let open = oldest.chain(Some(unassigned).filter(|text| !text.is_empty())).collect::<Vec<_>>().join(", ");
    let unroutable = match stats.outbox.unroutable {
        0 => String::new(),
        count => format!("{} unroutable", paint.bad(count)),
    };
    columns(&[
        row("open", stats.open.to_string(), open),
        row("decided in 30 d", stats.decided_30d.to_string(), decided(stats)),
        row("in force", stats.in_force.to_string(), expiring(stats.expiring_30d)),
        row("parked", stats.parked.to_string(), String::new()),
        row("failures open", worry(stats.failures_open), String::new()),
        row("outbox", stats.outbox.pending.to_string(), unroutable),
    ])
}

fn expiring(count: u64) -> String {
    format!("{count} {} within 30 d", if count == 1 { "expires" } else { "expire" })
}

fn decided(stats: &StatsShape) -> String {
    let rate = stats.approval_rate.map(|rate| format!("{:.0} % approved", rate * 100.0));
    let within =
        |days: f64| if days > 0.0 { format!("half within {days} d") } else { "half within an hour".to_owned() };
    let median = stats.median_days_to_decision.map(within);
    rate.into_iter().chain(median).collect::<Vec<_>>().join(", ")
}

/// One that follows others, with its time.
fn line(stats: &StatsShape, _: Paint) -> String {
    let now = time(Utc::now());
    let oldest = stats.oldest_open_days.map_or("-".to_owned(), |days| days.to_string());
    let StatsShape { open, unassigned, decided_30d, in_force, expiring_30d, parked, failures_open, outbox, .. } = stats;
    format!(
        "{now} open={open} unassigned={unassigned} oldest_open_days={oldest} decided_30d={decided_30d} in_force={in_force} \
         expiring_30d={expiring_30d} parked={parked} failures_open={failures_open} outbox={}",
        outbox.pending
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lookups::Stats;

    #[test]
    fn figures_are_read_at_a_glance() {
        let stats = Stats {
            open: 5,
            unassigned: 1,
            oldest_open_days: Some(9),
            decided_30d: 8,
            approved_30d: 6,
            median_hours_to_decision: Some(6),
            in_force: 7,
            expiring_30d: 2,
            ..Stats::default()
        };
        let text = block(&shapes::stats(&stats), Paint::Plain);
        let expected = "\
open             5  oldest 9 d, 1 unassigned
decided in 30 d  8  75 % approved, half within 0.25 d
in force         7  2 expire within 30 d
parked           0
failures open    0
outbox           0";
        assert_eq!(text, expected);
        assert_eq!(expiring(1), "1 expires within 30 d");
        assert!(
            line(&shapes::stats(&Stats::default()), Paint::Plain).contains(" open=0 unassigned=0 oldest_open_days=- ")
        );
    }
}
