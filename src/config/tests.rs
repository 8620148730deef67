//! The layers against each other, names, bounds and secrets.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

mod each;

/// A file that is gone when the test is.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("reprieve-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn load(flags: &[&str], environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, ConfigError> {
    let file = file.map(TempFile::new);
    Config::load(&Sources {
        flags: flags.iter().map(ToString::to_string).collect(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        file: file.as_ref().map(|file| file.0.clone()),
    })
}

#[track_caller]
fn faults(flags: &[&str], environment: &[(&str, &str)], file: Option<&str>) -> String {
    load(flags, environment, file).unwrap_err().to_string()
}

#[test]
fn every_default_is_valid_and_says_what_the_contract_says() {
    let config = load(&[], &[], None).unwrap();
    assert_eq!(config.amqp_prefetch, 1_000);
    assert_eq!(config.worker_batch_max, 500);
    assert_eq!(config.shutdown_deadline, Duration::from_secs(25));
    assert_eq!(config.parking_ttl, Duration::from_hours(24));
    assert_eq!((config.parking_max, config.outbox_max), (100_000, 1_000_000));
    assert_eq!(config.retry_wait_max, Duration::from_secs(30));
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.source.as_str(), config.rules.to_str()), ("urn:reprieve", Some("rules.yaml")));
    assert!(config.clock_offset.is_zero() && config.warnings().is_empty());
    assert!(config.database().unwrap_err().to_string().contains("set DATABASE_URL"));
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = Some("source = 'urn:file'\n[amqp]\nprefetch = 10\nprefix = 'f.'\n[worker]\nbatch_max = 7\n");
    let environment = [("REPRIEVE_AMQP__PREFETCH", "20"), ("REPRIEVE_AMQP__PREFIX", "e.")];
    let config = load(&["amqp.prefetch=30"], &environment, file).unwrap();
    assert_eq!(config.amqp_prefetch, 30);
    assert_eq!(config.amqp_prefix, "e.");
    assert_eq!(config.worker_batch_max, 7);
    assert_eq!(config.source, "urn:file");
}

#[test]
fn a_named_file_must_exist() {
    let sources = Sources { file: Some("no-such-reprieve.toml".into()), ..Sources::default() };
    assert!(Config::load(&sources).unwrap_err().to_string().starts_with("no-such-reprieve.toml: cannot read"));
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    let text = faults(&[], &[], Some("[amqp]\n\nprefetsh = 1\n"));
    assert!(text.contains(":3): unknown key; did you mean amqp.prefetch?"), "{text}");
    assert!(faults(&["amqp.prefix_=1"], &[], None).contains("did you mean amqp.prefix?"));
    assert!(faults(&[], &[("REPRIEVE_AMQP__PREFETSH", "1")], None).contains("did you mean REPRIEVE_AMQP__PREFETCH?"));
    assert!(faults(&[], &[("REPRIEVE_AMQP_PREFETCH", "1")], None).contains("did you mean REPRIEVE_AMQP__PREFETCH?"));
    assert!(faults(&[], &[("REPRIEVE_BANANA__SPLIT", "1")], None).contains("unknown variable: correct or remove"));
    assert!(faults(&[], &[], Some("[banana]")).contains("unknown key"));
    for foreign in ["REPRIEVE_PORT", "REPRIEVE_PORT_8080_TCP", "REPRIEVE_SERVICE_HOST", "REPRIEVE_SERVICE_PORT", "X__Y"]
    {
        assert!(load(&[], &[(foreign, "tcp://10.0.0.1:8080")], None).is_ok(), "{foreign}");
    }
}

#[test]
fn what_is_not_built_says_so() {
    assert!(faults(&[], &[("REPRIEVE_INBOX__RETENTION", "30d")], None).contains("inbox.retention is not built yet"));
}

#[test]
fn the_embedded_parts_go_together() {
    let file = |url| match load(&[], &[("DATABASE_URL", url)], None).unwrap().database().unwrap() {
        Database::Sqlite(file) => file,
        Database::Postgres(_) => panic!("another database"),
    };
    assert_eq!(file("sqlite://x.db"), Path::new("x.db"));
    assert_eq!(file("sqlite:///data/x y.db"), Path::new("/data/x y.db"));
    assert_eq!(file("sqlite:x.db"), Path::new("x.db"));
    for (url, says) in [
        ("sqlite://", "names no file"),
        ("sqlite::memory:", "would forget everything"),
        ("sqlite://x.db?mode=ro", "without parameters"),
    ] {
        assert!(faults(&[], &[("DATABASE_URL", url)], None).contains(says), "{url}");
    }
    let embedded = ("AMQP_URL", "embedded:");
    let config = load(&[], &[("DATABASE_URL", "sqlite://x.db"), embedded], None).unwrap();
    assert!(matches!(config.broker().unwrap(), Broker::Embedded));
    assert!(faults(&[], &[("DATABASE_URL", "postgres://u@h/d"), embedded], None).contains("a database of its own"));
    assert!(faults(&[], &[("AMQP_URL", "embedded://h")], None).contains("has no address"));
    let trust = Some("[trust]\nticketing = ['exception.submitted.v1']\n");
    assert!(faults(&[], &[("DATABASE_URL", "sqlite://x.db"), embedded], trust).contains("no users of a broker"));
}

