//! An address as it may be shown: all of it but the password. It is read strictly: a password with an `@`, `/`, `?` or `#` that was not
//! encoded moves every border, so whatever is not plainly an address is hidden whole.

use super::shown::HIDDEN;

/// Addresses of this program.
const SCHEMES: [&str; 4] = ["postgres", "postgresql", "amqp", "amqps"];

/// Parameters that are texts and no secret. Any that is not known is hidden with its name: it may be the end of a password.
const TEXTS: [&str; 13] = [
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "dbname",
    "user",
    "application_name",
    "auth_mechanism",
];

/// Parameters that are numbers.
const NUMBERS: [&str; 4] = ["port", "heartbeat", "frame_max", "channel_max"];

/// Parameters that are one of [`MODES`].
const TLS: [&str; 2] = ["sslmode", "ssl-mode"];
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parameters whose value is a secret, whoever reads it.
const SECRET: [&str; 2] = ["password", "sslpassword"];

/// The address without its password.
pub(super) fn masked(text: &str) -> String {
    read(text).unwrap_or_else(|| HIDDEN.to_owned())
}

fn read(text: &str) -> Option<String> {
    // A file has no password.
    if text == "embedded:" || (text.starts_with("sqlite:") && !text.contains('@')) {
        return Some(text.to_owned());
    }
    if text.contains(['#', '\\']) || text.contains(char::is_whitespace) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let (authority, path) = before.find('/').map_or((before, ""), |at| before.split_at(at));
    let path_chars = |c: char| is_plain(c) || matches!(c, '/' | '%' | '+');
    if !SCHEMES.contains(&scheme) || !path.chars().all(path_chars) {
        return None;
    }
    let shown = match query {
        Some(query) => format!("?{}", parameters(query)?),
        None => String::new(),
    };
    Some(format!("{scheme}://{}{path}{shown}", whose(authority)?))
}

/// User and server.
fn whose(authority: &str) -> Option<String> {
    let Some((user, server)) = authority.split_once('@') else {
        return is_server(authority).then(|| authority.to_owned());
    };
    if !is_server(server) {
        return None;
    }
    let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
    let user_chars = |c: char| is_plain(c) || matches!(c, '%' | '+');
    // A second colon is no end of the password.
    let hidden = password.map(|_| format!(":{HIDDEN}")).unwrap_or_default();
    user.chars().all(user_chars).then(|| format!("{user}{hidden}@{server}"))
}

/// A host with or without a port; none at all is the one of this machine.
fn is_server(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, port)) => {
            let is_address = address.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
            if !is_address {
                return false;
            }
            ("", port.strip_prefix(':').or(port.is_empty().then_some("0")))
        }
        None => text.split_once(':').map_or((text, Some("0")), |(host, port)| (host, Some(port))),
    };
    host.chars().all(is_plain) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn parameters(query: &str) -> Option<String> {
    let values = |c: char| is_plain(c) || matches!(c, '/' | '%' | '+' | ',');
    let shown = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_open = match name {
            name if TEXTS.contains(&name) => value.chars().all(values),
            name if NUMBERS.contains(&name) => value.parse::<u32>().is_ok(),
            name if TLS.contains(&name) => MODES.contains(&value),
            name if SECRET.contains(&name) => false,
            _ => return HIDDEN.to_owned(),
        };
        if is_open { pair.to_owned() } else { format!("{name}={HIDDEN}") }
    });
    // What has one of these is no query, but the rest of an address whose password was not encoded.
    (!query.contains(['@', '?'])).then(|| shown.collect::<Vec<_>>().join("&"))
}

/// What needs no encoding anywhere.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(masked(text), expected, "{text}");
    }

    #[test]
    fn only_the_password_is_hidden() {
        check("postgres://reprieve:s3cret@127.0.0.1:5432/reprieve", "postgres://reprieve:***@127.0.0.1:5432/reprieve");
        check("amqp://u:s3cret@mq.example.com:5672/%2f", "amqp://u:***@mq.example.com:5672/%2f");
        check("amqps://a%40b:s%40c%2Fr@mq/team", "amqps://a%40b:***@mq/team");
        check("postgres://u:s3:cret@h/d", "postgres://u:***@h/d");
        check("postgres://u:s+,;!*cret@[::1]:5432/d", "postgres://u:***@[::1]:5432/d");
        check(
            "postgres://u@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://u@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        );
        check("postgres:///d?host=/run/postgresql", "postgres:///d?host=/run/postgresql");
        check("amqps://mq?auth_mechanism=external", "amqps://mq?auth_mechanism=external");
        check("sqlite:///var/lib/reprieve/data.db", "sqlite:///var/lib/reprieve/data.db");
        check("sqlite:data dir/reprieve.db", "sqlite:data dir/reprieve.db");
        check("embedded:", "embedded:");
    }

    #[test]
    fn parameters_that_may_hold_a_secret_are_hidden() {
        check("postgres://h/d?user=u&password=s3cret", "postgres://h/d?user=u&password=***");
        check("postgres://h/d?sslkey=k.pem&sslpassword=s3cret", "postgres://h/d?sslkey=k.pem&sslpassword=***");
        check("postgres://h/d?PassWord=s3cret&p%61ssword=s3cret&s3cret", "postgres://h/d?***&***&***");
        check("postgres://h/d?options=-c%20x=s3cret&port=s3!cret", "postgres://h/d?***&port=***");
        check("postgres://h/d?sslmode=s3cret&port=s3cret", "postgres://h/d?sslmode=***&port=***");
    }

    #[test]
    fn what_is_not_plainly_an_address_is_hidden_whole() {
        for text in [
            "",
            "s3cret",
            "amqp:s3cret",
            "postgres//u:s3cret@h/d",
            "http://u:s3cret@h",
            "sqlite://u:s3cret@h",
            "postgres://u:s3@cret@h/d",
            "postgres://u:s3/cret@h/d",
            "postgres://u:s3?cret@h/d",
            "postgres://u:s3#cret@h/d",
            "postgres://u:1/s3cret:@h/d",
            "postgres://u:s3cret",
            "postgres://u:s3cret@h:port/d",
            "postgres://u:s3cret@h:70000/d",
            "postgres://u s3cret@h/d",
            "postgres://u:s3cret@h/d@x",
            "postgres://u:s3cret@h/d#x",
            "postgres://[s3cret]/d",
            "postgres://h/d?password=s3?cret",
        ] {
            check(text, HIDDEN);
        }
    }
}
