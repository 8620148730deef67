//! Every setting, one after the other: what is said of a bad value, and where a good one is said to come from, by each way to set it.

use super::*;
use crate::config::keys::{Form, KEYS, Key};

/// A setting with a value that is taken, one that is not, and what helps then.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("database.url", "postgres://h/d", "mysql://h", "write it like postgres://"),
    ("database.allow_fsync_off", "true", "yes", "write one of the two"),
    ("amqp.url", "amqps://h", "http://h", "write it like amqp://"),
    ("amqp.ca_file", "/ca", "a\tb", "write 0 to 4096 characters"),
    ("amqp.client_cert_file", "/cert", "a\tb", "write 0 to 4096 characters"),
    ("amqp.client_key_file", "/key", "a\tb", "write 0 to 4096 characters"),
    ("amqp.prefix", "team.", "a b", "write up to 64 characters"),
    ("amqp.prefetch", "7", "0", "write it like 1000"),
    ("worker.batch_max", "7", "many", "write it like 500"),
    ("shutdown.deadline", "7s", "25", "write it like 25s"),
    ("parking.ttl", "7h", "0s", "write it like 25s"),
    ("parking.max", "7", "0", "write it like 100000"),
    ("outbox.max", "7", "-1", "write it like 1000000"),
    ("retry.wait_max", "7s", "31s", "write it like 25s"),
    ("http.listen", "[::1]:80", "localhost", "write it like 127.0.0.1:8080"),
    ("http.token", "t0ken", "a b", "use printable ASCII"),
    ("links.exception", "https://h/{exception_id}", "a\tb", "write 0 to 4096 characters"),
    ("rules", "r.yaml", "", "write 1 to 4096 characters"),
    ("source", "urn:x", "", "write 1 to 256 characters"),
    ("clock.offset", "-1h", "soon", "write it like 1h"),
    ("log.format", "json", "xml", "write one of them"),
];

/// A file in which the setting stands on line 3.
fn on_line_3(name: &str, value: &str) -> String {
    match name.split_once('.') {
        Some((section, key)) => format!("# by hand\n[{section}]\n{key} = {value:?}\n"),
        None => format!("# by hand\n\n{name} = {value:?}\n"),
    }
}

/// What is said of one value, and the place it has to begin with.
fn said_of(key: &Key, value: &str) -> Vec<(String, String)> {
    let flag = (faults(&[&format!("{}={value}", key.name)], &[], None), "--set".to_owned());
    let variable = (faults(&[], &[(key.variable, value)], None), key.variable.to_owned());
    let file = TempFile::new(&on_line_3(key.name, value));
    let sources = Sources { file: Some(file.0.clone()), ..Sources::default() };
    let of_file = (Config::load(&sources).unwrap_err().to_string(), format!("{}:3", file.0.display()));
    vec![flag, variable, of_file]
}

#[test]
fn of_each_bad_value_key_place_and_remedy_are_told() {
    for key in KEYS.iter().filter(|key| !matches!(key.form, Form::Table)) {
        let row = ROWS.iter().find(|(name, ..)| *name == key.name);
        let (name, _, bad, remedy) = row.unwrap_or_else(|| panic!("{} is in no row", key.name));
        for (text, place) in said_of(key, bad) {
            let is_secret_flag = place == "--set" && matches!(key.form, Form::Secret);
            let remedy = if is_secret_flag { format!("set {} instead", key.variable) } else { (*remedy).to_owned() };
            assert!(text.starts_with(&format!("{name} ({place}): ")) && text.contains(&remedy), "{bad:?}: {text}");
            assert_eq!(text.lines().count(), 1, "nothing else is wrong: {text}");
        }
    }
}

#[test]
fn of_each_good_value_the_place_is_shown() {
    for key in KEYS.iter().filter(|key| !matches!(key.form, Form::Table)) {
        let (name, good, ..) = ROWS.iter().find(|(name, ..)| *name == key.name).unwrap();
        let is_secret = matches!(key.form, Form::Secret);
        let shown = |sources: &Sources| {
            let (settings, faults) = shown::settings(sources).unwrap();
            let setting = settings.into_iter().find(|setting| setting.key == *name).unwrap();
            (setting.value, setting.origin, faults.len())
        };
        // Of an address only the password is hidden, and these have none.
        let is_hidden = is_secret && !good.contains("://");
        let value = || Some(if is_hidden { shown::HIDDEN.to_owned() } else { (*good).to_owned() });

        let file = TempFile::new(&on_line_3(name, good));
        let from_file = Sources { file: Some(file.0.clone()), ..Sources::default() };
        assert_eq!(shown(&from_file), (value(), Origin::File(file.0.clone(), 3), 0), "{name}");
        let and_variable = Sources { environment: vec![(key.variable.into(), (*good).into())], ..from_file };
        assert_eq!(shown(&and_variable), (value(), Origin::Variable(key.variable.to_owned()), 0), "{name}");
        if !is_secret {
            let and_flag = Sources { flags: vec![format!("{name}={good}")], ..and_variable };
            assert_eq!(shown(&and_flag), (value(), Origin::Flag, 0), "{name}");
        }
        let nothing = TempFile::new("");
        let unset = Sources { file: Some(nothing.0.clone()), ..Sources::default() };
        assert_eq!(shown(&unset), (key.default.map(str::to_owned), Origin::Default, 0), "{name}");
    }
}

/// What is wrong with the file itself, and with two settings together.
#[test]
fn of_what_is_no_value_place_and_remedy_are_told_too() {
    let embedded = "[amqp]\nurl = 'embedded:'\n";
    for (text, line, key, remedy) in [
        ("source = 'x'\nsource = 'y'\n", 2, "", "correct this line: `reprieve config example`"),
        ("\n[amqp]\nprefix = 'x\n", 3, "", "correct this line"),
        ("[amqp]\nprefetch = 1.5\n", 2, "amqp.prefetch", "write it like prefetch = \"VALUE\""),
        ("source = ['x']\n", 1, "source", "write it like source = \"VALUE\""),
        ("\nbanana = 1\n", 2, "banana", "correct or remove it"),
        ("[inbox]\nretention = '30d'\n", 2, "inbox.retention", "remove it"),
        (&format!("{embedded}[trust]\nx = ['ticket.*']\n"), 4, "trust", "remove it"),
        (&format!("{embedded}[database]\nurl = 'postgres://h/d'\n"), 2, "amqp.url", "write DATABASE_URL=sqlite://FILE"),
        ("[http]\ntoken = 'a'\ntoken_file = '/x'\n", 3, "http.token_file", "keep one of the two"),
        ("[http]\ntoken_file = '/no/such/file'\n", 2, "http.token_file", "name a file this process may read"),
    ] {
        let file = TempFile::new(text);
        let sources = Sources { file: Some(file.0.clone()), ..Sources::default() };
        let said = Config::load(&sources).unwrap_err().to_string();
        let place = format!("{}:{line}", file.0.display());
        let place = if key.is_empty() { format!("{place}: ") } else { format!("{key} ({place}): ") };
        assert!(said.starts_with(&place) && said.contains(remedy), "{text}: {said}");
    }
}
