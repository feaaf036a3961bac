//! Datagrams of clients to backends, and the answers back.
//!
//! In: a socket of a UDP listener and the route table. Out: datagrams both ways, in sessions. A
//! session is a client's address at one address of a listener; all its datagrams go to one endpoint,
//! and answers leave from the address that the client sends to. What has no backend is dropped and
//! leaves no state.
//!
//! Sessions are bounded. When a listener has as many as it may have, the oldest one that no backend
//! has answered makes room; if all were answered, one whose client has said nothing since the answer;
//! if all are in conversation, the datagram is dropped. So a flood from forged sources takes room
//! from itself first, and then from exchanges that are likely over.
//!
//! Listeners are bounded together as well: each may have as many sessions as are left for all, so
//! that one alone has half of them, two have a third each, and there is always room for one more
//! listener. One that has more than its share, because it was there first, gives up two sessions for
//! each new one. A worker can end none but its own, so one that has less than its part of the share
//! gets room all the same.

mod listener;
mod session;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
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
use gateway_tower::{OwnedMatch, TableHandle};
use tokio::{
    net::UdpSocket,
    select,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Cause, Ended, Streams, tcp::choose};
use crate::upstream::{Leased, Open};
use listener::{Flow, Listener};
use session::{Opening, Session};

/// The longest datagram of UDP.
const LONGEST: usize = 65_535;
/// Datagrams of one socket before others of the worker have their turn.
const ROUNDS: usize = 64;
/// Sessions that are asked to make room for one.
const PROBES: usize = 64;
/// Sessions that make room for one where a listener has more than its share.
const EVICTED: usize = 2;
/// Look-ups of names at a time.
const LOOKUPS: usize = 4;
/// How often sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// A UDP listener's port, shared by the workers that serve it.
#[derive(Clone)]
pub struct UdpPort {
    bind: BindKey,
    sessions: Arc<AtomicUsize>,
    /// Sockets that serve it.
    sockets: Arc<AtomicUsize>,
    /// Sessions of all listeners.
    in_all: Arc<AtomicUsize>,
    on_end: Option<OnEnd>,
}

type OnEnd = Arc<dyn Fn(SessionEnd) + Send + Sync>;

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct SessionEnd {
    /// The client.
    pub client: SocketAddr,
    /// When the first datagram came.
    pub begun: Instant,
    /// Whether the backend has ever answered. Anybody can begin sessions that it does not answer,
    /// in the name of others.
    pub answered: bool,
    /// Where it led, and why it ended.
    pub ended: Ended,
}

impl fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPort")
            .field("bind", &self.bind)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl UdpPort {
    /// The port of a bind. Its clones count their sessions together, and `in_all` counts those of
    /// all ports.
    #[must_use]
    pub fn new(bind: BindKey, in_all: &Arc<AtomicUsize>) -> Self {
        let (sessions, sockets) = (Arc::default(), Arc::default());
        Self { bind, sessions, sockets, in_all: Arc::clone(in_all), on_end: None }
    }

    /// Has `on_end` called for each session that ends.
    #[must_use]
    pub fn on_end(self, on_end: impl Fn(SessionEnd) + Send + Sync + 'static) -> Self {
        Self { on_end: Some(Arc::new(on_end)), ..self }
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
        let _serving = Open::try_new(&port.sockets, usize::MAX);
        let mut sessions = Sessions {
            streams: self,
            socket: Arc::new(Listener::new(socket)),
            port,
            table,
            seen: table.load(),
            by_flow: HashMap::new(),
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
                () = sessions.socket.readable() => sessions.take(&mut buffer).await,
            }
        }
    }
}

/// A session's place within the limits.
struct Room {
    _of_port: Open,
    _in_all: Open,
}

/// The sessions of one socket.
struct Sessions<'s> {
    streams: &'s Streams,
    socket: Arc<Listener>,
    port: &'s UdpPort,
    table: &'s TableHandle,
    /// The table that the sessions agree with.
    seen: Arc<RouteTable>,
    by_flow: HashMap<Flow, Session>,
    /// Sessions that were not answered when last looked at, the oldest first.
    unanswered: VecDeque<Place>,
    /// The others, in the order in which they are asked to make room.
    answered: VecDeque<Place>,
    lookups: Arc<AtomicUsize>,
}

/// Names a session, and no later one of the same flow.
#[derive(Clone, Copy)]
struct Place {
    flow: Flow,
    begun: Instant,
}

impl Place {
    fn session<'s>(&self, by_flow: &'s mut HashMap<Flow, Session>) -> Option<&'s mut Session> {
        by_flow.get_mut(&self.flow).filter(|session| session.begun == self.begun)
    }
}

