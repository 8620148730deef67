//! `examples/bridges`: each on a queue of its own, with a fake on the other side that is away at first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Corner, ROOT, SOON, command, decision, done, get, python, send};
use crate::support::eventually;
use crate::support::process::Process;
use crate::traffic;

/// What the other side took, and how often it has still to say no.
#[derive(Default)]
struct Taken {
    refusals: usize,
    messages: Vec<String>,
}

type Other = Arc<Mutex<Taken>>;

/// Every notification comes twice, the other side is away at first, and the bridge is killed in between: one message each.
pub(crate) async fn each_bridge_sends_each_notification_once() {
    let corner = Corner::new("guide_bridges").await;
    let channel = corner.channel().await;
    let bridges = ["mail", "slack", "teams"];
    for bridge in bridges {
        let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
        channel.queue_declare(bridge.into(), options, table.clone()).await.unwrap();
        let (exchange, key) = ("exceptions.events".into(), "notification.#".into());
        channel.queue_bind(bridge.into(), exchange, key, QueueBindOptions::default(), table).await.unwrap();
    }
    let worker = corner.setup.start();
    let events = corner.stage.folder().join("events.jsonl");
    let mut submission = traffic::submission("bridge", "high");
    submission["exception_id"] = "EX-bridge-2037-01-31".into();
    submission["ticket"]["title"] = "<b>OpenSSL</b> & [friends]".into();
    let submission = traffic::envelope("s", "exception.submitted.v1", &submission);
    std::fs::write(&events, format!("{submission}\n{}\n", decision("bridge"))).unwrap();
    corner.setup.cli_ok(&["events", "publish", events.to_str().unwrap()]).await;
    let mut sent = BTreeMap::new();
    for bridge in bridges {
        let mut messages = Vec::new();
        for number in 0..3 {
            let what = format!("notification {number} for {bridge}");
            messages.push(eventually(&what, SOON, async || get(&channel, bridge).await).await);
        }
        sent.insert(bridge, messages);
    }
    worker.sigterm();
    assert!(worker.wait_exit(SOON).await.success());
    let all = bridges.map(|bridge| one(&corner, &channel, bridge, &sent[bridge]));
    futures_util::future::join_all(all).await;
}

/// What one message, one answer or one setting can do: without a broker, on each bridge in turn.
pub(crate) async fn no_message_and_no_answer_stops_a_bridge() {
    let cases = format!("{ROOT}/tests/e2e/guide/bridges.py");
    done(command(&[python("")[0].clone(), "-B".to_owned(), cases], Path::new(ROOT))).await;
}

/// Without the right, without the queue, with another password, without a broker: one line, and the end.
pub(crate) async fn a_bridge_says_what_it_lacks_at_the_broker() {
    let corner = Corner::new("guide_rights").await;
    let (user, password) = ("guide-bridge", "a%40secret");
    let servers = corner.stage.servers();
    servers.rabbitmqctl(&["add_user", user, "a@secret"]).await;
    let url = corner.stage.amqp_url();
    let (_, place) = url.rsplit_once('@').unwrap();
    let vhost = place.rsplit('/').next().unwrap();
    servers
        .rabbitmqctl(&["set_permissions", "-p", vhost, user, "", "", "^(exceptions\\.out\\.tickets|missing)$"])
        .await;
    let as_user = |password: &str| format!("amqp://{user}:{password}@{place}");
    let nowhere = "amqp://guest:secret@127.0.0.1:1/%2f".to_owned();
    let rows = [
        (as_user(password), "exceptions.out.notifications", "ACCESS_REFUSED", "the right to read it"),
        (as_user(password), "missing", "NOT_FOUND", "declare it"),
        (as_user("secret"), "missing", "ACCESS_REFUSED", "may log in"),
        (nowhere, "missing", "refused", "see that it runs"),
    ];
    for bridge in ["mail", "slack", "teams"] {
        for (url, queue, cause, remedy) in &rows {
            let mut program = command(&python(&format!("bridges/{bridge}.py")), corner.stage.folder());
            program.env("AMQP_URL", url).env("QUEUE", queue).env("SENT", ":memory:").env("MAIL_FROM", "a@example.com");
            program.env("SLACK_WEBHOOK_URL", "http://127.0.0.1:1/x").env("TEAMS_WEBHOOK_URL", "http://127.0.0.1:1/x");
            let output = tokio::time::timeout(SOON, program.output()).await.unwrap().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{bridge}, {queue}: {said}");
            assert!(said.contains(cause) && said.contains(remedy) && !said.contains("secret"), "{bridge}: {said}");
        }
    }
}

