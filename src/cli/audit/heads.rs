//! The file of an export: JSON lines. The first says what it is and of when, the last how many heads there are and the SHA-256 of
//! all bytes before it, so that a file that was cut or changed is known, with the line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::Path;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::audit::Claim;
use crate::domain::ids::hex;

/// What the first line calls the form of the rest.
const FORM: &str = "reprieve-audit/1";

/// Longest line: the longest id with its numbers is a quarter of it.
const LINE_BYTES_MAX: u64 = 1024;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Title(Title),
    Head(Head),
    Seal(Seal),
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Title {
    form: String,
    reprieve: String,
    exported_at: String,
}

/// The end of one chain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those in the file")]
pub(super) struct Head {
    exception_id: String,
    entries: i64,
    head: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seal {
    pub(super) count: u64,
    pub(super) sha256: String,
}

impl Title {
    pub(super) fn now() -> Self {
        Self {
            form: FORM.to_owned(),
            reprieve: env!("CARGO_PKG_VERSION").to_owned(),
            exported_at: chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

impl Head {
    pub(super) fn of(claim: &Claim) -> Self {
        Self { exception_id: claim.exception_id.clone(), entries: claim.entries, head: hex(&claim.head) }
    }

    fn claim(self) -> Option<Claim> {
        let digits = self.head.as_bytes();
        let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let head: Vec<u8> = bytes.collect::<Option<_>>()?;
        (digits.len() == 64).then_some(Claim { exception_id: self.exception_id, entries: self.entries, head })
    }
}

/// The heads of a file, one after the other, up to the first thing that is wrong with it.
pub(super) struct Heads {
    name: String,
    reader: BufReader<File>,
    sha: Sha256,
    line: u64,
    count: u64,
    last: String,
    ended: bool,
}

impl Heads {
    /// Opens the file and reads its first line.
    pub(super) fn open(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let unreadable = |error| format!("cannot read {name}: {error}");
        // Asked before it is opened, which waits at a pipe.
        if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
            return Err(format!("{name} is no regular file, and it is read twice: write the export into one"));
        }
        let opened = File::open(file).map_err(unreadable)?;
        Self::begin(name, opened)
    }

    fn begin(name: String, opened: File) -> Result<Self, String> {
        let reader = BufReader::new(opened);
        let (line, count, last) = (0, 0, String::new());
        let mut it = Self { name, reader, sha: Sha256::new(), line, count, last, ended: false };
        match it.read()? {
            Some(Line::Title(title)) if title.form == FORM => Ok(it),
            Some(Line::Title(title)) => {
                Err(it.damaged(&format!("it has the form {:?}, and this program reads {FORM}", title.form)))
            }
            _ => Err(it.damaged("it does not say that it is an export of `reprieve audit export`")),
        }
    }

    /// Reads all of it, to know whether it is whole, and begins anew.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        self.try_for_each(|head| head.map(drop))?;
        let mut file = self.reader.into_inner();
        file.rewind().map_err(|error| format!("cannot read {} again: {error}", self.name))?;
        Self::begin(self.name, file)
    }

    /// What people call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn damaged(&self, why: &str) -> String {
        format!("the export {} is damaged: line {}: {why}", self.name, self.line)
    }

    fn read(&mut self) -> Result<Option<Line>, String> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        read.map_err(|error| format!("cannot read {} on from line {}: {error}", self.name, self.line))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.last() != Some(&b'\n') {
            return Err(self.damaged("it is cut, or longer than any that was written"));
        }
        let line = serde_json::from_slice(&bytes).map_err(|_| self.damaged("it is no head and no last line"))?;
        if !matches!(line, Line::Seal(_)) {
            self.sha.update(&bytes);
        }
        Ok(Some(line))
    }

    fn next_head(&mut self) -> Result<Option<Claim>, String> {
        match self.read()? {
            Some(Line::Head(head)) => {
                let claim = head.claim().ok_or_else(|| self.damaged("its head is no hash"))?;
                if claim.exception_id <= self.last {
                    return Err(self.damaged(&format!("{} does not come after {}", claim.exception_id, self.last)));
                }
                self.last.clone_from(&claim.exception_id);
                self.count += 1;
                Ok(Some(claim))
            }
            Some(Line::Seal(seal)) => {
                self.sealed(&seal)?;
                match self.read()? {
                    None => Ok(None),
                    Some(_) => Err(self.damaged("there is more after the last line")),
                }
            }
            Some(Line::Title(_)) => Err(self.damaged("it is a first line")),
            None => Err(self.damaged("the file ends before its last line: it is cut")),
        }
    }

    fn sealed(&self, seal: &Seal) -> Result<(), String> {
        if seal.count != self.count {
            return Err(self.damaged(&format!("{} heads were written, and there are {}", seal.count, self.count)));
        }
        if seal.sha256 != hex(&self.sha.clone().finalize()) {
            return Err(self.damaged("the SHA-256 is not that of what is before it: some line was changed"));
        }
        Ok(())
    }
}

impl Iterator for Heads {
    type Item = Result<Claim, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_head().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> String {
        let title = r#"{"form":"reprieve-audit/1","reprieve":"0.1.0","exported_at":"2026-11-24T09:00:00Z"}"#;
        let head = |id: &str| format!(r#"{{"exception_id":"{id}","entries":3,"head":"{}"}}"#, "ab".repeat(32));
        let text = format!("{title}\n{}\n{}\n", head("EX-1"), head("EX-2"));
        let sha256 = hex(&Sha256::digest(&text));
        format!("{text}{{\"count\":2,\"sha256\":\"{sha256}\"}}\n")
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let file = std::env::temp_dir().join(format!("reprieve-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, text).unwrap();
        let found = Heads::open(&file).and_then(Heads::checked).map(|heads| assert_eq!(heads.count(), 2));
        std::fs::remove_file(&file).unwrap();
        match (&found, expected) {
            (Ok(()), Ok(())) => (),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_damaged_export_is_told_with_its_line() {
        let text = whole();
        let cut = |lines: usize| text.split_inclusive('\n').take(lines).collect::<String>();
        check(&text, Ok(()));
        check("", Err("line 1: it does not say that it is an export"));
        check("what?\n", Err("line 1: it is no head"));
        check(&text.replace("audit/1", "audit/2"), Err("line 1: it has the form \"reprieve-audit/2\""));
        check(&cut(2), Err("line 3: the file ends before its last line: it is cut"));
        check(&text[..text.len() - 40], Err("line 4: it is cut"));
        check(&text.replacen("\"entries\":3", "\"entries\":4", 1), Err("line 4: the SHA-256 is not that"));
        check(&text.replace("\"count\":2", "\"count\":3"), Err("line 4: 3 heads were written, and there are 2"));
        check(&text.replace("EX-2", "EX-1"), Err("line 3: EX-1 does not come after EX-1"));
        check(&text.replacen("ab", "zz", 1), Err("line 2: its head is no hash"));
        check(&format!("{text}{text}"), Err("line 5: there is more after the last line"));
        check(&format!("{}{}", cut(1), "x".repeat(5_000)), Err("line 2: it is cut, or longer"));
    }

    #[test]
    fn heads_come_as_they_were_written() {
        let claim = Claim { exception_id: "EX-1".to_owned(), entries: 3, head: vec![0xab; 32] };
        assert_eq!(Head::of(&claim).claim(), Some(claim));
    }
}
