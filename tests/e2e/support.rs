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
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

/// No case is worth more: a case that hangs fails with its name instead of holding up the gate.
const CASE_TIME_MAX: Duration = Duration::from_mins(5);

/// Cases at a time. Each waits most of its time, and two servers and two workers fill a small machine.
const CASES_AT_ONCE: usize = 2;

/// Makes a [`Trial`] of each async function, named by its path.
#[macro_export]
macro_rules! cases {
    ($($case:path),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(
            stringify!($case).replace(' ', ""),
            || $crate::support::run_case($case()),
        )),*]
    };
}

/// Runs the cases, then ends every process and removes every file they left.
pub(crate) fn run(arguments: &Arguments, cases: Vec<Trial>) -> ExitCode {
    let mut arguments = arguments.clone();
    arguments.test_threads.get_or_insert(CASES_AT_ONCE);
    let conclusion = libtest_mimic::run(&arguments, cases);
    servers::end_shared();
    watchdog::end();
    conclusion.exit_code()
}

/// One case on a runtime of its own.
pub(crate) fn run_case(case: impl Future<Output = ()>) -> Result<(), libtest_mimic::Failed> {
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
