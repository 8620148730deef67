//! What the tests of the store are made of.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use reprieve::broker::Properties;
use reprieve::domain::actor::{Actor, ActorKind};
use reprieve::domain::exception::{Cause, Enforcement, Exception, Request, Status};
use reprieve::domain::history::{Chain, EntryOutcome, EventRef, Happening};
use reprieve::domain::ids::{Digest, ExceptionId, TicketId, UserId};
use reprieve::domain::rules::{Assignment, Level};
use reprieve::domain::ticket::Ticket;
use reprieve::health::Light;
use reprieve::store::postgres::{PostgresStore, migrate};
use reprieve::store::{
    Changes, Committed, Failure, InboxRow, Outcome, RuleSetRow, Snapshot, Store, StoreError, Wanted,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar};

pub(crate) async fn open(url: &str) -> PostgresStore {
    migrate::up(url).await.expect("migrations run");
    PostgresStore::new(url, Light::default(), 1_000_000).expect("a URL")
}

pub(crate) async fn plain(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a session")
}

/// The sessions that run turns.
pub(crate) async fn backends(connection: &mut PgConnection) -> Vec<i32> {
    query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'reprieve' ORDER BY pid",
    )
    .fetch_all(connection)
    .await
    .expect("the sessions")
}

pub(crate) async fn turn<F>(store: &mut impl Store, wanted: &Wanted, mut plan: F) -> Result<Committed, StoreError>
where
    F: FnMut(Snapshot) -> Changes + Send,
{
    store.turn(wanted, &mut plan).await
}

pub(crate) async fn write(store: &mut impl Store, changes: &Changes) -> Committed {
    turn(store, &Wanted::default(), |_| changes.clone()).await.expect("a turn")
}

pub(crate) async fn read(store: &mut impl Store, wanted: &Wanted) -> Snapshot {
    let mut seen = None;
    turn(store, wanted, |snapshot| {
        seen = Some(snapshot);
        Changes::default()
    })
    .await
    .expect("a turn");
    seen.expect("the plan was asked")
}

pub(crate) async fn count(url: &str, table: &str) -> i64 {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    query_scalar(sql).fetch_one(&mut plain(url).await).await.expect("a count")
}

pub(crate) fn submission(names: &[&str]) -> Changes {
    let mut changes = Changes { held: true, ..Changes::default() };
    for name in names {
        let mut exception = exception(name);
        let body = r#"{"exception_id": "é\u0000 as text"}"#;
        let happening = happening(&exception, body);
        changes.history.push(exception.chain.append(&exception.id, happening));
        changes.exceptions.push(exception);
        let id = ticket_id(name);
        changes.tickets.push(Ticket { id, earliest_due_date: date(), approved: 0, last_event_at: None });
        changes.inbox.push(InboxRow { key: key(name), digest: digest(1), outcome: Outcome::Applied });
        changes.outbox.push(format!("out-{name}"));
        changes.outcomes.push(Outcome::Applied);
    }
    let body = "version: 1".to_owned();
    changes.rule_set = Some(RuleSetRow { hash: "ab".to_owned(), version: "1".to_owned(), body });
    changes
}

/// A submission that was applied, with these bytes.
pub(crate) fn happening(exception: &Exception, body: &str) -> Happening {
    let (source, id, event_type) = ("s".to_owned(), exception.id.to_string(), "t".to_owned());
    Happening {
        at: exception.created_at,
        kind: "submitted",
        actor: Actor { id: "zoe@example.com".to_owned(), kind: ActorKind::User },
        event: Some(EventRef { source, id, event_type }),
        outcome: EntryOutcome::Applied,
        code: None,
        revision: 1,
        body: body.to_owned(),
    }
}

pub(crate) fn exception(name: &str) -> Exception {
    let at = reprieve::domain::dates::parse_time("2026-11-24T09:00:00.123456Z").expect("a time");
    let reviewers = vec![user("dana@example.com"), user("o'neil,{x}\"@example.com")];
    Exception {
        id: id(name),
        ticket_id: ticket_id(name),
        submission: digest(1),
        request: Request {
            ticket_title: "OpenSSL".to_owned(),
            severity: "high".to_owned(),
            requester: user("zoe@example.com"),
            team: None,
            reason: "fix_unavailable".to_owned(),
            original_due_date: date(),
            current_due_date: date(),
            requested_due_date: date(),
            previous_exception_id: None,
            batch_id: None,
        },
        status: Status::Requested,
        enforcement: Enforcement::None,
        ended_reason: None,
        cause: Cause::Submitted,
        revision: 1,
        sequence: 1,
        assignment: Assignment {
            rule: "default".to_owned(),
            rules_version: "1".to_owned(),
            rules_hash: "ab".to_owned(),
            levels: Vec::new(),
            triage: Vec::new(),
            max_extension_days: 365,
            ..Assignment::default()
        },
        level: Level { number: 1, reviewers, quorum: 1, unassigned: false },
        votes: Vec::new(),
        decisions: BTreeMap::new(),
        amended_at_revision: None,
        approved_due_date: None,
        chain: Chain::default(),
        created_at: at,
        updated_at: at,
        decided_at: None,
    }
}

pub(crate) fn decide(exception: &mut Exception, status: Status, enforcement: Enforcement) {
    exception.status = status;
    exception.enforcement = enforcement;
    exception.decided_at = Some(exception.updated_at);
    exception.approved_due_date = (status == Status::Approved).then(date);
}

pub(crate) fn failure(name: &str, digest: Digest) -> Failure {
    Failure {
        id: uuid::Uuid::from_bytes(digest.0),
        event_key: key(name),
        digest,
        reason: "id_conflict",
        message: "a NUL \0 in a message".to_owned(),
        fingerprint: "id_conflict".to_owned(),
        source: "s".to_owned(),
        event_id: name.to_owned(),
        event_type: None,
        exception_id: Some(id(name)),
        received_at: exception(name).created_at,
        properties: Properties::default(),
        body: vec![0, 255],
    }
}

pub(crate) fn id(name: &str) -> ExceptionId {
    ExceptionId::parse(name).expect("an id")
}

pub(crate) fn ticket_id(name: &str) -> TicketId {
    TicketId::parse(&format!("T-{name}")).expect("an id")
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user")
}

pub(crate) fn date() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 12, 5).expect("a date")
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest([byte; 16])
}

pub(crate) fn key(name: &str) -> Digest {
    Digest(*uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).as_bytes())
}
