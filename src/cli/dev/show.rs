//! Tells what happens: what is handed in, with its outcome, and what the worker publishes because of it.

use std::time::Duration;

use tokio::time::timeout;

use super::story::{Step, Story};
use super::{ELSEWHERE, Folder};
use crate::broker::{BrokerError, Follow, Handed, Properties, Receipt};
use crate::cli::ExitError;
use crate::cli::events::line;
use crate::cli::output::{self, Paint};
use crate::cli::run::Beside;
use crate::domain::outcome::Outcome;

/// Longest wait for the worker's first answers.
const START_MAX: Duration = Duration::from_secs(30);

/// How fast a person can follow, and a file need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Reading,
    AtOnce,
}

impl Pace {
    pub(super) fn of(is_terminal: impl Into<bool>) -> Self {
        if is_terminal.into() { Pace::Reading } else { Pace::AtOnce }
    }

    /// What a step causes is published before its outcome is known, and read a moment later.
    fn quiet(self) -> Duration {
        match self {
            Pace::Reading => Duration::from_millis(400),
            Pace::AtOnce => Duration::from_millis(100),
        }
    }
}

/// Prints.
pub(super) struct Show {
    pub(super) paint: Paint,
    pub(super) pace: Pace,
}

/// Why the show ends before the worker does.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Print(#[from] ExitError),
    #[error("the worker was not ready within {START_MAX:?}")]
    NotReady,
}

impl Show {
    /// Plays the day's sample, then says what to try, then tells what others cause.
    pub(super) async fn play(&self, beside: &Beside, folder: &Folder) -> Result<(), Ended> {
        self.ready(beside).await?;
        let mut published = beside.tail.follow(None).await?;
        let today = chrono::Utc::now().date_naive();
        let (mut played, steps) = (0_usize, Story::of(today));
        let last = steps.len();
        for (at, step) in steps.into_iter().enumerate() {
            // The last one is a repeat on purpose.
            if self.step(beside, step, published.as_mut(), at + 1 == last && played > 0).await? {
                played += 1;
            }
        }
        let end = if played == 0 {
            "The sample of today was played here before: it came again, and nothing of it had a second effect. Try:"
        } else {
            "That was the sample. The worker goes on; in another shell, try:"
        };
        output::say(&next(end, folder, today, self.paint))?;
        self.tell_all(published.as_mut()).await
    }

    /// Tells what is caused by others.
    pub(super) async fn follow(&self, beside: &Beside) -> Result<(), Ended> {
        self.ready(beside).await?;
        let mut published = beside.tail.follow(None).await?;
        output::say("\nWaiting for events; Ctrl-C ends it.")?;
        self.tell_all(published.as_mut()).await
    }

    async fn ready(&self, beside: &Beside) -> Result<(), Ended> {
        let ready = async {
            while !beside.health.missing().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START_MAX, ready).await.map_err(|_| Ended::NotReady)
    }

    /// One step; whether it was new. What was seen before is only told where that is the point.
    async fn step(
        &self,
        beside: &Beside,
        step: Step,
        published: &mut dyn Follow,
        told_always: bool,
    ) -> Result<bool, Ended> {
        let properties =
            Properties { content_type: Some("application/cloudevents+json".to_owned()), ..Properties::default() };
        let receipt = beside.ingest.hand_in(vec![Handed { properties, body: step.event.into_bytes() }]).await?;
        let outcome = match receipt {
            Receipt::Committed(outcomes) => outcomes.first().copied(),
            Receipt::Queued => None,
        };
        let is_new = outcome != Some(Outcome::Repeated);
        if is_new || told_always {
            let outcome = outcome.map(|outcome| self.outcome(outcome)).unwrap_or_default();
            output::say(&format!("\n{}\n  {outcome}", self.paint.bold(&step.says)))?;
            while let Ok(Some(event)) = timeout(self.pace.quiet(), published.next()).await {
                output::say(&format!("  {}", line::what(&event.body, self.paint)))?;
            }
        }
        Ok(is_new)
    }

    async fn tell_all(&self, published: &mut dyn Follow) -> Result<(), Ended> {
        while let Some(event) = published.next().await {
            output::say(&line::line(&event.body, self.paint))?;
        }
        Ok(())
    }

    fn outcome(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Applied => self.paint.good("applied"),
            Outcome::Repeated => self.paint.dim("repeated: nothing is done twice"),
            Outcome::Refused(code) => self.paint.bad(format!("refused: {code}")),
            Outcome::Failed(reason) => self.paint.bad(format!("failed: {reason}; its bytes are kept")),
            Outcome::Parked => self.paint.warn("parked: it waits for its request"),
        }
    }
}

/// What to try next. The name of the program is the one it was called by.
fn next(end: &str, folder: &Folder, today: chrono::NaiveDate, paint: Paint) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "reprieve".to_owned());
    let [first, fifth] = [1, 5].map(|number| Story::exception_id(today, number));
    let mut lines = vec![format!("\n{}", paint.bold(end))];
    let elsewhere: Vec<&str> = ELSEWHERE.into_iter().filter(|name| std::env::var_os(name).is_some()).collect();
    if !elsewhere.is_empty() {
        // The environment comes before a file.
        lines.push(format!("  unset {}", elsewhere.join(" ")));
    }
    lines.extend([
        // An alias, not a variable: zsh does not split those into words.
        format!("  alias r='\"{program}\" --config \"{}\"'", folder.settings().display()),
        "  r exceptions list".to_owned(),
        format!("  r exceptions show {first}"),
        format!("  r rules explain {fifth}"),
        "  r stats".to_owned(),
        format!("  r events publish \"{}\"", folder.events().display()),
        "  r events tail".to_owned(),
        "  r failures list".to_owned(),
        "Ctrl-C ends it.".to_owned(),
    ]);
    lines.join("\n")
}
