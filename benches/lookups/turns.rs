//! What the indexes cost the turns: the store alone, batches of 250 submissions and their 250 approvals, with and without each index. The
//! processor time of the session is counted, because a busy machine tells little by the clock.

use std::time::Instant;

use chrono::TimeDelta;
use reprieve::domain::exception::{Enforcement, Exception, Status};
use reprieve::health::Light;
use reprieve::store::postgres::PostgresStore;
use reprieve::store::{Changes, Plan, Store, Wanted};
use sqlx::{AssertSqlSafe, Connection as _, raw_sql};

use crate::INDEXES;
use crate::rows;
use crate::support::stage::Stage;

const BATCH: usize = 500;
const ROUNDS: usize = 3;

pub(crate) async fn bench(events: usize) {
    let mut variants: Vec<(String, Vec<&str>)> =
        vec![("none".to_owned(), vec![]), ("all".to_owned(), INDEXES.to_vec())];
    variants.extend(INDEXES.map(|index| (format!("only {index}"), vec![index])));
    println!("{events} events, half submissions, half approvals; session CPU and time, µs for an event");
    let mut all: Vec<Vec<(f64, f64)>> = vec![Vec::new(); variants.len()];
    for round in 0..ROUNDS {
        for (place, (_, kept)) in variants.iter().enumerate() {
            all[place].push(run(&format!("turns_{round}_{place}"), kept, events).await);
        }
    }
    for ((name, _), mut figures) in variants.into_iter().zip(all) {
        figures.sort_by(|a, b| a.0.total_cmp(&b.0));
        let spread: Vec<_> = figures.iter().map(|(cpu, _)| format!("{cpu:.1}")).collect();
        println!("{name}: CPU {} (of {}), clock {:.1}", spread[ROUNDS / 2], spread.join(" "), figures[ROUNDS / 2].1);
    }
}

async fn run(name: &str, kept: &[&str], events: usize) -> (f64, f64) {
    let stage = Stage::shared(name).await;
    stage.worker().cli_ok(&["migrate", "up"]).await;
    let mut connection = stage.connect().await;
    for index in INDEXES.iter().filter(|index| !kept.contains(index)) {
        raw_sql(AssertSqlSafe(format!("DROP INDEX {index}"))).execute(&mut connection).await.unwrap();
    }
    let mut store = PostgresStore::new(&stage.database_url(), Light::default(), u64::MAX).unwrap();
    turn(&mut store, &Wanted::default(), &mut |_| Changes::default()).await;
    let pid: i32 = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'reprieve'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let (begun, cpu) = (Instant::now(), cpu_us(pid));
    let half = BATCH / 2;
    // In each turn new ones come and those of twenty turns before are approved, as reviewers take their time.
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..events / half {
        let new: Vec<Exception> = (number * half..(number + 1) * half).map(rows::exception).collect();
        waiting.push_back(new.iter().map(|exception| exception.id.clone()).collect());
        let decided = if waiting.len() > 20 || number * half >= events / 2 { waiting.pop_front() } else { None };
        let new = if number * half < events / 2 {
            new
        } else {
            waiting.pop_back();
            Vec::new()
        };
        let wanted = Wanted { exceptions: decided.unwrap_or_default(), ..Wanted::default() };
        turn(&mut store, &wanted, &mut |snapshot| {
            let decided = snapshot.exceptions.into_values().map(approved);
            Changes { exceptions: decided.chain(new.clone()).collect(), ..Changes::default() }
        })
        .await;
    }
    let count = f64::from(u32::try_from(events).unwrap());
    ((cpu_us(pid) - cpu) / count, begun.elapsed().as_secs_f64() * 1e6 / count)
}

async fn turn(store: &mut PostgresStore, wanted: &Wanted, plan: &mut Plan<'_>) {
    store.turn(wanted, plan).await.unwrap();
}

fn approved(mut exception: Exception) -> Exception {
    (exception.status, exception.enforcement) = (Status::Approved, Enforcement::InForce);
    exception.decided_at = Some(exception.created_at + TimeDelta::hours(5));
    exception.approved_due_date = Some(exception.request.requested_due_date);
    exception
}

/// User and system time of a process so far; the kernel counts hundredths of a second.
fn cpu_us(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) * 10_000.0
}
