//! Routes of few words, a front that serves them, and peers.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use gateway_bin::{
    stream::{Cause, Client, Ended, StreamOptions, Streams, choose},
    upstream::{SharedEndpoints, Upstream, UpstreamLimits},
};
use gateway_core::{
    api::{Kind, ObjectKey},
    backend::{
        Backend, BackendKey, BackendProtocol, BackendTls, InvalidBackend, ProxyProtocol, Turns,
        WeightedBackend, WeightedBackends,
    },
    compile::RouteTable,
    endpoints::Endpoints,
    matcher::HostPattern,
    resolve::topology::{
        Attachment, Bind, BindAddress, BindKey, Listener, ListenerId, ListenerProtocol, Route,
        Rule, Timeouts, Topology, Transport,
    },
};
use gateway_tower::TableHandle;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

/// Longer than anything here takes, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const PORT: u16 = 9000;

/// Waits for what must come.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let done = timeout(PATIENCE, future).await;
        done.unwrap_or_else(|_| panic!("nothing happened at {caller}"))
    }
}

/// A backend of a rule: its weight, and its endpoints unless it is invalid.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) weight: u32,
    pub(crate) endpoints: Option<Vec<SocketAddr>>,
    pub(crate) tls: Option<Arc<BackendTls>>,
}

pub(crate) fn to(endpoint: SocketAddr) -> Target {
    weighted(1, endpoint)
}

pub(crate) fn weighted(weight: u32, endpoint: SocketAddr) -> Target {
    Target { weight, endpoints: Some(vec![endpoint]), tls: None }
}

pub(crate) fn invalid(weight: u32) -> Target {
    Target { weight, endpoints: None, tls: None }
}

/// A route of one rule on the listener number `listener`.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    pub(crate) created: i64,
    pub(crate) listener: usize,
    pub(crate) hostname: &'static str,
    pub(crate) targets: Vec<Target>,
}

pub(crate) fn route(hostname: &'static str, targets: &[Target]) -> Wanted {
    Wanted { name: "route", created: 1, listener: 0, hostname, targets: targets.to_vec() }
}

/// Listeners of one socket with their routes.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) listeners: Vec<(&'static str, ListenerProtocol)>,
    pub(crate) routes: Vec<Wanted>,
    pub(crate) options: StreamOptions,
    /// Of all backends.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl Setup {
    pub(crate) fn tcp(targets: &[Target]) -> Self {
        Self {
            kind: Kind::TcpRoute,
            listeners: vec![("", ListenerProtocol::Tcp)],
            routes: vec![route("", targets)],
            options: StreamOptions::default(),
            proxy_protocol: None,
        }
    }

    pub(crate) fn udp(targets: &[Target]) -> Self {
        let tcp = Self::tcp(targets);
        Self { kind: Kind::UdpRoute, listeners: vec![("", ListenerProtocol::Udp)], ..tcp }
    }

    pub(crate) fn tls(
        listeners: Vec<(&'static str, ListenerProtocol)>,
        routes: Vec<Wanted>,
    ) -> Self {
        Self { kind: Kind::TlsRoute, listeners, routes, ..Self::tcp(&[]) }
    }

    pub(crate) fn bind(&self) -> BindKey {
        let transport = match self.kind {
            Kind::UdpRoute => Transport::Udp,
            _ => Transport::Tcp,
        };
        BindKey { address: BindAddress::Default, port: PORT, transport }
    }

    pub(crate) fn table(&self) -> RouteTable {
        let gateway = ObjectKey::new(Kind::Gateway, "default", "public");
        let listener = |(place, (hostname, protocol)): (usize, &(&str, ListenerProtocol))| {
            Arc::new(Listener {
                gateway: gateway.clone(),
                owner: gateway.clone(),
                name: format!("listener-{place}").into(),
                hostname: HostPattern::new(hostname),
                port: PORT,
                protocol: protocol.clone(),
            })
        };
        let ids = (0..self.listeners.len()).map(id).collect();
        let routes = self.routes.iter().map(|wanted| {
            let route = self.route(wanted);
            (route.key.clone(), Arc::new(route))
        });
        let topology = Topology {
            binds: vec![Bind { key: self.bind(), listeners: ids }],
            listeners: self.listeners.iter().enumerate().map(listener).collect(),
            routes: routes.collect(),
        };
        RouteTable::compile(&topology, 7)
    }

    fn route(&self, wanted: &Wanted) -> Route {
        let weighted = |(place, target): (usize, &Target)| WeightedBackend {
            weight: target.weight,
            target: match &target.endpoints {
                Some(_) => Ok(Arc::new(self.backend(wanted, place, target))),
                None => Err(InvalidBackend::NotFound),
            },
            filters: Vec::new(),
        };
        let rule = Rule {
            name: None,
            index: 0,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: WeightedBackends::new(
                wanted.targets.iter().enumerate().map(weighted).collect(),
            ),
            timeouts: Timeouts::default(),
            retry: None,
            session_persistence: None,
            turns: Turns::default(),
        };
        Route {
            key: ObjectKey::new(self.kind, "default", wanted.name),
            created: Some(wanted.created),
            attachments: vec![Attachment {
                listener: id(wanted.listener),
                hostnames: [HostPattern::new(wanted.hostname)].into_iter().collect(),
            }],
            rules: vec![Arc::new(rule)],
        }
    }

    fn backend(&self, wanted: &Wanted, place: usize, target: &Target) -> Backend {
        let protocol = match self.kind {
            Kind::UdpRoute => BackendProtocol::Udp,
            _ => BackendProtocol::Tcp,
        };
        Backend {
            key: backend_key(wanted, place),
            protocol,
            tls: target.tls.clone(),
            external_hostname: None,
            retry_budget: None,
            session_persistence: None,
            proxy_protocol: self.proxy_protocol,
        }
    }

    fn endpoints(&self) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for wanted in &self.routes {
            for (place, target) in wanted.targets.iter().enumerate() {
                let addresses = target.endpoints.clone().unwrap_or_default();
                endpoints.insert(backend_key(wanted, place), addresses);
            }
        }
        endpoints
    }

    pub(crate) fn start(self) -> World {
        let shared = Arc::new(SharedEndpoints::default());
        shared.publish(self.endpoints());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let upstream = Upstream::new(Arc::clone(&shared), UpstreamLimits::default(), provider);
        let streams = Streams::new(upstream, self.options.clone());
        World { table: TableHandle::new(self.table()), bind: self.bind(), streams, shared }
    }
}

