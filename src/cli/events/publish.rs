//! `reprieve events publish`: to `RabbitMQ` itself, or with the embedded broker through the running worker.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde::Serialize;

use super::documents::{Document, Documents, Shape};
use crate::broker::BrokerError;
use crate::broker::rabbitmq::client::{Inbound, publish_all};
use crate::cli::output::{Output, tame, tell};
use crate::cli::{Code, ExitError, input, parts};
use crate::config::{Broker, Config};
use crate::contract::inbound::BODY_BYTES_MAX;
use crate::http::client::{Client, HandedIn};
use crate::http::{BATCHED_BYTES_MAX, BATCHED_EVENTS_MAX};

/// How an envelope says that it is one.
const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Debug, Args)]
pub(in crate::cli) struct Publish {
    /// A file, or - for standard input
    file: PathBuf,
    /// Publish also what is no event envelope at all, to see what the worker makes of it
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Default, Serialize)]
struct Published {
    published: usize,
    /// What became of them, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<BTreeMap<String, usize>>,
}

pub(super) async fn run(command: &Publish, config: &Config, output: &Output) -> Result<(), ExitError> {
    let input::Input { name, reader } = input::open(&command.file)?;
    let fault = Arc::new(Mutex::new(None));
    let accepted = if command.raw { Accepted::Anything } else { Accepted::Envelopes };
    let documents = Documents::new(&name, reader);
    let mut good = Good { name: name.clone(), accepted, documents, count: 0, fault: Arc::clone(&fault) };
    let take_fault = || fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(first) = good.next() else {
        // Said before the broker is asked: nothing has been published.
        return Err(take_fault().map_or_else(|| input::empty(&name), |fault| ExitError::new(Code::Usage, fault)));
    };
    let documents = std::iter::once(first).chain(good);
    let (published, ended) = match config.broker()? {
        Broker::Rabbit(_) => {
            let settings = parts::rabbit(config)?;
            let inbound = documents.map(|Document { routing_key, body, .. }| Inbound {
                routing_key,
                content_type: CONTENT_TYPE.to_owned(),
                body: body.into_bytes(),
            });
            (Published { published: publish_all(&settings, inbound).await?, outcomes: None }, Ok(()))
        }
        Broker::Embedded if command.raw => {
            let why = "over HTTP, which is the way to the embedded broker, nothing comes in that is no event: leave out --raw";
            return Err(ExitError::new(Code::Usage, why));
        }
        Broker::Embedded => {
            let client = parts::worker(config)?;
            let mut published = Published::default();
            let ended = hand_in(&client, documents.map(|document| document.body), &name, &mut published).await;
            (published, ended)
        }
    };
    if published.published > 0 || ended.is_ok() {
        output.object(&published, |published, _| summary(published))?;
    }
    for word in what_to_do(&published) {
        tell(&word);
    }
    ended?;
    match take_fault() {
        None => Ok(()),
        Some(error) => {
            let what_next = "what comes after it was not published; publishing what comes before it again does no harm";
            Err(ExitError::failed(format!("{error}; {what_next}")))
        }
    }
}

/// Hands in all, batch by batch, and counts what was taken: also up to an error.
async fn hand_in(
    client: &Client,
    envelopes: impl Iterator<Item = String>,
    name: &str,
    published: &mut Published,
) -> Result<(), ExitError> {
    let progress = Progress::new();
    for batch in (Batches { envelopes: envelopes.peekable() }) {
        let place = published.published + 1;
        let told = |error: BrokerError| {
            let error = ExitError::from(error);
            let (of, last, why) = (tame(name), place + batch.len() - 1, &error.message);
            let taken =
                if error.code == Code::Refused { "none is taken" } else { "it is not known whether they were taken" };
            let message = format!("documents {place} to {last} of {of}: {taken}: {why}");
            ExitError { message, ..error }
        };
        if let Some(index) = batch.iter().position(|envelope| envelope.len() > BODY_BYTES_MAX) {
            let why =
                format!("document {} has more than {BODY_BYTES_MAX} bytes, which no event may have", place + index);
            return Err(told(BrokerError::Refused(why)));
        }
        match client.publish(&batch).await.map_err(told)? {
            HandedIn::Queued(count) => published.published += count,
            HandedIn::Committed(counts) => {
                published.published += batch.len();
                let outcomes = published.outcomes.get_or_insert_default();
                for (outcome, count) in counts {
                    *outcomes.entry(outcome).or_default() += count;
                }
            }
        }
        progress.show(published.published);
    }
    Ok(())
}

/// Envelopes in batches that the worker takes.
struct Batches<I: Iterator<Item = String>> {
    envelopes: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = String>> Iterator for Batches<I> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        let first = self.envelopes.next()?;
        // The two brackets, and a comma for each but the first.
        let mut bytes = 2 + first.len();
        let mut batch = vec![first];
        while batch.len() < BATCHED_EVENTS_MAX
            && let Some(next) = self.envelopes.next_if(|next| bytes + 1 + next.len() <= BATCHED_BYTES_MAX)
        {
            bytes += 1 + next.len();
            batch.push(next);
        }
        Some(batch)
    }
}

/// How far it is, for whoever waits at a terminal.
struct Progress {
    is_seen: bool,
}

impl Progress {
    fn new() -> Self {
        Self { is_seen: stderr().is_terminal() }
    }

