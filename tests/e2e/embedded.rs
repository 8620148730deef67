//! The worker on embedded parts: no server beside it. What is answered is committed, whatever happens next.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::worker::{Worker, WorkerSetup};
use crate::support::{eventually, http, watchdog};
use crate::traffic::{self, RULES};

mod between;
mod disk;
pub(crate) mod load;
mod shown;

pub(crate) use between::{a_batch_is_answered_in_its_order, the_data_file_works_with_a_real_broker};
pub(crate) use disk::{
    a_folder_that_can_only_be_read_is_refused, a_full_disk_loses_nothing_that_was_answered, mounted,
};
pub(crate) use load::{killed_under_load_nothing_answered_is_lost, sigterm_drains_what_was_handed_in};
pub(crate) use shown::{
    a_file_that_vanishes_is_missed, a_folder_of_dev_is_its_own, commands_work_beside_it, the_first_command_shows_a_day,
    two_on_one_folder,
};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A folder of the case's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = watchdog::root().join(format!("embedded-{name}"));
    std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("{} is not unique: {error}", folder.display()));
    folder
}

pub(crate) fn setup(folder: &Path) -> WorkerSetup {
    WorkerSetup::new(folder)
        .rules(RULES)
        .database_url(&format!("sqlite://{}", data(folder).display()))
        .amqp_url("embedded:")
}

pub(crate) fn data(folder: &Path) -> PathBuf {
    folder.join("reprieve.db")
}

pub(crate) async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap()
}

/// Hands in envelopes; what became of each, or nothing if it is not known.
pub(crate) async fn hand_in(worker: &Worker, envelopes: &[&str]) -> Option<Vec<String>> {
    hand_in_at(worker.address(), envelopes).await
}

pub(crate) async fn hand_in_at(address: std::net::SocketAddr, envelopes: &[&str]) -> Option<Vec<String>> {
    let body = format!("[{}]", envelopes.join(","));
    let content_type = "application/cloudevents-batch+json";
    let answer = http::post(address, "/api/v1/events", content_type, body.as_bytes()).await.ok()?;
    if answer.status != 200 {
        assert_eq!(answer.status, 503, "{}", answer.body);
        return None;
    }
    let answers: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answers.len(), envelopes.len());
    Some(answers.iter().map(|answer| answer["outcome"].as_str().unwrap().to_owned()).collect())
}

/// One submission that works.
pub(crate) fn submission(name: &str) -> String {
    let data = traffic::submission(name, "high");
    traffic::envelope(&format!("s-{name}"), "exception.submitted.v1", &data).to_string()
}

pub(crate) async fn end(worker: &Worker) {
    worker.sigterm();
    let status = worker.wait_exit(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}: {}", worker.output());
}

pub(crate) async fn says(worker: &Worker, text: &str) {
    let heard = async || worker.output().contains(text).then_some(());
    eventually(&format!("that it says {text:?}"), SOON, heard).await;
}
