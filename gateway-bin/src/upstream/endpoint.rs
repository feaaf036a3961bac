//! One endpoint of a backend as one worker sees it: its connections, its load, its health.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use super::body::UpstreamBody;

pub(super) type Http1 = http1::SendRequest<UpstreamBody>;
pub(super) type Http2 = http2::SendRequest<UpstreamBody>;

/// Failures in a row before an endpoint is left alone for a while.
const FAILURES_TO_EJECT: u32 = 3;
/// How long an endpoint is left alone the first time; each time in a row doubles it.
const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// The longest time that an endpoint is left alone.
const LONGEST_EJECTION: Duration = Duration::from_secs(30);
/// Idle connections that are looked at before a new one is opened.
const IDLE_PROBES: usize = 8;

/// An endpoint with its connections.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) address: SocketAddr,
    /// The most idle HTTP/1.1 connections that are kept.
    most_idle: usize,
    /// Requests that wait for an answer or read one.
    outstanding: AtomicU32,
    failures: AtomicU32,
    ejection: Mutex<Ejection>,
    idle: Mutex<Vec<Idle>>,
    multiplexed: Mutex<Vec<Multiplexed>>,
    /// Held while an HTTP/2 connection is opened, so that a burst opens one and not many.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Ejection {
    times: u32,
    until: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    sender: Http1,
    open: Open,
    since: Instant,
}

#[derive(Debug)]
struct Multiplexed {
    sender: Http2,
    /// Streams that the endpoint allows.
    room: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    since: Instant,
    _open: Open,
}

/// Counts an open connection of a backend while it lives.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicUsize>);

impl Open {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn try_new(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let counted = count.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1));
        counted.is_ok().then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// An HTTP/1.1 connection taken from the pool or just opened.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) sender: Http1,
    pub(super) open: Open,
    /// How long it was idle; none for a new one.
    pub(super) idle_for: Option<Duration>,
}

impl EndpointState {
    pub(super) fn new(address: SocketAddr, most_idle: usize) -> Self {
        Self {
            address,
            most_idle,
            outstanding: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejection: Mutex::default(),
            idle: Mutex::default(),
            multiplexed: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Requests in flight.
    pub(super) fn load(&self) -> u32 {
        self.outstanding.load(Relaxed)
    }

    /// Takes the idle connection that was used last, so that surplus ones grow old and close.
    pub(super) fn take_idle(&self, now: Instant, longest: Duration) -> Option<Taken> {
        let mut idle = lock(&self.idle);
        let mut place = idle.len();
        for _ in 0..IDLE_PROBES.min(idle.len()) {
            place -= 1;
            let candidate = &idle[place];
            let idle_for = now.saturating_duration_since(candidate.since);
            if candidate.sender.is_closed() || idle_for >= longest {
                drop(idle.remove(place));
            } else if candidate.sender.is_ready() {
                let Idle { sender, open, .. } = idle.remove(place);
                return Some(Taken { sender, open, idle_for: Some(idle_for) });
            }
        }
        None
    }

    /// An HTTP/2 connection with room for one more stream.
    pub(super) fn share(&self, most_streams: usize) -> Option<(Http2, Stream)> {
        let mut multiplexed = lock(&self.multiplexed);
        multiplexed.retain(|connection| !connection.sender.is_closed());
        let free = multiplexed.iter_mut().find(|connection| {
            let room = connection.room.load(Relaxed).min(most_streams).max(1);
            connection.streams.load(Relaxed) < room
        })?;
        free.since = Instant::now();
        Some((free.sender.clone(), Stream::new(&free.streams)))
    }

    /// Adds an HTTP/2 connection and takes its first stream.
    pub(super) fn add_multiplexed(
        &self,
        sender: &Http2,
        room: Arc<AtomicUsize>,
        open: Open,
    ) -> Stream {
        let streams = Arc::new(AtomicUsize::new(0));
        let stream = Stream::new(&streams);
        let since = Instant::now();
        let connection = Multiplexed { sender: sender.clone(), room, streams, since, _open: open };
        lock(&self.multiplexed).push(connection);
        stream
    }

    /// Closes connections that were idle for `longest`.
    pub(super) fn sweep(&self, now: Instant, longest: Duration) {
        let old = |since: Instant| now.saturating_duration_since(since) >= longest;
        lock(&self.idle).retain(|idle| !idle.sender.is_closed() && !old(idle.since));
        lock(&self.multiplexed).retain(|connection| {
            let unused = connection.streams.load(Relaxed) == 0 && old(connection.since);
            !connection.sender.is_closed() && !unused
        });
    }

    /// Whether requests should go elsewhere if they can.
    pub(super) fn is_ejected(&self) -> bool {
        self.failures.load(Relaxed) >= FAILURES_TO_EJECT
            && lock(&self.ejection).until.is_some_and(|until| Instant::now() < until)
    }

    /// A connection failed or broke before it answered.
    pub(super) fn failed(&self, now: Instant) {
        if self.failures.fetch_add(1, Relaxed) + 1 < FAILURES_TO_EJECT {
            return;
        }
        let mut ejection = lock(&self.ejection);
        if ejection.until.is_some_and(|until| now < until) {
            return;
        }
        let time = FIRST_EJECTION.saturating_mul(1 << ejection.times.min(5));
        ejection.until = Some(now + time.min(LONGEST_EJECTION));
        ejection.times += 1;
    }

    /// An answer came.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            *lock(&self.ejection) = Ejection::default();
        }
    }
}

/// A stream of an HTTP/2 connection while it is in use.
#[derive(Debug)]
pub(super) struct Stream(Arc<AtomicUsize>);

impl Stream {
    fn new(streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The use of an endpoint by one request, from before it is sent to the end of the answer.
#[derive(Debug)]
pub(super) struct Lease {
    endpoint: Arc<EndpointState>,
    connection: Option<Connection>,
}

#[derive(Debug)]
pub(super) enum Connection {
    /// Given back when the answer ended.
    Http1 { sender: Http1, open: Open },
    /// Shared with others.
    Http2 { _stream: Stream },
}

impl Lease {
    pub(super) fn new(endpoint: &Arc<EndpointState>) -> Self {
        endpoint.outstanding.fetch_add(1, Relaxed);
        Self { endpoint: Arc::clone(endpoint), connection: None }
    }

    pub(super) fn hold(mut self, connection: Connection) -> Self {
        self.connection = Some(connection);
        self
    }

    /// The answer was read to its end.
    pub(super) fn give_back(mut self) {
        if let Some(Connection::Http1 { sender, open }) = self.connection.take()
            && !sender.is_closed()
        {
            let mut idle = lock(&self.endpoint.idle);
            if idle.len() < self.endpoint.most_idle {
                idle.push(Idle { sender, open, since: Instant::now() });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.outstanding.fetch_sub(1, Relaxed);
    }
}

/// No holder of these locks can leave them half changed, so poison means nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
