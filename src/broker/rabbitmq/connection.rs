//! One attempt to connect, and what lapin's errors mean in words. Not the retries: those are in `link`.

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};

use super::guard::{self, Wire};
use super::{RabbitError, SILENCE_MAX, Settings, tls};
use crate::tls::is_loopback;

/// Seconds. lapin gives up on a peer that was silent for twice this, so a frozen broker is noticed within 13 s (bound: 15 s).
const HEARTBEAT_S: u16 = 5;
/// TCP, TLS and the AMQP handshake together.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Connects once. `purpose` is shown among the broker's connections.
pub(super) async fn connect(settings: &Settings, purpose: &str) -> Result<Wire, RabbitError> {
    let uri = parse(&settings.uri)?;
    let action = format!("connect to {}:{}, vhost {}", uri.authority.host, uri.authority.port, uri.vhost);
    let properties = ConnectionProperties::default().with_connection_name(format!("reprieve {purpose}").into());
    let by_tls = uri.scheme == AMQPScheme::AMQPS;
    let tls = match uri.scheme {
        AMQPScheme::AMQPS => settings.certificates.read().await?,
        AMQPScheme::AMQP => OwnedTLSConfig::default(),
    };
    match tokio::time::timeout(CONNECT_MAX, guard::connect(uri, tls, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if by_tls && is_hang_up(&error) => {
            Err(RabbitError::Unreachable { action, why: format!("{error}; {}", tls::HUNG_UP) })
        }
        Ok(Err(error)) => Err(explain(action, &error)),
        Err(_) => Err(silent(action, CONNECT_MAX)),
    }
}

/// Whether the other side closed the connection while it was being made.
fn is_hang_up(error: &lapin::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ErrorKind::IOError(error) = error.kind() else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// The user the connection is made with. The broker vouches for it where a message names it, which a worker with a trust table
/// asks for. `None` where the address does not say: with `auth_mechanism=external` the certificate does.
pub(super) fn user_of(uri: &str) -> Result<Option<String>, RabbitError> {
    let uri = parse(uri)?;
    let named = uri.query.auth_mechanism != Some(SASLMechanism::External);
    Ok(named.then_some(uri.authority.userinfo.username))
}

/// The host, where the way to it is open to others.
pub(super) fn clear_text_host(uri: &str) -> Option<String> {
    let uri = parse(uri).ok()?;
    (uri.scheme == AMQPScheme::AMQP && !is_loopback(&uri.authority.host)).then_some(uri.authority.host)
}

/// Opens a channel.
pub(super) async fn channel(connection: &Connection) -> Result<Channel, RabbitError> {
    answer("open a channel", connection.create_channel()).await
}

/// Awaits an answer of the broker, but not for ever: lapin itself would.
pub(super) async fn answer<T>(
    action: impl Into<String>,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, RabbitError> {
    match tokio::time::timeout(SILENCE_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain(action, &error)),
        Err(_) => Err(silent(action, SILENCE_MAX)),
    }
}

/// What an error of lapin means, and what to do about it.
pub(super) fn explain(action: impl Into<String>, error: &lapin::Error) -> RabbitError {
    let action = action.into();
    match error.kind() {
        ErrorKind::ProtocolError(reply) => RabbitError::Refused {
            action,
            why: reply.get_message().to_string(),
            remedy: remedy(reply.get_id(), reply.get_message().as_str()),
        },
        _ => RabbitError::Unreachable { action, why: with_remedy(error.to_string()) },
    }
}

fn with_remedy(why: String) -> String {
    match tls::remedy(&why) {
        Some(remedy) => format!("{why}; {remedy}"),
        None => why,
    }
}

/// No answer at all.
pub(super) fn silent(action: impl Into<String>, after: Duration) -> RabbitError {
    RabbitError::Unreachable { action: action.into(), why: format!("no answer within {} s", after.as_secs()) }
}

/// What was published is not confirmed. While the broker blocks publishers it reads nothing, and says nothing either.
pub(super) fn unconfirmed(action: impl Into<String>, after: Duration) -> RabbitError {
    let seconds = after.as_secs();
    let why = format!(
        "no confirm within {seconds} s: it may be blocking publishers for want of memory or disk (`rabbitmq-diagnostics alarms`)"
    );
    RabbitError::Unreachable { action: action.into(), why }
}

/// By AMQP's reply codes.
fn remedy(code: u16, message: &str) -> &'static str {
    match code {
        403 if message.contains("Login was refused") || message.contains("login refused") => {
            "check user and password in AMQP_URL"
        }
        403 => "grant the user the right: `reprieve topology print` lists them",
        404 => "run `reprieve topology apply`",
        406 => "it exists with other arguments: empty and delete it, then run `reprieve topology apply`",
        530 => "check the vhost in AMQP_URL (the default one is written /%2f) and the user's right to it",
        320 => "the broker closes its connections, it will be tried again",
        _ => "see the broker's log",
    }
}

/// Reads the URI. The parser's own error would repeat it, and the password with it.
fn parse(uri: &str) -> Result<AMQPUri, RabbitError> {
    let mut parsed: AMQPUri = uri.parse().map_err(|_: String| RabbitError::Refused {
        action: "connect".into(),
        why: "AMQP_URL is no AMQP address".into(),
        remedy: "write amqp://user:password@host:5672/%2f, or amqps:// for TLS",
    })?;
    // By the letter a trailing slash is the vhost without a name, which nobody has; everybody means the default one.
    if parsed.vhost.is_empty() {
        parsed.vhost = "/".into();
    }
    // Ours always: without heartbeats a frozen broker is never noticed.
    parsed.query.heartbeat = Some(HEARTBEAT_S);
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_address_is_refused_without_repeating_it() {
        let error = parse("amqp:hunter2").expect_err("no host").to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("amqp://user:password@host"), "{error}");
    }

    #[test]
    fn a_trailing_slash_is_the_default_vhost() {
        assert_eq!(parse("amqp://localhost/").expect("valid").vhost, "/");
        assert_eq!(parse("amqp://localhost/%2f").expect("valid").vhost, "/");
        assert_eq!(parse("amqp://localhost/team").expect("valid").vhost, "team");
    }

    #[test]
    fn the_user_is_the_one_the_connection_is_made_with() {
        assert_eq!(user_of("amqp://a%40b:x@localhost").expect("valid"), Some("a@b".to_owned()));
        assert_eq!(user_of("amqp://localhost").expect("valid"), Some("guest".to_owned()));
        assert_eq!(user_of("amqps://localhost?auth_mechanism=external").expect("valid"), None);
    }

    #[test]
    fn a_right_that_is_missing_is_named_with_where_they_are_listed() {
        assert!(remedy(403, "ACCESS_REFUSED - access to exchange 'x'").contains("`reprieve topology print`"));
        assert!(remedy(403, "ACCESS_REFUSED - Login was refused").contains("password in AMQP_URL"));
    }

    #[test]
    fn heartbeats_cannot_be_turned_off() {
        assert_eq!(parse("amqp://localhost?heartbeat=0").expect("valid").query.heartbeat, Some(HEARTBEAT_S));
    }
}
