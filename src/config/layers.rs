//! Gathers what flags, environment and file say about each key; the first that says something wins. It checks names, not
//! values: those are read in `values`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Fault, Origin};
use super::keys::{self, Form, KEYS, Key};
use super::trust::{ONLY_IN_FILE, TRUST, TrustRow};

/// The file that is read when none is named.
const FILE_DEFAULT: &str = "reprieve.toml";
/// Largest file that is read, the configuration and a secret alike: more is a mistake, such as a device or a log.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where settings may come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// `KEY=VALUE` texts of the command line.
    pub flags: Vec<String>,
    /// The environment, whole.
    pub environment: Vec<(OsString, OsString)>,
    /// The file named on the command line; without one `reprieve.toml` is read if it exists.
    pub file: Option<PathBuf>,
}

/// A value, not yet looked at.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// What one layer says, keyed by name; a secret's file is kept under the name with `_file`.
type Layer = BTreeMap<String, Found>;

/// What was found for each key, and what was wrong on the way.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) found: BTreeMap<&'static str, Found>,
    /// Rows of `[trust]`; empty without the table.
    pub(super) trust: Vec<TrustRow>,
    pub(super) faults: Vec<Fault>,
}

/// Reads all layers.
pub(super) fn gather(sources: &Sources) -> Result<Gathered, ConfigError> {
    let mut gathered = Gathered::default();
    let layers = [
        flags(&sources.flags, &mut gathered.faults),
        environment(&sources.environment, &mut gathered.faults),
        file(sources.file.as_deref(), &mut gathered)?,
    ];
    for key in KEYS {
        if let Some(found) = layers.iter().find_map(|layer| look_up(key, layer, &mut gathered.faults)) {
            gathered.found.insert(key.name, found);
        }
    }
    Ok(gathered)
}

/// What a layer says about a key; a secret may stand in a file of its own.
fn look_up(key: &Key, layer: &Layer, faults: &mut Vec<Fault>) -> Option<Found> {
    let direct = layer.get(key.name);
    let Some(by_file) = layer.get(&format!("{}_file", key.name)) else {
        return direct.cloned();
    };
    if direct.is_some() {
        let message = "given together with the secret itself: keep one of the two".to_owned();
        faults.push(Fault { key: format!("{}_file", key.name), origin: by_file.origin.clone(), message });
        return direct.cloned();
    }
    match read_bounded(Path::new(&by_file.text)) {
        Ok(text) => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
            Some(Found { text, origin: by_file.origin.clone() })
        }
        Err(error) => {
            // Somebody who mixes up X and X_FILE gives the secret itself.
            let file = if by_file.text.contains("://") { "the file" } else { &by_file.text };
            let message = format!("cannot read {file}: {error}; name a file this process may read");
            faults.push(Fault { key: format!("{}_file", key.name), origin: by_file.origin.clone(), message });
            None
        }
    }
}

fn flags(texts: &[String], faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    for text in texts {
        let mut fault = |key: &str, message: String| {
            faults.push(Fault { key: key.to_owned(), origin: Origin::Flag, message });
        };
        let Some((name, value)) = text.split_once('=') else {
            // The whole text may be a secret that was meant for something else, so it is not repeated.
            fault("?", "expected KEY=VALUE: write it like --set worker.batch_max=100".to_owned());
            continue;
        };
        match keys::find(name) {
            Some(Key { form: Form::Secret, variable, .. }) => {
                fault(
                    name,
                    format!("a secret on the command line can be seen by everybody here: set {variable} instead"),
                );
            }
            Some(Key { form: Form::Table, .. }) => fault(name, ONLY_IN_FILE.to_owned()),
            None if name.starts_with("trust.") => fault(name, ONLY_IN_FILE.to_owned()),
            Some(_) => {
                layer.insert(name.to_owned(), Found { text: value.to_owned(), origin: Origin::Flag });
            }
            None => fault(name, unknown(name, &file_names(), "key")),
        }
    }
    layer
}

fn environment(variables: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let origin = Origin::Variable(variable.to_owned());
        if variable == "REPRIEVE_TRUST" || variable.starts_with("REPRIEVE_TRUST__") {
            faults.push(Fault { key: TRUST.to_owned(), origin, message: ONLY_IN_FILE.to_owned() });
        } else if let Some(name) = name_of_variable(variable) {
            match value.to_str() {
                Some(text) => {
                    layer.insert(name, Found { text: text.to_owned(), origin });
                }
                None => faults.push(Fault { key: name, origin, message: "is not UTF-8: write it in UTF-8".to_owned() }),
            }
        } else if let Some(message) = unknown_variable(variable) {
            faults.push(Fault { key: variable.to_owned(), origin, message });
        }
    }
    layer
}

