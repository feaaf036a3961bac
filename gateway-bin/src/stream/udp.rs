//! Datagrams of clients to backends, and the answers back.
//!
//! In: a socket of a UDP listener and the route table. Out: datagrams both ways, in sessions. A
//! session is a client's address at one listener; all its datagrams go to one endpoint, and answers
//! leave from the listener's socket. What has no backend is dropped and leaves no state.
//!
//! Sessions are bounded. When a listener has as many as it may have, the oldest one that no backend
//! has answered makes room; if all were answered, one whose client has said nothing since the answer;
//! if all are in conversation, the datagram is dropped. So a flood from forged sources takes room
//! from itself first, and then from exchanges that are likely over.
//!
//! Not here: which local address answers come from when a socket listens on all of a host with
//! several; the system chooses it.

mod session;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use gateway_core::{
    backend::Backend,
    compile::{Found, RouteTable},
    resolve::topology::BindKey,
};
use gateway_tower::TableHandle;
use tokio::{
    net::UdpSocket,
    select,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Streams, tcp::choose};
use crate::upstream::{Leased, Open};
use session::{Opening, Session};

/// The longest datagram of UDP.
const LONGEST: usize = 65_535;
/// Datagrams of one socket before others of the worker have their turn.
const ROUNDS: usize = 64;
/// Sessions that are asked to make room for one.
const PROBES: usize = 64;
/// Look-ups of names at a time.
const LOOKUPS: usize = 4;
/// How often sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// A UDP listener's port, shared by the workers that serve it.
#[derive(Clone, Debug)]
pub struct UdpPort {
    bind: BindKey,
    sessions: Arc<AtomicUsize>,
}

impl UdpPort {
    /// The port of a bind. Its clones count their sessions together.
    #[must_use]
    pub fn new(bind: BindKey) -> Self {
        Self { bind, sessions: Arc::default() }
    }

    /// Sessions of all workers now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }
}

impl Streams {
    /// Serves a socket of a UDP listener until `until` is ready.
    ///
    /// For several workers give each a socket of its own, bound with `SO_REUSEPORT`, and a clone of
    /// `port`: the kernel gives all datagrams of one client to one of them.
    pub async fn udp(
        &self,
        socket: UdpSocket,
        port: &UdpPort,
        table: &TableHandle,
        until: impl Future<Output = ()>,
    ) {
        let mut sessions = Sessions {
            streams: self,
            socket: Arc::new(socket),
            port,
            table,
            seen: table.load(),
            by_client: HashMap::new(),
            unanswered: VecDeque::new(),
            answered: VecDeque::new(),
            lookups: Arc::default(),
        };
        let mut until = pin!(until);
        let mut sweeps = interval(SWEEP.min(self.options.session_idle));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; LONGEST];
        loop {
            select! {
                biased;
                () = &mut until => return,
                _ = sweeps.tick() => sessions.sweep(),
                // An error of the socket is about a datagram before; the next one may come.
                _ = sessions.socket.readable() => sessions.take(&mut buffer).await,
            }
        }
    }
}

/// The sessions of one socket.
struct Sessions<'s> {
    streams: &'s Streams,
    socket: Arc<UdpSocket>,
    port: &'s UdpPort,
    table: &'s TableHandle,
    /// The table that the sessions agree with.
    seen: Arc<RouteTable>,
    by_client: HashMap<SocketAddr, Session>,
    /// Sessions that were not answered when last looked at, the oldest first.
    unanswered: VecDeque<Place>,
    /// The others, in the order in which they are asked to make room.
    answered: VecDeque<Place>,
    lookups: Arc<AtomicUsize>,
}

/// Names a session, and no later one of the same client.
#[derive(Clone, Copy)]
struct Place {
    client: SocketAddr,
    begun: Instant,
}

impl Place {
    fn session<'s>(
        &self,
        by_client: &'s mut HashMap<SocketAddr, Session>,
    ) -> Option<&'s mut Session> {
        by_client.get_mut(&self.client).filter(|session| session.begun == self.begun)
    }
}

