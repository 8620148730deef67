//! The passwords of the worker's accounts are taken away while it runs, and given back.

use std::time::Duration;

use sqlx::{AssertSqlSafe, raw_sql};

use super::ACCOUNTS;
use super::transcript::Transcript;
use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::support::worker::{Worker, WorkerSetup};
use crate::traffic::{RULES, submit};

const SOON: Duration = Duration::from_secs(30);
const ROLE: &str = "reprieve_worker";
const PASSWORD: &str = "planted-and-never-shown";

pub(crate) async fn passwords_are_revoked_and_given_back() {
    let stage = Stage::own("drill_accounts").await;
    let setup = stage.worker().rules(RULES).env("REPRIEVE_RETRY__WAIT_MAX", "2s");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    a_role_with_a_password(&stage).await;
    setup.cli_ok(&["migrate", "grants", ROLE, "--apply"]).await;
    stage.servers().rabbitmqctl(&["add_user", "reprieve", PASSWORD]).await;
    stage.servers().rabbitmqctl(&["set_permissions", "reprieve", ".*", ".*", ".*"]).await;
    let database = stage.database_url().replacen("postgres@", &format!("{ROLE}:{PASSWORD}@"), 1);
    let broker = stage.amqp_url().replacen("guest:guest", &format!("reprieve:{PASSWORD}"), 1);
    let setup = setup.database_url(&database).amqp_url(&broker);
    let worker = setup.start();
    worker.wait_ready(SOON).await;

    let [amqp, sql] =
        [stage.servers().broker.port(), stage.servers().postgres.port()].map(|port| format!("127.0.0.1:{port}"));
    let mut told = Transcript::new(ACCOUNTS, &[(amqp, "mq.example.com:5672"), (sql, "db.example.com:5432")]);
    told.call("the database drill_accounts at", "the database reprieve at");
    the_broker(&stage, &setup, &worker, &mut told).await;
    the_database(&stage, &setup, &worker, &mut told).await;
    let output = worker.output();
    assert!(!output.contains(PASSWORD), "{output}");
    crate::crashes::end(&[worker]).await;
    told.end();
}

/// The server trusts everybody from this machine, but for this role.
async fn a_role_with_a_password(stage: &Stage) {
    let rule = format!("host all {ROLE} 127.0.0.1/32 scram-sha-256");
    let mut root = stage.connect().await;
    for statement in [
        format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"),
        format!("COPY (VALUES ('{rule}')) TO PROGRAM 'cat - pg_hba.conf > rules && cp rules pg_hba.conf'"),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        raw_sql(AssertSqlSafe(statement)).execute(&mut root).await.unwrap();
    }
}

async fn the_broker(stage: &Stage, setup: &WorkerSetup, worker: &Worker, told: &mut Transcript) {
    let servers = stage.servers();
    servers.rabbitmqctl(&["change_password", "reprieve", "another"]).await;
    servers.rabbitmqctl(&["close_all_user_connections", "reprieve", "drill"]).await;
    told.say("### The broker's user\n\nThe password was changed on the broker, and the worker still has the old one. The log names the account's setting, never the password:");
    told.log(worker, 0, "cannot consume yet").await;
    told.probe(worker, 503, "\"broker_consume\",\"broker_publish\"]").await;
    told.say("`topology check` asks the broker as the worker does, and is refused as it is:");
    told.run(setup, "topology check", 6).await;
    told.say("Meanwhile upstream goes on: its events wait in the queue. Give the password back, or put the new one into `AMQP_URL` (`AMQP_URL_FILE`) and restart. The worker that still runs comes back by itself:");
    Client::connect(stage).await.publish(&[submit("1", "low"), submit("2", "low")]).await;
    servers.rabbitmqctl(&["change_password", "reprieve", PASSWORD]).await;
    told.typed("$ rabbitmqctl change_password reprieve");
    told.probe(worker, 200, "ready").await;
    told.run(setup, "topology check", 0).await;
    crate::books::at_rest(stage, 2, SOON).await;
    told.say("What had waited is applied:");
    told.run(setup, "audit verify", 0).await;
}

async fn the_database(stage: &Stage, setup: &WorkerSetup, worker: &Worker, told: &mut Transcript) {
    let from = worker.output().len();
    let mut root = stage.connect().await;
    let revoke = format!(
        "ALTER ROLE {ROLE} PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
    );
    raw_sql(AssertSqlSafe(revoke)).execute(&mut root).await.unwrap();
    told.say("### The database's role\n\nThe same with the role. A session that was lost is told first, then why there is no other:");
    let end = told.log(worker, from, "check user and password in DATABASE_URL").await;
    told.probe(worker, 503, "database").await;
    told.say("`migrate status` asks the database as the worker does:");
    told.run(setup, "migrate status", 5).await;
    told.say("Nothing is lost and nothing is blamed: events wait in the queue. Give it back:");
    Client::connect(stage).await.publish(&[submit("3", "low")]).await;
    let back = format!("ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'");
    raw_sql(AssertSqlSafe(back)).execute(&mut root).await.unwrap();
    told.typed("$ psql -c '\\password reprieve_worker'");
    told.probe(worker, 200, "ready").await;
    let went_on = async || worker.output().get(end..)?.contains("consumption goes on").then_some(());
    crate::support::eventually("that it goes on", SOON, went_on).await;
    crate::books::at_rest(stage, 3, SOON).await;
    told.run(setup, "failures groups", 0).await;
    told.run(setup, "audit verify", 0).await;
}
