//! The stage: one data plane that serves case after case, its backends, and its access log.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use gateway_bin::{
    AccessLog, Addresses, Update,
    certificates::Certificates,
    run::{Config, Gateway},
};
use gateway_core::{
    api::{ObjectKey, Resource, Secret},
    build::{Build, build},
    endpoints::{Endpoints, endpoints},
    resolve::topology::{BindKey, Topology, Transport},
    scope::ControllerScope,
    snapshot::{Placement, Snapshot},
    source::Sources,
};
use gateway_testkit::{
    corpus::{Case, Decision, ObjectStatus, Request, testdata},
    reference::CONTROLLER,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    PATIENCE,
    backends::{Backends, Received},
    client::{Heard, send},
    outcome::Evidence,
};

/// What came of a case.
pub(crate) struct Played {
    pub(crate) status: Vec<ObjectStatus>,
    pub(crate) topology: Topology,
    /// One for each time that a request was sent.
    pub(crate) sendings: Vec<Sending>,
}

/// What a client heard, and the address by which the others know it.
pub(crate) struct Sending {
    pub(crate) client: Ipv4Addr,
    pub(crate) heard: Heard,
}

pub(crate) struct Stage {
    gateway: Gateway,
    backends: Backends,
    scope: ControllerScope,
    clients: u32,
    /// Holds the access log.
    folder: TempDir,
}

impl Stage {
    /// Starts a data plane for `cases`, which serves nothing yet.
    pub(crate) fn set_up(cases: &[Case]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = Config {
            addresses: addresses(cases),
            // One has all the lines of the access log in order, and meets all changes.
            workers: 1,
            access_log: AccessLog::File(log_file(&folder)),
            drain: PATIENCE,
            ..Config::default()
        };
        let check = Arc::new(Certificates::default());
        Self {
            gateway: Gateway::start(&config).expect("a gateway"),
            backends: Backends::new(&certificate()),
            scope: ControllerScope::of_class(CONTROLLER).certificate_check(check),
            clients: 0,
            folder,
        }
    }

    /// Serves a case in the place of the one before and sends its requests.
    pub(crate) async fn play(&mut self, case: &Case) -> Played {
        let mut snapshot: Snapshot = case.resources.iter().cloned().collect();
        let endpoints = self.endpoints(&snapshot).await;
        let tried = Update { build: build(&snapshot, &self.scope), endpoints };
        // What became of the sockets is part of the status.
        snapshot.observed = self.gateway.apply(&tried).await;
        let mut update = Update { build: build(&snapshot, &self.scope), ..tried };
        self.gateway.apply(&update).await;
        let mut sendings = Vec::new();
        for (place, request) in case.requests.iter().enumerate() {
            // Turns of weights begin anew with each request of a case.
            update.build = build(&snapshot, &self.scope);
            self.gateway.apply(&update).await;
            let expected = case.expected.as_ref().and_then(|it| it.decisions.get(place));
            sendings.extend(self.send(request, &update.build, expected).await);
        }
        let Build { topology, status, .. } = update.build;
        let status = status.iter().map(|(key, status)| ObjectStatus {
            object: key.to_string(),
            status: serde_json::to_value(status).expect("a status is data"),
        });
        Played { status: status.collect(), topology, sendings }
    }

    /// Ends the data plane; what others than the clients know.
    pub(crate) async fn close(self) -> Evidence {
        let broken = self.gateway.drain().await;
        assert_eq!(broken, 0, "clients have ended their connections, and so has the gateway");
        let log = std::fs::read_to_string(log_file(&self.folder)).expect("an access log");
        Evidence::new(self.backends.log.all(), &log)
    }

    async fn send(
        &mut self,
        request: &Request,
        build: &Build,
        expected: Option<&Decision>,
    ) -> Vec<Sending> {
        let address = self.address(request, &build.topology);
        let mut sendings = Vec::new();
        for _ in 0..request.repeat.max(1) {
            let client = self.next_client();
            let heard = match address {
                Some(address) => send(request, address, client).await,
                None => Heard::Refused,
            };
            sendings.push(Sending { client, heard });
        }
        if let Some(Decision::Forward(forward)) = expected {
            self.wait_for_mirrors(&sendings, &forward.mirrors).await;
        }
        sendings
    }

