//! Who may do what on the broker: one table of users, and their permissions written as the broker takes them. Nothing is
//! applied here: users are the broker administrator's.
//!
//! The broker looks at names and routing keys, never at `type`: what a user may say is also a matter of the trust table, which
//! is made of the same list ([`trust_table`]).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{DEAD, DLX, EVENTS, INBOUND, UNROUTED, WORKER};
use crate::broker::rabbitmq::Settings;

/// One user. Names are without the prefix; in names and types a `*` stands for any characters.
struct User {
    name: &'static str,
    purpose: &'static str,
    configure: &'static [&'static str],
    write: &'static [&'static str],
    read: &'static [&'static str],
    /// The types it may publish to `exceptions.inbound`: by routing key here, by `type` in the trust table.
    publishes: &'static [&'static str],
    /// The routing keys by which it may bind queues to `exceptions.events`.
    binds: &'static [&'static str],
}

const NOTIFICATIONS: &str = "exceptions.out.notifications";
const TICKETS: &str = "exceptions.out.tickets";
/// A dashboard's own queues.
const DASHBOARD: &str = "exceptions.dashboard.*";

const USERS: &[User] = &[
    User {
        name: "reprieve-worker",
        purpose: "the worker: declares nothing",
        configure: &[],
        write: &[EVENTS],
        read: &[WORKER, DEAD, UNROUTED],
        publishes: &[],
        binds: &[],
    },
    // To bind takes write on the queue and read on the exchange; to name another exchange in arguments takes write on that, and
    // read on what is declared. So it can publish to none of the two topic exchanges.
    User {
        name: "reprieve-topology",
        purpose: "for `reprieve topology apply` and `check`",
        configure: &[INBOUND, EVENTS, DLX, UNROUTED, WORKER, DEAD, NOTIFICATIONS, TICKETS],
        write: &[DLX, UNROUTED, WORKER, DEAD, NOTIFICATIONS, TICKETS],
        read: &[INBOUND, EVENTS, DLX, UNROUTED, WORKER],
        publishes: &[],
        binds: &["*"],
    },
    User {
        name: "reprieve-tickets",
        purpose: "the ticketing system",
        configure: &[],
        write: &[INBOUND],
        read: &[TICKETS],
        publishes: &[
            "exception.submitted.v1",
            "exception.amended.v1",
            "exception.withdrawn.v1",
            "exception.info_provided.v1",
            "ticket.*",
        ],
        binds: &[],
    },
    User {
        name: "reprieve-reviews",
        purpose: "the front end for reviewers",
        configure: &[],
        write: &[INBOUND],
        read: &[],
        publishes: &["exception.decision.v1", "reviewer.*"],
        binds: &[],
    },
    User {
        name: "reprieve-notifications",
        purpose: "a bridge to mail or chat",
        configure: &[],
        write: &[],
        read: &[NOTIFICATIONS],
        publishes: &[],
        binds: &[],
    },
    // Not the notifications: they carry the reviewer's comment, and are addressed to somebody.
    User {
        name: "reprieve-dashboards",
        purpose: "dashboards: declare and bind queues of their own, named exceptions.dashboard.*",
        configure: &[DASHBOARD],
        write: &[DASHBOARD],
        read: &[DASHBOARD, EVENTS],
        publishes: &[],
        binds: &["exception.*", "event.rejected.*"],
    },
];

/// Queues to which the broker gives the name: those of who follows over HTTP. They take no prefix.
const OF_THE_BROKER: &str = "amq.gen*";

/// What the worker's user needs besides where it serves more than the queues. Not among what is imported: a worker that nobody hands
/// anything to shall not be able to say what upstream says.
struct Extra {
    purpose: &'static str,
    configure: &'static [&'static str],
    write: &'static [&'static str],
    read: &'static [&'static str],
}

const EXTRAS: &[Extra] = &[
    Extra { purpose: "takes events over HTTP too", configure: &[], write: &[INBOUND], read: &[] },
    Extra {
        purpose: "lets what is published be followed over HTTP",
        configure: &[OF_THE_BROKER],
        write: &[OF_THE_BROKER],
        read: &[OF_THE_BROKER, EVENTS],
    },
];

