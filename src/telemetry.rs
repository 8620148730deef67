//! Log lines on stderr: for people on a terminal, one JSON object a line elsewhere. Traces are in [`crate::spans`], metrics in
//! [`crate::metrics`]. What may be logged is a rule of the house: identifiers, never payloads, names or secrets.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Libraries whose lines below a warning are about themselves, and may repeat what was said to the peer.
const NOISY: [&str; 5] = ["sqlx", "async_rs", "hyper", "rustls", "executor_trait"];
/// Libraries that log as errors what the worker logs once itself, or whole payloads (lapin, of returned messages), or the
/// parameters of a URL (the driver, of those it does not know).
const SILENT: [&str; 2] = ["lapin", "sqlx_postgres::options"];

/// Starts logging, from `level` on unless `RUST_LOG` says otherwise. Called once, after the configuration is read; a second call
/// changes nothing.
pub fn start(format: LogFormat, level: &str) {
    let filter = filter(std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref(), level);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if is_json(format) {
        registry.with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
    } else {
        registry.with(layer.with_ansi(std::io::stderr().is_terminal() && !no_color())).try_init()
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    }
}

/// Whether `NO_COLOR` asks for plain text, here and in what commands print.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// `RUST_LOG`, or the level; libraries stay quiet unless they are named.
fn filter(wanted: Option<&str>, level: &str) -> EnvFilter {
    let wanted = wanted.filter(|text| !text.trim().is_empty()).unwrap_or(level);
    let unnamed = |names: &'static [&str], level: &'static str| {
        names.iter().filter(|name| !wanted.contains(*name)).map(move |name| format!("{name}={level}"))
    };
    let quiet = unnamed(&NOISY, "warn").chain(unnamed(&SILENT, "off"));
    let directives = std::iter::once(wanted.to_owned()).chain(quiet).collect::<Vec<_>>().join(",");
    EnvFilter::builder().parse_lossy(directives)
}

/// A panic is a log line like any other. Only a literal message is repeated: a formatted one may contain what was being
/// processed.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("see the place");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic.place = place, "a panic at {place}: {message}; please report it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        assert!(filter(None, "info").to_string().contains("lapin=off"));
        let named = filter(Some("debug,lapin=trace"), "info").to_string();
        assert!(
            named.contains("lapin=trace") && !named.contains("lapin=off") && named.contains("sqlx=warn"),
            "{named}"
        );
        assert!(filter(Some(" "), "info").to_string().contains("info"));
    }
}
