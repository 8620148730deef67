//! `reprieve audit export`: the end of each chain, in a file of which it can be told later whether it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Progress;
use super::heads::{Head, Line, Seal, Title};
use crate::cli::output::{Output, tell};
use crate::cli::run::{Hangup, Signals};
use crate::cli::{Code, ExitError};
use crate::domain::ids::hex;
use crate::store::audit::{Audit, HEADS_PER_PAGE};

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    heads: u64,
    sha256: String,
}

pub(super) async fn run(audit: &dyn Audit, file: &Path, output: &Output) -> Result<(), ExitError> {
    if file.as_os_str() == "-" {
        let (heads, sha256) = write(audit, stdout().lock(), "stdout").await?;
        tell(&format!("{heads} heads, SHA-256 {sha256}"));
        return Ok(());
    }
    let name = file.display().to_string();
    let unwritten = |error| ExitError::failed(format!("cannot write {name}: {error}"));
    let target = match Target::of(file)? {
        Target::Place(target) => target,
        Target::Stream => {
            let opened = File::options().write(true).open(file).map_err(unwritten)?;
            let (heads, sha256) = write(audit, opened, &name).await?;
            tell(&format!("{heads} heads, SHA-256 {sha256}"));
            return Ok(());
        }
    };
    // From here on no signal ends the process by itself: something would be left under the other name.
    let mut signals = Signals::new(Hangup::End)?;
    let scratch = Scratch::beside(&target);
    let opened = File::create_new(&scratch.0).map_err(unwritten)?;
    let (heads, sha256) = tokio::select! {
        biased;
        signal = signals.next() => return Err(ExitError::failed(format!("{signal}: {name} was not written"))),
        written = write(audit, &opened, &name) => written?,
    };
    // Under its name it is whole, also after a power cut.
    opened.sync_all().and_then(|()| std::fs::rename(&scratch.0, &target)).map_err(unwritten)?;
    output.object(&Exported { file: name, heads, sha256 }, |done, _| {
        format!("{} heads written to {}; SHA-256 {}", done.heads, done.file, done.sha256)
    })
}

/// What a name stands for.
enum Target {
    /// A regular file, or nothing yet: links are followed, so that they stay.
    Place(PathBuf),
    /// A pipe or a device, in whose place no file may be put.
    Stream,
}

impl Target {
    fn of(file: &Path) -> Result<Self, ExitError> {
        let name = file.display();
        let useless = |what| ExitError::new(Code::Usage, format!("{name} is a {what}; name a file, or -"));
        match std::fs::metadata(file) {
            Ok(it) if it.is_dir() => Err(useless("folder")),
            Ok(it) if it.is_file() => {
                let real = file.canonicalize();
                real.map(Self::Place).map_err(|error| ExitError::failed(format!("cannot follow {name}: {error}")))
            }
            Ok(_) => Ok(Self::Stream),
            Err(_) if file.is_symlink() => Err(useless("link that leads nowhere")),
            // Whoever writes there is told what is wrong with it.
            Err(_) => Ok(Self::Place(file.to_owned())),
        }
    }
}

/// A name nobody else uses; what is under it goes when it is not renamed.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(file: &Path) -> Self {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", uuid::Uuid::new_v4()));
        Self(file.with_file_name(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Mostly it is not there any more.
        std::fs::remove_file(&self.0).ok();
    }
}

/// Writes all of it, and says how many heads there are and the hash of what is before the last line.
async fn write(audit: &dyn Audit, sink: impl Write, name: &str) -> Result<(u64, String), ExitError> {
    let mut lines = Lines { sink: BufWriter::new(sink), sha: Sha256::new() };
    let unwritten = |error| ExitError::failed(format!("cannot write {name}: {error}"));
    lines.add(&Line::Title(Title::now())).map_err(unwritten)?;
    let (mut after, mut heads) = (String::new(), 0);
    let mut progress = Progress::new();
    loop {
        let page = audit.heads_by_id(&after).await?;
        for it in &page {
            lines.add(&Line::Head(Head::of(&it.claim))).map_err(unwritten)?;
        }
        heads += page.len() as u64;
        progress.tell(|| format!("{heads} heads written"));
        match page.into_iter().nth(HEADS_PER_PAGE - 1) {
            Some(last) => after = last.claim.exception_id,
            None => break,
        }
    }
    let sha256 = hex(&lines.sha.clone().finalize());
    lines.add(&Line::Seal(Seal { count: heads, sha256: sha256.clone() })).map_err(unwritten)?;
    lines.sink.flush().map_err(unwritten)?;
    Ok((heads, sha256))
}

struct Lines<W: Write> {
    sink: BufWriter<W>,
    sha: Sha256,
}

impl<W: Write> Lines<W> {
    fn add(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(std::io::Error::other)?;
        text.push('\n');
        self.sha.update(&text);
        self.sink.write_all(text.as_bytes())
    }
}
