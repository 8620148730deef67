//! What may come in, row by row, and what becomes of it: the table, driven through the real worker, told in
//! `docs/bad-input.md`, and held against the schemas.

mod schemas;
mod table;

pub(crate) use schemas::{examples_fit_the_schemas, the_schemas_agree_with_the_table};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;

use crate::support::amqp::{Client, Event, Events};
use crate::support::stage::Stage;
use crate::support::worker::Worker;
use crate::traffic::{RULES, decide, submit};
use table::{Case, Input, Outcome, cases};

const SOON: Duration = Duration::from_secs(60);

/// Every row at once, each message twice in a row.
pub(crate) async fn every_row_ends_as_the_table_says() {
    let stage = Stage::shared("bad_input").await;
    let setup = stage.worker().rules(RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let client = Client::connect(&stage).await;
    let worker = setup.start();
    worker.wait_ready(SOON).await;
    let mut events = client.events().await;
    let cases = cases();
    let before: Vec<_> = cases.iter().flat_map(|case| case.before.clone()).collect();
    client.publish(&before).await;
    quiet(&stage, &client).await;
    let first = caused(events.settle(Duration::from_millis(500)).await);
    for case in &cases {
        let twice: Vec<_> =
            case.inputs.iter().flat_map(|input| [input.message.clone(), input.message.clone()]).collect();
        client.publish(&twice).await;
    }
    quiet(&stage, &client).await;
    let found = Found::read(&stage, &mut events, &first).await;
    let wrong: Vec<String> = cases.iter().flat_map(|case| found.compare(case)).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let failed: usize =
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_))).map(|case| case.inputs.len()).sum();
    assert_eq!(found.failures.values().map(Vec::len).sum::<usize>(), failed, "no other input is among the failures");
    log_is_clean(&worker, &cases);

    let after: Vec<_> = cases.iter().flat_map(|case| case.after.clone()).collect();
    client.publish(&after).await;
    client.publish(&[submit("good", "low"), decide("good", "deny", "alice")]).await;
    quiet(&stage, &client).await;
    let found = Found::read(&stage, &mut events, &first).await;
    for input in cases.iter().filter(|case| case.outcome == Outcome::Parked).flat_map(|case| &case.inputs) {
        assert_eq!(found.inbox[&key(&input.source, &input.id)], [("applied".to_owned(), None)], "{}", input.id);
    }
    assert_eq!(found.events["d-good-deny-alice"], 2, "a good event afterwards is processed");
    assert_eq!(worker.exited(), None);
}

/// Waits until the queues are empty, nothing is held unacknowledged and nothing waits to go out.
async fn quiet(stage: &Stage, client: &Client) {
    let mut last = -1;
    crate::support::eventually("the worker has done all there is", SOON, async || {
        let sql =
            "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM failures), (SELECT count(*) FROM outbox)";
        let row = sqlx::query(sql).fetch_one(&mut stage.connect().await).await.unwrap();
        let (done, outbox): (i64, i64) = (row.get(0), row.get(1));
        let mut queued = 0;
        for queue in ["exceptions.worker", "exceptions.worker.dead", "exceptions.unrouted"] {
            queued += client.depth(queue).await.unwrap();
        }
        // What is delivered and not acknowledged is in no depth: it shows as a count that still grows.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let still = std::mem::replace(&mut last, done) == done;
        (still && queued == 0 && outbox == 0).then_some(())
    })
    .await;
}

