//! What the cases stand on: private servers, a faulty network, the worker as a process, a client of its own.
//!
//! Nothing here uses the product's code: a mistake in it cannot hide behind the same mistake here.

pub(crate) mod amqp;
pub(crate) mod certificates;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod schemas;
pub(crate) mod servers;
pub(crate) mod stage;
pub(crate) mod watchdog;
pub(crate) mod worker;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// No case is worth more: a case that hangs fails with its name instead of holding up the gate.
const CASE_TIME_MAX: Duration = Duration::from_mins(5);

/// Cases at a time. Each waits most of its time; more of them fill a small machine, and its deadlines pass.
const CASES_AT_ONCE: usize = 3;

/// Cases that are named at the end with their times.
const SLOWEST: usize = 12;

/// Makes a [`Trial`] of each async function, named by its path.
#[macro_export]
macro_rules! cases {
    ($($case:path),* $(,)?) => {
        vec![$($crate::support::trial(stringify!($case).replace(' ', ""), || $case())),*]
    };
}

/// Runs the cases, then ends every process and removes every file they left.
pub(crate) fn run(arguments: &Arguments, cases: Vec<Trial>) -> ExitCode {
    let mut arguments = arguments.clone();
    arguments.test_threads.get_or_insert(CASES_AT_ONCE);
    let conclusion = libtest_mimic::run(&arguments, cases);
    servers::end_shared();
    print_slowest();
    watchdog::end();
    conclusion.exit_code()
}

/// How long each case took, as they end.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Where the time went: what to look at first when the gate gets slow.
fn print_slowest() {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|one, other| other.cmp(one));
    let slow: Vec<String> =
        times.iter().take(SLOWEST).map(|(time, name)| format!("{name} {:.0} s", time.as_secs_f32())).collect();
    println!("slowest: {}", slow.join(", "));
}

/// One case, on a runtime of its own.
pub(crate) fn trial<Case>(name: impl Into<String>, case: impl FnOnce() -> Case + Send + 'static) -> Trial
where
    Case: Future<Output = ()>,
{
    let name = name.into();
    Trial::test(name.clone(), move || {
        let begun = Instant::now();
        let outcome = run_case(case());
        TIMES.lock().unwrap_or_else(PoisonError::into_inner).push((begun.elapsed(), name));
        outcome
    })
}

fn run_case(case: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime for the case: {error}"))?;
    let outcome = runtime.block_on(async { tokio::time::timeout(CASE_TIME_MAX, case).await });
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome.map_err(|_| format!("not done after {} s", CASE_TIME_MAX.as_secs()).into())
}

/// Asks again until the answer is there, and fails naming `what` when the deadline passes first.
pub(crate) async fn eventually<T, F>(what: &str, deadline: Duration, mut ask: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let answer = tokio::time::timeout(deadline, asked).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {} s", deadline.as_secs_f32()))
}