    /// Copies come beside the request, so possibly after its answer. One that does not come is
    /// found by the comparison.
    async fn wait_for_mirrors(&self, sendings: &[Sending], mirrors: &BTreeSet<String>) {
        if mirrors.is_empty() {
            return;
        }
        let clients: Vec<_> = sendings.iter().map(|sending| sending.client.to_string()).collect();
        let have_come = |received: &[Received]| {
            let ours = received.iter().filter(|it| clients.contains(&it.client));
            let reached: BTreeSet<_> = ours.map(|it| &it.backend).collect();
            mirrors.iter().all(|mirror| reached.contains(mirror))
        };
        let _ = timeout(PATIENCE / 4, self.backends.log.wait_for(have_come)).await;
    }

    /// The socket that serves the port that is called, of the Gateway that is called.
    fn address(&self, request: &Request, topology: &Topology) -> Option<SocketAddr> {
        let gateway_of = |key: &BindKey| {
            let bind = topology.binds.iter().find(|bind| bind.key == *key);
            let listeners = bind.into_iter().flat_map(|bind| &bind.listeners);
            listeners.map(|id| &topology.listeners[id.0 as usize].gateway)
        };
        let is_called = |key: &BindKey| {
            let is_named = |gateway: &ObjectKey| match &request.gateway {
                Some(name) => *name == format!("{}/{}", gateway.namespace, gateway.name),
                None => true,
            };
            key.port == request.port()
                && key.transport == Transport::Tcp
                && gateway_of(key).any(is_named)
        };
        let addresses = self.gateway.addresses();
        let (_, found) = addresses.iter().find(|(key, _)| is_called(key))?;
        found.first().copied()
    }

    /// 127.1.0.1 and so on.
    fn next_client(&mut self) -> Ipv4Addr {
        self.clients += 1;
        Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + self.clients)
    }

    /// The endpoints of a case, each in the place of the one that its EndpointSlices name. Services
    /// for which a case writes down none have one, too: the corpus is about routes.
    async fn endpoints(&mut self, snapshot: &Snapshot) -> Endpoints {
        let mut placed = Endpoints::default();
        for (key, _) in endpoints(snapshot).iter() {
            let address = self.backends.address(key).await;
            placed.insert(key.clone(), [address]);
        }
        placed
    }
}

/// Every Gateway has loopback for itself, on ports that the system chooses.
fn addresses(cases: &[Case]) -> Addresses {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let resources = cases.iter().flat_map(|case| &case.resources);
    let gateways = resources.filter(|it| matches!(it, Resource::Gateway(_)));
    Addresses {
        default: loopback,
        port_offset: 0,
        ports: (0..=u16::MAX).map(|port| (port, 0)).collect(),
        own: gateways.map(|gateway| (gateway.key(), Placement::Address(loopback))).collect(),
        ..Addresses::default()
    }
}

/// The certificate that backends of the corpus are known by.
fn certificate() -> Secret {
    let file = testdata().join("include/certs.yaml");
    let text = std::fs::read_to_string(&file).expect("the corpus has certificates");
    let loaded = Sources::default().load(&file.to_string_lossy(), text);
    let secret = loaded.resources.into_iter().find_map(|(resource, _)| match resource {
        Resource::Secret(secret) if &*secret.metadata.name == "example-cert" => Some(secret),
        _ => None,
    });
    secret.expect("example-cert is one of them")
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("access.log")
}

/// Groups `items` by a key.
pub(crate) fn by_key<K: Ord, T>(items: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, Vec<T>> {
    let mut grouped = BTreeMap::<K, Vec<T>>::new();
    for (key, item) in items {
        grouped.entry(key).or_default().push(item);
    }
    grouped
}
