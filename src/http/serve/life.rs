//! How long a connection lives. An ordinary one has an end from its beginning, which comes early where it is idle and its place is
//! wanted; one that carries a stream lives as long as its reader takes what is sent. What a stream needs to know of its connection is
//! here too.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Longest life of a connection, and of a stream that nobody reads: who asks and never reads must not hold it for ever.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// A connection whose life is over answers what is in hand; longer than any answer may take, it is cut.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(12);
/// One whose place is wanted has nothing in hand: it is only a matter of saying so, which whoever does not listen may miss.
const FAREWELL_MAX: Duration = Duration::from_millis(250);

/// The life of one connection.
#[derive(Clone, Debug)]
pub(super) struct Life {
    span: Arc<Mutex<Span>>,
    called: Arc<Notify>,
}

#[derive(Debug)]
struct Span {
    end: Instant,
    kind: Kind,
    /// Requests whose answers are not made yet: at most one.
    in_hand: usize,
    /// When something was asked or sent last.
    moved: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Ends when it has to.
    Ordinary,
    /// Lives on with everything that is taken.
    Lasting,
    /// Ends now: its place is wanted.
    Called,
}

/// A request whose answer is being made, until all of it has been handed to the connection.
#[derive(Debug)]
pub(super) struct InHand(Life);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.with(|span| {
            span.in_hand -= 1;
            span.moved = Instant::now();
        });
    }
}

impl Life {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let span = Span { end: now + LIFE_MAX, kind: Kind::Ordinary, in_hand: 0, moved: now };
        Self { span: Arc::new(Mutex::new(span)), called: Arc::default() }
    }

    /// A request begins.
    pub(super) fn asked(&self) -> InHand {
        self.with(|span| span.in_hand += 1);
        InHand(self.clone())
    }

    /// Whether its connection is gone.
    pub(super) fn is_left(&self) -> bool {
        Arc::strong_count(&self.span) == 1
    }

    /// Since when nothing has been asked or sent; `None` if something is in hand, or its end has come anyway.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.with(|span| (span.in_hand == 0 && span.kind == Kind::Ordinary).then_some(span.moved))
    }

    /// Its place is wanted, if it is idle still.
    pub(super) fn call(&self) {
        self.with(|span| {
            if span.in_hand == 0 && span.kind == Kind::Ordinary {
                (span.end, span.kind) = (Instant::now(), Kind::Called);
            }
        });
        self.called.notify_waiters();
    }

    /// Waits for the end.
    pub(super) async fn over(&self) {
        loop {
            // Listens before it looks, or a call in between would be missed.
            let mut called = std::pin::pin!(self.called.notified());
            called.as_mut().enable();
            let end = self.with(|span| span.end);
            if end <= Instant::now() {
                return;
            }
            tokio::select! {
                biased;
                () = called => {}
                () = tokio::time::sleep_until(end) => {}
            }
        }
    }

    /// Waits until it is to be cut, whatever is in hand.
    pub(super) async fn cut(&self) {
        self.over().await;
        if self.with(|span| span.kind == Kind::Called) {
            tokio::time::sleep(FAREWELL_MAX).await;
            // Unless a request has come at the same moment.
            if self.with(|span| span.in_hand == 0) {
                return;
            }
        }
        tokio::time::sleep(LAST_ANSWER_MAX).await;
    }

    fn with<T>(&self, look: impl FnOnce(&mut Span) -> T) -> T {
        look(&mut self.span.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn taken(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.with(|span| {
                span.moved = Instant::now();
                if span.kind == Kind::Lasting {
                    span.end = span.moved + LIFE_MAX;
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
        self.life.with(|span| (span.end, span.kind) = (Instant::now() + LIFE_MAX, Kind::Lasting));
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
