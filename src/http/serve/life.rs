//! How long a connection lives. An ordinary one has an end from its beginning; one that carries a stream lives as long as its reader
//! takes what is sent. What a stream needs to know of its connection is here too.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest life of a connection, and of a stream that nobody reads: who asks and never reads must not hold it for ever.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// The life of one connection.
#[derive(Clone, Debug)]
pub(super) struct Life(Arc<Mutex<Span>>);

#[derive(Debug)]
struct Span {
    end: Instant,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Ends when it has to.
    Ordinary,
    /// Lives on with everything that is taken.
    Lasting,
}

impl Life {
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Span { end: Instant::now() + LIFE_MAX, kind: Kind::Ordinary })))
    }

    /// Waits for the end.
    pub(super) async fn over(&self) {
        loop {
            let end = self.with(|span| span.end);
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Span) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn taken(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.with(|span| {
                if span.kind == Kind::Lasting {
                    span.end = Instant::now() + LIFE_MAX;
                }
            });
        }
    }
}

/// What an answer can know of the connection it goes out on.
#[derive(Clone, Debug)]
pub(in crate::http) struct Conversation {
    life: Life,
    ending: watch::Receiver<()>,
}

impl Conversation {
    pub(super) fn new(life: Life, ending: watch::Receiver<()>) -> Self {
        Self { life, ending }
    }

    /// From here on the connection lives as long as what is sent is taken.
    pub(in crate::http) fn lasts(&self) {
        self.life.with(|span| *span = Span { end: Instant::now() + LIFE_MAX, kind: Kind::Lasting });
    }

    /// Waits for the shutdown. Cancel safe.
    pub(in crate::http) async fn ended(&mut self) {
        // An error means that the server is gone.
        self.ending.changed().await.ok();
    }
}

/// A connection that tells its life what is taken from it.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) life: Life,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.life.taken(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.life.taken(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
