//! Moves the bytes of one connection, under the faults and triggers of its proxy.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::trigger::{Armed, History, Place, Then};
use super::{Direction, Fault, Lane, Shared, Weather};

/// One read; larger than any frame that matters here.
const CHUNK: usize = 16 * 1024;
const NOT_HELD: u64 = u64::MAX;

/// Runs the connection to its end. It ends with a reset when it was cut, as a broken line would: when the count of cuts
/// is not what it was when the connection was accepted, or by a fault or a trigger.
pub(super) async fn join(client: TcpStream, server: TcpStream, cuts: u64, shared: Arc<Shared>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let held = Arc::new([AtomicU64::new(NOT_HELD), AtomicU64::new(NOT_HELD)]);
    let mut outward = Pump::new(Direction::ToServer, to_server, &shared, &held);
    let mut inward = Pump::new(Direction::ToClient, to_client, &shared, &held);
    let mut weather = shared.weather.subscribe();
    let ended = tokio::select! {
        ended = async { tokio::try_join!(outward.run(from_client), inward.run(from_server)) } => ended.is_ok(),
        () = until(&mut weather, |weather| weather.cuts != cuts) => false,
    };
    if !ended {
        for writer in [outward.writer, inward.writer] {
            writer.as_ref().set_zero_linger().ok();
            writer.forget(); // dropping it would close in good order first
        }
    }
}

/// One direction of one connection.
struct Pump {
    direction: Direction,
    writer: OwnedWriteHalf,
    shared: Arc<Shared>,
    weather: watch::Receiver<Weather>,
    /// Per direction, the count of heals at which a trigger held it; the next heal lets it go.
    held: Arc<[AtomicU64; 2]>,
    history: History,
    /// A trigger whose pattern has passed and that waits for the rest of its bytes.
    pending: Option<(usize, Armed)>,
}

impl Pump {
    fn new(direction: Direction, writer: OwnedWriteHalf, shared: &Arc<Shared>, held: &Arc<[AtomicU64; 2]>) -> Self {
        Self {
            direction,
            writer,
            shared: Arc::clone(shared),
            weather: shared.weather.subscribe(),
            held: Arc::clone(held),
            history: History::default(),
            pending: None,
        }
    }

    async fn run(&mut self, mut reader: OwnedReadHalf) -> Result<()> {
        let index = self.direction.index();
        let mut weather = self.shared.weather.subscribe();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                read = reader.read(&mut buffer) => read?,
                () = until(&mut weather, |weather| weather.faults[index] == Fault::HalfClose) => {
                    self.writer.shutdown().await?;
                    return discard(reader, buffer).await;
                }
            };
            if read == 0 {
                self.passable().await;
                return self.writer.shutdown().await;
            }
            self.forward(&buffer[..read]).await?;
        }
    }

    /// Forwards a chunk, stopping at the places of triggers.
    async fn forward(&mut self, mut chunk: &[u8]) -> Result<()> {
        while !chunk.is_empty() {
            if let Some((rest, armed)) = self.pending.take() {
                let (now, later) = chunk.split_at(rest.min(chunk.len()));
                self.history.push(now);
                self.write(now).await?;
                chunk = later;
                if now.len() < rest {
                    self.pending = Some((rest - now.len(), armed));
                } else {
                    self.act(armed)?;
                }
                continue;
            }
            let Some((end, armed)) = self.find(chunk) else { return self.write(chunk).await };
            match armed.place() {
                Place::Before => {
                    let start = end.saturating_sub(armed.pattern_len());
                    self.write(&chunk[..start]).await?;
                    self.act(armed)?;
                    self.write(&chunk[start..end]).await?;
                }
                Place::After { rest } => {
                    self.write(&chunk[..end]).await?;
                    if rest > 0 {
                        self.pending = Some((rest, armed));
                    } else {
                        self.act(armed)?;
                    }
                }
            }
            chunk = &chunk[end..];
        }
        Ok(())
    }

    fn find(&mut self, chunk: &[u8]) -> Option<(usize, Armed)> {
        let lane = &self.shared.lanes[self.direction.index()];
        self.history.find(chunk, &mut lane.armed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn act(&self, armed: Armed) -> Result<()> {
        // The hold is in place before the action, so that a case that wakes on the action finds it.
        let heals = self.weather.borrow().heals;
        let hold = |direction: Direction| self.held[direction.index()].store(heals, Ordering::SeqCst);
        let then = armed.then();
        match then {
            Then::Forward | Then::Cut => {}
            Then::Withhold => hold(self.direction),
            Then::WithholdReply => hold(self.direction.other()),
        }
        armed.act();
        if then == Then::Cut { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Writes under the fault of the moment.
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.passable().await;
            let fault = self.weather.borrow().faults[self.direction.index()];
            let length = match fault {
                Fault::OneByte => 1,
                Fault::BytesPerSecond(rate) => usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1),
                Fault::CutAfter(_) => self.allowed(rest.len()),
                Fault::HalfClose => return Ok(()),
                Fault::None | Fault::Freeze | Fault::Delay(_) => rest.len(),
            };
            let (now, later) = rest.split_at(length.min(rest.len()));
            match fault {
                Fault::Delay(delay) => tokio::time::sleep(delay).await,
                Fault::BytesPerSecond(rate) => tokio::time::sleep(time_of(now.len(), rate)).await,
                _ => {}
            }
            self.writer.write_all(now).await?;
            self.lane().forwarded.fetch_add(count(now.len()), Ordering::SeqCst);
            rest = later;
            if matches!(fault, Fault::CutAfter(_)) {
                self.cut_when_used_up()?;
            }
            if fault == Fault::OneByte {
                // Lets the socket send before the next byte is there to join it.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// How many of these bytes may still pass.
    fn allowed(&self, wanted: usize) -> usize {
        let take = |left: u64| Some(left.saturating_sub(count(wanted)));
        let left = self.lane().allowance.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or(0);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }

    /// Ends this connection, and the fault with it, when the allowance is used up.
    fn cut_when_used_up(&self) -> Result<()> {
        if self.lane().allowance.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.shared.weather.send_modify(|weather| weather.faults[self.direction.index()] = Fault::None);
        Err(ErrorKind::ConnectionReset.into())
    }

    /// Waits while this direction is frozen or held.
    async fn passable(&mut self) {
        let index = self.direction.index();
        let held = Arc::clone(&self.held);
        let open = |weather: &Weather| {
            weather.faults[index] != Fault::Freeze && held[index].load(Ordering::SeqCst) != weather.heals
        };
        until(&mut self.weather, open).await;
    }

    fn lane(&self) -> &Lane {
        &self.shared.lanes[self.direction.index()]
    }
}

async fn until(weather: &mut watch::Receiver<Weather>, holds: impl FnMut(&Weather) -> bool) {
    weather.wait_for(holds).await.expect("every connection holds the sender");
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length fits")
}

fn time_of(bytes: usize, rate: u32) -> Duration {
    Duration::from_secs(1) / rate.max(1) * u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Takes what the sender still says to an end that was closed.
async fn discard(mut reader: OwnedReadHalf, mut buffer: Vec<u8>) -> Result<()> {
    while reader.read(&mut buffer).await? > 0 {}
    Ok(())
}
