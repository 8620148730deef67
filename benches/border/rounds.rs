//! Rates side by side: healthy events alone, the same with bad ones among them, and everything a second time.

use std::collections::BTreeMap;
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

/// All rounds; prints the rates and the ratios, by the clock and by the processor time.
pub(crate) async fn poison_and_repeats() {
    let events = setting("REPRIEVE_BENCH_EVENTS", 20_000) / 2 * 2;
    let mut ratios: [Vec<Taken>; 3] = Default::default();
    println!(
        "{events} healthy events a run: half submissions, half final approvals; per healthy event, processor time in all"
    );
    for round in 1..=setting("REPRIEVE_BENCH_ROUNDS", 3) {
        let name = |kind: &str| format!("{kind}{round}");
        let (alone, again) = run(&name("alone"), events, Bad::None).await;
        let (form, _) = run(&name("form"), events, Bad::Form).await;
        let (database, _) = run(&name("database"), events, Bad::Database).await;
        for (kind, taken) in [("alone", alone), ("bad form", form), ("database", database), ("again", again)] {
            println!("round {round}, {kind}: {:.0}/s, {:.0} us", 1.0 / taken.clock, taken.processor * 1e6);
        }
        for (ratios, taken) in ratios.iter_mut().zip([form, database, again]) {
            ratios.push(Taken { clock: alone.clock / taken.clock, processor: alone.processor / taken.processor });
        }
    }
    let [form, database, again] = &ratios;
    spread("1 % poison of bad form / none", form);
    spread("1 % poison, a quarter of it refused by the database / none", database);
    spread("redelivery of everything / first delivery", again);
}

fn spread(what: &str, ratios: &[Taken]) {
    let sorted = |of: fn(&Taken) -> f64| {
        let mut all: Vec<f64> = ratios.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        format!("min {:.2}, median {:.2}, max {:.2}", all[0], all[all.len() / 2], all[all.len() - 1])
    };
    println!("{what}: {}; by processor time {}", sorted(|ratio| ratio.clock), sorted(|ratio| ratio.processor));
}

/// What a run took, for each event.
#[derive(Clone, Copy, Default)]
struct Taken {
    /// Seconds by the clock: what users feel, and what everything else on the machine disturbs.
    clock: f64,
    /// Seconds of processor time of worker, database and broker together: what the work is.
    processor: f64,
}

/// The first delivery and, where nothing is bad, everything again. Servers of its own each time, so that
/// no round works on what another left.
async fn run(name: &str, events: usize, bad: Bad) -> (Taken, Taken) {
    let stage = Stage::own(name).await;
    let setup = stage.worker().rules(RULES).env("RUST_LOG", "error");
    setup.cli_ok(&["migrate", "up"]).await;
    setup.cli_ok(&["topology", "apply"]).await;
    // In every round, so that its cost is on both sides.
    sqlx::raw_sql(REFUSE).execute(&mut stage.connect().await).await.unwrap();
    let client = Client::connect(&stage).await;
    let messages = traffic(events, bad);
    let first = drained(&stage, &client, &messages, 1).await.each(events);
    let failed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM failures").fetch_one(&mut stage.connect().await).await.unwrap();
    assert_eq!(usize::try_from(failed).unwrap(), messages.len() - events, "exactly the bad ones fail");
    if !matches!(bad, Bad::None) {
        return (first, Taken::default());
    }
    (first, drained(&stage, &client, &messages, AGAIN).await.each(events * AGAIN))
}

impl Taken {
    fn each(self, events: usize) -> Self {
        let events = f64::from(u32::try_from(events).unwrap());
        Self { clock: self.clock / events, processor: self.processor / events }
    }
}

/// Fills the queue, starts a worker, and takes the time from the first message taken until the worker, told to stop when the
/// queue was empty, has finished all it had taken and published all that came of it.
async fn drained(stage: &Stage, client: &Client, messages: &[Message], times: usize) -> Taken {
    for _ in 0..times {
        for messages in messages.chunks(500) {
            client.publish(messages).await;
        }
    }
    let full = client.depth(QUEUE).await.unwrap();
    assert_eq!(full as usize, messages.len() * times);
    let servers = [stage.servers().postgres.pid(), stage.servers().broker.pid()];
    let before = processor_s(&servers);
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
    let processor = processor_s(&servers) - before + processor_s(&[worker.pid()]);
    worker.sigterm();
    assert!(worker.wait_exit(Duration::from_secs(30)).await.success());
    let clock = begun.elapsed().as_secs_f64();
    assert_eq!(client.depth(QUEUE).await, Some(0), "nothing was given back");
    Taken { clock, processor }
}

/// Processor time so far of processes with all below them, also of those that have ended; the kernel counts hundredths.
fn processor_s(roots: &[u32]) -> f64 {
    let mut parents: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
    let mut total = 0.0;
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Ok(pid) = entry.unwrap().file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may have ended since.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let number = |at: usize| fields[at].parse::<f64>().unwrap();
        let time = (11..15).map(number).sum::<f64>() / 100.0;
        parents.entry(fields[1].parse().unwrap()).or_default().push((pid, time));
        total += if roots.contains(&pid) { time } else { 0.0 };
    }
    let mut left = roots.to_vec();
    while let Some(pid) = left.pop() {
        for (child, time) in parents.get(&pid).into_iter().flatten() {
            total += time;
            left.push(*child);
        }
    }
    total
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
