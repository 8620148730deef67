//! Both servers over TLS with an authority of their own and certificates asked of the client: what works, what is refused, that
//! the message says why and what to do, and that no password shows.

use std::time::Duration;

use sqlx::{AssertSqlSafe, raw_sql};

use crate::support::amqp::Client;
use crate::support::certificates::{CLIENT, Certificates, HOST, copy, database_statements};
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::support::{certificates, eventually};
use crate::traffic::{decide, submit};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "planted-and-never-shown";

/// The broker by TLS.
fn broker(stage: &Stage, host: &str) -> String {
    format!("amqps://guest:guest@{host}:{}/%2f", stage.servers().tls_port())
}

/// The database by TLS, as the role that the client's certificate names.
fn database(stage: &Stage, host: &str, parameters: &str) -> String {
    let port = stage.servers().postgres.port();
    format!("postgres://{CLIENT}:{PASSWORD}@{host}:{port}/tls?{parameters}")
}

/// A command that has to fail so, with these words and without the password.
async fn refused(setup: &WorkerSetup, arguments: &[&str], code: i32, words: &[&str]) {
    let output = setup.cli(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

pub(crate) async fn both_servers_are_reached_by_tls_and_nothing_else_is_taken_for_them() {
    let stage = Stage::shared("tls").await;
    let made = stage.servers().certificates().clone();
    encrypt_the_database(&stage, &made).await;
    let files = format!("sslcert={}&sslkey={}", made.file("client.pem"), made.file("client.key"));
    let good = format!("sslrootcert={}&{files}", made.file("ca.pem"));
    let setup = stage.worker().rules(crate::traffic::RULES).database_url(&database(&stage, HOST, &good));
    let with_files = |ca: &str, client: &str| {
        setup
            .clone()
            .amqp_url(&broker(&stage, HOST))
            .env("REPRIEVE_AMQP__CA_FILE", &made.file(ca))
            .env("REPRIEVE_AMQP__CLIENT_CERT_FILE", &made.file(&format!("{client}.pem")))
            .env("REPRIEVE_AMQP__CLIENT_KEY_FILE", &made.file(&format!("{client}.key")))
    };
    let setup = with_files("ca.pem", "client");
    setup.cli_ok(&["topology", "apply"]).await;
    setup.cli_ok(&["migrate", "up"]).await;

    the_broker(&stage, &setup, &made).await;
    refused(&with_files("stranger.pem", "client"), &["topology", "check"], 5, &["UnknownIssuer", "amqp.ca_file"]).await;
    refused(&with_files("ca.pem", "forged"), &["topology", "check"], 5, &["amqp.client_cert_file"]).await;
    the_database(&stage, &setup, &made, &files).await;
    the_worker_waits_and_recovers(&stage, &setup, &files).await;
}

/// The case's role gets in by TLS, with its certificate and its password, and no other way.
async fn encrypt_the_database(stage: &Stage, made: &Certificates) {
    let rules = [
        format!("hostssl all {CLIENT} 127.0.0.1/32 scram-sha-256 clientcert=verify-full"),
        format!("hostnossl all {CLIENT} 127.0.0.1/32 reject"),
    ];
    let mut statements = database_statements(made, &rules.each_ref().map(String::as_str));
    statements.push(format!("CREATE ROLE {CLIENT} LOGIN PASSWORD '{PASSWORD}'"));
    statements.push(format!("ALTER DATABASE tls OWNER TO {CLIENT}"));
    let mut root = stage.connect().await;
    for statement in statements {
        raw_sql(AssertSqlSafe(statement)).execute(&mut root).await.unwrap();
    }
}

async fn the_broker(stage: &Stage, setup: &WorkerSetup, made: &Certificates) {
    let check = ["topology", "check"];
    let at = |url: &str| setup.clone().amqp_url(url);
    let wrong_host = broker(stage, "127.0.0.1");
    refused(&at(&wrong_host), &check, 5, &["not valid for name", HOST, "AMQP_URL"]).await;
    let alone = stage.worker().amqp_url(&broker(stage, HOST)).env("REPRIEVE_AMQP__CA_FILE", &made.file("ca.pem"));
    refused(&alone, &check, 5, &["amqp.client_cert_file"]).await;
    refused(&stage.worker().amqp_url(&broker(stage, HOST)), &check, 5, &["UnknownIssuer", "amqp.ca_file"]).await;
    let plain = stage.amqp_url().replacen("amqp://", "amqps://", 1);
    refused(&at(&plain), &check, 5, &["speaks no TLS"]).await;
    let other = broker(stage, HOST).replacen("guest:guest", &format!("guest:{PASSWORD}"), 1);
    refused(&at(&other), &check, 6, &["check user and password"]).await;
    refused(
        &setup.clone().env("REPRIEVE_AMQP__CA_FILE", "gone.pem"),
        &check,
        6,
        &["amqp.ca_file gone.pem", "No such file"],
    )
    .await;
    refused(&at(&stage.amqp_url()), &check, 3, &["would not be used", "amqps://"]).await;
}

async fn the_database(stage: &Stage, setup: &WorkerSetup, made: &Certificates, files: &str) {
    let status = ["migrate", "status"];
    let [ca, stranger] = ["ca.pem", "stranger.pem"].map(|name| format!("sslrootcert={}", made.file(name)));
    let good = format!("{ca}&{files}");
    let at = |host: &str, parameters: &str| setup.clone().database_url(&database(stage, host, parameters));
    setup.cli_ok(&status).await;
    refused(&at(HOST, &format!("{stranger}&{files}")), &status, 5, &["UnknownIssuer", "sslrootcert"]).await;
    refused(&at("127.0.0.1", &good), &status, 5, &["not valid for name", HOST, "DATABASE_URL"]).await;
    refused(&at(HOST, &ca), &status, 5, &["valid client certificate", "sslcert=FILE"]).await;
    refused(&at(HOST, &format!("sslrootcert=gone.pem&{files}")), &status, 5, &["No such file", "sslrootcert"]).await;
    let other = database(stage, HOST, &good).replacen(PASSWORD, &format!("{PASSWORD}-not"), 1);
    refused(&setup.clone().database_url(&other), &status, 5, &["check user and password"]).await;
    // Plain text is refused by the server, not by chance.
    refused(&at(HOST, "sslmode=disable"), &status, 5, &["pg_hba.conf"]).await;
}

/// With a wrong authority the worker says so and waits; when the file is put right it goes on by itself.
async fn the_worker_waits_and_recovers(stage: &Stage, setup: &WorkerSetup, files: &str) {
    let made = stage.servers().certificates();
    let ca = stage.folder().join("authority.pem");
    copy(&made.file("stranger.pem"), &ca);
    let url = database(stage, HOST, &format!("sslrootcert={}&{files}", ca.display()));
    let database_waits = setup.clone().database_url(&url).env("REPRIEVE_RETRY__WAIT_MAX", "1s");
    let setup = database_waits.env("REPRIEVE_AMQP__CA_FILE", &ca.display().to_string());
    let worker = setup.start();
    let says = async |words: &str| {
        eventually(words, SOON, async || worker.output().contains(words).then_some(())).await;
    };
    says("sslrootcert=FILE in DATABASE_URL").await;
    assert!(worker.exited().is_none());
    copy(&made.file("ca.pem"), &ca);
    worker.wait_ready(SOON).await;
    // The session with the database stays; the broker's connections are made anew and find the wrong authority.
    copy(&made.file("stranger.pem"), &ca);
    let close = "[rabbit_networking:close_connection(P, \"test\") || P <- rabbit_networking:connections(), \
                 proplists:get_value(ssl, rabbit_networking:connection_info(P, [ssl]))].";
    stage.servers().rabbitmqctl(&["eval", close]).await;
    says("in amqp.ca_file").await;
    copy(&made.file("ca.pem"), &ca);
    worker.wait_ready(SOON).await;
    Client::connect(stage).await.publish(&[submit("1", "low"), decide("1", "approve", "alice")]).await;
    crate::books::at_rest(stage, 2, SOON).await;
    let output = worker.output();
    assert!(!output.contains(PASSWORD) && !output.contains("clear text"), "{output}");
    certificates_are_used(stage).await;
}

/// What the servers themselves say about the worker's sessions.
async fn certificates_are_used(stage: &Stage) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{}' AND ssl AND client_dn LIKE '%{}%'",
        certificates::CLIENT,
        certificates::CLIENT
    );
    let encrypted: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut stage.connect().await).await.unwrap();
    assert!(encrypted >= 1);
    let listed = stage.servers().rabbitmqctl(&["-q", "list_connections", "name", "ssl", "peer_cert_subject"]).await;
    let by_tls = listed.lines().filter(|line| line.contains("true") && line.contains(CLIENT)).count();
    assert!(by_tls >= 2, "consuming and publishing: {listed}");
}
