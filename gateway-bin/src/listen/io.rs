//! The bytes of a client's connection, with the clocks that hyper leaves to us.
//!
//! In: a socket, plain or TLS. Out: the same bytes for hyper, or the end of the connection: if a
//! head takes too long (408), if nothing is asked for too long, if nothing is read for too long,
//! if HTTP/2 control frames come as a flood. Not here: what a request says.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;

use super::interim::Interim;
use crate::{
    guard::{
        Limits,
        frames::FrameGuard,
        framing::{FoundFraming, HeadScan},
    },
    stream::Client,
};

/// A client's socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<Client>>),
}

/// What the bytes of a connection and its requests tell each other.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    phase: AtomicU8,
    /// Requests so far, so that a new wait is told from an old one.
    requests: AtomicU32,
    /// Requests that are being answered.
    active: AtomicU32,
    /// The body of the last request was not read to its end, so that what comes next may be the
    /// rest of it rather than a head.
    body_open: AtomicBool,
    /// What the bytes of the head looked like.
    pub(crate) framing: FoundFraming,
    /// Answers before the answer.
    pub(crate) interim: Arc<Interim>,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

impl ConnectionState {
    /// A request begins to be answered. It ends when what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> ActiveRequest {
        self.phase.store(BUSY, Relaxed);
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        self.active.fetch_add(1, Relaxed);
        ActiveRequest(Arc::clone(self))
    }

    /// The request has a body that is still to come, or came to its end.
    pub(crate) fn set_body_open(&self, open: bool) {
        self.body_open.store(open, Relaxed);
    }

    /// Requests so far and those that are being answered.
    pub(crate) fn load(&self) -> (u32, u32) {
        (self.requests.load(Relaxed), self.active.load(Relaxed))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<ConnectionState>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Relaxed) == 1 {
            self.0.phase.store(IDLE, Relaxed);
        }
    }
}

/// A guarded connection.
#[derive(Debug)]
pub(crate) struct GuardedIo {
    socket: Socket,
    /// Bytes that were read before the protocol was known.
    first: Bytes,
    state: Arc<ConnectionState>,
    kind: Kind,
    clock: Clock,
    stalled: Option<Pin<Box<Sleep>>>,
    write_stall: Duration,
    /// The rest of an interim answer that did not fit.
    interim: Bytes,
}

#[derive(Debug)]
enum Kind {
    Http1(HeadScan),
    Http2(FrameGuard),
}

impl GuardedIo {
    /// HTTP/1.1; `first` was read already.
    pub(crate) fn http1(
        socket: Socket,
        first: Bytes,
        state: Arc<ConnectionState>,
        limits: &Limits,
    ) -> Self {
        Self::new(socket, first, state, limits, Kind::Http1(HeadScan::default()))
    }

    /// HTTP/2; `first` was read already.
    pub(crate) fn http2(
        socket: Socket,
        first: Bytes,
        state: Arc<ConnectionState>,
        limits: &Limits,
    ) -> Self {
        let guard = FrameGuard::after_preface(super::PREFACE.len());
        Self::new(socket, first, state, limits, Kind::Http2(guard))
    }

    fn new(
        socket: Socket,
        first: Bytes,
        state: Arc<ConnectionState>,
        limits: &Limits,
        kind: Kind,
    ) -> Self {
        let clock = Clock::new(limits);
        let write_stall = limits.write_stall;
        let interim = Bytes::new();
        Self { socket, first, state, kind, clock, stalled: None, write_stall, interim }
    }

