//! Sockets of Gateways and the connections of clients.
//!
//! In: the binds of a topology. Out: requests for `proxy`, each with the socket it came in by.
//! Not here yet: TLSRoute, TCPRoute and UDPRoute listeners; sockets with nothing else are reported
//! as not served.

mod accept;
mod connection;
mod drain;
mod interim;
mod io;
mod socket;
mod tls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicUsize},
};

use arc_swap::ArcSwap;
use gateway_core::{
    api::{AddressType, GatewayStatusAddress, ObjectKey},
    resolve::topology::{
        Bind, BindAddress, BindKey, Listener, ListenerProtocol, Topology, Transport,
    },
    snapshot::{self, Observed},
};
use gateway_tower::OwnedIngress;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

pub use socket::Addresses;

pub(crate) use accept::accept;
pub(crate) use drain::Drain;
pub(crate) use interim::Interim;
pub(crate) use io::{ActiveRequest, ConnectionState};

use tls::{TlsFactory, TlsListeners};

/// What HTTP/2 clients with prior knowledge send first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An open bind as connections see it.
#[derive(Debug)]
pub(crate) struct BindState {
    /// The address as metrics name it.
    pub(crate) label: Arc<str>,
    pub(crate) ingress: OwnedIngress,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) drain: Arc<Drain>,
    secure: bool,
    tls: ArcSwap<TlsListeners>,
}

impl BindState {
    fn is_tls(&self) -> bool {
        self.secure
    }
}

/// The sockets of the program.
#[derive(Debug)]
pub(crate) struct Sockets {
    addresses: Addresses,
    workers: usize,
    tls: TlsFactory,
    open: BTreeMap<BindKey, Open>,
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
    pub(crate) socket: std::net::TcpListener,
    pub(crate) bind: Arc<BindState>,
    pub(crate) closed: watch::Receiver<bool>,
}

impl Sockets {
    pub(crate) fn new(addresses: Addresses, workers: usize, provider: Arc<CryptoProvider>) -> Self {
        Self { addresses, workers, tls: TlsFactory::new(provider), open: BTreeMap::new() }
    }

    /// Gives Gateways the addresses of `own`. Sockets at the former address of one are closed.
    pub(crate) fn assign(&mut self, own: &BTreeMap<ObjectKey, IpAddr>) {
        let before = std::mem::replace(&mut self.addresses.own, own.clone());
        self.open.retain(|key, open| {
            let same = match &key.address {
                BindAddress::Own(gateway) => before.get(gateway) == own.get(gateway),
                _ => true,
            };
            if !same {
                open.close();
            }
            same
        });
    }

    /// Opens the binds of `topology` that are not open yet and renews the TLS of the others. For
    /// each worker the sockets that it has to serve from now on.
    pub(crate) async fn open(&mut self, topology: &Topology) -> (Observed, Vec<Vec<Serve>>) {
        let mut observed = Observed::default();
        let mut serve: Vec<Vec<Serve>> = (0..self.workers).map(|_| Vec::new()).collect();
        // Binds that change between plain text and TLS are closed first: their connections are
        // of the wrong kind.
        self.open.retain(|key, open| {
            let bind = topology.binds.iter().find(|bind| bind.key == *key);
            let same = bind.is_none_or(|bind| is_secure(topology, bind) == open.state.secure);
            if !same {
                open.close();
            }
            same
        });
        for bind in &topology.binds {
            let state = match self.open_bind(topology, bind, &mut serve).await {
                Ok(()) => snapshot::BindState::Bound,
                Err(message) => snapshot::BindState::Failed(message),
            };
            observed.binds.insert(bind.key.clone(), state);
        }
        observed.gateway_addresses = self.gateway_addresses(topology);
        (observed, serve)
    }

    /// Closes the binds that `topology` does not have. Their connections end after the request
    /// that they are at.
    pub(crate) fn close_others(&mut self, topology: &Topology) {
        self.open.retain(|key, open| {
            let wanted =
                topology.binds.iter().any(|bind| bind.key == *key && is_http(topology, bind));
            if !wanted {
                open.close();
            }
            wanted
        });
    }

    /// Closes all binds.
    pub(crate) fn close_all(&mut self) {
        self.open.values().for_each(Open::close);
        self.open.clear();
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
        if !is_http(topology, bind) {
            return Err("listeners of this protocol are not served yet".to_owned());
        }
        let listeners: Vec<_> = listeners(topology, bind).cloned().collect();
        if let Some(open) = self.open.get(&bind.key) {
            let tls = self.tls.listeners(&listeners, &open.state.tls.load());
            open.state.tls.store(Arc::new(tls));
            return Ok(());
        }
        let taken: Vec<_> = self.open.values().flat_map(|open| open.addresses.clone()).collect();
        let opened = socket::open(&bind.key, &self.addresses, self.workers, &taken).await?;
        let label = opened.addresses.first().map(ToString::to_string).unwrap_or_default();
        let tls = self.tls.listeners(&listeners, &TlsListeners::default());
        let state = Arc::new(BindState {
            label: label.into(),
            ingress: OwnedIngress::bind(bind.key.clone()),
            connections: Arc::default(),
            drain: Arc::default(),
            secure: is_secure(topology, bind),
            tls: ArcSwap::from_pointee(tls),
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

impl Open {
    fn close(&self) {
        // No worker listens any more if this fails.
        let _ = self.closed.send(true);
        self.state.drain.begin();
    }
}

fn listeners<'t>(topology: &'t Topology, bind: &Bind) -> impl Iterator<Item = &'t Arc<Listener>> {
    let ids: Vec<_> = bind.listeners.clone();
    ids.into_iter().filter_map(|id| topology.listeners.get(id.0 as usize))
}

fn is_http(topology: &Topology, bind: &Bind) -> bool {
    let http = |listener: &Arc<Listener>| {
        matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Https(_))
    };
    bind.key.transport == Transport::Tcp && listeners(topology, bind).any(http)
}

fn is_secure(topology: &Topology, bind: &Bind) -> bool {
    listeners(topology, bind).any(|listener| {
        !matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Tcp)
    })
}
