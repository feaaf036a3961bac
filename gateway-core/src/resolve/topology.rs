//! The resolved graph: nothing dangles, matches and filters are parsed, and each failure has
//! become a rule that answers 500.
//!
//! In: the passes of `resolve` write it. Out: `compile` reads it. Not here: logic.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::{
    api::ObjectKey,
    backend::{KeyPair, SessionPersistence, Turns, WeightedBackends},
    filter::Filter,
    matcher::{HostPattern, RouteMatch, Scheme},
};

pub use super::tls_options::{CipherSuite, TlsOptions, TlsVersion};
pub use crate::snapshot::{BindAddress, BindKey, Transport};

/// All that the data plane serves.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Sockets, ordered by their keys.
    pub binds: Vec<Bind>,
    /// Listeners that may be served; a [`ListenerId`] is a place in this list.
    pub listeners: Vec<Arc<Listener>>,
    /// Routes with at least one accepted parent.
    pub routes: BTreeMap<ObjectKey, Arc<Route>>,
}

/// A place in [`Topology::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A socket and the listeners behind it.
///
/// Gateways that share address and port share the socket; among listeners of one hostname the one
/// of the older Gateway serves, and only that one is in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Where it listens.
    pub key: BindKey,
    /// The listeners, all of protocols that can share a port, no two of one hostname.
    pub listeners: Vec<ListenerId>,
}

/// A valid listener of a Gateway or ListenerSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The Gateway that it belongs to, directly or by a ListenerSet.
    pub gateway: ObjectKey,
    /// The object that holds it: the Gateway or a ListenerSet.
    pub owner: ObjectKey,
    /// Its name, unique in the owner.
    pub name: Box<str>,
    /// The hosts that it serves.
    pub hostname: HostPattern,
    /// Its port in the Gateway.
    pub port: u16,
    /// What it speaks.
    pub protocol: ListenerProtocol,
}

impl Listener {
    /// The scheme of requests that come in here.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self.protocol {
            ListenerProtocol::Https(_) => Scheme::Https,
            _ => Scheme::Http,
        }
    }
}

/// The protocol of a listener with what it needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerProtocol {
    /// Plain HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// HTTP over TLS.
    Https(Arc<ListenerTls>),
    /// TLS that is ended here, its content passed on as bytes.
    TlsTerminate(Arc<ListenerTls>),
    /// TLS that is passed on as it is.
    TlsPassthrough,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl ListenerProtocol {
    /// Whether listeners of one port are told apart by the host: all but TCP and UDP.
    #[must_use]
    pub fn has_hosts(&self) -> bool {
        !matches!(self, Self::Tcp | Self::Udp)
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// Usable certificates in the order of `certificateRefs`. Empty: handshakes fail.
    pub certificates: Vec<Arc<KeyPair>>,
    /// What is asked of clients; none: nothing.
    pub client_validation: Option<ClientValidation>,
    /// What `tls.options` asks for.
    pub options: TlsOptions,
}

/// How certificates of clients are verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientValidation {
    /// PEM certificates of the authorities that are trusted.
    pub trusted: Arc<str>,
    /// Whether clients with a bad certificate or none are let in.
    pub allow_insecure_fallback: bool,
}

/// A route that is attached somewhere.
#[derive(Clone, Debug)]
pub struct Route {
    /// Kind, namespace and name.
    pub key: ObjectKey,
    /// Seconds since 1970 of its creation; routes without one come last among equals.
    pub created: Option<i64>,
    /// Where it is attached, each listener once.
    pub attachments: Vec<Attachment>,
    /// The rules that can be reached; those dropped as invalid are missing here.
    pub rules: Vec<Arc<Rule>>,
}

/// A route on a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// The listener.
    pub listener: ListenerId,
    /// The hostnames that the route names and that have hosts in common with the listener's. Not
    /// empty: without any of its own the route has [`HostPattern::Any`]. They may be wider than the
    /// listener's hostname, which a request has passed before.
    pub hostnames: SmallVec<[HostPattern; 1]>,
}

/// A rule of a route, of any kind. Rules of layer 4 routes have backends only.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// Its place in `spec.rules`.
    pub index: u16,
    /// Its matches, at least one for HTTPRoute and GRPCRoute.
    pub matches: Vec<RouteMatch>,
    /// Its filters in order.
    pub filters: Vec<Filter>,
    /// Its backends.
    pub backends: WeightedBackends,
    /// Its time limits.
    pub timeouts: Timeouts,
    /// Whether and how failed requests are sent again.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Whether clients stay with one endpoint.
    pub session_persistence: Option<Arc<SessionPersistence>>,
    /// Counts its requests.
    pub turns: Turns,
}

/// Time limits of a rule. `Some(ZERO)` switches a limit off, none leaves it to the implementation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the end of the answer.
    pub request: Option<Duration>,
    /// One try at one backend.
    pub backend_request: Option<Duration>,
}

/// How failed requests are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Answers of the backend that count as failed.
    pub codes: SmallVec<[u16; 4]>,
    /// Tries after the first.
    pub attempts: u32,
    /// The least pause between tries; none: the implementation's.
    pub backoff: Option<Duration>,
}