/// The key behind a variable, with `_file` where it names a secret's file.
fn name_of_variable(variable: &str) -> Option<String> {
    let by_file = variable.strip_suffix("_FILE");
    KEYS.iter().find_map(|key| match key.form {
        _ if key.variable == variable => Some(key.name.to_owned()),
        Form::Secret if by_file == Some(key.variable) => Some(format!("{}_file", key.name)),
        _ => None,
    })
}

/// What to say about a variable that looks like a setting and is none. Orchestrators set variables such as
/// `REPRIEVE_PORT_8080_TCP` for a service of that name, so without a section only what is nearly right is an error.
fn unknown_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("REPRIEVE_")?;
    if let Some((section, key)) = name.split_once("__") {
        let dotted = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
        if let Some(missing) = keys::not_built(&dotted) {
            return Some(format!("{missing} is not built yet: remove it"));
        }
    }
    let names = || variable_names().into_iter();
    let suggestion = keys::nearest(variable, names().collect::<Vec<_>>().iter().map(String::as_str)).map(str::to_owned);
    (name.contains("__") || suggestion.is_some()).then(|| unknown_with(suggestion.as_deref(), "variable"))
}

fn variable_names() -> Vec<String> {
    let by_file = |key: &Key| matches!(key.form, Form::Secret).then(|| format!("{}_FILE", key.variable));
    KEYS.iter().flat_map(|key| [Some(key.variable.to_owned()), by_file(key)]).flatten().collect()
}

fn file_names() -> Vec<String> {
    let by_file = |key: &Key| matches!(key.form, Form::Secret).then(|| format!("{}_file", key.name));
    KEYS.iter().flat_map(|key| [Some(key.name.to_owned()), by_file(key)]).flatten().collect()
}

fn unknown(name: &str, known: &[String], what: &str) -> String {
    match keys::not_built(name) {
        Some(missing) => format!("{missing} is not built yet: remove it"),
        None => unknown_with(keys::nearest(name, known.iter().map(String::as_str)), what),
    }
}

fn unknown_with(suggestion: Option<&str>, what: &str) -> String {
    match suggestion {
        Some(name) => format!("unknown {what}; did you mean {name}?"),
        None => format!("unknown {what}: correct or remove it"),
    }
}

fn file(named: Option<&Path>, gathered: &mut Gathered) -> Result<Layer, ConfigError> {
    let path = named.unwrap_or(Path::new(FILE_DEFAULT));
    let text = match read_bounded(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Layer::new()),
        Err(error) => {
            let message = format!("cannot read the configuration: {error}; name a file this process may read");
            return Err(ConfigError::File { place: path.display().to_string(), message });
        }
    };
    // The library's own message would show the line, and with it perhaps a password.
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        let why = error.message().replace('\n', ", ");
        let message = format!("{why}; correct this line: `reprieve config example` shows how a file looks");
        ConfigError::File { place: format!("{}:{line}", path.display()), message }
    })?;
    let Gathered { trust, faults, .. } = gathered;
    let mut reader = FileReader { path, text: &text, layer: Layer::new(), trust, faults };
    reader.table("", table.get_ref());
    Ok(reader.layer)
}

struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    trust: &'a mut Vec<TrustRow>,
    faults: &'a mut Vec<Fault>,
}

impl FileReader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let origin = Origin::File(self.path.to_owned(), line_of(self.text, key.span().start));
            let known = file_names().contains(&name);
            let text = match value.get_ref() {
                DeValue::Table(users) if name == TRUST => {
                    self.trusted(users, origin);
                    continue;
                }
                _ if name == TRUST => Err("expected a table of users: write it as [trust]".to_owned()),
                DeValue::Table(inner) if !known && !inner.is_empty() && keys::not_built(&name).is_none() => {
                    self.table(&format!("{name}."), inner);
                    continue;
                }
                _ if !known => Err(unknown(&name, &file_names(), "key")),
                DeValue::String(text) => Ok(text.to_string()),
                DeValue::Integer(number) => Ok(number.to_string()),
                DeValue::Boolean(switch) => Ok(switch.to_string()),
                other => {
                    let found = other.type_str();
                    let written = key.get_ref();
                    Err(format!("expected one plain value, found a {found}: write it like {written} = \"VALUE\""))
                }
            };
            match text {
                Ok(text) => {
                    self.layer.insert(name, Found { text, origin });
                }
                Err(message) => self.faults.push(Fault { key: name, origin, message }),
            }
        }
    }
}

impl FileReader<'_> {
    fn trusted(&mut self, users: &DeTable<'_>, origin: Origin) {
        if users.is_empty() {
            self.trust.push(TrustRow::none(origin));
        }
        for (user, value) in users {
            let origin = Origin::File(self.path.to_owned(), line_of(self.text, user.span().start));
            self.trust.push(TrustRow::new(user.get_ref(), value.get_ref(), origin));
        }
    }
}

/// Counts from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
