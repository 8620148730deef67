//! The other end of the API, for the command line of the same machine: hands in events and follows what is published. Plain HTTP
//! only, one connection for each request, deadlines and bounds on everything. It is no general client.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker::{BrokerError, Follow, Position, Published, Tail};
use crate::config::Secret;
use crate::domain::ids::is_hidden;

mod probe;
mod sse;

pub use probe::{Condition, Probe};
use sse::Reader;

/// Longest wait for a connection to this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer: the worker gives up after 10 s and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer: a thousand outcomes with the longest names there may be.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A stream that says nothing for so long has broken off: three signs of life are missing.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const PATH: &str = "/api/v1/events";

/// What became of events that were handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedIn {
    /// So many are queued by the broker.
    Queued(usize),
    /// How many came to which outcome.
    Committed(BTreeMap<String, usize>),
}

/// The worker's address, and what to show there.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<Secret>,
}

impl Client {
    /// For a worker of this machine that listens there.
    pub fn new(listen: SocketAddr, token: Option<Secret>) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self { address: SocketAddr::new(ip, listen.port()), token }
    }

    /// Hands in envelopes as one batch: all of them, or none.
    pub async fn publish(&self, envelopes: &[String]) -> Result<HandedIn, BrokerError> {
        let body = format!("[{}]", envelopes.join(","));
        let request = self.request(Method::POST, "application/cloudevents-batch+json", &[], body.into())?;
        let response = self.send(request).await?;
        let (status, body) = whole(response).await?;
        match status {
            StatusCode::OK => {
                let mut counts = BTreeMap::new();
                for told in read::<Vec<Told>>(&body)? {
                    *counts.entry(told.outcome).or_default() += 1;
                }
                Ok(HandedIn::Committed(counts))
            }
            StatusCode::ACCEPTED => Ok(HandedIn::Queued(read::<Accepted>(&body)?.accepted)),
            _ => Err(self.problem(status, &body)),
        }
    }

    fn request(
        &self,
        method: Method,
        content_type: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, BrokerError> {
        // The name the guard knows this machine by; an address of another kind needs the token anyway.
        let is_here = self.address.ip().to_canonical().is_loopback();
        let host = if is_here { format!("localhost:{}", self.address.port()) } else { self.address.to_string() };
        let mut request = Request::builder().method(method).uri(PATH).header(header::HOST, host);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let refused = |_| BrokerError::Refused("the request cannot be sent: http.token can stand in no header".into());
        request.body(Full::new(body)).map_err(refused)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BrokerError> {
        let address = self.address;
        let nobody = |why: &dyn std::fmt::Display| {
            let remedy = "start `reprieve run` or `reprieve dev`, or set REPRIEVE_HTTP_LISTEN to where it listens";
            BrokerError::Away(format!("no worker answers at {address}: {why}; {remedy}"))
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|error| nobody(&error))?,
            Err(_) => return Err(nobody(&"no connection in time")),
        };
        let answered = timeout(ANSWER_TIMEOUT, async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the request and the answer: both are dropped by whoever gives up waiting.
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("the connection to the worker broke: {error}");
                }
            });
            sender.send_request(request).await
        });
        match answered.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unknown(&format!("the worker at {address} broke off: {error}"))),
            Err(_) => Err(unknown(&format!("the worker at {address} says nothing for {ANSWER_TIMEOUT:?}"))),
        }
    }

    /// What an answer means that is none.
    fn problem(&self, status: StatusCode, body: &[u8]) -> BrokerError {
        let address = self.address;
        // It is shown on a terminal, and whoever listens there may be anybody.
        let tamed = |text: String| text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect::<String>();
        let detail = read::<Problem>(body).map(|problem| tamed(problem.detail));
        match (status, detail) {
            (StatusCode::UNAUTHORIZED, _) => {
                let shown = if self.token.is_some() { "another token" } else { "a token" };
                let remedy = "set REPRIEVE_HTTP__TOKEN, or http.token in the file, to the worker's";
                BrokerError::Refused(format!("the worker at {address} wants {shown}: {remedy}"))
            }
            (StatusCode::SERVICE_UNAVAILABLE, Ok(detail)) => BrokerError::Away(format!("the worker says: {detail}")),
            (_, Ok(detail)) => BrokerError::Refused(format!("the worker says no: {detail}")),
            (_, Err(_)) => BrokerError::Refused(format!(
                "what answers at {address} is no worker ({status}): set REPRIEVE_HTTP_LISTEN to where it listens"
            )),
        }
    }
}

#[async_trait]
impl Tail for Client {
    async fn follow(&self, after: Option<Position>) -> Result<Box<dyn Follow>, BrokerError> {
        let last = after.map(|position| ("last-event-id", position.to_string()));
        let request = self.request(Method::GET, "", last.as_slice(), Bytes::new())?;
        let response = self.send(request).await?;
        if response.status() == StatusCode::OK {
            return Ok(Box::new(Stream {
                body: response.into_body(),
                reader: Reader::default(),
                ready: VecDeque::new(),
            }));
        }
        let (status, body) = whole(response).await?;
        Err(self.problem(status, &body))
    }
}

/// What is published, as it comes.
struct Stream {
    body: Incoming,
    reader: Reader,
    ready: VecDeque<Published>,
}

#[async_trait]
impl Follow for Stream {
    async fn next(&mut self) -> Option<Published> {
        loop {
            if let Some(published) = self.ready.pop_front() {
                return Some(published);
            }
            match timeout(SILENCE_MAX, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    if let Err(error) = self.reader.read(&bytes, &mut self.ready) {
                        tracing::warn!("what the worker sends is no stream of events: {error}");
                        return None;
                    }
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!("the stream broke off: {error}");
                    return None;
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

#[derive(Deserialize)]
struct Told {
    outcome: String,
}

#[derive(Deserialize)]
struct Accepted {
    accepted: usize,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// The whole answer.
async fn whole(response: Response<Incoming>) -> Result<(StatusCode, Bytes), BrokerError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    match timeout(ANSWER_TIMEOUT, body).await {
        Ok(Ok(collected)) => Ok((status, collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(unknown("the answer is too long for one of a worker")),
        Ok(Err(_)) | Err(_) => Err(unknown("the answer broke off")),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BrokerError> {
    serde_json::from_slice(body).map_err(|_| unknown("the answer is none of a worker"))
}

/// Of a request without a whole answer nobody knows what it did.
fn unknown(why: &str) -> BrokerError {
    BrokerError::Away(format!("{why}: it is not known what was taken, and sending it again does no harm"))
}

#[cfg(test)]
mod tests;