impl User {
    /// Its rights on names, and on the routing keys of a topic exchange where it has any business with one. A user without the
    /// latter is not limited by the broker, so each that may write or bind has them.
    fn topic(&self) -> Option<(&'static str, &'static [&'static str], &'static [&'static str])> {
        match (self.publishes, self.binds) {
            ([], []) => None,
            (publishes, []) => Some((INBOUND, publishes, &[])),
            (_, binds) => Some((EVENTS, &[], binds)),
        }
    }
}

/// The sections `users`, `permissions` and `topic_permissions` of a definitions file. An empty hash is no password: nobody can
/// log in as that user until one is set.
pub(super) fn definitions(settings: &Settings) -> [(&'static str, Value); 3] {
    let users = USERS.iter().map(|user| {
        json!({
            "name": settings.name(user.name), "password_hash": "", "tags": [],
            "hashing_algorithm": "rabbit_password_hashing_sha256",
        })
    });
    let permissions = USERS.iter().map(|user| {
        let [configure, write, read] = [user.configure, user.write, user.read].map(|names| of_names(settings, names));
        json!({
            "user": settings.name(user.name), "vhost": "/", "configure": configure, "write": write, "read": read,
        })
    });
    let topics = USERS.iter().filter_map(|user| {
        let (exchange, write, read) = user.topic()?;
        Some(json!({
            "user": settings.name(user.name), "vhost": "/", "exchange": settings.name(exchange),
            "write": expression("", write), "read": expression("", read),
        }))
    });
    [("users", users.collect()), ("permissions", permissions.collect()), ("topic_permissions", topics.collect())]
}

/// The same for a person: one user a paragraph.
pub(super) fn table(settings: &Settings) -> String {
    let mut text = String::new();
    for user in USERS {
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes everything");
        line(format_args!("{:<55} {}", format!("user {}", settings.name(user.name)), user.purpose));
        line(format_args!("    configure {}", of_names(settings, user.configure)));
        line(format_args!("    write     {}", of_names(settings, user.write)));
        line(format_args!("    read      {}", of_names(settings, user.read)));
        if let Some((exchange, write, read)) = user.topic() {
            let [write, read] = [write, read].map(|keys| expression("", keys));
            line(format_args!("    routing keys of {}: write {write}  read {read}", settings.name(exchange)));
        }
    }
    extras(settings, &mut text);
    text
}

/// The worker's rights where it serves HTTP: each way by itself, and both, as the broker's own tool takes them.
fn extras(settings: &Settings, text: &mut String) {
    let Some(worker) = USERS.first() else { return };
    let name = settings.name(worker.name);
    let rights = |extras: &[Extra]| {
        let with = |own: &[&'static str], more: fn(&Extra) -> &'static [&'static str]| {
            let all: Vec<_> = own.iter().chain(extras.iter().flat_map(more)).copied().collect();
            of_names(settings, &all)
        };
        let configure = with(worker.configure, |extra| extra.configure);
        let write = with(worker.write, |extra| extra.write);
        let read = with(worker.read, |extra| extra.read);
        format!("rabbitmqctl set_permissions {name} '{configure}' '{write}' '{read}'")
    };
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes everything");
    for extra in EXTRAS {
        line(format_args!("where {name} {}:", extra.purpose));
        line(format_args!("    {}", rights(std::slice::from_ref(extra))));
    }
    line(format_args!("where it does both:"));
    line(format_args!("    {}", rights(EXTRAS)));
}

/// The trust table that says about `type` what the permissions say about the routing key, as it stands in the settings.
pub(super) fn trust_table(settings: &Settings) -> String {
    let mut text = "[trust]\n".to_owned();
    for user in USERS.iter().filter(|user| !user.publishes.is_empty()) {
        // A prefix has no character that would end the quotes.
        writeln!(text, "\"{}\" = {:?}", settings.name(user.name), user.publishes).expect("a String takes everything");
    }
    text
}

fn of_names(settings: &Settings, names: &[&str]) -> String {
    expression(&settings.prefix, names)
}

/// A regular expression that fits these names and nothing else; the broker anchors nothing by itself.
fn expression(prefix: &str, names: &[&str]) -> String {
    let named = |name: &&str| if *name == OF_THE_BROKER { (*name).to_owned() } else { format!("{prefix}{name}") };
    let escaped: Vec<String> = names.iter().map(|name| escape(&named(name))).collect();
    match escaped.as_slice() {
        [] => "^$".to_owned(),
        [one] => format!("^{one}$"),
        several => format!("^({})$", several.join("|")),
    }
}

/// Of what names and prefixes are made of only the dot means something else, and the star is ours.
fn escape(name: &str) -> String {
    name.replace('.', "\\.").replace('*', ".*")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::rabbitmq::Certificates;
    use crate::contract::trust::{Trust, fits, inbound_types};

    fn settings(prefix: &str) -> Settings {
        Settings {
            uri: String::new(),
            certificates: Certificates::default(),
            prefix: prefix.into(),
            prefetch: 1,
            wait_max: Duration::from_secs(1),
        }
    }

    #[test]
    fn every_type_has_exactly_one_user_who_may_publish_it() {
        for name in inbound_types() {
            let may = |user: &&User| user.publishes.iter().any(|pattern| fits(pattern, name));
            assert_eq!(USERS.iter().filter(may).count(), 1, "{name}");
        }
    }

    #[test]
    fn the_trust_table_is_one() {
        let table: toml::Table = toml::from_str(&trust_table(&settings("team."))).unwrap();
        let mut trust = Trust::default();
        for (user, types) in table["trust"].as_table().unwrap() {
            assert!(user.starts_with("team.reprieve-"), "{user}");
            let types = types.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
            trust.allow(user, types).unwrap();
        }
        assert_eq!(table["trust"].as_table().unwrap().len(), 2);
    }

    #[test]
    fn a_prefix_is_taken_literally() {
        let [users, permissions, topics] = definitions(&settings("a.b-"));
        assert_eq!(users.1[0]["name"], "a.b-reprieve-worker");
        assert_eq!(permissions.1[0]["write"], "^a\\.b-exceptions\\.events$");
        assert_eq!(permissions.1[0]["configure"], "^$");
        assert_eq!(permissions.1[5]["configure"], "^a\\.b-exceptions\\.dashboard\\..*$");
        assert_eq!(topics.1[2]["exchange"], "a.b-exceptions.inbound");
        assert_eq!(topics.1[2]["write"], "^(exception\\.decision\\.v1|reviewer\\..*)$");
        assert_eq!(topics.1[2]["read"], "^$");
    }

    #[test]
    fn what_http_needs_is_said_and_not_imported() {
        let table = table(&settings("a."));
        let (_, extras) = table.split_once("where a.reprieve-worker takes events over HTTP too:\n").unwrap();
        let own = r"(a\.exceptions\.worker|a\.exceptions\.worker\.dead|a\.exceptions\.unrouted";
        for expected in [
            format!(r"'^$' '^(a\.exceptions\.events|a\.exceptions\.inbound)$' '^{own})$'"),
            format!(
                r"'^amq\.gen.*$' '^(a\.exceptions\.events|amq\.gen.*)$' '^{own}|amq\.gen.*|a\.exceptions\.events)$'"
            ),
            r"'^amq\.gen.*$' '^(a\.exceptions\.events|a\.exceptions\.inbound|amq\.gen.*)$'".to_owned(),
        ] {
            let line = extras.lines().find(|line| line.contains(&expected));
            assert!(
                line.is_some_and(|line| line.contains("rabbitmqctl set_permissions a.reprieve-worker ")),
                "{expected}"
            );
        }
        let imported = definitions(&settings("")).map(|(_, section)| section.to_string()).concat();
        assert!(!imported.contains("amq"), "{imported}");
    }

    #[test]
    fn whoever_may_write_inbound_or_bind_is_limited_by_routing_key() {
        for user in USERS {
            let inbound = user.write.contains(&INBOUND);
            assert_eq!(inbound, !user.publishes.is_empty(), "{}", user.name);
            assert!(!user.read.contains(&EVENTS) || !user.binds.is_empty(), "{}", user.name);
            assert!(!user.write.contains(&EVENTS) || user.name == "reprieve-worker", "{}", user.name);
        }
    }
}
