//! A collector that keeps what it gets. It reads HTTP and protobuf by itself, by the numbers of the protocol's definition: a second
//! opinion on what the worker's libraries write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// Not at all.
    Never,
}

pub(crate) struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Collector {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&stream) else { continue };
                kept.lock().unwrap().push(request);
                match answer {
                    Answer::Taken => (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap(),
                    Answer::Never => hanging.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(|request| spans(&request.body)).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

/// A span, with what was said about the process that made it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) status: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The spans it is linked with.
    pub(crate) links: Vec<String>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) nanoseconds: (u64, u64),
}

impl Span {
    pub(crate) fn at(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// `ExportTraceServiceRequest`
fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (_, resource_spans) in fields(request) {
        let parts = fields(resource_spans.bytes());
        let of_resource = parts.iter().filter(|(number, _)| *number == 1).flat_map(|(_, part)| fields(part.bytes()));
        let resource: BTreeMap<_, _> =
            of_resource.filter(|(number, _)| *number == 1).map(|(_, p)| pair(p.bytes())).collect();
        for (_, scope_spans) in parts.iter().filter(|(number, _)| *number == 2) {
            let of_scope = fields(scope_spans.bytes()).into_iter().filter(|(number, _)| *number == 2);
            spans.extend(of_scope.map(|(_, part)| Span { resource: resource.clone(), ..span(part.bytes()) }));
        }
    }
    spans
}

fn span(message: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, part) in fields(message) {
        match number {
            1 => span.trace = hex(part.bytes()),
            2 => span.id = hex(part.bytes()),
            4 => span.parent = hex(part.bytes()),
            5 => span.name = text(part.bytes()),
            6 => span.kind = part.number(),
            7 => span.nanoseconds.0 = part.number(),
            8 => span.nanoseconds.1 = part.number(),
            9 => span.attributes.extend([pair(part.bytes())]),
            13 => {
                let linked = fields(part.bytes()).into_iter().find(|(number, _)| *number == 2);
                span.links.push(hex(linked.unwrap().1.bytes()));
            }
            15 => {
                let code = fields(part.bytes()).into_iter().find(|(number, _)| *number == 3);
                span.status = code.map_or(0, |(_, code)| code.number());
            }
            _ => {}
        }
    }
    span
}

/// `KeyValue`, with a text or a whole number.
fn pair(message: &[u8]) -> (String, String) {
    let mut pair = (String::new(), String::new());
    for (number, part) in fields(message) {
        match number {
            1 => pair.0 = text(part.bytes()),
            _ => {
                for (kind, value) in fields(part.bytes()) {
                    pair.1 = if kind == 1 { text(value.bytes()) } else { value.number().to_string() };
                }
            }
        }
    }
    pair
}

enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Part<'a> {
    fn bytes(&self) -> &'a [u8] {
        let Part::Bytes(bytes) = self else { panic!("a number where bytes belong") };
        bytes
    }

    fn number(&self) -> u64 {
        let Part::Number(number) = self else { panic!("bytes where a number belongs") };
        *number
    }
}

/// The fields of a message, by their numbers.
fn fields(mut message: &[u8]) -> Vec<(u64, Part<'_>)> {
    fn fixed<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, rest) = message.split_at(length);
        *message = rest;
        taken
    }
    fn varint(message: &mut &[u8]) -> u64 {
        let mut number = 0;
        for place in 0.. {
            let byte = fixed(message, 1)[0];
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let part = match tag & 7 {
            0 => Part::Number(varint(&mut message)),
            1 => Part::Number(u64::from_le_bytes(fixed(&mut message, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                Part::Bytes(fixed(&mut message, length))
            }
            5 => Part::Number(u32::from_le_bytes(fixed(&mut message, 4).try_into().unwrap()).into()),
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, part));
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