impl Sessions<'_> {
    /// Forwards datagrams that have come.
    async fn take(&mut self, buffer: &mut [u8]) {
        for _ in 0..ROUNDS {
            match self.socket.try_receive(buffer) {
                Ok((length, flow)) => {
                    if !self.forward(flow, &buffer[..length]) {
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
    fn forward(&mut self, flow: Flow, datagram: &[u8]) -> bool {
        if let Some(session) = self.by_flow.get_mut(&flow) {
            if session.send(datagram) {
                return true;
            }
            session.cause = Cause::BackendBroke;
            self.by_flow.remove(&flow);
        }
        let Some(mut session) = self.open(flow) else { return false };
        let sent = session.send(datagram);
        self.unanswered.push_back(Place { flow, begun: session.begun });
        self.by_flow.insert(flow, session);
        sent
    }

    // SPEC: weights count for sessions, each new one takes a turn.
    fn open(&mut self, flow: Flow) -> Option<Session> {
        let table = self.table.load();
        let found = find(&table, &self.port.bind)?;
        let backend = choose(Some(&found)).ok()?;
        let matched = OwnedMatch::of(&found, Some(&backend));
        let leased = self.lease(&backend)?;
        let counted = self.count()?;
        let opening = Opening {
            flow,
            listener: &self.socket,
            matched,
            backend,
            leased,
            counted,
            traffic: &self.streams.traffic,
            on_end: self.port.on_end.clone(),
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
    fn count(&mut self) -> Option<Room> {
        if let Some(room) = self.room(self.share()) {
            return Some(room);
        }
        let most = self.streams.options.sessions;
        if self.is_below_part()
            && let Some(room) = self.room(most)
        {
            return Some(room);
        }
        let mut evicted = 0;
        while evicted < EVICTED && self.evict().is_some() {
            evicted += 1;
            if let Some(room) = self.room(self.share()) {
                return Some(room);
            }
        }
        // A session that has ended has made room, also if no other one could.
        if evicted > 0 { self.room(most) } else { None }
    }

    /// Whether this socket has fewer sessions than fall to it if all of the port have as many.
    fn is_below_part(&self) -> bool {
        self.by_flow.len() < self.share() / self.port.sockets.load(Relaxed).max(1)
    }

    /// Sessions that the listener may have.
    fn share(&self) -> usize {
        let options = &self.streams.options;
        let left = options.sessions_in_all.saturating_sub(self.port.in_all.load(Relaxed));
        options.sessions.min(left)
    }

    fn room(&self, most: usize) -> Option<Room> {
        let of_port = Open::try_new(&self.port.sessions, most)?;
        let in_all = self.streams.options.sessions_in_all;
        Some(Room { _of_port: of_port, _in_all: Open::try_new(&self.port.in_all, in_all)? })
    }

    /// Ends the session that can be spared best; none if all are in conversation.
    fn evict(&mut self) -> Option<()> {
        let evicted = self.oldest_unanswered().or_else(|| self.silent_answered())?;
        if let Some(mut session) = self.by_flow.remove(&evicted) {
            session.cause = Cause::Evicted;
        }
        self.streams.traffic.sessions_evicted.fetch_add(1, Relaxed);
        Some(())
    }

    fn oldest_unanswered(&mut self) -> Option<Flow> {
        while let Some(place) = self.unanswered.pop_front() {
            match place.session(&mut self.by_flow) {
                Some(session) if session.is_answered() => self.answered.push_back(place),
                Some(_) => return Some(place.flow),
                None => {}
            }
        }
        None
    }

    /// Goes round the answered sessions; those in conversation are passed over once.
    fn silent_answered(&mut self) -> Option<Flow> {
        for _ in 0..self.answered.len().min(PROBES) {
            let place = self.answered.pop_front()?;
            let Some(session) = place.session(&mut self.by_flow) else { continue };
            if !session.take_spoke() {
                return Some(place.flow);
            }
            self.answered.push_back(place);
        }
        None
    }

    /// Ends sessions that are idle, or whose endpoint or route is gone.
    fn sweep(&mut self) {
        let (now, idle) = (Instant::now(), self.streams.options.session_idle);
        self.by_flow.retain(|_, session| session.is_alive(now, idle));
        let table = self.table.load();
        if !Arc::ptr_eq(&self.seen, &table) {
            let found = find(&table, &self.port.bind);
            self.by_flow.retain(|_, session| serves(found.as_ref(), &session.backend));
            self.seen = table;
        }
        let by_flow = &mut self.by_flow;
        self.answered.retain(|place| place.session(by_flow).is_some());
        self.unanswered.retain(|place| {
            let Some(session) = place.session(by_flow) else { return false };
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
