//! The table as its users see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{
    BindId, Edit, Found, Ingress, Miss,
    candidate::{Candidate, Request},
    hasher::Hasher,
    host_index::HostIndex,
    host_table::HostTable,
    route_set::RouteSet,
    seniority::seniority_cmp,
};
use crate::{
    api::ObjectKey,
    matcher::{HostPattern, PathPattern, RequestHead, is_grpc_content_type},
    resolve::topology::{
        Bind, BindKey, Listener, ListenerId, ListenerProtocol, Route, Topology, Transport,
    },
};

/// All routes, indexed for requests. Immutable; a clone shares everything.
#[derive(Clone)]
pub struct RouteTable(Arc<Inner>);

#[derive(Clone)]
pub(super) struct Inner {
    pub(super) hasher: Hasher,
    pub(super) routes: RouteSet,
    pub(super) listeners: Vec<ListenerTable>,
    pub(super) binds: Arc<[BindTable]>,
}

/// A listener and the hosts that routes are attached to.
#[derive(Clone)]
pub(super) struct ListenerTable {
    pub(super) listener: Arc<Listener>,
    pub(super) hosts: HostIndex<Arc<HostTable>>,
}

pub(super) struct BindTable {
    bind: Bind,
    /// Listeners with a hostname, also the empty one.
    by_host: HostIndex<ListenerId>,
}

impl RouteTable {
    /// Indexes `topology`. Hashes depend on `seed`, which clients should not be able to guess; what
    /// is found does not.
    #[must_use]
    pub fn compile(topology: &Topology, seed: u64) -> Self {
        let hasher = Hasher::new(seed);
        let hosts = routes_by_host(topology);
        let listeners = topology.listeners.iter().zip(hosts).map(|(listener, hosts)| {
            let table = |(host, routes)| (host, Arc::new(HostTable::new(hasher, routes)));
            let hosts = HostIndex::new(hasher, hosts.into_iter().map(table));
            ListenerTable { listener: Arc::clone(listener), hosts }
        });
        Self(Arc::new(Inner {
            hasher,
            routes: RouteSet::new(hasher, topology.routes.values().cloned()),
            listeners: listeners.collect(),
            binds: topology
                .binds
                .iter()
                .map(|bind| BindTable::new(hasher, bind, topology))
                .collect(),
        }))
    }

    /// The socket of this key.
    #[must_use]
    pub fn bind(&self, key: &BindKey) -> Option<BindId> {
        self.bind_where(|bind| bind.key == *key)
    }

    /// The first TCP socket on `port`.
    #[must_use]
    pub fn bind_on_port(&self, port: u16) -> Option<BindId> {
        self.bind_where(|bind| bind.key.port == port && bind.key.transport == Transport::Tcp)
    }

    /// The listener that a TLS connection belongs to.
    // SPEC: a listener without hostname takes unknown server names and clients that send none.
    #[must_use]
    pub fn listener_for_sni(&self, bind: BindId, sni: Option<&str>) -> Option<&Arc<Listener>> {
        self.listener_for_host(bind, sni.unwrap_or(""))
    }

    /// The most specific listener that serves `host` (no port, any letter case).
    #[must_use]
    pub fn listener_for_host(&self, bind: BindId, host: &str) -> Option<&Arc<Listener>> {
        self.listener_id(bind, host).map(|id| &self.table_of(id).listener)
    }

