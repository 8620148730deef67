//! Files that commands read: opened with a clear word about what cannot be.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;

use super::{Code, ExitError};

/// What a command reads, and what messages call it.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) reader: Box<dyn BufRead + Send>,
}

/// Opens a file, or standard input where it is `-`.
pub(super) fn open(file: &Path) -> Result<Input, ExitError> {
    if file.as_os_str() == "-" {
        return Ok(Input { name: "-".to_owned(), reader: Box::new(BufReader::new(stdin())) });
    }
    let name = file.display().to_string();
    if file.is_dir() {
        return Err(ExitError::new(Code::Usage, format!("{name} is a folder; name a file in it, or -")));
    }
    match File::open(file) {
        Ok(opened) => Ok(Input { name, reader: Box::new(BufReader::new(opened)) }),
        Err(error) => {
            Err(ExitError::new(Code::Usage, format!("cannot read {name}: {error}; name a readable file, or -")))
        }
    }
}

/// Says that there was nothing in it.
pub(super) fn empty(name: &str) -> ExitError {
    let name = if name == "-" { "standard input" } else { name };
    ExitError::new(Code::Usage, format!("{name} holds no event: expected JSON lines, one document, or one array"))
}
