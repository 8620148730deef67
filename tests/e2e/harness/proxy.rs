//! The proxy against an echo of this process; no server is started.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::eventually;
use crate::support::proxy::Direction::{ToClient, ToServer};
use crate::support::proxy::trigger::{Then, Trigger};
use crate::support::proxy::{Fault, Proxy};

const SOON: Duration = Duration::from_secs(5);
/// Long enough for loopback to have delivered what it will.
const QUIET: Duration = Duration::from_millis(150);

/// Answers every byte with itself and keeps what it got.
struct Echo {
    address: SocketAddr,
    got: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicUsize>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (got, ended) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicUsize>::default());
        let echo = Self { address, got: Arc::clone(&got), ended: Arc::clone(&ended) };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (got, ended) = (Arc::clone(&got), Arc::clone(&ended));
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        got.lock().unwrap().extend_from_slice(&buffer[..read]);
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        echo
    }

    fn got(&self) -> Vec<u8> {
        self.got.lock().unwrap().clone()
    }

    async fn gets(&self, expected: &[u8]) {
        eventually("the bytes at the server", SOON, async || (self.got() == expected).then_some(())).await;
    }
}

async fn pair() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.address).await;
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (echo, proxy, client)
}

async fn reads(client: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    tokio::time::timeout(SOON, client.read_exact(&mut answer)).await.expect("an answer in time").unwrap();
    assert_eq!(answer, expected);
}

async fn reads_nothing(client: &mut TcpStream) {
    let read = tokio::time::timeout(QUIET, client.read_u8()).await;
    assert!(read.is_err(), "something came: {read:?}");
}

async fn is_reset(client: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(SOON, client.read_to_end(&mut rest)).await.expect("the connection ends in time");
    assert!(end.is_err(), "it ended in good order");
}

pub(crate) async fn bytes_pass_unchanged_both_ways() {
    let (echo, proxy, mut client) = pair().await;
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (mut from, mut to) = client.split();
    let mut answer = vec![0; all.len()];
    let (wrote, read) = tokio::join!(to.write_all(&all), from.read_exact(&mut answer));
    wrote.unwrap();
    read.unwrap();
    assert!(answer == all && echo.got() == all);
    assert_eq!((proxy.forwarded(ToServer), proxy.forwarded(ToClient)), (100_000, 100_000));
    assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));
    drop(client);
    eventually("the end of the connection", SOON, async || (proxy.connections() == 0).then_some(())).await;
}

pub(crate) async fn a_trigger_finds_its_pattern_across_segments() {
    let (echo, proxy, mut client) = pair().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, got) = (Arc::clone(&seen), Arc::clone(&echo.got));
    let act = move || noted.lock().unwrap().extend_from_slice(&got.lock().unwrap());
    let fired = proxy.on(ToServer, b"COMMIT\0", Trigger::before(act));
    for segment in [&b"..COM"[..], b"MI", b"T\0.."] {
        client.write_all(segment).await.unwrap();
        if segment != b"T\0.." {
            reads(&mut client, segment).await;
        }
    }
    fired.wait(SOON).await;
    assert_eq!(*seen.lock().unwrap(), b"..COMMI", "the last byte of the pattern had not passed");
    echo.gets(b"..COMMIT\0..").await;
}

pub(crate) async fn a_trigger_before_keeps_the_pattern_back() {
    let (echo, proxy, mut client) = pair().await;
    let fired = proxy.on(ToServer, b"xyz", Trigger::before(|| {}).then(Then::Cut));
    client.write_all(b"abcxyzdef").await.unwrap();
    fired.wait(SOON).await;
    eventually("the cut", SOON, async || (echo.ended.load(Ordering::SeqCst) == 1).then_some(())).await;
    assert_eq!(echo.got(), b"abc");
    is_reset(&mut client).await;
}

pub(crate) async fn a_trigger_after_forwards_the_rest_it_was_told_of() {
    let (echo, proxy, mut client) = pair().await;
    let fired = proxy.on(ToServer, b"xyz", Trigger::after(|| {}).with_rest(4).then(Then::Withhold));
    client.write_all(b"abcxyz12").await.unwrap();
    echo.gets(b"abcxyz12").await;
    client.write_all(b"345").await.unwrap();
    fired.wait(SOON).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(echo.got(), b"abcxyz1234", "four bytes after the pattern and no fifth");
    proxy.heal();
    echo.gets(b"abcxyz12345").await;
}

