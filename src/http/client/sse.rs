//! Server-sent events, as far as this stream uses them: `id`, `data` over one or several lines, everything else passed over.

use std::collections::VecDeque;

use crate::broker::{Position, Published};

/// Most bytes of one event: the largest envelope is a fraction of it.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a stream cannot be read on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadStream {
    #[error("an event has more than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("an event is no UTF-8")]
    NoText,
}

/// What was read of an event that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The line so far.
    line: Vec<u8>,
    position: Option<Position>,
    data: Option<String>,
}

impl Reader {
    /// Reads on, wherever the pieces are cut.
    pub(super) fn read(&mut self, bytes: &[u8], into: &mut VecDeque<Published>) -> Result<(), BadStream> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_BYTES_MAX {
                return Err(BadStream::TooLong);
            }
            if piece.ends_with(b"\n") {
                let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| BadStream::NoText)?;
                into.extend(self.take(line.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(())
    }

    /// One line. An empty one ends the event, if there is one.
    fn take(&mut self, line: &str) -> Option<Published> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                let position = self.position.take();
                return self.data.take().map(|body| Published { position, body });
            }
            "id" => self.position = value.parse().ok(),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {} // a comment, a name this stream does not need, or the time to wait
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(Option<i64>, String)>, BadStream> {
        let (mut reader, mut ready) = (Reader::default(), VecDeque::new());
        for piece in pieces {
            reader.read(piece, &mut ready)?;
        }
        Ok(ready.into_iter().map(|it| (it.position, it.body)).collect())
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = "retry: 1000\n\n:\n\nid: 7\nevent: a.v1\ndata: {\"a\":\ndata:  \"ü\"}\n\ndata: {}\r\n\r\nid: 9\n\nid: 10\ndata: half";
        let expected = vec![(Some(7), "{\"a\":\n \"ü\"}".to_owned()), (None, "{}".to_owned())];
        assert_eq!(read(&[text.as_bytes()]).unwrap(), expected);
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&single).unwrap(), expected);
    }

    #[test]
    fn what_is_too_long_or_no_text_ends_the_stream() {
        assert_eq!(read(&[b"data: \xff\n"]), Err(BadStream::NoText));
        let long = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(read(&[b"data: ", &long]), Err(BadStream::TooLong));
        assert_eq!(
            read(&[b"data: ", &long[..EVENT_BYTES_MAX - 20], b"\n", b"data: ", &long[..100]]),
            Err(BadStream::TooLong)
        );
    }
}
