//! `reprieve events`: puts events on the broker, as an upstream system would.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Subcommand;
use serde::Serialize;

mod documents;
pub(super) mod line;

use super::output::Output;
use super::{Code, ExitError, input, parts};
use crate::broker::rabbitmq::client::{Inbound, publish_all};
use crate::config::Config;
use documents::{Document, Documents, Shape};

/// How an envelope says that it is one.
const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish envelopes: JSON lines, documents one after the other, or one array
    Publish {
        /// A file, or - for standard input
        file: PathBuf,
        /// Publish also what is no event envelope at all, to see what the worker makes of it
        #[arg(long)]
        raw: bool,
    },
}

#[derive(Debug, Serialize)]
struct Published {
    published: usize,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::Publish { file, raw } = command;
    let input::Input { name, reader } = input::open(&file)?;
    let fault = Arc::new(Mutex::new(None));
    let accepted = if raw { Accepted::Anything } else { Accepted::Envelopes };
    let documents = Documents::new(&name, reader);
    let mut good = Good { name, accepted, documents, count: 0, fault: Arc::clone(&fault) };
    let take_fault = || fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(first) = good.next() else {
        // Said before the broker is asked: nothing has been published.
        return Err(take_fault().map_or_else(|| input::empty(&good.name), |fault| ExitError::new(Code::Usage, fault)));
    };
    let settings = parts::rabbit(config)?;
    let inbound = std::iter::once(first).chain(good).map(|Document { routing_key, body, .. }| Inbound {
        routing_key,
        content_type: CONTENT_TYPE.to_owned(),
        body: body.into_bytes(),
    });
    let published = publish_all(&settings, inbound).await?;
    let noun = if published == 1 { "event" } else { "events" };
    output.object(&Published { published }, |_, _| format!("{published} {noun} published and confirmed"))?;
    match take_fault() {
        None => Ok(()),
        Some(error) => {
            let what_next = "what comes after it was not published; publishing what comes before it again does no harm";
            Err(ExitError::failed(format!("{error}; {what_next}")))
        }
    }
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
                let what = "is no event: expected an object with specversion and type; --raw publishes it all the same";
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
}