pub(crate) async fn a_trigger_counts_over_connections() {
    let (_echo, proxy, mut first) = pair().await;
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    let mut fired = proxy.on(ToServer, b"aa", Trigger::after(|| {}).nth(3));
    first.write_all(b"aaa").await.unwrap(); // two occurrences: they may overlap
    reads(&mut first, b"aaa").await;
    assert!(!fired.has_fired());
    second.write_all(b"aa").await.unwrap();
    reads(&mut second, b"aa").await;
    assert!(fired.has_fired());
}

pub(crate) async fn a_withheld_reply_comes_when_healed() {
    let (echo, proxy, mut client) = pair().await;
    let fired = proxy.on(ToServer, b"COMMIT\0", Trigger::after(|| {}).then(Then::WithholdReply));
    client.write_all(b"COMMIT\0").await.unwrap();
    fired.wait(SOON).await;
    echo.gets(b"COMMIT\0").await;
    reads_nothing(&mut client).await;
    let mut other = TcpStream::connect(proxy.addr()).await.unwrap();
    other.write_all(b"still served").await.unwrap();
    reads(&mut other, b"still served").await;
    proxy.heal();
    reads(&mut client, b"COMMIT\0").await;
}

pub(crate) async fn a_cut_falls_on_its_byte() {
    let (echo, proxy, mut client) = pair().await;
    proxy.set(ToServer, Fault::CutAfter(7));
    client.write_all(b"0123456789").await.unwrap();
    is_reset(&mut client).await;
    echo.gets(b"0123456").await;
    let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
    next.write_all(b"0123456789").await.unwrap();
    reads(&mut next, b"0123456789").await;
}

pub(crate) async fn a_cut_ends_open_connections_and_serves_new_ones() {
    let (_echo, proxy, mut client) = pair().await;
    client.write_all(b"one").await.unwrap();
    reads(&mut client, b"one").await;
    proxy.cut();
    is_reset(&mut client).await;
    let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
    next.write_all(b"two").await.unwrap();
    reads(&mut next, b"two").await;
}

pub(crate) async fn a_refusing_proxy_serves_again_when_healed() {
    let (_echo, proxy, mut client) = pair().await;
    proxy.refuse();
    is_reset(&mut client).await;
    // The reset may come as early as the end of connecting.
    if let Ok(mut next) = TcpStream::connect(proxy.addr()).await {
        is_reset(&mut next).await;
    }
    proxy.heal();
    let mut last = TcpStream::connect(proxy.addr()).await.unwrap();
    last.write_all(b"three").await.unwrap();
    reads(&mut last, b"three").await;
}

pub(crate) async fn a_frozen_direction_leaves_the_other_open() {
    let (echo, proxy, mut client) = pair().await;
    proxy.set(ToClient, Fault::Freeze);
    client.write_all(b"heard").await.unwrap();
    echo.gets(b"heard").await;
    reads_nothing(&mut client).await;
    proxy.heal();
    reads(&mut client, b"heard").await;
}

pub(crate) async fn a_half_close_ends_one_direction() {
    let (echo, proxy, mut client) = pair().await;
    client.write_all(b"before").await.unwrap();
    reads(&mut client, b"before").await;
    proxy.set(ToServer, Fault::HalfClose);
    eventually("the end at the server", SOON, async || (echo.ended.load(Ordering::SeqCst) == 1).then_some(())).await;
    client.write_all(b"after").await.unwrap();
    assert_eq!(echo.got(), b"before");
}

pub(crate) async fn one_byte_segments_lose_nothing() {
    let (echo, proxy, mut client) = pair().await;
    proxy.set(ToServer, Fault::OneByte);
    proxy.set(ToClient, Fault::OneByte);
    client.write_all(b"in very small pieces").await.unwrap();
    reads(&mut client, b"in very small pieces").await;
    echo.gets(b"in very small pieces").await;
}

pub(crate) async fn a_slow_line_takes_its_time() {
    let (_echo, proxy, mut client) = pair().await;
    proxy.set(ToServer, Fault::BytesPerSecond(1_000));
    proxy.set(ToClient, Fault::Delay(Duration::from_millis(50)));
    let begun = Instant::now();
    client.write_all(&[b'x'; 300]).await.unwrap();
    reads(&mut client, &[b'x'; 300]).await;
    assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
}