async fn one(corner: &Corner, channel: &lapin::Channel, bridge: &str, messages: &[(lapin::BasicProperties, Vec<u8>)]) {
    let other = Other::default();
    other.lock().unwrap().refusals = 1;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve(listener, bridge == "mail", Arc::clone(&other)));
    for life in ["first", "second"] {
        for message in messages.iter().flat_map(|message| [message, message]) {
            send(channel, bridge, message).await;
        }
        let log = corner.stage.folder().join(format!("{bridge}-{life}.log"));
        let process = start(corner, bridge, port, &log);
        // Six lines: what became of each of the six messages.
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        let handled =
            |text: &str| text.lines().filter(|line| line.starts_with("sent ") || line.starts_with("repeated ")).count();
        eventually(&format!("{bridge}: six handled"), SOON, async || {
            assert!(process.exited().is_none(), "{bridge} ended: {}", lines());
            (handled(&lines()) == 6).then_some(())
        })
        .await;
        assert_eq!(lines().contains(" again in 1 s: "), life == "first", "it tries again: {}", lines());
        process.kill9();
    }
    let mut left = 0;
    while get(channel, bridge).await.is_some() {
        left += 1;
    }
    assert!(left <= 1, "{bridge} has acknowledged all but perhaps the last, at which it was killed");
    let taken = other.lock().unwrap();
    assert_eq!(taken.messages.len(), 3, "{bridge}: {:?}", taken.messages);
    for kind in ["assigned", "received", "decided"] {
        assert_eq!(taken.messages.iter().filter(|text| text.contains(kind)).count(), 1, "{kind}: {:?}", taken.messages);
    }
    for text in &taken.messages {
        shape(bridge, text);
    }
}

fn start(corner: &Corner, bridge: &str, port: u16, log: &Path) -> Process {
    let hook = format!("http://127.0.0.1:{port}/hook");
    let mut command = command(&python(&format!("bridges/{bridge}.py")), corner.stage.folder()).into_std();
    command.env("AMQP_URL", corner.stage.amqp_url()).env("QUEUE", bridge).env("SENT", format!("{bridge}.db"));
    command.env("SLACK_WEBHOOK_URL", &hook).env("TEAMS_WEBHOOK_URL", &hook).env("MAIL_FROM", "reprieve@example.com");
    command.env("SMTP_HOST", "127.0.0.1").env("SMTP_PORT", port.to_string()).env("SMTP_TLS", "none");
    Process::spawn(command, log, log.with_extension("pid"))
}

/// What a message has to carry on each side.
fn shape(bridge: &str, text: &str) {
    match bridge {
        "mail" => {
            assert!(
                text.contains("\r\nTo: alice@example.com\r\n") || text.contains("\r\nTo: zoe@example.com\r\n"),
                "{text}"
            );
            assert!(text.contains("@reprieve.invalid>") && text.contains("EX-bridge-2037-01-31"), "{text}");
        }
        "slack" => {
            let message: Value = serde_json::from_str(text).unwrap();
            let text = message["text"].as_str().unwrap();
            assert!(text.contains("&lt;b&gt;OpenSSL&lt;/b&gt; &amp; [friends]"), "{text}");
        }
        _ => {
            let message: Value = serde_json::from_str(text).unwrap();
            let card = &message["attachments"][0]["content"];
            assert_eq!(card["type"], "AdaptiveCard", "{text}");
            assert!(card["body"][0]["text"].as_str().unwrap().contains(r"\[friends\]"), "{text}");
        }
    }
}

async fn serve(listener: TcpListener, mail: bool, other: Other) {
    while let Ok((stream, _)) = listener.accept().await {
        let other = Arc::clone(&other);
        // A client that goes away is a client that goes away.
        tokio::spawn(async move { if mail { smtp(stream, &other).await } else { http(stream, &other).await } });
    }
}

/// Whether this one is to be refused.
fn refuses(other: &Other) -> bool {
    let mut taken = other.lock().unwrap();
    let refuses = taken.refusals > 0;
    taken.refusals -= usize::from(refuses);
    refuses
}

async fn smtp(stream: TcpStream, other: &Other) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 fake\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && stream.read_line(&mut mail).await? > 0 {}
                if refuses(other) {
                    "451 not now\r\n"
                } else {
                    other.lock().unwrap().messages.push(mail);
                    "250 taken\r\n"
                }
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn http(stream: TcpStream, other: &Other) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let status = if refuses(other) { "503 Not Now" } else { "200 OK" };
    if status == "200 OK" {
        other.lock().unwrap().messages.push(String::from_utf8(body).unwrap());
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await
}
