//! Holds what is deployed to what is built: compose file, image, chart, alert rules and dashboard name only metrics, settings,
//! paths and versions that exist. It needs nothing but the files; promtool and Helm check more, see `deploy/README.md`.
//!
//! `watching` is about alert rules and dashboard, `images` about compose file and image, `chart` about the Helm chart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod chart;
mod images;
mod watching;

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "deploy/prometheus/alerts_test.yaml";
const DASHBOARD: &str = "deploy/grafana/reprieve.json";
const COMPOSE: &str = "docker-compose.yml";
const DOCKERFILE: &str = "deploy/Dockerfile";
const CHART: &str = "deploy/helm/reprieve";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{place}: expected a text, found {value}"))
}

fn list<'a>(value: &'a Value, place: &str) -> &'a Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{place}: expected a list, found {value}"))
}

/// All files below a folder, by name.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if path(&name).is_dir() {
            found.extend(files(&name));
        } else {
            found.insert(name.clone(), read(&name));
        }
    }
    found
}

/// The words of a text that begin with `prefix`, made of letters, digits and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> Vec<(usize, &'a str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |at: usize| !text[..at].ends_with(is_word);
    let word = |at: usize| text[at..].split(|c| !is_word(c)).next().unwrap();
    text.match_indices(prefix).filter(|(at, _)| begins(*at)).map(|(at, _)| (at, word(at))).collect()
}
