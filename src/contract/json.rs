//! Reads one JSON document strictly, with numbers as written and every fault named by its [`Reason`].
//!
//! Not `serde_json`: it keeps the last of two equal names, loses how a number was written, and says "lone surrogate" and
//! "nested too deeply" only in prose. A property test holds both readers to the same language.

use std::collections::BTreeSet;
use std::ops::Range;

use super::reason::Reason;
use crate::domain::json::Json;

/// Deepest nesting, counting the outermost value.
const DEPTH_MAX: usize = 32;

/// Longest message, in characters: it may repeat a part of the input, which may be long.
const MESSAGE_CHARS_MAX: usize = 300;

/// A document that was read.
#[derive(Debug)]
pub struct Document {
    /// Its value.
    pub value: Json,
    /// Where the members of the outermost object stand in the text, in the order they came.
    pub members: Vec<(String, Range<usize>)>,
    /// A name that stands twice in one object, if any.
    pub duplicate: Option<String>,
    /// Whether a string holds U+0000, which databases cannot store as text.
    pub has_nul: bool,
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub reason: Reason,
    /// What is wrong, and where.
    pub message: String,
}

impl Fault {
    /// A fault with a message. What it repeats of the input is made storable: a database takes no U+0000 as text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into().replace(char::is_control, "\u{fffd}");
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        Self { reason, message }
    }
}

/// Reads a body.
pub fn read(body: &[u8]) -> Result<Document, Fault> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Fault::new(Reason::BadEncoding, format!("byte {} is not UTF-8", e.valid_up_to())))?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::new(Reason::BadEncoding, "begins with a byte order mark; send plain UTF-8"));
    }
    if let Some(at) = text.find('\0') {
        return Err(Fault::new(Reason::BadEncoding, format!("byte {at} is zero, as in UTF-16; send UTF-8")));
    }
    survey(text.as_bytes())?;
    let mut reader = Reader { text, at: 0, members: Vec::new(), duplicate: None, has_nul: false, depth: 0 };
    let value = reader.document()?;
    Ok(Document { value, members: reader.members, duplicate: reader.duplicate, has_nul: reader.has_nul })
}

/// Looks for what outranks a syntax error and can be seen without understanding: lone surrogates and deep nesting.
fn survey(bytes: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut too_deep, mut in_string, mut at) = (0usize, None, false, 0);
    while let Some(byte) = bytes.get(at) {
        match (in_string, byte) {
            (true, b'\\') => {
                at += escape_length(bytes, at)?;
                continue;
            }
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > DEPTH_MAX && too_deep.is_none() {
                    too_deep = Some(at);
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    match too_deep {
        Some(at) => Err(Fault::new(Reason::TooDeep, format!("nested deeper than {DEPTH_MAX} levels at byte {at}"))),
        None => Ok(()),
    }
}

/// How many bytes the escape at `at` takes; a surrogate must come as a pair.
fn escape_length(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let Some(unit) = code_unit(bytes, at) else { return Ok(2) };
    let lone = || Fault::new(Reason::BadEncoding, format!("lone surrogate at byte {at}"));
    match unit {
        0xd800..=0xdbff => match code_unit(bytes, at + 6) {
            Some(0xdc00..=0xdfff) => Ok(12),
            _ => Err(lone()),
        },
        0xdc00..=0xdfff => Err(lone()),
        _ => Ok(6),
    }
}

/// The code unit of `\uXXXX` at `at`, if that is what stands there.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = bytes.get(at..at + 6)? else { return None };
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    members: Vec<(String, Range<usize>)>,
    duplicate: Option<String>,
    has_nul: bool,
    depth: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Json, Fault> {
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.syntax("the end of the document"));
        }
        Ok(value)
    }

    fn value(&mut self) -> Result<Json, Fault> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.syntax("a value")),
        }
    }

    /// The survey has bounded the depth; this counts it again so that no input at all can overflow the stack.
    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Fault>) -> Result<Json, Fault> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::new(
                Reason::TooDeep,
                format!("nested deeper than {DEPTH_MAX} levels at byte {}", self.at),
            ));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, Fault> {
        let mut members: Vec<(String, Json)> = Vec::new();
        if self.take_if(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.expect(b':', "`:` after a name")?;
            self.skip_space();
            let from = self.at;
            let value = self.value()?;
            if self.depth == 1 {
                self.members.push((name.clone(), from..self.at));
            }
            members.push((name, value));
            if self.take_if(b'}') {
                break;
            }
            self.expect(b',', "`,` or `}`")?;
        }
        self.note_duplicate(&members);
        Ok(Json::Object(members))
    }

    fn note_duplicate(&mut self, members: &[(String, Json)]) {
        if self.duplicate.is_none() && members.len() > 1 {
            let mut names = BTreeSet::new();
            self.duplicate = members.iter().find(|(name, _)| !names.insert(name)).map(|(name, _)| name.clone());
        }
    }

    fn list(&mut self) -> Result<Json, Fault> {
        let mut items = Vec::new();
        if self.take_if(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.take_if(b']') {
                return Ok(Json::List(items));
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a string"));
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
            text.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let bytes = self.text.as_bytes();
        let short = match bytes.get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.syntax("an escape")),
        };
        self.at += 2;
        Ok(short)
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let bytes = self.text.as_bytes();
        let first = code_unit(bytes, self.at).ok_or_else(|| self.syntax("four hexadecimal digits"))?;
        let length = escape_length(bytes, self.at)?;
        let code = match code_unit(bytes, self.at + 6) {
            Some(second) if length == 12 => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
            _ => first,
        };
        self.at += length;
        self.has_nul |= code == 0;
        char::from_u32(code).ok_or_else(|| self.syntax("a character"))
    }

    fn number(&mut self) -> Result<Json, Fault> {
        let from = self.at;
        self.take_if_here(b'-');
        if !self.take_if_here(b'0') {
            self.digits()?;
        }
        if self.take_if_here(b'.') {
            self.digits()?;
        }
        if self.take_if_here(b'e') || self.take_if_here(b'E') {
            if !self.take_if_here(b'+') {
                self.take_if_here(b'-');
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(from..self.at).unwrap_or_default().to_owned()))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        if count == 0 { Err(self.syntax("a digit")) } else { Ok(()) }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Fault> {
        if !self.rest().starts_with(word) {
            return Err(self.syntax("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), Fault> {
        if self.take_if(byte) { Ok(()) } else { Err(self.syntax(what)) }
    }

    fn take_if(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.take_if_here(byte)
    }

    fn take_if_here(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        self.at += self.rest().bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn syntax(&self, wanted: &str) -> Fault {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        Fault::new(Reason::BadJson, format!("line {line}, column {column}: expected {wanted}"))
    }
}

#[cfg(test)]
mod tests;
