//! Sockets of Gateways and the connections of clients.
//!
//! In: the binds of a topology. Out: requests for `proxy`, each with the socket it came in by, and
//! connections and datagrams for `stream`. Not here: where any of them goes.

mod accept;
mod bind;
mod connection;
mod drain;
mod identity;
mod interim;
mod io;
mod socket;
mod stream;
mod tls;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Acquire},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use gateway_core::{
    api::{AddressType, GatewayStatusAddress, ObjectKey},
    resolve::topology::{Bind, BindAddress, BindKey, Topology},
    snapshot::{self, Observed, Placement},
};
use gateway_tower::OwnedIngress;
use rustls::crypto::CryptoProvider;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

pub use socket::Addresses;

pub(crate) use accept::begin;
pub(crate) use bind::{BindKind, BindState, Server};
pub(crate) use drain::{Counted, Drain, Member, Place};
pub(crate) use interim::Interim;
pub(crate) use io::{ActiveRequest, ConnectionState};

use bind::listeners;
use tls::{TlsFactory, TlsListeners};

use crate::stream::UdpPort;

/// How long workers may take to close the sockets of a port that is opened anew.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How long requests to a bind whose address goes to another one may keep that from being served.
const SERVED_TIME: Duration = Duration::from_millis(200);
const SERVED_PAUSE: Duration = Duration::from_millis(1);

/// What HTTP/2 clients with prior knowledge send first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The sockets of the program.
#[derive(Debug)]
pub(crate) struct Sockets {
    addresses: Addresses,
    workers: usize,
    tls: TlsFactory,
    /// How long streams of a bind that is closed may go on.
    drain: Duration,
    open: BTreeMap<BindKey, Open>,
    /// Closed, but workers may not have seen it yet.
    closing: Vec<watch::Sender<bool>>,
    /// Of all binds.
    udp_sessions: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Open {
    state: Arc<BindState>,
    addresses: Vec<SocketAddr>,
    closed: watch::Sender<bool>,
}

/// Sockets that a worker is to serve.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) socket: socket2::Socket,
    pub(crate) bind: Arc<BindState>,
    pub(crate) closed: watch::Receiver<bool>,
}

impl Sockets {
    pub(crate) fn new(
        addresses: Addresses,
        workers: usize,
        drain: Duration,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let tls = TlsFactory::new(provider);
        let (open, closing, udp_sessions) = (BTreeMap::new(), Vec::new(), Arc::default());
        Self { addresses, workers, drain, tls, open, closing, udp_sessions }
    }

    /// Puts the sockets of Gateways where `own` says. Those at the former place of one are closed.
    pub(crate) fn assign(&mut self, own: &BTreeMap<ObjectKey, Placement>) {
        let after = Addresses { own: own.clone(), ..self.addresses.clone() };
        let before = std::mem::replace(&mut self.addresses, after.clone());
        self.close_where(|key, _| match &key.address {
            BindAddress::Own(gateway) => before.own(gateway, key) != after.own(gateway, key),
            _ => false,
        });
    }

    /// Opens the binds of `topology` that are not open yet and renews the TLS of the others. For
    /// each worker the sockets that it has to serve from now on.
    pub(crate) async fn open(&mut self, topology: &Topology) -> (Observed, Vec<Vec<Serve>>) {
        let mut observed = Observed::default();
        let mut serve: Vec<Vec<Serve>> = (0..self.workers).map(|_| Vec::new()).collect();
        self.close_changed(topology);
        self.await_closed().await;
        let before: BTreeSet<BindKey> = self.open.keys().cloned().collect();
        for bind in &topology.binds {
            if self.is_unplaced(&bind.key) {
                continue;
            }
            let state = match self.open_bind(topology, bind, &mut serve).await {
                Ok(()) => snapshot::BindState::Bound,
                Err(message) => snapshot::BindState::Failed(message),
            };
            observed.binds.insert(bind.key.clone(), state);
        }
        self.close_replaced(topology, &before).await;
        observed.gateway_addresses = self.gateway_addresses(topology);
        (observed, serve)
    }

    /// Whether it is not known yet where the socket is to be; nothing is to be told of it then.
    fn is_unplaced(&self, key: &BindKey) -> bool {
        match &key.address {
            BindAddress::Own(gateway) => self.addresses.own(gateway, key) == Ok(None),
            _ => false,
        }
    }

    /// Closes the binds that are of another kind from now on: what connects to them would be taken
    /// for the wrong thing.
    fn close_changed(&mut self, topology: &Topology) {
        self.close_where(|key, open| {
            let bind = topology.binds.iter().find(|bind| bind.key == *key);
            bind.is_some_and(|bind| open.state.kind != BindKind::of(topology, bind))
        });
    }

    /// Closes those of the binds `before` whose address a new one has taken. The next table does not
    /// know them, so what came in by them is served before it comes, as far as it is quick.
    async fn close_replaced(&mut self, topology: &Topology, before: &BTreeSet<BindKey>) {
        let new = self.open.iter().filter(|(key, _)| !before.contains(key));
        let taken: Vec<_> = new
            .flat_map(|(key, open)| open.addresses.iter().map(|at| (key.transport, *at)))
            .collect();
        let is_replaced = |key: &BindKey, open: &Open| {
            let is_taken = |at| taken.iter().any(|(of, by)| *of == key.transport && share(by, at));
            !has(topology, key) && open.addresses.iter().any(is_taken)
        };
        let replaced = self.open.iter().filter(|(key, open)| is_replaced(key, open));
        let replaced: Vec<_> = replaced.map(|(_, open)| Arc::clone(&open.state)).collect();
        if replaced.is_empty() {
            return;
        }
        self.close_where(is_replaced);
        self.await_closed().await;
        let served = async {
            while replaced.iter().any(|bind| bind.connections.load(Acquire) > 0) {
                sleep(SERVED_PAUSE).await;
            }
        };
        let _ = timeout(SERVED_TIME, served).await;
    }