#[test]
fn a_secret_comes_from_its_file_without_the_newline() {
    let secret = TempFile::new("postgres://u:hunter2@h/d\n");
    let config = load(&[], &[("DATABASE_URL_FILE", secret.0.to_str().unwrap())], None).unwrap();
    let Database::Postgres(url) = config.database().unwrap() else { panic!("another database") };
    assert_eq!(url.expose(), "postgres://u:hunter2@h/d");
    let token = TempFile::new("abc\r\n");
    let file = format!("[http]\ntoken_file = '{}'", token.0.display());
    assert_eq!(load(&[], &[], Some(&file)).unwrap().http_token.unwrap().expose(), "abc");
    assert!(faults(&[], &[("AMQP_URL_FILE", "no-such-secret")], None).contains("cannot read no-such-secret"));
}

#[test]
fn a_secret_and_its_file_together_are_an_error() {
    let secret = TempFile::new("x");
    let environment = [("REPRIEVE_HTTP__TOKEN", "a"), ("REPRIEVE_HTTP__TOKEN_FILE", secret.0.to_str().unwrap())];
    assert!(faults(&[], &environment, None).contains("http.token_file (REPRIEVE_HTTP__TOKEN_FILE): given together"));
}

#[test]
fn secrets_show_nowhere() {
    let secrets = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("AMQP_URL", "amqp://u:hunter2@h"),
        ("REPRIEVE_HTTP__TOKEN", "hunter2"),
    ];
    assert!(!format!("{:?}", load(&[], &secrets, None).unwrap()).contains("hunter2"));
    for (variable, _) in secrets {
        let text = faults(&[], &[(variable, "hunter2 ")], None);
        assert!(text.contains(variable) && !text.contains("hunter2"), "{text}");
    }
    for file in
        ["[amqp]\nurl = amqp://hunter2", "[amqp]\nurl = ['hunter2']", "[amqp]\nurl = 'hunter2", "x = \"\\hunter2\""]
    {
        assert!(!faults(&[], &[], Some(file)).contains("hunter2"), "{file}");
    }
    for flag in ["http.token=hunter2", "hunter2"] {
        assert!(!faults(&[flag], &[], None).contains("hunter2"));
    }
}

#[test]
fn values_out_of_bounds_name_key_origin_and_remedy() {
    for flag in [
        "amqp.prefetch=0",
        "amqp.prefetch=65536",
        "amqp.prefetch=-1",
        "worker.batch_max=5001",
        "shutdown.deadline=0s",
        "shutdown.deadline=25",
        "parking.ttl=0s",
        "retry.wait_max=31s",
        "outbox.max=0",
        "clock.offset=-9000d",
        "clock.offset=--1s",
        "log.format=xml",
        "http.listen=localhost",
        "database.allow_fsync_off=yes",
        "amqp.prefix=amq.x",
        "amqp.prefix=a b",
        "source=",
    ] {
        let (key, value) = flag.split_once('=').unwrap();
        let text = faults(&[flag], &[], None);
        assert!(text.starts_with(&format!("{key} (--set): ")), "{flag}: {text}");
        assert!(text.contains(value) || value == "amq.x", "{flag}: {text}");
    }
    let all = faults(&["amqp.prefetch=0", "worker.batch_max=0"], &[], None);
    assert_eq!(all.lines().count(), 2, "all faults at once: {all}");
}

#[test]
fn a_clock_offset_may_be_negative_and_is_warned_about() {
    let config = load(&["clock.offset=-366d"], &[], None).unwrap();
    assert_eq!(config.clock_offset, TimeDelta::days(-366));
    assert!(config.warnings()[0].contains("for tests only"));
}

#[test]
fn trust_stands_in_the_file_and_nowhere_else() {
    let file = "source = 'x'\n[trust]\n'team.reviews' = ['exception.decision.v1']\nticketing = ['ticket.*']\n";
    let mut expected = Trust::default();
    expected.allow("team.reviews", vec!["exception.decision.v1".to_owned()]).unwrap();
    expected.allow("ticketing", vec!["ticket.*".to_owned()]).unwrap();
    assert_eq!(load(&[], &[], Some(file)).unwrap().trust, Some(expected));
    assert_eq!(load(&[], &[], None).unwrap().trust, None);
    for (file, line, expected) in [
        ("[trust]\n", 1, "names nobody: add a user"),
        ("[trust]\n'' = ['ticket.*']", 2, "names nobody"),
        ("trust = true", 1, "write it as [trust]"),
        ("[trust]\nx = 'ticket.*'", 2, "expected a list of types, found a string"),
        ("[trust]\nx = ['ticket.*', 1]", 2, "expected types as texts, found a integer"),
        ("[trust]\nteam.reviews = ['ticket.*']", 2, "put in quotes"),
        ("[trust]\nx = []", 2, "allows nothing: name at least one type"),
        (
            "[trust]\nx = ['exception.decide.v1']",
            2,
            "\"exception.decide.v1\" fits no type; write one of exception.submitted",
        ),
    ] {
        let text = faults(&[], &[], Some(file));
        assert!(
            text.starts_with("trust") && text.contains(&format!(":{line}): ")) && text.contains(expected),
            "{file}: {text}"
        );
    }
    for name in ["REPRIEVE_TRUST", "REPRIEVE_TRUST__TICKETING"] {
        let text = faults(&[], &[(name, "ticket.*")], None);
        assert!(text.starts_with(&format!("trust ({name}): is a table of users")), "{text}");
    }
    for flag in ["trust=x", "trust.ticketing=ticket.*"] {
        assert!(faults(&[flag], &[], None).contains("(--set): is a table of users"), "{flag}");
    }
}

