//! A faulty network of one machine: a TCP proxy whose faults are switched while it runs, and whose triggers act at an
//! exact byte of the conversation.
//!
//! A trigger is how a crash is placed between two steps: "when the worker sends `COMMIT`, forward it, then kill the
//! worker" needs no hook in the product. [`patterns`] holds the byte strings of the steps.
//!
//! It knows bytes only, no protocol. [`pump`] moves them, [`trigger`] finds the place.

pub(crate) mod patterns;
mod pump;
pub(crate) mod trigger;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use trigger::{Armed, Fired, Trigger};

/// Which half of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What the worker says.
    ToServer,
    /// What the broker or the database says.
    ToClient,
}

impl Direction {
    fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// What is wrong with one direction of every connection, until [`Proxy::heal`] or another fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Nothing passes and nobody is told.
    Freeze,
    /// Every write waits first.
    Delay(Duration),
    /// One byte in every segment.
    OneByte,
    /// A slow line.
    BytesPerSecond(u32),
    /// The receiver is told that no more will come; the other direction goes on.
    HalfClose,
    /// After this many more bytes the connection that carried the last of them is reset, and the fault is over.
    CutAfter(u64),
}

/// What the connections look at while they run.
#[derive(Clone, Copy, Default)]
struct Weather {
    faults: [Fault; 2],
    /// Grows with every [`Proxy::heal`]; what a trigger withheld is let go then.
    heals: u64,
    /// Grows with every [`Proxy::cut`].
    cuts: u64,
    refusing: bool,
}

/// One direction's counters and triggers, shared by all connections.
#[derive(Default)]
struct Lane {
    armed: Mutex<Vec<Armed>>,
    forwarded: AtomicU64,
    /// Bytes left of a [`Fault::CutAfter`].
    allowance: AtomicU64,
}

struct Shared {
    target: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    lanes: [Lane; 2],
    open: AtomicUsize,
    accepted: AtomicUsize,
}

/// The proxy. It ends, with its connections, when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of loopback and connects each client to `target`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            weather: watch::Sender::new(Weather::default()),
            lanes: [Lane::default(), Lane::default()],
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// In front of a loopback port.
    pub(crate) async fn before(port: u16) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A URL of the target, made to lead through this proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let target = *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner);
        let url = direct.replacen(&target.to_string(), &self.address.to_string(), 1);
        assert_ne!(url, direct, "the URL does not name {target}");
        url
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections since the start.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes forwarded since the start.
    pub(crate) fn forwarded(&self, direction: Direction) -> u64 {
        self.shared.lanes[direction.index()].forwarded.load(Ordering::SeqCst)
    }

    /// Sets the fault of one direction, for connections open and to come.
    pub(crate) fn set(&self, direction: Direction, fault: Fault) {
        if let Fault::CutAfter(bytes) = fault {
            self.shared.lanes[direction.index()].allowance.store(bytes, Ordering::SeqCst);
        }
        self.shared.weather.send_modify(|weather| weather.faults[direction.index()] = fault);
    }

    /// A silent blackhole in both directions.
    pub(crate) fn freeze(&self) {
        self.set(Direction::ToServer, Fault::Freeze);
        self.set(Direction::ToClient, Fault::Freeze);
    }

    /// Resets every open connection; new ones are served.
    pub(crate) fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Resets every open connection and every new one until [`Self::heal`].
    pub(crate) fn refuse(&self) {
        self.shared.weather.send_modify(|weather| {
            weather.cuts += 1;
            weather.refusing = true;
        });
    }

    /// Ends all faults and lets go what was frozen or withheld. Triggers stay armed.
    pub(crate) fn heal(&self) {
        self.shared.weather.send_modify(|weather| {
            weather.faults = [Fault::None; 2];
            weather.refusing = false;
            weather.heals += 1;
        });
    }

    /// Acts when `pattern` passes in this direction of any connection, also across segments.
    pub(crate) fn on(&self, direction: Direction, pattern: &[u8], trigger: Trigger) -> Fired {
        let (armed, fired) = Armed::new(pattern, trigger);
        let mut lane = self.shared.lanes[direction.index()].armed.lock().unwrap_or_else(PoisonError::into_inner);
        lane.push(armed);
        fired
    }

    /// Forgets the triggers that have not acted.
    pub(crate) fn disarm(&self) {
        for lane in &self.shared.lanes {
            lane.armed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let Weather { cuts, refusing, .. } = *shared.weather.borrow();
        if refusing {
            client.set_zero_linger().ok();
            continue;
        }
        let shared = Arc::clone(&shared);
        shared.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
            // A target that is down looks from here as it would without a proxy: the connection ends.
            if let Ok(server) = TcpStream::connect(target).await {
                pump::join(client, server, cuts, Arc::clone(&shared)).await;
            }
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}
