//! A rules file with faults: while the worker runs, and at its start.

use std::time::Duration;

use super::RULES;
use super::transcript::Transcript;
use crate::support::amqp::Client;
use crate::support::stage::Stage;
use crate::traffic::submit;

const SOON: Duration = Duration::from_secs(20);

const GOOD: &str = r#"apiVersion: reprieve/v1
version: "1"
settings: { triage: [lead@example.com] }
fallback:
  levels: [{ reviewers: { users: [alice@example.com] } }]
"#;

pub(crate) async fn the_rules_file_is_broken() {
    let stage = Stage::shared("drill_rules").await;
    let setup = stage.worker().rules(GOOD);
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    let folder = format!("{}/", stage.folder().display());
    let mut told = Transcript::new(RULES, &[(folder, "/etc/reprieve/")]);
    let worker = setup.start();
    worker.wait_ready(SOON).await;

    told.say("Somebody saves a rules file with two slips in it, while the worker runs. The log says what is wrong and where:");
    let bad = GOOD.replace("fallback:", "fallbak:").replace("lead@example.com", "le ad@example.com");
    let setup = setup.rules(&bad);
    let end = told.log(&worker, 0, "settings.triage").await;
    told.log(&worker, end, "stay in force").await;
    told.say("The old rules go on deciding, so nobody is held up, and the worker stays ready:");
    told.probe(&worker, 200, "ready").await;
    Client::connect(&stage).await.publish(&[submit("1", "low")]).await;
    crate::books::at_rest(&stage, 1, SOON).await;
    told.say("`rules check` finds every fault at once, with what was probably meant:");
    told.run(&setup, "rules check", 3).await;
    told.say("After an edit it has nothing more to say, and what is saved is in force in a moment:");
    let setup = setup.rules(&GOOD.replace("version: \"1\"", "version: \"2\""));
    told.run(&setup, "rules check", 0).await;
    told.log(&worker, end, "are in force from the next turn on").await;
    crate::crashes::end(&[worker]).await;

    told.say(
        "The same file at a start ends the worker at once, with exit code 3, and nothing is taken from the queue:",
    );
    let setup = setup.rules(&bad);
    let worker = setup.start();
    let status = worker.wait_exit(SOON).await;
    assert_eq!(status.code(), Some(3), "{}", worker.output());
    told.log(&worker, 0, "settings.triage").await;
    told.say("It is found and mended as before; then the worker starts:");
    let setup = setup.rules(GOOD);
    told.run(&setup, "rules check", 0).await;
    let worker = setup.start();
    told.log(&worker, 0, "starts with rules").await;
    told.probe(&worker, 200, "ready").await;
    crate::crashes::end(&[worker]).await;
    told.end();
}