#[test]
fn files_that_would_not_be_used_are_a_fault() {
    let [ca, cert, key] = ["amqp.ca_file=/ca", "amqp.client_cert_file=/cert", "amqp.client_key_file=/key"];
    let (tls, plain) = ([("AMQP_URL", "amqps://h")], [("AMQP_URL", "amqp://h")]);
    let config = load(&[ca, cert, key], &tls, None).unwrap();
    assert_eq!(config.amqp_ca_file, Some("/ca".into()));
    assert_eq!(config.amqp_client_files, Some(("/cert".into(), "/key".into())));
    assert_eq!(load(&[ca], &tls, None).unwrap().amqp_client_files, None);
    assert_eq!(load(&[cert, key], &[], None).unwrap().amqp_ca_file, None, "for commands that need no broker");
    assert!(faults(&[ca], &plain, None).contains("amqp.ca_file (--set): would not be used: write amqps://"));
    assert!(faults(&[cert], &tls, None).contains("is of no use alone: set amqp.client_key_file too"));
    assert!(faults(&[key], &tls, None).contains("is of no use alone: set amqp.client_cert_file too"));
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_no_secret() {
    let secret = TempFile::new("hunter2");
    let file = TempFile::new("source = 'urn:file'\n[amqp]\nprefetch = 10\n[trust]\nticketing = ['ticket.*']\n");
    let (settings, faults) = shown::settings(&Sources {
        flags: vec!["worker.batch_max=7".to_owned()],
        environment: vec![
            ("REPRIEVE_HTTP__TOKEN_FILE".into(), secret.0.clone().into()),
            ("AMQP_URL".into(), "hunter2 that is no address".into()),
            ("REPRIEVE_OUTBOX__MAX".into(), "none".into()),
        ],
        file: Some(file.0.clone()),
    })
    .unwrap();
    assert!(faults.is_empty() && !format!("{settings:?}").contains("hunter2"), "{settings:?}");
    let of = |key: &str| {
        let found = settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key}: {settings:?}"));
        (found.value.as_deref(), found.origin.clone())
    };
    assert_eq!(of("worker.batch_max"), (Some("7"), Origin::Flag));
    assert_eq!(of("http.token"), (Some("***"), Origin::Variable("REPRIEVE_HTTP__TOKEN_FILE".to_owned())));
    assert_eq!(of("amqp.url"), (Some("***"), Origin::Variable("AMQP_URL".to_owned())));
    assert_eq!(of("outbox.max"), (Some("none"), Origin::Variable("REPRIEVE_OUTBOX__MAX".to_owned())));
    assert_eq!(of("amqp.prefetch"), (Some("10"), Origin::File(file.0.clone(), 3)));
    assert_eq!(of("trust.ticketing"), (Some("ticket.*"), Origin::File(file.0.clone(), 5)));
    assert_eq!(of("parking.max"), (Some("100000"), Origin::Default));
    assert_eq!(of("database.url"), (None, Origin::Default));
    for key in keys::KEYS.iter().filter(|key| key.name != "trust") {
        of(key.name);
    }
}

#[test]
fn the_example_is_complete_and_yields_the_defaults() {
    let text = shown::example();
    let (defaults, example) = (load(&[], &[], None).unwrap(), load(&[], &[], Some(&text)).unwrap());
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
    for key in keys::KEYS {
        assert!(text.contains(key.variable) || key.name == "trust", "{} is missing", key.name);
        assert!(text.contains(key.doc), "{} is not explained", key.name);
    }
    // What stands in comments is a setting too, once it has a value.
    let mut addresses = ["postgres://h/d", "amqp://h"].into_iter();
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("url = ") => format!("url = {:?}\n", addresses.next().unwrap()),
        Some(rest) if rest.starts_with('[') || rest.contains(" = [") => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let filled: String = text.lines().map(line).collect();
    let config = load(&[], &[], Some(&filled)).unwrap_or_else(|error| panic!("{error}\n{filled}"));
    assert!(config.trust.is_some() && config.database().is_ok() && config.broker().is_ok());
}
