//! The folder of `reprieve dev`: its database, its rules and a settings file for the commands beside it. One that was asked for is
//! kept; another is made for the occasion and removed at the end.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cli::{Code, ExitError};

/// The rules that people begin with.
const RULES: &str = include_str!("../../../examples/rules.yaml");
/// Events to publish by hand.
const EVENTS: &str = include_str!("../../../examples/events.jsonl");

/// Where `reprieve dev` keeps its things.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

impl Folder {
    /// The folder that was asked for, or a new one; with a rules file if it has none.
    pub(super) fn open(asked_for: Option<&Path>) -> Result<Self, ExitError> {
        let folder = match asked_for {
            Some(path) => Self { path: absolute(path)?, kept: Kept::Yes },
            None => Self { path: std::env::temp_dir().join(format!("reprieve-dev-{}", short_id())), kept: Kept::No },
        };
        // What is in it is nobody else's to read.
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).recursive(folder.kept == Kept::Yes);
        builder.create(&folder.path).map_err(|error| folder.unusable(&error))?;
        for (file, text) in [(folder.rules(), RULES), (folder.events(), EVENTS)] {
            folder.begin_with(&file, text)?;
        }
        Ok(folder)
    }

    /// Writes a file if there is none: what is there may have been edited.
    fn begin_with(&self, file: &Path, text: &str) -> Result<(), ExitError> {
        match fs::OpenOptions::new().write(true).create_new(true).open(file) {
            Ok(mut file) => file.write_all(text.as_bytes()).map_err(|error| self.unusable(&error)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rules(&self) -> PathBuf {
        self.path.join("rules.yaml")
    }

    pub(super) fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.path.join("dev.toml")
    }

    /// The variables that lead here.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.database_url()),
            ("AMQP_URL", "embedded:".to_owned()),
            ("REPRIEVE_RULES", self.rules().display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn database_url(&self) -> String {
        format!("sqlite://{}", self.path.join("reprieve.db").display())
    }

    /// Writes the settings that lead other commands here.
    pub(super) fn write_settings(&self, listen: SocketAddr) -> Result<(), ExitError> {
        let mut settings = toml::Table::new();
        let mut put = |section: Option<&str>, key: &str, value: String| {
            let table = match section {
                Some(section) => settings
                    .entry(section)
                    .or_insert_with(|| toml::Table::new().into())
                    .as_table_mut()
                    .expect("nothing but tables is put under a section"),
                None => &mut settings,
            };
            table.insert(key.to_owned(), value.into());
        };
        put(None, "rules", self.rules().display().to_string());
        put(Some("database"), "url", self.database_url());
        put(Some("amqp"), "url", "embedded:".to_owned());
        put(Some("http"), "listen", listen.to_string());
        let head = "# Written by `reprieve dev` at each start, for commands beside it: reprieve --config THIS-FILE …\n";
        fs::write(self.settings(), format!("{head}{settings}")).map_err(|error| self.unusable(&error))
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept == Kept::Yes
    }

    fn unusable(&self, error: &std::io::Error) -> ExitError {
        let path = self.path.display();
        let message = format!("cannot use {path} as the data folder: {error}; name one to write in with --data DIR");
        ExitError::new(Code::Configuration, message)
    }
}

/// Enough for folders that live side by side: one that is there already is not taken.
fn short_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(8);
    id
}

/// However it ends, but by a crash, or where a second signal ends the process where it stands.
impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept == Kept::No && fs::remove_dir_all(&self.path).is_err() {
            tracing::warn!("{} could not be removed", self.path.display());
        }
    }
}

/// Commands beside it may stand in another folder. A name that a setting cannot hold is refused before anything is written.
fn absolute(path: &Path) -> Result<PathBuf, ExitError> {
    let refused =
        |why: &str| ExitError::new(Code::Usage, format!("--data {}: {why}; name another folder", path.display()));
    let path = std::path::absolute(path).map_err(|error| refused(&error.to_string()))?;
    let text = path.to_str().ok_or_else(|| refused("is no UTF-8"))?;
    if text.contains(['?', '#', '%']) || text.chars().any(char::is_control) {
        return Err(refused("contains ? # % or a control character"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Broker, Config, Database, Sources};

    #[test]
    fn a_folder_is_made_with_rules_and_leads_commands_to_itself() {
        let folder = Folder::open(None).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 4711));
        folder.write_settings(listen).unwrap();
        let sources = Sources { flags: Vec::new(), environment: Vec::new(), file: Some(folder.settings()) };
        let config = Config::load(&sources).unwrap();
        let Database::Sqlite(file) = config.database().unwrap() else { panic!("another database") };
        assert_eq!(file, folder.path().join("reprieve.db"));
        assert!(matches!(config.broker().unwrap(), Broker::Embedded));
        assert_eq!((config.http_listen, config.rules), (listen, folder.rules()));
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_was_asked_for_keeps_what_is_in_it() {
        let outer = Folder::open(None).unwrap();
        let path = outer.path().join("a b/c");
        let folder = Folder::open(Some(&path)).unwrap();
        fs::write(folder.rules(), "mine").unwrap();
        drop(folder);
        let folder = Folder::open(Some(&path)).unwrap();
        assert_eq!(fs::read_to_string(folder.rules()).unwrap(), "mine");
        assert_eq!(Folder::open(Some(&outer.path().join("a?b"))).err().map(|error| error.code), Some(Code::Usage));
        let file = outer.path().join("a file");
        fs::write(&file, "").unwrap();
        assert_eq!(Folder::open(Some(&file)).err().map(|error| error.code), Some(Code::Configuration));
    }
}
