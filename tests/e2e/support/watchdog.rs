//! Ends what the test process started, also when the test process itself is killed.
//!
//! Every process the harness starts writes its id to a `*.pid` file below one temporary folder and removes the file when
//! it was reaped. A small shell waits at the other end of a pipe for the test process to end, whatever way, then ends
//! every process that still has a file, and removes the folder. `REPRIEVE_E2E_KEEP=1` keeps the folder for reading.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use std::os::unix::process::CommandExt;

/// Twenty rounds of a quarter of a second: a server that was just being started writes its file late.
const SCRIPT: &str = r#"
cat >/dev/null
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for file in $(find "$1" -maxdepth 3 -name '*.pid' 2>/dev/null); do
        kill -9 $(cat "$file") 2>/dev/null
        rm -f "$file"
    done
    [ -z "$2" ] || exit 0
    rm -rf "$1" 2>/dev/null
    [ -e "$1" ] || exit 0
    sleep 0.25
done
"#;

struct Watchdog {
    root: PathBuf,
    shell: Mutex<Option<Child>>,
}

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

/// The temporary folder of this test process. The first call creates it and starts the watchdog.
pub(crate) fn root() -> &'static Path {
    &WATCHDOG.get_or_init(start).root
}

/// Ends everything now and waits until it is done. Called once, after the last case.
pub(crate) fn end() {
    let Some(watchdog) = WATCHDOG.get() else { return };
    let shell = watchdog.shell.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut shell) = shell {
        drop(shell.stdin.take());
        shell.wait().expect("the watchdog is this process's child");
    }
}

fn start() -> Watchdog {
    use std::os::unix::fs::PermissionsExt;

    let root = std::env::temp_dir().join(format!("reprieve-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&root).expect("the temporary folder can be written");
    // The database server may run under another account, which has to be able to enter.
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o711)).expect("the folder is ours");
    let keep = std::env::var("REPRIEVE_E2E_KEEP").unwrap_or_default();
    let shell = Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .args([root.as_os_str(), keep.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // the terminal's Ctrl-C must not reach it
        .spawn()
        .expect("there is a shell");
    Watchdog { root, shell: Mutex::new(Some(shell)) }
}