    /// Closes the binds that `topology` does not have. Their connections end after the request
    /// that they are at.
    pub(crate) fn close_others(&mut self, topology: &Topology) {
        self.close_where(|key, _| !has(topology, key));
    }

    fn close_where(&mut self, is_closed: impl Fn(&BindKey, &Open) -> bool) {
        let (drain, closing) = (self.drain, &mut self.closing);
        self.open.retain(|key, open| {
            let is_closed = is_closed(key, open);
            if is_closed {
                open.close(Some(drain));
                closing.push(open.closed.clone());
            }
            !is_closed
        });
    }

    /// Waits until nobody accepts connections at addresses that others may have now.
    async fn await_closed(&mut self) {
        let closing = std::mem::take(&mut self.closing);
        let all = async {
            for closed in &closing {
                closed.closed().await;
            }
        };
        // A worker that hangs keeps its socket, and some connections come in by it.
        let _ = timeout(CLOSE_TIME, all).await;
    }

    /// Closes all binds. Streams go on until what comes back is told to break them off.
    pub(crate) fn close_all(&mut self) -> Vec<Arc<Drain>> {
        let closed = std::mem::take(&mut self.open).into_values();
        closed
            .map(|open| {
                open.close(None);
                Arc::clone(&open.state.drain)
            })
            .collect()
    }

    /// Where each bind listens.
    pub(crate) fn addresses(&self) -> BTreeMap<BindKey, Vec<SocketAddr>> {
        self.open.iter().map(|(key, open)| (key.clone(), open.addresses.clone())).collect()
    }

    /// The addresses of Gateways that were given one; the others know theirs.
    fn gateway_addresses(
        &self,
        topology: &Topology,
    ) -> BTreeMap<ObjectKey, Vec<GatewayStatusAddress>> {
        let mut found = BTreeMap::<ObjectKey, Vec<GatewayStatusAddress>>::new();
        let given =
            |key: &BindKey| matches!(key.address, BindAddress::Default | BindAddress::Own(_));
        for bind in topology.binds.iter().filter(|bind| given(&bind.key)) {
            let Some(open) = self.open.get(&bind.key) else { continue };
            for listener in listeners(topology, bind) {
                let addresses = found.entry(listener.gateway.clone()).or_default();
                for address in &open.addresses {
                    let kind = Some(AddressType::IpAddress);
                    let value = socket::reachable(address.ip()).to_string();
                    let address = GatewayStatusAddress { kind, value };
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        found
    }

    async fn open_bind(
        &mut self,
        topology: &Topology,
        bind: &Bind,
        serve: &mut [Vec<Serve>],
    ) -> Result<(), String> {
        let listeners: Vec<_> = listeners(topology, bind).cloned().collect();
        if let Some(open) = self.open.get(&bind.key) {
            let before = open.state.tls.load();
            let now = Arc::new(self.tls.listeners(&listeners, &before));
            open.state.tls.store(Arc::clone(&now));
            now.drain_outdated(&before, self.drain);
            return Ok(());
        }
        // What is not wanted any more is closed as soon as the new socket serves.
        let in_the_way = |(key, _): &(&BindKey, &Open)| {
            key.transport == bind.key.transport && has(topology, key)
        };
        let taken = self.open.iter().filter(in_the_way);
        let taken: Vec<_> = taken.flat_map(|(_, open)| open.addresses.clone()).collect();
        let opened = socket::open(&bind.key, &self.addresses, self.workers, &taken).await?;
        let label = opened.addresses.first().map(ToString::to_string).unwrap_or_default();
        let tls = self.tls.listeners(&listeners, &TlsListeners::default());
        let state = Arc::new(BindState {
            label: label.into(),
            kind: BindKind::of(topology, bind),
            key: bind.key.clone(),
            ingress: OwnedIngress::bind(bind.key.clone()),
            connections: Arc::default(),
            requests: (0..self.workers).map(|_| Arc::default()).collect(),
            drain: Arc::default(),
            tls: ArcSwap::from_pointee(tls),
            udp: UdpPort::new(bind.key.clone(), &self.udp_sessions),
        });
        let (closed, receiver) = watch::channel(false);
        for (of_worker, sockets) in serve.iter_mut().zip(opened.sockets) {
            of_worker.extend(sockets.into_iter().map(|socket| Serve {
                socket,
                bind: Arc::clone(&state),
                closed: receiver.clone(),
            }));
        }
        let addresses = opened.addresses;
        self.open.insert(bind.key.clone(), Open { state, addresses, closed });
        Ok(())
    }
}

/// Whether the kernel may give connections to one address to the socket of the other.
fn share(one: &SocketAddr, other: &SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

fn has(topology: &Topology, key: &BindKey) -> bool {
    topology.binds.iter().any(|bind| bind.key == *key)
}

impl Open {
    fn close(&self, patience: Option<Duration>) {
        // No worker listens any more if this fails.
        let _ = self.closed.send(true);
        self.state.drain.begin(patience);
    }
}
