//! `reprieve events`: puts events on the broker, as an upstream system would.

use std::fs::File;
use std::io::{BufReader, stdin};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Subcommand;
use serde::Serialize;

mod documents;

use super::output::Output;
use super::{Code, ExitError, parts};
use crate::broker::rabbitmq::client::{Inbound, publish_all};
use crate::config::Config;
use documents::{Document, Documents, SyntaxError};

/// How an envelope says that it is one.
const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish envelopes: JSON lines, documents one after the other, or one array
    Publish {
        /// A file, or - for standard input
        file: PathBuf,
    },
}

#[derive(Debug, Serialize)]
struct Published {
    published: usize,
}

pub(super) async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    let Command::Publish { file } = command;
    let documents = open(&file)?;
    let fault = Arc::new(Mutex::new(None));
    let good = Good { documents, fault: Arc::clone(&fault) };
    let settings = parts::rabbit(config)?;
    let inbound = good.map(|Document { routing_key, body }| Inbound {
        routing_key,
        content_type: CONTENT_TYPE.to_owned(),
        body: body.into_bytes(),
    });
    let published = publish_all(&settings, inbound).await?;
    let noun = if published == 1 { "event" } else { "events" };
    output.object(&Published { published }, |_, _| format!("{published} {noun} published and confirmed"))?;
    match fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
        None => Ok(()),
        Some(error) => {
            let what_next = "what comes after it was not published; publishing what comes before it again does no harm";
            Err(ExitError::failed(format!("{error}; {what_next}")))
        }
    }
}

fn open(file: &PathBuf) -> Result<Documents, ExitError> {
    if file.as_os_str() == "-" {
        return Ok(Documents::new("-", Box::new(BufReader::new(stdin()))));
    }
    let name = file.display().to_string();
    match File::open(file) {
        Ok(opened) => Ok(Documents::new(&name, Box::new(BufReader::new(opened)))),
        Err(error) => {
            Err(ExitError::new(Code::Usage, format!("cannot read {name}: {error}; name a readable file, or -")))
        }
    }
}

/// The documents up to the first fault, which is kept for the end.
struct Good {
    documents: Documents,
    fault: Arc<Mutex<Option<SyntaxError>>>,
}

impl Iterator for Good {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        match self.documents.next()? {
            Ok(document) => Some(document),
            Err(error) => {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}
