//! Asks the worker how it is, as an orchestrator does.

use hyper::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::{BrokerError, Bytes, Client, read, whole};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process is there.
    Alive,
    /// Whether it can work.
    Ready,
}

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it says yes.
    pub ok: bool,
    /// In its words.
    pub status: String,
    /// What it lacks.
    pub missing: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    missing: Vec<String>,
}

impl Client {
    /// Asks once.
    pub async fn probe(&self, probe: Probe) -> Result<Condition, BrokerError> {
        let path = match probe {
            Probe::Alive => "/livez",
            Probe::Ready => "/readyz",
        };
        let mut request = self.request(Method::GET, "", &[], Bytes::new())?;
        *request.uri_mut() = Uri::from_static(path);
        let (status, body) = whole(self.send(request).await?).await?;
        if !matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(self.problem(status, &body));
        }
        let Answer { status: said, missing } = read(&body)?;
        Ok(Condition { ok: status == StatusCode::OK, status: said, missing })
    }
}
