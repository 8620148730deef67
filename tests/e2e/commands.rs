//! Everything that the documents have their reader type, typed: in a folder of the reader's own, against servers of the test's own, in
//! the documents' order, with the exit code they say and the output they show. `lists` has what is not run, and why.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::stage::Stage;
use crate::traffic;
use crate::{embedded, support};
use document::{Kind, Step, steps};
use session::Session;

mod document;
mod lists;
mod session;

/// Followed by a case of this file.
const FOLLOWED: [&str; 4] = ["README.md", "docs/operations.md", "docs/integration.md", "deploy/README.md"];

/// All others: nothing in them is to be typed that is not named here.
const OTHERS: [(&str, &str); 8] = [
    ("docs/drill.md", "made by the cases of drill/"),
    ("docs/rules.md", "run by tests/rules_guide.rs"),
    ("docs/bad-input.md", "no commands"),
    ("docs/systems.md", "no commands: calls to other products"),
    ("ARCHITECTURE.md", "no commands"),
    ("CHANGELOG.md", "names commands"),
    ("benches/README.md", "on the list of what is not run"),
    ("fuzz/README.md", "on the list of what is not run"),
];

/// A newcomer, from the first line to the last: the first command, the worker without servers, then with them.
pub(crate) async fn the_readme_is_done_from_top_to_bottom() {
    let stage = Stage::shared("commands_readme").await;
    let mut session = Session::new(&reader(&stage))
        .env("REPRIEVE_AMQP__PREFIX", &stage.prefix())
        .call("{database}", &stage.database_url())
        .call("{broker}", &stage.amqp_url());
    files(&session);
    let readme = steps("README.md");
    let first = readme.iter().find(|step| step.kind == Kind::Block).unwrap();
    assert!(first.shown.is_some(), "it begins with a command and what that prints: {first:?}");
    session.follow(&readme).await;
    let posted = outcomes(&session);
    assert_eq!(posted, ["applied"], "the first of the examples");
}

/// What operators look up, on servers with the example's traffic and some failures.
pub(crate) async fn the_operations_guide_is_done_from_top_to_bottom() {
    let stage = Stage::shared("commands_operations").await;
    let database = as_the_guide_makes_it(&stage).await;
    let mut session = Session::new(&reader(&stage))
        .installed()
        .env("REPRIEVE_AMQP__PREFIX", &stage.prefix())
        .env("AMQP_URL", &stage.amqp_url())
        .env("DATABASE_URL", &database)
        .env("REPRIEVE_RULES", "examples/rules.yaml")
        .env("REPRIEVE_PARKING__TTL", "1s");
    files(&session);
    session.type_in("reprieve migrate up && reprieve topology apply").await;
    session.type_in("reprieve run").await;
    let orphan = traffic::envelope("orphan", "exception.decision.v1", &traffic::decision("none", "deny", "alice"));
    let unknown = (0..12).map(|id| traffic::envelope(&id.to_string(), "exception.unknown.v1", &Value::Null));
    session.put("bad.jsonl", &unknown.chain([orphan]).map(|event| format!("{event}\n")).collect::<String>());
    session.type_in("reprieve events publish bad.jsonl").await;
    session.type_in("reprieve events publish examples/events.jsonl").await;
    orphaned(&mut session).await;
    let (console, typed): (Vec<Step>, Vec<Step>) =
        steps("docs/operations.md").into_iter().partition(|step| step.kind == Kind::Console);
    session.follow(&typed).await;
    session.end_beside(0).await;

    // What is shown, is shown of the sample.
    let folder = embedded::folder("commands-sample");
    let mut sample = Session::new(&folder).installed();
    sample.type_in("reprieve dev --data kept").await;
    sample.settle().await;
    let mut sample = sample.env("DATABASE_URL", "sqlite://kept/reprieve.db").env("AMQP_URL", "embedded:");
    for step in &console {
        sample.step(step).await;
    }
    sample.end_beside(0).await;
}

/// The commands over HTTP, at a worker without servers.
pub(crate) async fn the_commands_over_http_are_taken() {
    let mut session = without_servers("commands-integration").env("TOKEN", "");
    files(&session);
    session.type_in("reprieve run").await;
    let (submission, decision) = (traffic::submission("curl", "high"), traffic::decision("curl", "approve", "alice"));
    let event = traffic::envelope("42", "exception.submitted.v1", &submission);
    let batch = Value::from(vec![event.clone(), traffic::envelope("44", "exception.decision.v1", &decision)]);
    for (name, content) in [("event.json", event), ("data.json", decision), ("events.json", batch)] {
        session.put(name, &content.to_string());
    }
    session.type_in("reprieve events publish examples/events.jsonl").await;
    session.follow(&steps("docs/integration.md")).await;
    session.end_beside(0).await;
    // A submission; its decision; both again, the decision under another id.
    assert_eq!(outcomes(&session), ["applied", "applied", "repeated", "applied"]);
}

/// What Compose executes in its container, and the API it publishes.
pub(crate) async fn the_commands_of_the_deployment_are_taken() {
    let mut session = without_servers("commands-deploy").env("REPRIEVE_HTTP__TOKEN", "local-only");
    files(&session);
    session.type_in("reprieve run").await;
    session.follow(&steps("deploy/README.md")).await;
    session.end_beside(0).await;
}

