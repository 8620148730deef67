//! Rates side by side: healthy events alone, the same with bad ones among them, and everything a second time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::setting;
use crate::support::amqp::{Client, Message};
use crate::support::stage::Stage;
use crate::traffic::{RULES, decide, decision, envelope, submission, submit};

/// One bad message follows so many healthy ones.
const HEALTHY_PER_BAD: usize = 99;
/// How often everything is delivered again: repeats take so little that one time is too short to be measured.
const AGAIN: usize = 3;
/// Longer than any round may take.
const ROUND_MAX: Duration = Duration::from_mins(10);
const QUEUE: &str = "exceptions.worker";
/// In the comment of a decision that the database shall refuse.
const MARK: &str = "refused-by-the-database";

/// The database refuses a row by its content, as it would one that no check of ours foresaw.
const REFUSE: &str = "
CREATE FUNCTION refuse_marked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.body LIKE '%refused-by-the-database%' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '22023'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse_marked BEFORE INSERT ON history FOR EACH ROW EXECUTE FUNCTION refuse_marked();
";

#[derive(Clone, Copy)]
enum Bad {
    None,
    /// What the decoder says no to: no JSON, no such field, no such type.
    Form,
    /// One in four is refused by the database alone.
    Database,
}

/// All rounds; prints the rates and the ratios.
pub(crate) async fn poison_and_repeats() {
    let events = setting("REPRIEVE_BENCH_EVENTS", 20_000) / 2 * 2;
    let (mut form, mut database, mut again) = (Vec::new(), Vec::new(), Vec::new());
    println!("{events} healthy events a run: half submissions, half final approvals; rates count the healthy ones");
    for round in 1..=setting("REPRIEVE_BENCH_ROUNDS", 3) {
        let name = |kind: &str| format!("{kind}{round}");
        let (alone, repeats) = run(&name("alone"), events, Bad::None).await;
        let (with_form, _) = run(&name("form"), events, Bad::Form).await;
        let (with_database, _) = run(&name("database"), events, Bad::Database).await;
        println!(
            "round {round}: alone {alone:.0}/s, 1 % of bad form {with_form:.0}/s, a quarter of it refused by the database \
             {with_database:.0}/s, all again {repeats:.0}/s"
        );
        form.push(with_form / alone);
        database.push(with_database / alone);
        again.push(repeats / alone);
    }
    spread("1 % poison of bad form / none", form);
    spread("1 % poison, a quarter of it refused by the database / none", database);
    spread("redelivery of everything / first delivery", again);
}

fn spread(what: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!("{what}: min {least:.2}, median {median:.2}, max {most:.2}");
}

/// The rate of the first delivery and, where nothing is bad, that of everything again. Servers of its own each time, so that
/// no round works on what another left.
async fn run(name: &str, events: usize, bad: Bad) -> (f64, f64) {
    let stage = Stage::own(name).await;
    let setup = stage.worker().rules(RULES).env("RUST_LOG", "error");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    // In every round, so that its cost is on both sides.
    sqlx::raw_sql(REFUSE).execute(&mut stage.connect().await).await.unwrap();
    let client = Client::connect(&stage).await;
    let messages = traffic(events, bad);
    let healthy = f64::from(u32::try_from(events).unwrap());
    let first = healthy / drained(&stage, &client, &messages, 1).await.as_secs_f64();
    let failed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM failures").fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(usize::try_from(failed).unwrap(), messages.len() - events, "exactly the bad ones fail");
    if !matches!(bad, Bad::None) {
        return (first, 0.0);
    }
    let times = f64::from(u32::try_from(AGAIN).unwrap());
    (first, times * healthy / drained(&stage, &client, &messages, AGAIN).await.as_secs_f64())
}

/// Fills the queue, starts a worker, and takes the time from the first message taken until the worker, told to stop when the
/// queue was empty, has finished all it had taken and published all that came of it.
async fn drained(stage: &Stage, client: &Client, messages: &[Message], times: usize) -> Duration {
    for _ in 0..times {
        for messages in messages.chunks(500) {
            client.publish(messages).await;
        }
    }
    let full = client.depth(QUEUE).await.unwrap();
    assert_eq!(full as usize, messages.len() * times);
    let worker = stage.worker().rules(RULES).env("RUST_LOG", "error").start();
    let depth_is = async |holds: &dyn Fn(u32) -> bool| {
        let begun = Instant::now();
        while !holds(client.depth(QUEUE).await.unwrap()) {
            assert!(begun.elapsed() < ROUND_MAX, "not done in {} s", ROUND_MAX.as_secs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    depth_is(&|depth| depth < full).await;
    let begun = Instant::now();
    depth_is(&|depth| depth == 0).await;
    worker.sigterm();
    assert!(worker.wait_exit(Duration::from_secs(30)).await.success());
    let time = begun.elapsed();
    assert_eq!(client.depth(QUEUE).await, Some(0), "nothing was given back");
    time
}

/// Submissions in waves of 250, each followed by its approvals, and the bad ones evenly among them.
fn traffic(events: usize, bad: Bad) -> Vec<Message> {
    let mut messages = Vec::with_capacity(events + events / HEALTHY_PER_BAD);
    let numbers: Vec<usize> = (0..events / 2).collect();
    for wave in numbers.chunks(250) {
        messages.extend(wave.iter().map(|number| submit(&format!("{number:07}"), "high")));
        messages.extend(wave.iter().map(|number| decide(&format!("{number:07}"), "approve", "alice")));
    }
    if matches!(bad, Bad::None) {
        return messages;
    }
    let healthy = messages.into_iter().enumerate();
    let mixed = healthy.flat_map(|(at, message)| {
        let follows = at % HEALTHY_PER_BAD == HEALTHY_PER_BAD - 1;
        std::iter::once(message).chain(follows.then(|| poison(at / HEALTHY_PER_BAD, bad)))
    });
    mixed.collect()
}

fn poison(number: usize, bad: Bad) -> Message {
    let name = format!("P{number:06}");
    let data = decision(&name, "approve", "alice");
    let id = format!("p-{number}");
    let refused = matches!(bad, Bad::Database);
    match number % 4 {
        0 => {
            let text = envelope(&id, "exception.decision.v1", &data).to_string();
            let cut = text.len() - 1 - number % 50;
            Message::raw("exception.decision.v1", &text.as_bytes()[..cut]).content_type("application/cloudevents+json")
        }
        1 => Message::structured(&envelope(&id, "exception.decision.v1", &json!({ "decision": 7, "number": number }))),
        2 => Message::structured(&envelope(&id, "exception.nonsense.v1", &data)),
        _ if refused => {
            let mut data = submission(&name, "high");
            data["justification"] = json!(MARK);
            Message::structured(&envelope(&id, "exception.submitted.v1", &data))
        }
        _ => Message::structured(&envelope(&id, "exception.submitted.v1", &data)),
    }
}
