//! The worker as a role that owns nothing: what it is granted is enough, and no more than that.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, query_scalar, raw_sql};

use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::traffic::{decide, submit};

const SOON: Duration = Duration::from_secs(20);
/// A name that has to be quoted.
const ROLE: &str = "worker \"of\" roles";

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), String> {
    let outcome = raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    outcome.map(|_| ()).map_err(|error| error.to_string())
}

fn url_of(stage: &Stage, user: &str) -> String {
    let user = user.replace(' ', "%20").replace('"', "%22");
    stage.database_url().replacen("postgres@", &format!("{user}@"), 1)
}

pub(crate) async fn the_worker_needs_no_more_than_it_is_granted() {
    let stage = Stage::shared("roles").await;
    let mut root = stage.connect().await;
    let quoted = format!("\"{}\"", ROLE.replace('"', "\"\""));
    let roles =
        format!("CREATE ROLE roles_owner LOGIN; CREATE ROLE {quoted} LOGIN; ALTER DATABASE roles OWNER TO roles_owner");
    run(&mut root, &roles).await.unwrap();

    let owner = stage.worker().rules(crate::traffic::RULES).database_url(&url_of(&stage, "roles_owner"));
    let worker = owner.clone().database_url(&url_of(&stage, ROLE));
    owner.cli_ok(&["topology", "apply"]).await;
    assert_eq!(owner.cli(&["migrate", "grants", ROLE, "--apply"]).await.status.code(), Some(6), "no tables yet");
    owner.cli_ok(&["migrate", "up"]).await;
    assert_eq!(owner.cli(&["migrate", "grants", "nobody", "--apply"]).await.status.code(), Some(6));
    assert_eq!(owner.cli(&["migrate", "grants", "public"]).await.status.code(), Some(2));
    assert_eq!(worker.cli(&["migrate", "grants", ROLE, "--apply"]).await.status.code(), Some(6), "not the owner");
    // What an earlier version left it with is taken away.
    run(&mut root, &format!("GRANT ALL ON history TO {quoted}")).await.unwrap();
    let printed = owner.cli_ok(&["migrate", "grants", ROLE]).await;
    run(&mut root, &printed).await.expect("what is printed can be run as it is");
    assert_eq!(owner.cli_ok(&["migrate", "grants", ROLE, "--apply"]).await, printed);
    worker.cli_ok(&["migrate", "status"]).await;

    // The current ring is of an epoch long gone, and the next one is full: the first turn empties it.
    let rings = "INSERT INTO inbox_rings VALUES (0, 1); INSERT INTO inbox VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'applied', NULL)";
    run(&mut root, rings).await.unwrap();
    let process = worker.start();
    process.wait_ready(SOON).await;
    let client = Client::connect(&stage).await;
    // Parked first, a failure, a refusal, an approval: each table is written.
    client.publish(&[decide("1", "approve", "alice")]).await;
    crate::support::eventually("a parked event", SOON, async || {
        let parked: i64 = query_scalar("SELECT count(*) FROM parked").fetch_one(&mut root).await.unwrap();
        (parked == 1).then_some(())
    })
    .await;
    let conflict = crate::traffic::envelope("s-1", "exception.submitted.v1", &crate::traffic::submission("2", "low"));
    let conflict = crate::support::amqp::Message::structured(&conflict);
    client.publish(&[submit("1", "low"), conflict, decide("1", "deny", "alice"), submit("3", "low")]).await;
    crate::books::at_rest(&stage, 4, SOON).await;
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM exceptions), (SELECT count(*) FROM failures), \
                  (SELECT count(*) FROM inbox_1), (SELECT count(*) FROM parked), (SELECT count(*) FROM rule_sets))";
    assert_eq!(query_scalar::<_, String>(counts).fetch_one(&mut root).await.unwrap(), "2 1 4 0 1");
    worker.cli_ok(&["exceptions", "show", "EX-1"]).await;
    no_more(&url_of(&stage, ROLE)).await;
}

async fn no_more(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for sql in [
        "UPDATE history SET body = ''",
        "DELETE FROM history",
        "TRUNCATE history",
        "ALTER TABLE history DISABLE TRIGGER ALL",
        "CREATE TABLE loot (x int)",
        "CREATE INDEX loot ON exceptions (id)",
        "DROP TABLE outbox",
        "TRUNCATE inbox",
        "DELETE FROM inbox",
        "DELETE FROM inbox_0",
        "UPDATE inbox_0 SET outcome = 'applied'",
        "TRUNCATE exceptions",
        "DELETE FROM exceptions",
        "DELETE FROM failures",
        "DELETE FROM _sqlx_migrations",
        "UPDATE schema_compatibility SET oldest_compatible = 9",
    ] {
        let said = run(&mut connection, sql).await.expect_err(sql);
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{sql}: {said}");
    }
    // What failures are marked with, and suspects noted in.
    for sql in [
        "UPDATE failures SET state = 'discarded'",
        "INSERT INTO attempts VALUES (gen_random_uuid(), gen_random_uuid(), 1, now()) ON CONFLICT (key) DO UPDATE SET tries = 2",
        "DELETE FROM attempts",
        "SELECT count(*) FROM parked, outbox, rule_sets",
    ] {
        run(&mut connection, sql).await.expect(sql);
    }
}
