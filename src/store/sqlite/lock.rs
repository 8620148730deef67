//! One worker for each data file: whoever follows what is published is told of it inside the process that writes it. The
//! lock is the operating system's, so it ends with its process however that ends. Look-ups and marks do not take it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Held until it is dropped.
#[derive(Debug)]
pub struct WorkerLock {
    /// Closing the file lets go of the lock.
    _file: File,
    was_there: bool,
}

/// Why the lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another worker works on this file.
    #[error(
        "another worker{} has the data file {}: one worker serves one file, so stop that one or give this one a file of its own",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .file.display()
    )]
    Held {
        /// The data file.
        file: PathBuf,
        /// The process that holds it, if it has said so.
        pid: Option<u32>,
    },
    /// `SQLite` keeps what is committed last in a file beside the name it was opened by: under another name it would be missed.
    #[error(
        "the data file {} has {names} names (hard links), and what is written last stands beside one of them only: keep one name, and \
         make copies with VACUUM INTO",
        .file.display()
    )]
    Names {
        /// The data file.
        file: PathBuf,
        /// How many.
        names: u64,
    },
    /// The lock file cannot be made or written.
    #[error("the lock file {} cannot be used: {error}; {}", .file.display(), remedy(.error))]
    Io {
        /// The lock file.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

impl WorkerLock {
    /// Takes the lock of a data file, in a file `….lock` beside it that stays where it is: whoever deleted it could delete the one
    /// that another worker has just locked.
    pub fn take(file: &Path) -> Result<Self, LockError> {
        let names = std::fs::metadata(file).map_or(1, |found| found.nlink());
        if names > 1 {
            return Err(LockError::Names { file: file.to_owned(), names });
        }
        let name = lock_file(&named_alike(file));
        let failed = |error| LockError::Io { file: name.clone(), error };
        let was_there = name.exists();
        let mut options = OpenOptions::new();
        // Whoever could lock it could keep the worker from starting.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&name).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { file: file.to_owned(), pid: pid(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        write_pid(&mut lock).map_err(failed)?;
        Ok(Self { _file: lock, was_there })
    }

    /// Whether a worker has had a data file of this name before.
    pub fn was_there(&self) -> bool {
        self.was_there
    }
}

/// One name for all that lead to the file by links; what cannot be followed will be told when it is opened.
fn named_alike(file: &Path) -> PathBuf {
    let folder = || {
        Some(
            std::fs::canonicalize(file.parent().filter(|it| !it.as_os_str().is_empty())?).ok()?.join(file.file_name()?),
        )
    };
    std::fs::canonicalize(file).ok().or_else(folder).unwrap_or_else(|| file.to_owned())
}

fn lock_file(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".lock");
    PathBuf::from(name)
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Only for the message: without it the lock is held all the same.
fn pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make the folder, or name another one",
        io::ErrorKind::PermissionDenied => "give this user the right to write in the folder",
        io::ErrorKind::ReadOnlyFilesystem => "put the data file where it can be written",
        io::ErrorKind::StorageFull => "make room on the disk",
        io::ErrorKind::Unsupported => "put the data file on a local disk: this file system has no locks",
        _ => "see that the folder is there, on a local disk, and can be written",
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_second_worker_is_told_who_has_the_file() {
        let scratch = Scratch::new();
        let held = WorkerLock::take(scratch.file()).unwrap();
        let error = WorkerLock::take(scratch.file()).unwrap_err();
        let own = std::process::id();
        assert!(matches!(&error, LockError::Held { pid: Some(pid), .. } if *pid == own), "{error}");
        assert!(error.to_string().contains(&format!("(process {own}) has the data file {}", scratch.file().display())));
        drop(held);
        WorkerLock::take(scratch.file()).unwrap();
    }

    #[test]
    fn whatever_link_leads_to_it_a_file_has_one_worker() {
        let scratch = Scratch::new();
        std::fs::write(scratch.file(), "").unwrap();
        let held = WorkerLock::take(scratch.file()).unwrap();
        let beside = scratch.folder().join("beside.db");
        std::os::unix::fs::symlink(scratch.file(), &beside).unwrap();
        let folder = scratch.folder().join("folder");
        std::os::unix::fs::symlink(scratch.folder(), &folder).unwrap();
        let around = scratch.folder().join("..").join(scratch.folder().file_name().unwrap()).join("data.db");
        for name in [beside, folder.join("data.db"), around] {
            let error = WorkerLock::take(&name).unwrap_err();
            assert!(matches!(error, LockError::Held { pid: Some(_), .. }), "{}: {error}", name.display());
        }
        let hard = scratch.folder().join("hard.db");
        std::fs::hard_link(scratch.file(), &hard).unwrap();
        let error = WorkerLock::take(&hard).unwrap_err();
        assert!(
            matches!(error, LockError::Names { names: 2, .. }) && error.to_string().contains("keep one name"),
            "{error}"
        );
        drop(held);
        assert!(matches!(WorkerLock::take(scratch.file()), Err(LockError::Names { .. })), "by neither name");
        std::fs::remove_file(hard).unwrap();
        WorkerLock::take(scratch.file()).unwrap();
    }

    /// Also where the file is not there yet, which is when its name says nothing.
    #[test]
    fn a_folder_by_another_name_is_the_same_folder() {
        let scratch = Scratch::new();
        let folder = scratch.folder().join("folder");
        std::os::unix::fs::symlink(scratch.folder(), &folder).unwrap();
        let held = WorkerLock::take(&folder.join("data.db")).unwrap();
        assert!(matches!(WorkerLock::take(scratch.file()), Err(LockError::Held { .. })));
        drop(held);
    }

    #[test]
    fn a_lock_file_that_was_left_behind_holds_nobody_up() {
        let scratch = Scratch::new();
        std::fs::write(lock_file(scratch.file()), "4000000000 and more than one number\n").unwrap();
        let held = WorkerLock::take(scratch.file()).unwrap();
        assert_eq!(std::fs::read_to_string(lock_file(scratch.file())).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_a_remedy() {
        let scratch = Scratch::new();
        let error = WorkerLock::take(&scratch.file().join("no").join("data.db")).unwrap_err();
        assert!(matches!(error, LockError::Io { .. }), "{error}");
        let missing = WorkerLock::take(&scratch.folder().join("no").join("data.db")).unwrap_err();
        assert!(missing.to_string().ends_with("make the folder, or name another one"), "{missing}");
    }
}
