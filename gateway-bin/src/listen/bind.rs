//! An open bind as its connections see it.

use std::sync::{Arc, atomic::AtomicUsize};

use arc_swap::ArcSwap;
use gateway_core::resolve::topology::{
    Bind, BindKey, Listener, ListenerProtocol, Topology, Transport,
};
use gateway_tower::{OwnedIngress, TableHandle};

use super::{Drain, tls::TlsListeners};
use crate::{
    proxy::Proxy,
    stream::{Streams, UdpPort, proxy_protocol::TrustedSources},
};

/// What the connections of a bind begin with. A bind of another kind needs a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindKind {
    /// Requests in plain text.
    Http,
    /// A ClientHello: HTTPS and TLS listeners, which may share a port.
    Tls,
    /// Any byte.
    Tcp,
    /// Datagrams.
    Udp,
}

impl BindKind {
    /// INVARIANT: listeners of one bind are of protocols that can share it.
    pub(super) fn of(topology: &Topology, bind: &Bind) -> Self {
        let first = listeners(topology, bind).next();
        match (bind.key.transport, first.map(|listener| &listener.protocol)) {
            (Transport::Udp, _) | (_, Some(ListenerProtocol::Udp)) => Self::Udp,
            (_, Some(ListenerProtocol::Http) | None) => Self::Http,
            (_, Some(ListenerProtocol::Tcp)) => Self::Tcp,
            (
                _,
                Some(
                    ListenerProtocol::Https(_)
                    | ListenerProtocol::TlsTerminate(_)
                    | ListenerProtocol::TlsPassthrough,
                ),
            ) => Self::Tls,
        }
    }
}

/// The listeners behind a bind.
pub(super) fn listeners<'t>(
    topology: &'t Topology,
    bind: &'t Bind,
) -> impl Iterator<Item = &'t Arc<Listener>> {
    bind.listeners.iter().filter_map(|id| topology.listeners.get(id.0 as usize))
}

/// An open bind.
#[derive(Debug)]
pub(crate) struct BindState {
    /// The address as metrics name it.
    pub(crate) label: Arc<str>,
    pub(crate) kind: BindKind,
    pub(crate) key: BindKey,
    pub(crate) ingress: OwnedIngress,
    pub(crate) connections: Arc<AtomicUsize>,
    /// For each worker the requests that it is answering.
    pub(crate) requests: Box<[Arc<AtomicUsize>]>,
    pub(crate) drain: Arc<Drain>,
    /// Of binds of [`BindKind::Tls`].
    pub(super) tls: ArcSwap<TlsListeners>,
    /// Of binds of [`BindKind::Udp`].
    pub(super) udp: UdpPort,
}

/// What a worker serves its clients with.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) streams: Streams,
    pub(crate) table: TableHandle,
    /// Connections of clients, over all workers.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Whose connections begin with a PROXY header.
    pub(crate) proxies: TrustedSources,
}
