//! HTTP/1.1 in thirty lines: enough for a worker on loopback, and no client crate to trust.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer takes milliseconds, and 10 s when the worker cannot commit; one that is frozen gives none.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for `path` and reads the answer to the end of the connection.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<Response> {
    ask(address, "GET", path).await
}

/// The same with another method, and an empty body.
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str) -> Result<Response> {
    send(address, &format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"), b"").await
}

/// Sends a body.
pub(crate) async fn post(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Result<Response> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    send(address, &head, body).await
}

async fn send(address: SocketAddr, head: &str, body: &[u8]) -> Result<Response> {
    let answer = tokio::time::timeout(ANSWER_TIME_MAX, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, Error>(answer)
    });
    parse(&answer.await.map_err(|_| ErrorKind::TimedOut)??)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok(Response { status, body })
}

/// Joins the chunks; lengths count bytes, which on a cut through a character is a mistake the reader will see.
fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        let Some(chunk) = more.get(..length).filter(|chunk| !chunk.is_empty()) else { break };
        body.push_str(chunk);
        rest = more.get(length + 2..).unwrap_or("");
    }
    body
}
