//! The one table of settings: name, variable, form with its bounds, default, meaning. Reading, checking and suggesting are
//! all driven by it; [`super::Config`] is what comes out. A new setting is a row here and a field there.

use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name in the file.
    pub name: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// What its value looks like.
    pub form: Form,
    /// What holds when nothing is said; `None` where there is no sensible value.
    pub default: Option<&'static str>,
    /// What it is for.
    pub doc: &'static str,
}

/// What a value looks like, with its bounds.
#[derive(Debug)]
pub enum Form {
    /// Any text that the reader of the key accepts.
    Text,
    /// A text that never shows; it can also be read from a file, named by the key with `_file` or the variable with `_FILE`.
    Secret,
    /// `true` or `false`.
    Switch,
    /// A whole number, both bounds included.
    Number(u64, u64),
    /// A duration such as `25s` or `24h`, both bounds included.
    Span(Duration, Duration),
    /// A duration that may be negative, at most so long either way.
    Offset(Duration),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A table of its own, only in the file.
    Table,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(366 * 24);

const fn key(
    name: &'static str,
    variable: &'static str,
    form: Form,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { name, variable, form, default, doc }
}

/// All settings.
pub const KEYS: &[Key] = &[
    key(
        "database.url",
        "DATABASE_URL",
        Form::Secret,
        None,
        "where the state is kept: postgres://user:password@host/database or sqlite://FILE",
    ),
    key(
        "database.allow_fsync_off",
        "REPRIEVE_DATABASE__ALLOW_FSYNC_OFF",
        Form::Switch,
        Some("false"),
        "work with a database that does not survive a power cut; for tests",
    ),
    key(
        "amqp.url",
        "AMQP_URL",
        Form::Secret,
        None,
        "the broker: amqp:// or amqps://user:password@host/vhost, or embedded:",
    ),
    key(
        "amqp.ca_file",
        "REPRIEVE_AMQP__CA_FILE",
        Form::Text,
        Some(""),
        "amqps: authorities beside those of the system, PEM",
    ),
    key(
        "amqp.client_cert_file",
        "REPRIEVE_AMQP__CLIENT_CERT_FILE",
        Form::Text,
        Some(""),
        "amqps: the client's certificate, PEM",
    ),
    key(
        "amqp.client_key_file",
        "REPRIEVE_AMQP__CLIENT_KEY_FILE",
        Form::Text,
        Some(""),
        "amqps: its key, PEM without pass phrase",
    ),
    key(
        "amqp.prefix",
        "REPRIEVE_AMQP__PREFIX",
        Form::Text,
        Some(""),
        "put before the name of every exchange and queue",
    ),
    // AMQP carries it in 16 bits, and 0 would mean no limit.
    key("amqp.prefetch", "REPRIEVE_AMQP__PREFETCH", Form::Number(1, 65_535), Some("1000"), "most messages in hand"),
    // 500 has half the latency of 1,000 and is within a tenth of its speed.
    key(
        "worker.batch_max",
        "REPRIEVE_WORKER__BATCH_MAX",
        Form::Number(1, 5_000),
        Some("500"),
        "most events in one transaction",
    ),
    key(
        "shutdown.deadline",
        "REPRIEVE_SHUTDOWN__DEADLINE",
        Form::Span(Duration::from_millis(1), HOUR),
        Some("25s"),
        "how long a shutdown may take before the process just ends; below the 30 s orchestrators commonly give",
    ),
    key(
        "parking.ttl",
        "REPRIEVE_PARKING__TTL",
        Form::Span(Duration::from_millis(1), YEAR),
        Some("24h"),
        "how long a decision waits for its submission",
    ),
    key("parking.max", "REPRIEVE_PARKING__MAX", Form::Number(1, 10_000_000), Some("100000"), "most events that wait"),
    key(
        "outbox.max",
        "REPRIEVE_OUTBOX__MAX",
        Form::Number(1, 100_000_000),
        Some("1000000"),
        "events still to be published at which consumption pauses",
    ),
    // Longer, and a worker would notice too late that broker or database is back.
    key(
        "retry.wait_max",
        "REPRIEVE_RETRY__WAIT_MAX",
        Form::Span(Duration::from_millis(1), SECOND.saturating_mul(30)),
        Some("30s"),
        "the longest wait between two attempts to reach broker or database",
    ),
    key(
        "http.listen",
        "REPRIEVE_HTTP_LISTEN",
        Form::Text,
        Some("127.0.0.1:8080"),
        "address and port of probes and API",
    ),
    key("http.token", "REPRIEVE_HTTP__TOKEN", Form::Secret, None, "bearer token of the API; without it loopback only"),
    key("links.exception", "REPRIEVE_LINKS__EXCEPTION", Form::Text, Some(""), "link put into notifications"),
    key("rules", "REPRIEVE_RULES", Form::Text, Some("rules.yaml"), "the rules file"),
    key("source", "REPRIEVE_SOURCE", Form::Text, Some("urn:reprieve"), "`source` of the events that are published"),
    key(
        "trust",
        "REPRIEVE_TRUST",
        Form::Table,
        None,
        "which user of the broker may publish which types; only in the file",
    ),
    key(
        "clock.offset",
        "REPRIEVE_CLOCK__OFFSET",
        Form::Offset(DAY.saturating_mul(3_660)),
        Some("0s"),
        "added to the clock; for tests only",
    ),
    key(
        "log.format",
        "REPRIEVE_LOG__FORMAT",
        Form::Word(&["auto", "human", "json"]),
        Some("auto"),
        "auto: human on a terminal, else JSON",
    ),
];

/// Settings the contract names that nothing uses yet: a table or a key.
const NOT_BUILT: &[&str] = &["inbox.retention"];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// What the name belongs to that is not built yet, if it does.
pub fn not_built(name: &str) -> Option<&'static str> {
    NOT_BUILT
        .iter()
        .copied()
        .find(|known| name == *known || name.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
}

/// The known name nearest to one that is unknown, if it is near enough to have been meant.
pub fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Three slips of the finger are still the same word; more is another word.
    const DISTANCE_MAX: usize = 3;
    known
        .map(|name| (distance(unknown, name), name))
        .min()
        .filter(|(distance, _)| *distance <= DISTANCE_MAX)
        .map(|(_, name)| name)
}

