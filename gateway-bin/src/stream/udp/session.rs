//! One client's session: a socket to the endpoint, and a task that brings answers back.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gateway_core::backend::Backend;
use gateway_tower::OwnedMatch;
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, yield_now},
    time::Instant,
};

use super::{
    LONGEST, OnEnd, ROUNDS, Room, SessionEnd,
    listener::{Flow, Listener},
};
use crate::{
    stream::{Cause, Ended, Traffic, relay::Relayed},
    upstream::Leased,
};

thread_local! {
    /// Answers pass through here, so that a session holds no memory for them.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
}

/// What a session is opened with.
pub(super) struct Opening<'s> {
    pub(super) flow: Flow,
    /// The socket that the client sends to.
    pub(super) listener: &'s Arc<Listener>,
    pub(super) matched: OwnedMatch,
    pub(super) backend: Arc<Backend>,
    pub(super) leased: Leased,
    pub(super) counted: Room,
    pub(super) traffic: &'s Arc<Traffic>,
    pub(super) on_end: Option<OnEnd>,
}

/// A session. Dropping it ends it.
pub(super) struct Session {
    pub(super) backend: Arc<Backend>,
    pub(super) begun: Instant,
    /// Why it ends if it ends now.
    pub(super) cause: Cause,
    matched: Option<OwnedMatch>,
    on_end: Option<OnEnd>,
    /// Bytes to the endpoint.
    sent_bytes: u64,
    sent: Instant,
    /// Whether the client has spoken after an answer, since it was last asked.
    spoke: bool,
    shared: Arc<Shared>,
    answers: AbortHandle,
    _counted: Room,
}

/// What the session and its task know together.
#[derive(Debug)]
struct Shared {
    flow: Flow,
    listener: Arc<Listener>,
    endpoint: UdpSocket,
    leased: Leased,
    traffic: Arc<Traffic>,
    begun: Instant,
    answered: AtomicBool,
    /// Bytes to the client.
    answered_bytes: AtomicU64,
    /// Milliseconds from `begun` to the last answer.
    last_answer: AtomicU64,
}

impl Session {
    /// Opens a session to the endpoint.
    ///
    /// # Errors
    /// If the system has no socket for it.
    pub(super) fn open(opening: Opening<'_>) -> io::Result<Self> {
        let begun = Instant::now();
        let shared = Arc::new(Shared {
            flow: opening.flow,
            listener: Arc::clone(opening.listener),
            endpoint: connected(opening.leased.address())?,
            leased: opening.leased,
            traffic: Arc::clone(opening.traffic),
            begun,
            answered: AtomicBool::new(false),
            answered_bytes: AtomicU64::new(0),
            last_answer: AtomicU64::new(0),
        });
        let answers = tokio::spawn(answer(Arc::clone(&shared))).abort_handle();
        Ok(Self {
            backend: opening.backend,
            begun,
            cause: Cause::Closed,
            matched: Some(opening.matched),
            on_end: opening.on_end,
            sent_bytes: 0,
            sent: begun,
            spoke: false,
            shared,
            answers,
            _counted: opening.counted,
        })
    }

    /// Sends a datagram. False: the endpoint is gone, and the session with it.
    pub(super) fn send(&mut self, datagram: &[u8]) -> bool {
        if self.answers.is_finished() {
            return false;
        }
        self.sent = Instant::now();
        self.spoke |= self.is_answered();
        // Not by the runtime, which lets nothing through until it knows a new socket is writable.
        match SockRef::from(&self.shared.endpoint).send(datagram) {
            Ok(_) => {
                self.sent_bytes += datagram.len() as u64;
                self.shared.traffic.datagram_to_backend(datagram.len());
            }
            // What an earlier datagram ran into.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.shared.leased.failed();
                return false;
            }
            // The socket is full, or the datagram too long for the way: it is lost, as on any way.
            Err(_) => self.shared.traffic.datagram_dropped(),
        }
        true
    }

    /// Whether the endpoint has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.shared.answered.load(Relaxed)
    }

    /// Whether the client has gone on after an answer, since this was last asked.
    pub(super) fn take_spoke(&mut self) -> bool {
        std::mem::take(&mut self.spoke)
    }

    /// Whether the session can go on: its endpoint is there, and it was not idle for so long.
    pub(super) fn is_alive(&mut self, now: Instant, idle: Duration) -> bool {
        let answered = Duration::from_millis(self.shared.last_answer.load(Relaxed));
        let last = self.sent.max(self.begun + answered);
        if self.answers.is_finished() || !self.shared.leased.is_current() {
            self.cause = Cause::BackendBroke;
            return false;
        }
        if now.saturating_duration_since(last) >= idle {
            self.cause = Cause::Idle;
            return false;
        }
        true
    }

    fn end(&mut self) -> SessionEnd {
        let shared = &self.shared;
        SessionEnd {
            client: shared.flow.client,
            begun: self.begun,
            answered: self.is_answered(),
            ended: Ended {
                cause: self.cause,
                matched: self.matched.take(),
                sni: None,
                backend: Some(Arc::clone(&self.backend)),
                endpoint: Some(shared.leased.address()),
                relayed: Relayed {
                    to_backend: self.sent_bytes,
                    to_client: shared.answered_bytes.load(Relaxed),
                },
            },
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.abort();
        if let Some(on_end) = self.on_end.take() {
            on_end(self.end());
        }
    }
}

fn connected(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    // Datagrams from anywhere else never arrive.
    socket.connect(endpoint)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Brings answers to the client until the endpoint is gone.
async fn answer(session: Arc<Shared>) {
    loop {
        let mut rounds = 0..ROUNDS;
        let waiting = rounds.find_map(|_| SCRATCH.with_borrow_mut(|scratch| session.pass(scratch)));
        match waiting {
            None => yield_now().await,
            Some(Waiting::Answer) => {
                // An error is seen by the next try.
                let _ = session.endpoint.readable().await;
            }
            Some(Waiting::Room(datagram)) => {
                let sent = session.listener.send(&datagram, session.flow).await;
                session.sent(&sent);
            }
            Some(Waiting::Nothing) => return session.leased.failed(),
        }
    }
}

/// What a session waits for.
enum Waiting {
    Answer,
    /// The listener's socket is full.
    Room(Vec<u8>),
    /// The endpoint is gone.
    Nothing,
}

impl Shared {
    /// Passes one answer on; tells what has to come before the next, if anything.
    fn pass(&self, scratch: &mut [u8]) -> Option<Waiting> {
        let length = match self.endpoint.try_recv(scratch) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Some(Waiting::Answer);
            }
            Err(_) => return Some(Waiting::Nothing),
        };
        if !self.answered.swap(true, Relaxed) {
            self.leased.succeeded();
        }
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_answer.store(since, Relaxed);
        let datagram = &scratch[..length];
        match self.listener.try_send(datagram, self.flow) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Some(Waiting::Room(datagram.to_vec()));
            }
            sent => self.sent(&sent),
        }
        None
    }

    fn sent(&self, sent: &io::Result<usize>) {
        // A client that cannot be reached is not heard of again; the session ends by idleness.
        if let Ok(bytes) = *sent {
            self.answered_bytes.fetch_add(bytes as u64, Relaxed);
            self.traffic.datagram_to_client(bytes);
        }
    }
}
