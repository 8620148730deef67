//! Cleans what the broker passes on, before lapin reads it. A publisher chooses a message's properties, and the broker hands
//! them out unread: lapin's parser overflows its stack on tables nested 2,000 deep (12 KB, and the process is gone), and
//! gives up the whole connection on a short string that is no UTF-8. Either message would do so again at every delivery.
//!
//! Only content headers are touched. Of their table, text and the broker's delivery count stay; nothing else is ever read.
//! Not a parser of AMQP: everything but content headers passes through unseen.

/// The frame type of a content header.
const HEADER_FRAME: u8 = 2;
/// Type, channel and size; the end octet.
const FRAME_HEAD: usize = 7;
const FRAME_END: usize = 1;
/// Class, weight and body size, before the property flags.
const CONTENT_HEAD: usize = 12;
/// Brokers allow header frames of 128 KiB unless configured otherwise; what is larger than this passes through.
const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The one header that is a number and is read.
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";

/// Reads a stream of frames in pieces and gives out the same stream with clean content headers.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    /// The beginning of a frame that is not whole yet.
    held: Vec<u8>,
    /// Bytes of the present frame that pass through.
    passing: usize,
}

impl Cleaner {
    /// Takes the next piece; appends what can go on to `output`.
    pub(super) fn push(&mut self, mut piece: &[u8], output: &mut Vec<u8>) {
        while !piece.is_empty() {
            if self.passing > 0 {
                let (pass, rest) = piece.split_at(self.passing.min(piece.len()));
                output.extend_from_slice(pass);
                self.passing -= pass.len();
                piece = rest;
                continue;
            }
            let wanted = self.wanted().saturating_sub(self.held.len());
            let (part, rest) = piece.split_at(wanted.min(piece.len()));
            self.held.extend_from_slice(part);
            piece = rest;
            self.emit(output);
        }
    }

    /// How many bytes have to be held before more can be said.
    fn wanted(&self) -> usize {
        match head(&self.held) {
            Some((_, size)) => FRAME_HEAD + size + FRAME_END,
            None => FRAME_HEAD,
        }
    }

    fn emit(&mut self, output: &mut Vec<u8>) {
        let Some((kind, size)) = head(&self.held) else { return };
        if kind != HEADER_FRAME || size > HEADER_BYTES_MAX {
            self.passing = size + FRAME_END;
            output.append(&mut self.held);
        } else if self.held.len() == FRAME_HEAD + size + FRAME_END {
            clean(&self.held, output);
            self.held.clear();
        }
    }
}

fn head(frame: &[u8]) -> Option<(u8, usize)> {
    let mut reader = Reader(frame);
    let kind = reader.number(1)?;
    reader.take(2)?;
    let size = reader.number(4)?;
    Some((u8::try_from(kind).ok()?, usize::try_from(size).ok()?))
}

/// Appends a whole content header frame with clean properties; without any if they cannot be read.
fn clean(frame: &[u8], output: &mut Vec<u8>) {
    let mut reader = Reader(frame.get(..frame.len().saturating_sub(FRAME_END)).unwrap_or_default());
    let parts = (reader.take(3), reader.take(4), reader.take(CONTENT_HEAD), reader.number(2));
    let (Some(kind_and_channel), Some(_), Some(content), Some(flags)) = parts else {
        output.extend_from_slice(frame);
        return;
    };
    let (flags, properties) = cleaned(flags, reader).unwrap_or_default();
    let size = u32::try_from(CONTENT_HEAD + 2 + properties.len()).expect("cleaning never makes a frame longer");
    output.extend_from_slice(kind_and_channel);
    output.extend_from_slice(&size.to_be_bytes());
    output.extend_from_slice(content);
    output.extend_from_slice(&flags.to_be_bytes());
    output.extend_from_slice(&properties);
    output.push(0xCE);
}

#[derive(Clone, Copy)]
enum Property {
    Text,
    Table,
    Number(usize),
}

/// In the order of their flags, from the highest bit: content type and encoding, headers, delivery mode, priority,
/// correlation id, reply-to, expiration, message id, timestamp, type, user id, app id, cluster id.
const PROPERTIES: [Property; 14] = [
    Property::Text,
    Property::Text,
    Property::Table,
    Property::Number(1),
    Property::Number(1),
    Property::Text,
    Property::Text,
    Property::Text,
    Property::Text,
    Property::Number(8),
    Property::Text,
    Property::Text,
    Property::Text,
    Property::Text,
];

fn cleaned(flags: u64, mut reader: Reader<'_>) -> Option<(u16, Vec<u8>)> {
    let flags = u16::try_from(flags).ok()?;
    let mut kept_flags = 0;
    let mut kept = Vec::with_capacity(reader.0.len());
    for (property, place) in PROPERTIES.into_iter().zip(0..) {
        let flag = 0x8000_u16 >> place;
        if flags & flag == 0 {
            continue;
        }
        match property {
            Property::Text => {
                let whole = reader.short_string()?;
                if is_text(whole) {
                    kept_flags |= flag;
                    kept.extend_from_slice(whole);
                }
            }
            Property::Table => {
                let table = clean_table(reader.long()?)?;
                kept_flags |= flag;
                kept.extend_from_slice(&table);
            }
            Property::Number(width) => {
                kept_flags |= flag;
                kept.extend_from_slice(reader.take(width)?);
            }
        }
    }
    Some((kept_flags, kept))
}

/// The table with its length, holding only text and the delivery count. What follows a value of unknown type is left out:
/// nobody knows where it begins.
fn clean_table(table: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(table);
    let mut kept = vec![0; 4];
    while let Some((key, kind, value)) = reader.field() {
        if is_text(key) && (kind == b'S' || is_delivery_count(key, kind)) {
            kept.extend_from_slice(key);
            kept.push(kind);
            kept.extend_from_slice(value);
        }
    }
    let length = u32::try_from(kept.len() - 4).ok()?;
    kept.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    Some(kept)
}

/// Of a short string with its length octet.
fn is_text(whole: &[u8]) -> bool {
    whole.get(1..).is_some_and(|text| std::str::from_utf8(text).is_ok())
}

fn is_delivery_count(key: &[u8], kind: u8) -> bool {
    key.get(1..) == Some(DELIVERY_COUNT) && b"bBsuIilL".contains(&kind)
}

/// Takes bytes from the front; `None` if there are not enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// With its length octet.
    fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(*self.0.first()?);
        self.take(1 + length)
    }

    /// What a four byte length announces, without the length.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number(4)?).ok()?;
        self.take(length)
    }

    /// The next entry of a table: key with its length, type, value.
    fn field(&mut self) -> Option<(&'a [u8], u8, &'a [u8])> {
        let key = self.short_string()?;
        let kind = *self.take(1)?.first()?;
        let width = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'S' | b'x' | b'A' | b'F' => 4 + usize::try_from(Reader(self.0).number(4)?).ok()?,
            _ => return None,
        };
        Some((key, kind, self.take(width)?))
    }
}

#[cfg(test)]
mod tests;