/// Every document is followed or said not to be, every command in it is run or said not to be, every command that is named anywhere is
/// run somewhere, and the lists hold nothing else.
pub(crate) async fn every_command_is_on_a_list() {
    let others = OTHERS.map(|(document, _)| document);
    let documents = document::all();
    for document in &documents {
        let known = FOLLOWED.contains(&document.as_str()) || others.contains(&document.as_str());
        assert!(known, "{document} is neither followed nor among the others");
    }
    for document in &documents {
        none_is_overlooked(document);
    }
    let all: Vec<Step> = documents.iter().flat_map(|document| steps(document)).collect();
    let followed = |step: &&Step| FOLLOWED.iter().any(|document| step.place.starts_with(&format!("{document}:")));
    let run: Vec<String> = all.iter().filter(followed).filter_map(lists::to_run).collect();
    for step in all.iter().filter(|step| step.kind == Kind::Block && !followed(step)) {
        assert!(lists::to_run(step).is_none(), "{}: nobody runs `{}`", step.place, step.typed);
    }
    let typed: Vec<&String> = all.iter().map(|step| &step.typed).collect();
    let in_use = |words: &str| typed.iter().any(|typed| typed.contains(words.trim()));
    let lists = lists::NOT_RUN.iter().map(|(begins, _)| *begins).chain(lists::STANDS_FOR.iter().map(|(word, _)| *word));
    let lists = lists.chain(lists::EXIT_CODES.iter().map(|(line, _)| *line));
    let idle: Vec<&str> = lists.filter(|words| !in_use(words)).collect();
    assert_eq!(idle, Vec::<&str>::new(), "no document says so any more: take it off its list");

    let elsewhere = all.iter().filter(|step| step.kind == Kind::Console).map(|step| step.typed.clone());
    let ran: BTreeSet<String> = run.into_iter().chain(elsewhere).flat_map(|line| verbs(&line)).collect();
    for step in &all {
        for verb in verbs(&step.typed) {
            assert!(ran.contains(&verb), "{}: no document that is run has `reprieve {verb}`", step.place);
        }
    }
    assert!(ran.len() > 30, "{ran:?}");
}

/// A second look, without regard to blocks: what is indented and begins with a program is a step.
fn none_is_overlooked(document: &str) {
    let steps = steps(document);
    for line in document::text(document).lines().filter_map(|line| line.strip_prefix("    ")) {
        let begins = |program: &&str| line.strip_prefix(program).is_some_and(|rest| rest.starts_with(' '));
        let found = steps.iter().any(|step| step.typed == line);
        assert!(found || !lists::RUN.iter().any(begins), "{document}: `{line}` is overlooked");
    }
}

/// What of the program a line names: noun and verb. `a|b` are two.
fn verbs(line: &str) -> Vec<String> {
    let line = line.replace("cargo run -- ", "reprieve ").replace("| reprieve", "\nreprieve");
    let mut verbs = Vec::new();
    for words in line.lines().filter_map(|line| line.trim().strip_prefix("reprieve ")) {
        let is_verb =
            |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains(['.', '/', '_']);
        let words: Vec<&str> = words.split_whitespace().take_while(is_verb).collect();
        match words[..] {
            [] => {}
            ["completions" | "man" | "run" | "dev" | "health" | "stats", ..] => verbs.push(words[0].to_owned()),
            [noun] => verbs.push(noun.to_owned()),
            [noun, verb, ..] => verbs.extend(verb.split('|').map(|verb| format!("{noun} {verb}"))),
        }
    }
    verbs
}

fn reader(stage: &Stage) -> std::path::PathBuf {
    let folder = stage.folder().join("reader");
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn without_servers(name: &str) -> Session {
    let session = Session::new(&embedded::folder(name)).installed();
    let session = session.env("DATABASE_URL", "sqlite://reprieve.db").env("AMQP_URL", "embedded:");
    session.env("REPRIEVE_RULES", "rules.yaml")
}

/// What the reader has besides the examples.
fn files(session: &Session) {
    session.put("event.json", &embedded::submission("given"));
    let rules = document::text("examples/rules.yaml");
    for name in ["rules.yaml", "old.yaml"] {
        session.put(name, &rules);
    }
    session.put("new.yaml", &rules.replace("payments-*", "payments-api-*"));
}

/// Owner, worker's role and database by the guide's own SQL; the owner's URL.
async fn as_the_guide_makes_it(stage: &Stage) -> String {
    let guide = document::text("docs/operations.md");
    let sql = guide.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the guide has it");
    let mut root = stage.servers().connect("postgres").await;
    for statement in sql.split_inclusive(";\n") {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut root).await.expect(statement);
    }
    stage.servers().database_url("reprieve").replacen("postgres@", "reprieve_owner@", 1)
}

async fn orphaned(session: &mut Session) {
    let ask = async || {
        session.type_in("reprieve failures list --reason orphaned -o jsonl").await.contains("orphaned").then_some(())
    };
    support::eventually("the orphan's failure", embedded::SOON, ask).await;
}

/// What became of the events that were posted.
fn outcomes(session: &Session) -> Vec<String> {
    let posts = session.ran.iter().filter(|ran| ran.typed.contains("curl") && ran.typed.contains("json"));
    let answers = posts.map(|post| {
        let answer = serde_json::from_str::<Vec<Value>>(&post.said);
        answer.unwrap_or_else(|error| panic!("{}: {error}: {}", post.typed, post.said))
    });
    answers.flatten().map(|one| one["outcome"].as_str().unwrap().to_owned()).collect()
}