    /// The rule that serves a request.
    ///
    /// # Errors
    /// If no rule does.
    pub fn find(&self, ingress: &Ingress<'_>, head: &RequestHead<'_>) -> Result<Found<'_>, Miss> {
        let host = head.host();
        let table = self.listener_of(ingress, host)?;
        let found = table.hosts.find(self.0.hasher, host, |hosts| {
            let request = Request::new(head, hosts.needs_grpc());
            hosts.find(self.0.hasher, &request).map(|candidate| (hosts, candidate))
        });
        match found {
            Some((hosts, candidate)) => Ok(self::found(&table.listener, hosts, candidate)),
            None => Err(Miss::NoRoute { grpc: is_grpc_content_type(head.headers) }),
        }
    }

    /// The rule that serves a connection below HTTP: TLS listeners by server name, TCP and UDP
    /// listeners by socket.
    #[must_use]
    pub fn find_stream(&self, bind: BindId, sni: Option<&str>) -> Option<Found<'_>> {
        let host = sni.unwrap_or("");
        let id = self.listener_id(bind, host).or_else(|| self.nameless_listener(bind))?;
        let table = self.table_of(id);
        table.hosts.find(self.0.hasher, host, |hosts| {
            let candidate = hosts.stream()?;
            let (route, rule) = (candidate.route(&hosts.routes), candidate.rule(&hosts.routes));
            let listener = &table.listener;
            Some(Found { listener, route, rule, match_index: 0, matched_prefix: None })
        })
    }

    /// Prepares a table that differs in some routes.
    #[must_use]
    pub fn edit(&self) -> Edit {
        Edit::new(self.clone())
    }

    /// The route of this key.
    #[must_use]
    pub fn route(&self, key: &ObjectKey) -> Option<&Arc<Route>> {
        self.0.routes.get(self.0.hasher, key)
    }

    /// All routes, ordered by key.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let mut routes: Vec<&Arc<Route>> = self.0.routes.iter().collect();
        routes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        routes.into_iter()
    }

    /// All sockets, in the order of the topology.
    pub fn binds(&self) -> impl Iterator<Item = (BindId, &Bind)> {
        (0..).map(BindId).zip(self.0.binds.iter().map(|table| &table.bind))
    }

    /// All listeners, in the order of the topology: a [`ListenerId`] is a place in it.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.0.listeners.iter().map(|table| &table.listener)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    fn bind_where(&self, is_wanted: impl Fn(&Bind) -> bool) -> Option<BindId> {
        self.binds().find(|(_, bind)| is_wanted(bind)).map(|(id, _)| id)
    }

    fn listener_id(&self, bind: BindId, host: &str) -> Option<ListenerId> {
        let bind = self.0.binds.get(bind.0 as usize)?;
        bind.by_host.find(self.0.hasher, host, |id| Some(*id))
    }

    /// The TCP or UDP listener of a socket.
    fn nameless_listener(&self, bind: BindId) -> Option<ListenerId> {
        let bind = &self.0.binds.get(bind.0 as usize)?.bind;
        bind.listeners.iter().copied().find(|id| !self.table_of(*id).listener.protocol.has_hosts())
    }

    pub(super) fn listener(&self, id: ListenerId) -> &Arc<Listener> {
        &self.table_of(id).listener
    }

    fn table_of(&self, id: ListenerId) -> &ListenerTable {
        // INVARIANT: binds name listeners of the same topology only.
        &self.0.listeners[id.0 as usize]
    }

    // SPEC: listener isolation: the routes of the most specific listener only. Over TLS the host
    // must belong to the listener that the server name has chosen, else the connection was reused
    // for a host that it was not made for.
    fn listener_of(&self, ingress: &Ingress<'_>, host: &str) -> Result<&ListenerTable, Miss> {
        let by_host = self.listener_id(ingress.bind, host);
        let Some(sni) = ingress.tls else {
            let table = self.table_of(by_host.ok_or(Miss::NoListener)?);
            let is_plain = matches!(table.listener.protocol, ListenerProtocol::Http);
            return is_plain.then_some(table).ok_or(Miss::NoListener);
        };
        let by_sni = self.listener_id(ingress.bind, sni.unwrap_or("")).ok_or(Miss::NoListener)?;
        match by_host {
            None => Err(Miss::NoListener),
            Some(id) if id != by_sni => Err(Miss::Misdirected),
            Some(id) => Ok(self.table_of(id)),
        }
    }
}

impl BindTable {
    fn new(hasher: Hasher, bind: &Bind, topology: &Topology) -> Self {
        let mut named = BTreeMap::new();
        for id in &bind.listeners {
            let listener = &topology.listeners[id.0 as usize];
            if listener.protocol.has_hosts() {
                // Of listeners with one hostname the first serves.
                named.entry(listener.hostname.clone()).or_insert(*id);
            }
        }
        Self { bind: bind.clone(), by_host: HostIndex::new(hasher, named) }
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteTable").field(&self.stats()).finish()
    }
}

/// For each listener the routes of each of its hosts, the senior first.
fn routes_by_host(topology: &Topology) -> Vec<BTreeMap<HostPattern, Vec<Arc<Route>>>> {
    let mut by_listener = vec![BTreeMap::<_, Vec<Arc<Route>>>::new(); topology.listeners.len()];
    let mut routes: Vec<&Arc<Route>> = topology.routes.values().collect();
    routes.sort_by(|a, b| seniority_cmp(a, b));
    for route in routes {
        for (id, host) in hosts_of(route) {
            if let Some(hosts) = by_listener.get_mut(id.0 as usize) {
                match hosts.get_mut(host) {
                    Some(routes) => routes.push(Arc::clone(route)),
                    None => drop(hosts.insert(host.clone(), vec![Arc::clone(route)])),
                }
            }
        }
    }
    by_listener
}

/// The hosts that a route is attached to, each once.
pub(super) fn hosts_of(route: &Route) -> BTreeSet<(ListenerId, &HostPattern)> {
    let attachments = route.attachments.iter();
    attachments
        .flat_map(|attachment| attachment.hostnames.iter().map(|host| (attachment.listener, host)))
        .collect()
}

fn found<'t>(
    listener: &'t Arc<Listener>,
    hosts: &'t HostTable,
    candidate: &Candidate,
) -> Found<'t> {
    let matched_prefix = match &candidate.entry(&hosts.routes).path {
        PathPattern::Prefix(prefix) => Some(prefix.len()),
        PathPattern::Exact(_) | PathPattern::Regex(_) => None,
    };
    Found {
        listener,
        route: candidate.route(&hosts.routes),
        rule: candidate.rule(&hosts.routes),
        match_index: usize::from(candidate.entry),
        matched_prefix,
    }
}