impl Sessions<'_> {
    /// Forwards datagrams that have come.
    async fn take(&mut self, buffer: &mut [u8]) {
        for _ in 0..ROUNDS {
            match self.socket.try_recv_from(buffer) {
                Ok((length, client)) => {
                    if !self.forward(client, &buffer[..length]) {
                        self.streams.traffic.datagram_dropped();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
        yield_now().await;
    }

    /// Whether the datagram has found a session.
    fn forward(&mut self, client: SocketAddr, datagram: &[u8]) -> bool {
        if let Some(session) = self.by_client.get_mut(&client) {
            if session.send(datagram) {
                return true;
            }
            self.by_client.remove(&client);
        }
        let Some(mut session) = self.open(client) else { return false };
        let sent = session.send(datagram);
        self.unanswered.push_back(Place { client, begun: session.begun });
        self.by_client.insert(client, session);
        sent
    }

    // SPEC: weights count for sessions, each new one takes a turn.
    fn open(&mut self, client: SocketAddr) -> Option<Session> {
        let table = self.table.load();
        let backend = choose(find(&table, &self.port.bind).as_ref()).ok()?;
        let leased = self.lease(&backend)?;
        let counted = self.count()?;
        let opening = Opening {
            client,
            listener: &self.socket,
            backend,
            leased,
            counted,
            traffic: &self.streams.traffic,
        };
        let session = Session::open(opening).ok()?;
        self.streams.traffic.sessions.fetch_add(1, Relaxed);
        Some(session)
    }

    fn lease(&self, backend: &Arc<Backend>) -> Option<Leased> {
        let upstream = &self.streams.upstream;
        if let Some(leased) = upstream.lease(backend).now_or_never() {
            return leased.ok();
        }
        // A name has to be looked up first. Datagrams are not kept for so long; clients repeat them.
        let looking = Open::try_new(&self.lookups, LOOKUPS)?;
        let (upstream, backend) = (upstream.clone(), Arc::clone(backend));
        tokio::spawn(async move {
            // The next datagram finds the addresses, or tries again.
            drop(upstream.lease(&backend).await);
            drop(looking);
        });
        None
    }

    /// Room for one session more.
    fn count(&mut self) -> Option<Open> {
        let most = self.streams.options.sessions;
        if let Some(counted) = Open::try_new(&self.port.sessions, most) {
            return Some(counted);
        }
        let evicted = self.oldest_unanswered().or_else(|| self.silent_answered())?;
        self.by_client.remove(&evicted);
        self.streams.traffic.sessions_evicted.fetch_add(1, Relaxed);
        Open::try_new(&self.port.sessions, most)
    }

    fn oldest_unanswered(&mut self) -> Option<SocketAddr> {
        while let Some(place) = self.unanswered.pop_front() {
            match place.session(&mut self.by_client) {
                Some(session) if session.is_answered() => self.answered.push_back(place),
                Some(_) => return Some(place.client),
                None => {}
            }
        }
        None
    }

    /// Goes round the answered sessions; those in conversation are passed over once.
    fn silent_answered(&mut self) -> Option<SocketAddr> {
        for _ in 0..self.answered.len().min(PROBES) {
            let place = self.answered.pop_front()?;
            let Some(session) = place.session(&mut self.by_client) else { continue };
            if !session.take_spoke() {
                return Some(place.client);
            }
            self.answered.push_back(place);
        }
        None
    }

    /// Ends sessions that are idle, or whose endpoint or route is gone.
    fn sweep(&mut self) {
        let (now, idle) = (Instant::now(), self.streams.options.session_idle);
        self.by_client.retain(|_, session| session.is_alive(now, idle));
        let table = self.table.load();
        if !Arc::ptr_eq(&self.seen, &table) {
            let found = find(&table, &self.port.bind);
            self.by_client.retain(|_, session| serves(found.as_ref(), &session.backend));
            self.seen = table;
        }
        let by_client = &mut self.by_client;
        self.answered.retain(|place| place.session(by_client).is_some());
        self.unanswered.retain(|place| {
            let Some(session) = place.session(by_client) else { return false };
            let is_answered = session.is_answered();
            if is_answered {
                self.answered.push_back(*place);
            }
            !is_answered
        });
    }
}

fn find<'t>(table: &'t RouteTable, bind: &BindKey) -> Option<Found<'t>> {
    table.find_stream(table.bind(bind)?, None)
}

/// Whether sessions of `backend` may go on under the rule of now.
fn serves(found: Option<&Found<'_>>, backend: &Arc<Backend>) -> bool {
    let backends = found.map_or(&[][..], |found| found.rule.backends.as_slice());
    backends.iter().any(|other| {
        other.weight > 0 && other.target.as_ref().is_ok_and(|target| target == backend)
    })
}
