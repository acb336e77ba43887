//! One accepted connection: a TCP stream that ends by itself where its client does nothing.
//!
//! Input: bytes of the client. Output: the same bytes, then an end where the protocol did not begin in time or no call was open for too long. Invariant:
//! a connection with an open call is never ended here.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connections::ConnectionPermit;

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub struct ReadTimeouts {
    /// Until it has sent [`Self::preface_bytes`].
    pub preface: Duration,
    /// The bytes with which the protocol begins.
    pub preface_bytes: usize,
    /// Without a call, once the protocol has begun.
    pub idle: Duration,
    /// Whether a connection whose client takes bytes is not idle. It is false where the server itself sends pings.
    pub writing_is_activity: bool,
}

/// The time from which instants are counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The calls of one connection. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCalls(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    open: AtomicUsize,
    /// When the last call ended, in milliseconds since [`START`].
    ended_at: AtomicU64,
}

/// Counts a call as open until it is dropped.
#[derive(Debug)]
pub struct OpenCall(ConnectionCalls);

impl ConnectionCalls {
    /// Counts a call.
    #[must_use]
    pub fn begin(&self) -> OpenCall {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        OpenCall(self.clone())
    }

    /// Counts a call that lasts until the connection ends.
    pub fn begin_until_end(&self) {
        self.0.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when the connection will have been without a call for `idle`; `None` while one is open.
    fn idle_at(&self, idle: Duration) -> Option<Instant> {
        let ended_at = Duration::from_millis(self.0.ended_at.load(Ordering::Relaxed));
        (self.0.open.load(Ordering::Relaxed) == 0).then(|| *START + ended_at + idle)
    }

    fn note_end(&self) {
        self.0.ended_at.store(START.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.note_end();
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection of a client.
#[derive(Debug)]
pub struct TcpConnection {
    stream: TcpStream,
    calls: ConnectionCalls,
    timeouts: ReadTimeouts,
    /// Bytes of the preface that have not come.
    missing: usize,
    timer: Pin<Box<Sleep>>,
    permit: ConnectionPermit,
}

impl TcpConnection {
    pub(super) fn new(stream: TcpStream, permit: ConnectionPermit, timeouts: ReadTimeouts) -> Self {
        let calls = ConnectionCalls::default();
        calls.note_end();
        let timer = Box::pin(tokio::time::sleep(timeouts.preface));
        Self { stream, calls, timeouts, missing: timeouts.preface_bytes, timer, permit }
    }

    /// Returns the address of the client.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.permit.peer()
    }

    /// Returns the count of the connection's calls.
    #[must_use]
    pub fn calls(&self) -> ConnectionCalls {
        self.calls.clone()
    }

    /// Notes that the client takes a response, which may be written long after its call has ended.
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if self.timeouts.writing_is_activity && matches!(written, Poll::Ready(Ok(1..))) {
            self.calls.note_end();
        }
    }

    /// Returns the end of a connection whose client does nothing; pending while it may go on.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.timer.as_mut().poll(context).is_ready() {
            if self.missing > 0 {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let idle = self.timeouts.idle;
            match self.calls.idle_at(idle) {
                // An end as if the client had closed its side.
                Some(at) if at <= Instant::now() => return Poll::Ready(Ok(())),
                at => self.timer.as_mut().reset(at.unwrap_or_else(|| Instant::now() + idle)),
            }
        }
        Poll::Pending
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            return self.poll_timeout(context);
        }
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buffer.filled().len() - before);
            if self.missing == 0 {
                let until = Instant::now() + self.timeouts.idle;
                self.timer.as_mut().reset(until);
            }
        }
        read
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note_written(&written);
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::connections::{ConnectionLimits, Connections};
    use super::*;

    /// Returns by how much the end of an idle connection moves when its client takes bytes 30 s after it was opened.
    async fn moved_by_writing(writing_is_activity: bool) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let minute = Duration::from_secs(60);
        let timeouts = ReadTimeouts { preface: minute, preface_bytes: 1, idle: minute, writing_is_activity };
        let limits = ConnectionLimits { server: "test", max: 1, max_per_peer: 1, timeouts };
        let mut connection = Connections::new(listener, limits).accept().await;
        let before = connection.calls().idle_at(minute).unwrap();
        tokio::time::advance(minute / 2).await;
        connection.write_all(b"a part of a long response").await.unwrap();
        drop(client);
        connection.calls().idle_at(minute).unwrap() - before
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_idle_while_its_client_takes_a_response() {
        assert_eq!(moved_by_writing(true).await, Duration::from_secs(30));
        assert_eq!(moved_by_writing(false).await, Duration::ZERO);
    }
}