    fn poll_read_inner(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..length]);
            self.first.advance(length);
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }

    /// Looks at what came in; false if the connection must end.
    fn look(&mut self, bytes: &[u8]) -> bool {
        match &mut self.kind {
            Kind::Http1(scan) => {
                let phase = self.state.phase.load(Relaxed);
                if phase == BUSY {
                    return true;
                }
                if phase == IDLE {
                    scan.reset(self.state.body_open.load(Relaxed));
                    self.state.phase.store(HEAD, Relaxed);
                }
                scan.take(bytes, &self.state.framing);
                true
            }
            Kind::Http2(guard) => guard.take(bytes),
        }
    }

    /// What happens while nothing comes in: the connection may have waited for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.kind, Kind::Http1(_)) {
            return Poll::Pending;
        }
        let phase = self.state.phase.load(Relaxed);
        ready!(self.clock.poll(phase, self.state.requests.load(Relaxed), cx));
        if phase == HEAD {
            // A last word, if the socket takes it at once.
            let _ = self.poll_write_inner(cx, REQUEST_TIMEOUT);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_inner(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Tls(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    /// Ends the wait of a client that reads nothing.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self.write_stall;
        let sleep =
            self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// TLS takes what is written before the socket does, so that a client that reads nothing shows
    /// when its bytes are flushed.
    fn or_stall(
        &mut self,
        polled: Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if polled.is_pending() {
            return self.poll_stall(cx).map(Err);
        }
        self.stalled = None;
        polled
    }

    fn wrote(&mut self, bytes: usize) {
        self.stalled = None;
        if let Kind::Http2(guard) = &mut self.kind {
            guard.wrote(bytes);
        }
    }

    fn poll_interim_or_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let written = self.poll_interim(cx);
        self.or_stall(written, cx)
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let rest = self.interim.clone();
            let written = ready!(self.poll_write_inner(cx, &rest))?;
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

impl AsyncRead for GuardedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.poll_read_inner(cx, buf)?.is_pending() {
            return this.poll_patience(cx);
        }
        if !this.look(&buf.filled()[before..]) {
            return Poll::Ready(Err(io::Error::other("a flood of HTTP/2 control frames")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim_or_stall(cx))?;
        let polled = this.poll_write_inner(cx, buf);
        match polled {
            Poll::Ready(Ok(written)) => this.wrote(written),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return this.poll_stall(cx).map(Err),
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim_or_stall(cx))?;
        let polled = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        };
        match polled {
            Poll::Ready(Ok(written)) => this.wrote(written),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return this.poll_stall(cx).map(Err),
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // INVARIANT: hyper flushes the socket only when it has written all it had, and while the
        // answer has not begun, so what is put here stands between two messages.
        if this.interim.is_empty()
            && let Some(interim) = this.state.interim.take()
        {
            this.interim = interim;
        }
        ready!(this.poll_interim_or_stall(cx))?;
        let flushed = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(cx),
        };
        this.or_stall(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        };
        this.or_stall(shut, cx)
    }
}

/// How long a connection may wait for the next request or the rest of one.
///
/// The timer is moved only if it would fire too late; if it fires too early it is set anew.
/// So a busy connection touches it once in `idle` and not with each request.
#[derive(Debug)]
struct Clock {
    idle: Duration,
    head: Duration,
    /// The wait that the deadline belongs to.
    wait: Option<(u8, u32)>,
    deadline: Instant,
    armed: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn new(limits: &Limits) -> Self {
        let deadline = Instant::now();
        let (idle, head) = (limits.idle_time, limits.head_time);
        Self { idle, head, wait: None, deadline, armed: None, sleep: None }
    }

    /// Ready once the wait of this phase and request is over.
    fn poll(&mut self, phase: u8, request: u32, cx: &mut Context<'_>) -> Poll<()> {
        if phase == BUSY {
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.wait != Some((phase, request)) {
            self.wait = Some((phase, request));
            self.deadline = now + if phase == HEAD { self.head } else { self.idle };
        }
        if now >= self.deadline {
            return Poll::Ready(());
        }
        let useful = |armed: Instant| now < armed && armed <= self.deadline;
        if self.armed.is_none_or(|armed| !useful(armed)) {
            let deadline = self.deadline;
            self.armed = Some(deadline);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(sleep_until(deadline))),
            }
        }
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}
