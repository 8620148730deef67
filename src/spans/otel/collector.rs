//! The collector, spoken to over plain HTTP: it is meant to stand on the same node, and to know the way and the secrets from there on.
//! One connection for each request, a deadline on everything.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for the whole of a request and its answer.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Of a URL that names none.
const PORT: u16 = 80;

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// It may take them later.
    #[error("{0}")]
    Later(String),
    /// It will not take these.
    #[error("{0}")]
    Never(String),
}

/// Who takes spans.
#[async_trait]
pub(super) trait Takes: fmt::Display + Send + Sync {
    /// Hands over an encoded request. Ends by itself.
    async fn take(&self, body: Bytes) -> Result<(), NotTaken>;
}

/// Where the collector listens.
#[derive(Debug)]
pub(super) struct Collector {
    host: String,
    port: u16,
    path: String,
}

impl Collector {
    /// Reads a URL. The error says what is wrong and what would be right; it does not repeat the URL, in which a password may stand.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        const RIGHT: &str = "write it like http://localhost:4318";
        let uri: Uri = url.parse().map_err(|_| format!("is no URL: {RIGHT}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(
                    "begins with https, which is not built in: name a collector of this node, by http".to_owned()
                );
            }
            _ => return Err(format!("does not begin with http: {RIGHT}")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("holds a user, who would travel in clear: {RIGHT}"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("names no host: {RIGHT}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // An address of version 6 stands in brackets in a URL, and without them elsewhere.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(PORT), path: path.to_owned() })
    }

    async fn send(&self, body: Bytes) -> Result<StatusCode, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.path.as_str())
            .header(header::HOST, self.to_string())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // Both are dropped with this future, and the connection with them: what stands in the answer is not looked at.
        let answer = async { sender.send_request(request).await.map_err(|error| error.to_string()) };
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            answer = &mut answer => Ok(answer?.status()),
            // It ends when the answer is here, or before there is one.
            _ = &mut connection => Ok(answer.await?.status()),
        }
    }
}

#[async_trait]
impl Takes for Collector {
    async fn take(&self, body: Bytes) -> Result<(), NotTaken> {
        let status = match timeout(SEND_MAX, self.send(body)).await {
            Ok(sent) => sent.map_err(NotTaken::Later)?,
            Err(_) => return Err(NotTaken::Later(format!("no answer within {SEND_MAX:?}"))),
        };
        match status {
            status if status.is_success() => Ok(()),
            // Those that the protocol calls worth another try.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(NotTaken::Later(format!("it answers {status}"))),
            _ => Err(NotTaken::Never(format!("it answers {status}"))),
        }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_said_to_be_wrong() {
        #[track_caller]
        fn check(url: &str, expected: Result<&str, &str>) {
            match (Collector::new(url).map(|c| format!("{c} {}", c.path)), expected) {
                (Ok(found), expected) => assert_eq!(Ok(found.as_str()), expected),
                (Err(why), Err(part)) => assert!(why.contains(part) && !why.contains("hunter2"), "{why}"),
                (Err(why), Ok(_)) => panic!("{url}: {why}"),
            }
        }
        check("http://localhost:4318/v1/traces", Ok("localhost:4318 /v1/traces"));
        check("http://[::1]:4318/v1/traces?a=b", Ok("[::1]:4318 /v1/traces?a=b"));
        check("HTTP://collector", Ok("collector:80 /"));
        check("https://collector:4318/v1/traces", Err("https"));
        check("grpc://collector:4317", Err("does not begin with http"));
        check("localhost:4318/v1/traces", Err("write it like"));
        check("/v1/traces", Err("does not begin"));
        check("http://me:hunter2@collector:4318", Err("holds a user"));
        check("http://hunter2 x", Err("is no URL"));
    }
}