    fn show(&self, count: usize) {
        self.say(&format!("\r{count} published"));
    }

    fn say(&self, text: &str) {
        if self.is_seen {
            let mut stderr = stderr().lock();
            // Nobody is left to be told that stderr is gone.
            write!(stderr, "{text}").and_then(|()| stderr.flush()).ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("\r\x1b[K");
    }
}

fn summary(published: &Published) -> String {
    let count = published.published;
    let noun = if count == 1 { "event" } else { "events" };
    match &published.outcomes {
        None => format!("{count} {noun} published and confirmed"),
        Some(outcomes) => {
            let counts = outcomes.iter().map(|(outcome, count)| format!("{count} {}", tame(outcome)));
            format!("{count} {noun} published: {}", counts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What was taken and did not do what its sender wanted, with the next step.
fn what_to_do(published: &Published) -> Vec<String> {
    let steps = [
        (
            "refused",
            "`reprieve events tail --after 0 --type 'event.rejected.*'` says why; send a corrected one under a new id",
        ),
        ("failed", "`reprieve failures list` says why; correct what publishes them"),
        ("parked", "came before the submission of their exception; `reprieve parked list` shows which still wait"),
    ];
    let counted = |outcome: &str| published.outcomes.as_ref().and_then(|outcomes| outcomes.get(outcome)).copied();
    steps.iter().filter_map(|(outcome, step)| Some(format!("{} {outcome}: {step}", counted(outcome)?))).collect()
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// What looks like an event. Whether it is a good one is the worker's to judge.
    Envelopes,
    /// Any JSON.
    Anything,
}

/// The documents up to the first fault, which is kept for the end.
struct Good {
    name: String,
    accepted: Accepted,
    documents: Documents,
    count: usize,
    fault: Arc<Mutex<Option<String>>>,
}

impl Iterator for Good {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        self.count += 1;
        let fault = match self.documents.next()? {
            Ok(document) if self.accepted == Accepted::Anything || document.shape == Shape::Envelope => {
                return Some(document);
            }
            Ok(_) => {
                let what = "is no event: expected an object with specversion and type; --raw publishes it to RabbitMQ all the same";
                format!("document {} of {} {what}", self.count, self.name)
            }
            Err(error) => error.to_string(),
        };
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accepted: Accepted, text: &str, count: usize, says: Option<&str>) {
        let documents = Documents::new("in.json", Box::new(std::io::Cursor::new(text.to_owned())));
        let fault = Arc::new(Mutex::new(None));
        let good = Good { name: "in.json".into(), accepted, documents, count: 0, fault: Arc::clone(&fault) };
        assert_eq!(good.count(), count, "{text}");
        let fault = fault.lock().unwrap().take();
        assert!(fault.as_deref().map(|it| it.split(':').next().unwrap()) == says, "{text}: {fault:?}");
    }

    #[test]
    fn what_is_no_event_is_published_only_when_that_is_asked_for() {
        let event = r#"{"specversion":7,"type":null}"#;
        check(Accepted::Envelopes, event, 1, None);
        check(Accepted::Envelopes, &format!("[{event},{{}},{event}]"), 1, Some("document 2 of in.json is no event"));
        check(Accepted::Anything, &format!("[{event},{{}},{event}] "), 3, None);
        check(Accepted::Envelopes, "42", 0, Some("document 1 of in.json is no event"));
        check(Accepted::Anything, &format!("{event} {{"), 1, Some("in.json"));
    }

    #[test]
    fn batches_are_as_large_as_the_worker_takes_them_and_no_larger() {
        let sizes = |envelopes: Vec<String>| {
            let batches = Batches { envelopes: envelopes.into_iter().peekable() };
            batches.map(|batch| (batch.len(), format!("[{}]", batch.join(",")).len())).collect::<Vec<_>>()
        };
        assert_eq!(sizes(Vec::new()), []);
        let counts = sizes(vec!["{}".to_owned(); 2_001]).into_iter().map(|(count, _)| count).collect::<Vec<_>>();
        assert_eq!(counts, [1_000, 1_000, 1]);
        let large = sizes(vec!["x".repeat(BODY_BYTES_MAX); 40]);
        assert_eq!(large.iter().map(|(count, _)| count).sum::<usize>(), 40);
        assert!(large.iter().all(|(_, bytes)| *bytes <= BATCHED_BYTES_MAX), "{large:?}");
        let exact = "x".repeat((BATCHED_BYTES_MAX - 3) / 2);
        assert_eq!(sizes(vec![exact.clone(), exact.clone(), exact])[0].0, 2);
    }

    #[test]
    fn the_summary_counts_by_outcome_and_the_next_step_is_told() {
        let mut published = Published { published: 1, outcomes: None };
        assert_eq!(summary(&published), "1 event published and confirmed");
        assert!(what_to_do(&published).is_empty());
        assert_eq!(serde_json::to_string(&published).unwrap(), r#"{"published":1}"#);
        published = Published { published: 4, outcomes: Some([("applied".into(), 3), ("failed".into(), 1)].into()) };
        assert_eq!(summary(&published), "4 events published: 3 applied, 1 failed");
        assert!(what_to_do(&published)[0].starts_with("1 failed: `reprieve failures list`"));
        assert_eq!(
            serde_json::to_string(&published).unwrap(),
            r#"{"published":4,"outcomes":{"applied":3,"failed":1}}"#
        );
    }
}
