//! Where a request came in: which socket, and over TLS or not.

use std::{net::SocketAddr, sync::Arc};

use gateway_core::{
    compile::{Ingress, RouteTable},
    resolve::topology::BindKey,
};

/// The entrance of a request, kept for as long as its connection lives. Cheap to clone.
///
/// A server gives it to [`crate::RouteService::at`] for each connection, or puts it into the
/// extensions of each request; an application with one entrance names it once
/// ([`crate::GatewayLayer::ingress`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedIngress(Arc<Entrance>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entrance {
    socket: Socket,
    /// Over TLS, and with which server name.
    tls: Option<Option<Box<str>>>,
    peer: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Socket {
    Port(u16),
    Bind(BindKey),
}

impl OwnedIngress {
    /// Plain text on the first TCP socket of the port. It is the port of the listener in the
    /// Gateway, which need not be the one that the process is bound to.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::new(Socket::Port(port))
    }

    /// Plain text on a socket.
    #[must_use]
    pub fn bind(key: BindKey) -> Self {
        Self::new(Socket::Bind(key))
    }

    fn new(socket: Socket) -> Self {
        Self(Arc::new(Entrance { socket, tls: None, peer: None }))
    }

    /// The same over TLS that was ended here; `sni` is the server name that the client asked for.
    #[must_use]
    pub fn over_tls(self, sni: Option<&str>) -> Self {
        self.with(|entrance| entrance.tls = Some(sni.map(Into::into)))
    }

    /// The same from a known client; an external authorization service is told of it.
    #[must_use]
    pub fn from_peer(self, peer: SocketAddr) -> Self {
        self.with(|entrance| entrance.peer = Some(peer))
    }

    /// The address of the client, if known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// Whether the client speaks TLS to the gateway.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// The entrance as `table` knows it; none if the table has no such socket.
    #[must_use]
    pub fn locate<'a>(&'a self, table: &RouteTable) -> Option<Ingress<'a>> {
        let bind = match &self.0.socket {
            Socket::Port(port) => table.bind_on_port(*port),
            Socket::Bind(key) => table.bind(key),
        }?;
        Some(match &self.0.tls {
            Some(sni) => Ingress::tls(bind, sni.as_deref()),
            None => Ingress::plain(bind),
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Entrance)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}
