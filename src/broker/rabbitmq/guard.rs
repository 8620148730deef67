//! The transport under lapin: tokio's, with a [`Cleaner`] in what is read. Over TLS too: it sits above the encryption. And on
//! a leash: lapin waits for ever for a broker that never answers, with a thread and a socket for each such connection.
//!
//! Nothing here knows what a frame is; that is `frames`.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::future::{FutureExt, Shared};
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::frames::Cleaner;

/// Read at a time.
const READ_BYTES: usize = 64 * 1024;

type TokioStream = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// How long a connection that nobody holds any more may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// A connection; once dropped it is gone within [`GOODBYE_MAX`], whatever the broker does.
pub(super) struct Wire {
    connection: Connection,
    _leash: Leash,
}

impl Deref for Wire {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Cuts the transport some time after it is dropped.
struct Leash(Option<oneshot::Sender<()>>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(GOODBYE_MAX).await;
                drop(held);
            });
        }
    }
}

/// Connects over a guarded stream, on the current tokio runtime.
pub(super) async fn connect(
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    properties: ConnectionProperties,
) -> lapin::Result<Wire> {
    let (held, cut) = oneshot::channel();
    let leash = Leash(Some(held));
    let cut = cut.shared();
    let tokio = Tokio::current();
    let plain = Runtime::new(tokio.clone());
    let guarded = Runtime::new(RuntimeParts::new(tokio.clone(), GuardedReactor(tokio)));
    let dial = async move |uri: AMQPUri, _| {
        let stream = uri.connect_with_config_async(tls.as_ref(), &plain).await?;
        Ok(AsyncTcpStream::Plain(Guarded::new(stream, cut.clone())))
    };
    let connection = Connection::connector(uri, guarded, dial, properties).await?;
    Ok(Wire { connection, _leash: leash })
}

/// Tokio, but for the type of its streams.
#[derive(Clone, Debug)]
struct GuardedReactor(Tokio);

impl Reactor for GuardedReactor {
    type TcpStream = Guarded;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Unused: lapin registers no sockets of its own with tokio.
    fn register<H: Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Guarded, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    /// Unused: the stream is dialled in [`connect`].
    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// A stream whose incoming content headers are clean.
struct Guarded {
    stream: TokioStream,
    /// Ready once the connection was dropped and has had its time.
    cut: Shared<oneshot::Receiver<()>>,
    cleaner: Cleaner,
    read: Vec<u8>,
    /// Clean bytes, of which `given` are handed out.
    clean: Vec<u8>,
    given: usize,
}

impl Guarded {
    fn new(stream: TokioStream, cut: Shared<oneshot::Receiver<()>>) -> Self {
        Self { stream, cut, cleaner: Cleaner::default(), read: vec![0; READ_BYTES], clean: Vec::new(), given: 0 }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if Pin::new(&mut this.cut).poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        loop {
            let waiting = this.clean.get(this.given..).unwrap_or_default();
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.len());
                let (into, _) = buffer.split_at_mut(count);
                let (from, _) = waiting.split_at(count);
                into.copy_from_slice(from);
                this.given += count;
                return Poll::Ready(Ok(count));
            }
            this.clean.clear();
            this.given = 0;
            let count = ready!(Pin::new(&mut this.stream).poll_read(context, &mut this.read))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.cleaner.push(this.read.get(..count).unwrap_or_default(), &mut this.clean);
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