/// Events other than rejections, by the id of the event that caused them.
fn caused(events: &[Event]) -> BTreeMap<String, usize> {
    let mut caused = BTreeMap::new();
    for event in events.iter().map(Event::json).filter(|event| event["type"] != "event.rejected.v1") {
        *caused.entry(event["causationid"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    caused
}

/// Source and id.
type Name = (String, String);
/// Id and reason, then source and id.
type Failure = (String, String, String, String);
/// Code, kind and failure.
type Answer = (String, String, Value);

/// What database and mailbox say afterwards.
struct Found {
    /// Outcome and code, by key.
    inbox: BTreeMap<String, Vec<(String, Option<String>)>>,
    /// By the bytes.
    failures: BTreeMap<Vec<u8>, Vec<Failure>>,
    /// The stored data of what was applied or refused, by source and id.
    history: BTreeMap<Name, String>,
    parked: BTreeSet<Vec<u8>>,
    /// By the input.
    rejected: BTreeMap<Name, Vec<Answer>>,
    events: BTreeMap<String, usize>,
}

impl Found {
    /// `first` are the effects of what came before, which are not counted again.
    async fn read(stage: &Stage, events: &mut Events, first: &BTreeMap<String, usize>) -> Self {
        let mut database = stage.connect().await;
        let mut found = Self {
            inbox: BTreeMap::new(),
            failures: BTreeMap::new(),
            history: BTreeMap::new(),
            parked: BTreeSet::new(),
            rejected: BTreeMap::new(),
            events: BTreeMap::new(),
        };
        for row in sqlx::query("SELECT key::text, outcome, code FROM inbox").fetch_all(&mut database).await.unwrap() {
            found.inbox.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
        }
        let sql = "SELECT body, id::text, reason, source, event_id FROM failures";
        for row in sqlx::query(sql).fetch_all(&mut database).await.unwrap() {
            found.failures.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3), row.get(4)));
        }
        let sql = "SELECT source, event_id, body FROM history WHERE source IS NOT NULL";
        for row in sqlx::query(sql).fetch_all(&mut database).await.unwrap() {
            found.history.insert((row.get(0), row.get(1)), row.get(2));
        }
        for row in sqlx::query("SELECT body FROM parked").fetch_all(&mut database).await.unwrap() {
            assert!(found.parked.insert(row.get(0)), "parked once");
        }
        let seen = events.settle(Duration::from_millis(500)).await;
        found.events = caused(seen);
        for (id, count) in first {
            *found.events.entry(id.clone()).or_default() -= count;
        }
        for event in seen.iter().map(Event::json).filter(|event| event["type"] == "event.rejected.v1") {
            let text = |name: &str| event["data"][name].as_str().unwrap().to_owned();
            let answers = found.rejected.entry((text("event_source"), text("event_id"))).or_default();
            answers.push((text("code"), text("kind"), event["data"]["failure_id"].clone()));
        }
        found
    }

    /// What is not as the row says.
    fn compare(&self, case: &Case) -> Vec<String> {
        let wrong = |input: &Input| {
            let what = self.outcome(input);
            let right = format!("{}", case.outcome);
            let body = String::from_utf8_lossy(&input.message.body);
            let shown: String = body.chars().take(300).collect();
            (what != right)
                .then(|| format!("{}: {}: expected {right}, found {what}: {shown}", case.section, case.input))
        };
        case.inputs.iter().filter_map(wrong).collect()
    }

    /// What became of an input, in the words of the table, or what does not fit together.
    fn outcome(&self, input: &Input) -> String {
        let name = (input.source.clone(), input.id.clone());
        let inbox = self.inbox.get(&key(&input.source, &input.id)).map_or(&[][..], Vec::as_slice);
        let failures = self.failures.get(&input.message.body).map_or(&[][..], Vec::as_slice);
        let rejected = self.rejected.get(&name).map_or(&[][..], Vec::as_slice);
        let effects = self.events.get(&input.id).copied().unwrap_or_default();
        match (inbox, failures, rejected) {
            ([_], [(id, reason, source, event)], [(code, kind, failure)])
                if kind == "failed"
                    && code == reason
                    && failure == id
                    && (source, event) == (&name.0, &name.1)
                    && effects == 0 =>
            {
                Outcome::Failed(leaked(reason)).to_string()
            }
            ([(outcome, Some(code))], [], [(answer, kind, Value::Null)])
                if outcome == "refused" && kind == "refused" && code == answer && effects == 0 =>
            {
                Outcome::Refused(leaked(code)).to_string()
            }
            ([(outcome, None)], [], []) if outcome == "parked" && self.parked.contains(&input.message.body) => {
                Outcome::Parked.to_string()
            }
            ([(outcome, None)], [], []) if outcome == "applied" && effects == 0 => Outcome::Repeated.to_string(),
            ([(outcome, None)], [], []) if outcome == "applied" => {
                let stored = self.history.get(&name).map(String::as_str).unwrap_or_default();
                let body = String::from_utf8_lossy(&input.message.body);
                if !stored.is_empty() && body.contains(stored) {
                    Outcome::Applied.to_string()
                } else {
                    format!("applied, but not stored byte for byte: {stored}")
                }
            }
            other => format!("{other:?} with {effects} effects"),
        }
    }
}

fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}

/// The inbox key by the form ARCHITECTURE.md gives, as Postgres writes it.
fn key(source: &str, id: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let sha = Sha256::new().chain_update((source.len() as u64).to_be_bytes()).chain_update(source).chain_update(id);
    let (half, _) =
        <[u8; 32]>::from(sha.finalize()).split_first_chunk::<16>().map(|(half, rest)| (*half, rest.len())).unwrap();
    uuid::Uuid::from_bytes(half).to_string()
}

/// One JSON object a line without a raw control character, one line for each failed input, nothing of any payload.
fn log_is_clean(worker: &Worker, cases: &[Case]) {
    let log = worker.output();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry.is_object() && !line.chars().any(char::is_control), "{line:?}");
        *lines.entry(entry["message"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for case in cases {
        let Outcome::Failed(reason) = case.outcome else { continue };
        for input in &case.inputs {
            let start = format!("event {} failed: {reason};", input.id);
            let count: usize = lines.iter().filter(|(line, _)| line.starts_with(&start)).map(|(_, count)| count).sum();
            assert_eq!(count, 1, "{}: {start}", case.input);
        }
    }
    for planted in ["jndi", "DROP TABLE", "forged", "onerror", "HYPERLINK"] {
        assert!(!log.contains(planted), "{planted} stands in the log");
    }
}

/// `docs/bad-input.md` says what the table says.
pub(crate) async fn the_document_is_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bad-input.md");
    let mut text = String::from(HEAD);
    let mut section = "";
    for case in cases() {
        if case.section != section {
            section = case.section;
            write!(text, "\n## {section}\n\n| input | outcome |\n|---|---|\n").unwrap();
        }
        writeln!(text, "| {} | {} |", case.input.replace('|', "\\|"), case.outcome).unwrap();
    }
    if std::env::var_os("REPRIEVE_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "docs/bad-input.md is not current: REPRIEVE_BLESS=1 cargo test --test e2e the_document_is_the_table renews it"
    );
}

const HEAD: &str = "\
# What comes in, and what becomes of it

Made from the table of cases in `tests/e2e/bad_input/`, which the tests drive through the real queue and the real worker; do not
edit it by hand. Each message of each row was sent twice: that never changes anything.

- *applied*: it did what it says; its `data` is kept byte for byte.
- *no effect*: a repeat, acknowledged.
- *failed*: it can never be processed. Kept with its bytes among the failures, answered with `event.rejected.v1`, one log line.
- *refused*: well-formed, but the business says no. Answered with `event.rejected.v1`.
- *waits*: for its submission.

Where several reasons fit, the first of these is named: `too_large`, `bad_properties`, `bad_encoding`, `too_deep`, `bad_json`,
`duplicate_key`, `schema` (no object), `unsupported_version`, `unknown_type`, `bad_text`, `bad_time`, `schema` (the rest).
";