/// Slips between two names. The right key in the wrong section counts as one.
fn distance(unknown: &str, name: &str) -> usize {
    let last = |dotted: &str| dotted.rsplit('.').next().map(str::to_owned);
    let misplaced = name.contains('.') && last(unknown) == last(name);
    let slips = strsim::osa_distance(&unknown.to_lowercase(), &name.to_lowercase());
    if misplaced { slips.min(1) } else { slips }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_own_name_and_variable() {
        for (at, key) in KEYS.iter().enumerate() {
            for other in &KEYS[at + 1..] {
                assert!(key.name != other.name && key.variable != other.variable, "{} {}", key.name, other.name);
            }
            assert!(!key.doc.is_empty());
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_another_word_does_not() {
        let names = || KEYS.iter().map(|key| key.name);
        for (unknown, expected) in [
            ("amqp.prefetsh", Some("amqp.prefetch")),
            ("ampq.prefetch", Some("amqp.prefetch")),
            ("broker.prefetch", Some("amqp.prefetch")),
            ("prefetch", Some("amqp.prefetch")),
            ("Rules", Some("rules")),
            ("banana", None),
        ] {
            assert_eq!(nearest(unknown, names()), expected, "{unknown}");
        }
    }

    #[test]
    fn what_is_not_built_is_known_by_its_name() {
        assert_eq!(not_built("inbox.retention.days"), Some("inbox.retention"));
        assert_eq!(not_built("inbox.retentions"), None);
        assert_eq!(not_built("inbox.retention"), Some("inbox.retention"));
    }
}
