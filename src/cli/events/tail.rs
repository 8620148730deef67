//! `reprieve events tail`: what is published, as it happens, until nobody wants to see more of it.

use std::time::Duration;

use clap::Args;

use super::line::line;
use crate::broker::{BrokerError, Follow, Position, Published, Tail};
use crate::cli::output::{Output, Printed, tell};
use crate::cli::{Code, ExitError, parts};
use crate::config::{Broker, Config};
use crate::contract::trust::fits;
use crate::retry::Waits;

/// Longest pause before the next try to go on: a worker that starts again should not be noticed late.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(in crate::cli) struct Options {
    /// Begin after this position instead of now; 0 for everything that is kept. Only with the embedded broker
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<Position>,
    /// Show only types that fit, such as notification.*
    #[arg(long = "type", value_name = "GLOB")]
    pattern: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(super) async fn run(options: Options, config: &Config, output: &Output) -> Result<(), ExitError> {
    if options.after.is_some() && matches!(config.broker()?, Broker::Rabbit(_)) {
        let why = "RabbitMQ keeps nothing of what it has delivered: leave out --after";
        return Err(ExitError::new(Code::Usage, why));
    }
    let tail = parts::tail(config)?;
    let Options { after, pattern, count } = options;
    let mut reading = Reading { tail, after, pattern, left: count };
    let result = tokio::select! {
        biased;
        result = reading.run(|event| output.text(event, line), tell) => result,
        // Where no signal can be heard the signal ends the process by itself.
        Ok(()) = tokio::signal::ctrl_c() => Ok(()),
    };
    if let Some(after) = reading.after {
        tell(&format!("to go on from here: --after {after}"));
    }
    result
}

/// What is read, and how far it is.
struct Reading {
    tail: Box<dyn Tail>,
    /// The position of the last event that was looked at.
    after: Option<Position>,
    pattern: Option<String>,
    /// How many are still to be shown, if they are counted.
    left: Option<u64>,
}

impl Reading {
    /// Shows events until there are enough, or nobody reads them any more. A broker or worker that is not there at the beginning is
    /// an error; one that goes away later is waited for.
    async fn run(
        &mut self,
        mut show: impl FnMut(&str) -> Result<Printed, ExitError>,
        mut say: impl FnMut(&str),
    ) -> Result<(), ExitError> {
        if self.left == Some(0) {
            return Ok(());
        }
        let mut follow = self.tail.follow(self.after).await?;
        loop {
            while let Some(published) = follow.next().await {
                if self.look(&published, &mut show)? == Printed::Enough {
                    return Ok(());
                }
            }
            follow = self.again(&mut say).await?;
        }
    }

    fn look(
        &mut self,
        published: &Published,
        show: &mut impl FnMut(&str) -> Result<Printed, ExitError>,
    ) -> Result<Printed, ExitError> {
        self.after = published.position.or(self.after);
        if !self.pattern.as_deref().is_none_or(|pattern| fits(pattern, &type_of(&published.body))) {
            return Ok(Printed::All);
        }
        let printed = show(&published.body)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) { Printed::Enough } else { printed })
    }

    async fn again(&self, say: &mut impl FnMut(&str)) -> Result<Box<dyn Follow>, ExitError> {
        say(match self.after {
            Some(_) => "the stream has ended: waiting for it to go on where it was",
            None => "the stream has ended: waiting for it to begin again; what is published meanwhile is not shown",
        });
        let mut waits = Waits::new(WAIT_MAX);
        loop {
            // Before the first try too: what ends at once again and again must not be asked without a pause.
            tokio::time::sleep(waits.next_wait()).await;
            match self.tail.follow(self.after).await {
                Ok(follow) => {
                    say("the stream goes on");
                    return Ok(follow);
                }
                Err(BrokerError::Away(why)) => tracing::debug!("{why}"),
                Err(error @ BrokerError::Refused(_)) => return Err(error.into()),
            }
        }
    }
}

fn type_of(envelope: &str) -> String {
    let envelope = serde_json::from_str::<serde_json::Value>(envelope).unwrap_or_default();
    envelope.get("type").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// Connections by turns: each with its events, or an error. It notes from where it was asked to go on.
    struct Turns {
        turns: Mutex<Vec<Result<Vec<i64>, BrokerError>>>,
        asked: std::sync::Arc<Mutex<Vec<Option<Position>>>>,
    }

    struct Turn(std::vec::IntoIter<i64>);

    #[async_trait]
    impl Tail for Turns {
        async fn follow(&self, after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError> {
            self.asked.lock().unwrap().push(after);
            let turn = self.turns.lock().unwrap().remove(0)?;
            Ok(Box::new(Turn(turn.into_iter())))
        }
    }

    #[async_trait]
    impl Follow for Turn {
        async fn next(&mut self) -> Option<Published> {
            let position = self.0.next()?;
            let kind = if position % 2 == 0 { "even.v1" } else { "odd.v1" };
            Some(Published { position: Some(position), body: format!(r#"{{"type":"{kind}","n":{position}}}"#) })
        }
    }

    async fn read(
        turns: Vec<Result<Vec<i64>, BrokerError>>,
        pattern: Option<&str>,
        left: Option<u64>,
    ) -> (Result<(), ExitError>, Vec<String>, Vec<Option<Position>>, Vec<String>) {
        let asked = std::sync::Arc::default();
        let tail = Box::new(Turns { turns: Mutex::new(turns), asked: std::sync::Arc::clone(&asked) });
        let mut reading = Reading { tail, after: None, pattern: pattern.map(str::to_owned), left };
        let (mut shown, mut said) = (Vec::new(), Vec::new());
        let show = |event: &str| {
            shown.push(event.to_owned());
            // After three nobody reads any more.
            Ok(if shown.len() == 3 { Printed::Enough } else { Printed::All })
        };
        let result = reading.run(show, |text| said.push(text.to_owned())).await;
        let asked = asked.lock().unwrap().clone();
        (result, shown, asked, said)
    }

    fn away() -> Result<Vec<i64>, BrokerError> {
        Err(BrokerError::Away("away".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_cut_off_goes_on_where_it_was() {
        let (result, shown, asked, said) = read(vec![Ok(vec![4, 7]), away(), away(), Ok(vec![9])], None, None).await;
        result.unwrap();
        assert_eq!(shown.len(), 3);
        assert_eq!(asked, [None, Some(7), Some(7), Some(7)]);
        assert_eq!(said.len(), 2, "once when it went, once when it came: {said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_there_are_enough_and_passes_over_what_does_not_fit() {
        let (result, shown, asked, _) = read(vec![Ok(vec![1, 2, 3]), Ok(vec![4, 5, 6])], Some("even.*"), Some(2)).await;
        result.unwrap();
        assert_eq!(shown, [r#"{"type":"even.v1","n":2}"#, r#"{"type":"even.v1","n":4}"#]);
        assert_eq!(asked, [None, Some(3)], "what does not fit is passed over for good");
        assert!(read(Vec::new(), None, Some(0)).await.0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn away_at_the_beginning_and_a_no_at_any_time_are_errors() {
        assert_eq!(read(vec![away()], None, None).await.0.unwrap_err().code, Code::Unreachable);
        let no = Err(BrokerError::Refused("no".into()));
        assert_eq!(read(vec![Ok(vec![1]), no], None, None).await.0.unwrap_err().code, Code::Refused);
    }
}