fn id(place: usize) -> ListenerId {
    ListenerId(u32::try_from(place).expect("few"))
}

fn backend_key(wanted: &Wanted, place: usize) -> BackendKey {
    BackendKey {
        kind: Kind::Service,
        namespace: "default".into(),
        name: format!("{}-{place}", wanted.name).into(),
        port: 80,
    }
}

/// Streams and the table that they follow.
pub(crate) struct World {
    pub(crate) streams: Streams,
    pub(crate) table: TableHandle,
    pub(crate) bind: BindKey,
    shared: Arc<SharedEndpoints>,
}

impl World {
    /// Follows a changed setup.
    pub(crate) fn follow(&self, setup: &Setup) {
        self.shared.publish(setup.endpoints());
        self.table.publish(setup.table());
    }

    /// Serves TCP connections by `find_stream` until the test ends.
    pub(crate) async fn front(&self) -> Front {
        self.front_until(std::future::pending).await
    }

    pub(crate) async fn front_until<F>(&self, until: impl Fn() -> F + Send + 'static) -> Front
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (streams, table, bind) = (self.streams.clone(), self.table.clone(), self.bind.clone());
        accepting(move |client| {
            let (streams, until) = (streams.clone(), until());
            let backend = {
                let table = table.load();
                let bind = table.bind(&bind).expect("the bind of the setup");
                choose(table.find_stream(bind, None).as_ref())
            };
            async move { streams.tcp(client, backend, until).await }
        })
        .await
    }
}

/// An accept loop and how its connections ended.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) ends: UnboundedReceiver<Ended>,
}

impl Front {
    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).await.expect("the front listens");
        socket.set_nodelay(true).expect("a socket");
        socket
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> impl Future<Output = Ended> {
        let next = soon(self.ends.recv());
        async move { next.await.expect("the front goes on") }
    }
}

/// Serves each connection in a task of its own.
pub(crate) async fn accepting<F>(serve: impl Fn(Client) -> F + Send + 'static) -> Front
where
    F: Future<Output = Ended> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (told, ends) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, peer) = listener.accept().await.expect("a connection");
            let (serving, told) = (serve(Client::new(socket, peer)), told.clone());
            tokio::spawn(async move {
                // The test may have seen enough.
                let _ = told.send(serving.await);
            });
        }
    });
    Front { address, ends }
}

/// A listener of a backend that the test plays itself.
pub(crate) async fn backend() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> impl Future<Output = TcpStream> {
    let accepted = soon(listener.accept());
    async move { accepted.await.expect("a connection").0 }
}

/// A backend that greets with its name and closes.
pub(crate) async fn named(name: &'static str) -> SocketAddr {
    let (listener, address) = backend().await;
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, name.as_bytes()).await;
            });
        }
    });
    address
}

/// A port where nothing listens, and nothing will: it stays bound for as long as the tests run, or
/// it might become that of another test's backend.
pub(crate) async fn refusing() -> SocketAddr {
    let bound = TcpSocket::new_v4().expect("a socket");
    bound.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = bound.local_addr().expect("an address");
    Box::leak(Box::new(bound));
    address
}

/// What a connection says until it ends; none if it is reset.
pub(crate) async fn hear(mut socket: TcpStream) -> Option<Vec<u8>> {
    let mut heard = Vec::new();
    soon(socket.read_to_end(&mut heard)).await.ok().map(|_| heard)
}

#[track_caller]
pub(crate) fn check_cause(ended: &Ended, expect: Cause) {
    assert_eq!(ended.cause, expect, "{ended:?}");
}
