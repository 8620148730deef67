//! Splits an input into the events in it, each byte for byte: JSON lines, documents one after the other, or one array.
//! Whether they are good events is not looked at, only whether they look like one: the rest is the worker's to judge, and
//! people send bad ones to see that.

use std::collections::BTreeMap;
use std::io::{BufRead, ErrorKind, Read};

use serde_json::de::{IoRead, StreamDeserializer};
use serde_json::value::RawValue;

use crate::contract::inbound::label::Label;

/// One event, as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Its `type`.
    pub(super) routing_key: String,
    /// Its bytes.
    pub(super) body: String,
    /// What it looks like.
    pub(super) shape: Shape,
}

/// What a document looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object with `specversion` and `type`, whatever they hold.
    Envelope,
    /// Anything else.
    Other,
}

/// Where the input stops being JSON. Counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub(super) struct SyntaxError {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

type Input = Box<dyn BufRead + Send>;

/// The events of one input. An array is held whole in memory, anything else one document at a time.
pub(super) struct Documents {
    file: String,
    /// Lines before the first document, and columns before it in its own line: the reader below counts from there.
    start: (usize, usize),
    form: Form,
    ended: bool,
}

enum Form {
    Stream(StreamDeserializer<'static, IoRead<Input>, Box<RawValue>>),
    Array(std::vec::IntoIter<Box<RawValue>>),
    Broken(Option<(usize, usize, String)>),
}

impl Documents {
    /// Looks at the first byte that is no white space. `file` is what errors call the input.
    pub(super) fn new(file: &str, mut input: Input) -> Self {
        let mut start = (0, 0);
        let form = match skip_space(&mut input, &mut start) {
            Ok(Some(b'[')) => match serde_json::from_reader::<_, Vec<Box<RawValue>>>(input) {
                Ok(items) => Form::Array(items.into_iter()),
                Err(error) => Form::Broken(Some(place(&error))),
            },
            Ok(_) => Form::Stream(serde_json::Deserializer::from_reader(input).into_iter()),
            Err(error) => Form::Broken(Some((1, 0, error.to_string()))),
        };
        Self { file: file.to_owned(), start, form, ended: false }
    }

    fn error(&self, (line, column, message): (usize, usize, String)) -> SyntaxError {
        let (lines, columns) = self.start;
        let column = if line <= 1 { columns + column } else { column };
        SyntaxError { file: self.file.clone(), line: lines + line.max(1), column: column.max(1), message }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.form {
            Form::Stream(stream) => stream.next().map(|read| read.map_err(|error| place(&error))),
            Form::Array(items) => items.next().map(Ok),
            Form::Broken(error) => error.take().map(Err),
        };
        // After a fault nothing says where the next document begins.
        self.ended = !matches!(next, Some(Ok(_)));
        next.map(|read| read.map(document).map_err(|error| self.error(error)))
    }
}

fn document(raw: Box<RawValue>) -> Document {
    let Label { routing_key, .. } = Label::of_envelope(raw.get().as_bytes());
    let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()).unwrap_or_default();
    let is_envelope = ["specversion", "type"].iter().all(|name| members.contains_key(*name));
    let shape = if is_envelope { Shape::Envelope } else { Shape::Other };
    Document { routing_key, body: Box::<str>::from(raw).into(), shape }
}

/// Line, column and message; the library appends the place to its message, relative to where it began.
fn place(error: &serde_json::Error) -> (usize, usize, String) {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let message = text.strip_suffix(&suffix).unwrap_or(&text);
    let message = if error.is_io() { message.to_owned() } else { format!("no JSON: {message}") };
    (error.line(), error.column(), message)
}

/// Consumes white space, counting lines and columns; the byte after it stays.
fn skip_space(input: &mut Input, start: &mut (usize, usize)) -> std::io::Result<Option<u8>> {
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            filled => filled?,
        };
        let Some(byte) = buffer.first().copied() else { return Ok(None) };
        match byte {
            b'\n' => *start = (start.0 + 1, 0),
            b' ' | b'\t' | b'\r' => start.1 += 1,
            _ => return Ok(Some(byte)),
        }
        input.read_exact(&mut [0])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREADABLE: &str = "exception.unreadable";

    fn split(text: impl Into<Vec<u8>>) -> Vec<Result<Document, SyntaxError>> {
        Documents::new("in.json", Box::new(std::io::Cursor::new(text.into()))).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found: Vec<_> = split(text).into_iter().map(Result::unwrap).collect();
        let found: Vec<_> = found.iter().map(|it| (it.routing_key.as_str(), it.body.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_form_is_split_byte_for_byte() {
        let (one, two) = (r#"{"type":"a.v1", "n": 1.0}"#, r#"{ "type":"b.v1" }"#);
        let expected = [("a.v1", one), ("b.v1", two)];
        check(&format!("{one}\n{two}\n"), &expected);
        check(&format!("\n {one}{two}"), &expected);
        check(&format!("\n\n[{one} ,\n {two}]\n"), &expected);
        check("", &[]);
        check(" \n", &[]);
        check("[]", &[]);
        check("{\n \"type\": \"a\"\n}\n", &[("a", "{\n \"type\": \"a\"\n}")]);
    }

    #[test]
    fn what_has_no_readable_type_goes_to_the_worker_all_the_same() {
        for body in ["42", r#"{"type":7}"#, r#"{"type":""}"#, "{}", r#"{"type":"a","type":"b"}"#, r#""x""#] {
            check(body, &[(UNREADABLE, body)]);
        }
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(256));
        check(&long, &[(UNREADABLE, &long)]);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        check(&deep, &[(UNREADABLE, &deep)]);
        check(r#"{"type":"a\u002eb"}"#, &[("a.b", r#"{"type":"a\u002eb"}"#)]);
    }

    #[test]
    fn a_syntax_error_names_its_place_and_ends_the_input() {
        for (text, good, line, column) in [
            ("{}\n{\"a\":}\n{}", 1, 2, 6),
            ("\n\n  {x", 0, 3, 4),
            ("[{},\n {}", 0, 2, 3),
            ("\n [1,]", 0, 2, 5),
            ("{}\n[1] [2", 2, 2, 6),
        ] {
            let found = split(text);
            assert_eq!(found.len(), good + 1, "{text:?}: {found:?}");
            let error = found.into_iter().next_back().unwrap().unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
            assert!(error.to_string().starts_with(&format!("in.json:{line}:{column}: ")), "{error}");
            assert!(!error.message.contains(" at line "), "{error}");
        }
        assert!(split(b"{\"a\": \"\xff\"}").pop().unwrap().unwrap_err().to_string().starts_with("in.json:1:"));
    }
}
