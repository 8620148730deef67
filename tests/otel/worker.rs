//! A worker on embedded parts, in a folder of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(30);
static FOLDERS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Worker {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    folder: PathBuf,
}

impl Worker {
    /// Starts one that answers when this returns. It gets nothing of the caller's environment.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("reprieve-otel-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_reprieve"))
            .arg("run")
            .current_dir(&folder)
            .env_clear()
            .env("DATABASE_URL", format!("sqlite://{}", folder.join("reprieve.db").display()))
            .env("AMQP_URL", "embedded:")
            .env("REPRIEVE_HTTP_LISTEN", "127.0.0.1:0")
            .env("REPRIEVE_RULES", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules.yaml"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        let mut worker = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, folder };
        worker.address = worker.eventually("its address", |log| {
            let line = log.lines().find(|line| line.contains("http.listen"))?;
            serde_json::from_str::<Value>(line).ok()?["http.listen"].as_str()?.parse().ok()
        });
        worker
    }

    /// What has been logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn eventually<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + SOON;
        loop {
            if let Some(found) = look(&self.log()) {
                return found;
            }
            assert!(Instant::now() < until, "no {what} within {SOON:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Hands in events together; what became of each.
    pub(crate) fn hand_in(&self, envelopes: &[Value]) -> Vec<String> {
        let body = json!(envelopes).to_string();
        let (length, address) = (body.len(), self.address);
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/cloudevents-batch+json\r\ncontent-length: {length}\r\n\r\n"
        );
        // It listens before its schema is there.
        let until = Instant::now() + SOON;
        loop {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            if head.starts_with("HTTP/1.1 200") {
                let told: Vec<Value> = serde_json::from_str(body).unwrap();
                return told.iter().map(|told| told["outcome"].as_str().unwrap().to_owned()).collect();
            }
            assert!(head.starts_with("HTTP/1.1 503") && Instant::now() < until, "{answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks it to end, which it has to do well and in time; its whole log.
    pub(crate) fn end(mut self) -> String {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let until = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        self.eventually("last line", |log| log.contains("drained").then_some(()));
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both are gone already in the good case.
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// A submission that works, with a text in it that must not be shown anywhere.
pub(crate) fn submission(name: &str, traceparent: Option<&str>) -> Value {
    let data = json!({
        "exception_id": format!("EX-{name}"),
        "ticket": { "id": format!("SEC-{name}"), "title": "OpenSSL", "severity": "high", "current_due_date": "2036-12-05" },
        "requester": { "id": "zoe@example.com", "team": "payments" },
        "reason": "fix_unavailable", "justification": "hunter2", "requested_due_date": "2037-01-31",
    });
    envelope(&format!("s-{name}"), "exception.submitted.v1", &data, traceparent)
}

pub(crate) fn envelope(id: &str, event_type: &str, data: &Value, traceparent: Option<&str>) -> Value {
    let mut envelope =
        json!({ "specversion": "1.0", "id": id, "source": "urn:test", "type": event_type, "data": data });
    if let Some(traceparent) = traceparent {
        envelope["traceparent"] = traceparent.into();
    }
    envelope
}
