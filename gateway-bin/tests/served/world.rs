//! A gateway in process that serves manifests, as `gateway run` does.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use gateway_bin::{
    Addresses, Update,
    certificates::Certificates,
    run::{Config, Gateway},
};
use gateway_core::{
    api::{Kind, ObjectKey, Resource},
    build::{Build, Builder},
    endpoints::endpoints,
    resolve::topology::{BindKey, Transport},
    scope::ControllerScope,
    snapshot::{BindState, Change, Observed},
    source::Sources,
};
use tokio::time::timeout;

/// Longer than anything here takes, also on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let done = timeout(PATIENCE, future).await;
        done.unwrap_or_else(|_| panic!("nothing happened at {caller}"))
    }
}

/// Runs a test on a runtime of its own.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

/// A running gateway and the objects that it serves.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    builder: Builder,
    pub(crate) observed: Observed,
}

pub(crate) fn config() -> Config {
    Config {
        addresses: Addresses {
            default: Ipv4Addr::LOCALHOST.into(),
            // Each port of a listener is served on a free one.
            ports: (1..=u16::MAX).map(|port| (port, 0)).collect(),
            ..Addresses::default()
        },
        workers: 2,
        drain: Duration::from_secs(10),
        ..Config::default()
    }
}

impl World {
    pub(crate) async fn start(manifests: &str) -> Self {
        Self::start_with(manifests, &config()).await
    }

    pub(crate) async fn start_with(manifests: &str, config: &Config) -> Self {
        Self::start_as(ControllerScope::all(), manifests, config).await
    }

    pub(crate) async fn start_as(scope: ControllerScope, manifests: &str, config: &Config) -> Self {
        let scope = scope.certificate_check(Arc::new(Certificates::default()));
        let gateway = Gateway::start(config).expect("a gateway");
        let observed = Observed::default();
        let mut world = Self { gateway, builder: Builder::new(scope), observed };
        world.apply(manifests).await;
        world
    }

    /// Adds objects, or replaces those of the same name.
    pub(crate) async fn apply(&mut self, manifests: &str) {
        self.builder.apply(resources(manifests).into_iter().map(Change::Upsert));
        self.publish().await;
    }

    /// Removes an object of the namespace `default`.
    pub(crate) async fn remove(&mut self, kind: Kind, name: &str) {
        self.builder.apply([Change::Remove(ObjectKey::new(kind, "default", name))]);
        self.publish().await;
    }

    pub(crate) async fn publish(&mut self) {
        let observed = self.gateway.apply(&self.update()).await;
        self.observed = observed.clone();
        if self.builder.apply([Change::Observed(observed)]).rebuilt {
            self.gateway.apply(&self.update()).await;
        }
    }

    fn update(&self) -> Update {
        let build = Build {
            table: self.builder.table().clone(),
            topology: self.builder.topology().clone(),
            status: self.builder.status().clone(),
            diagnostics: self.builder.diagnostics().cloned().collect(),
        };
        Update { build, endpoints: endpoints(self.builder.snapshot()) }
    }

    /// Where a port of a listener is served.
    #[track_caller]
    pub(crate) fn address(&self, transport: Transport, port: u16) -> SocketAddr {
        let served = self.find_address(transport, port);
        served.unwrap_or_else(|| panic!("port {port} is not served: {:?}", self.observed))
    }

    pub(crate) fn find_address(&self, transport: Transport, port: u16) -> Option<SocketAddr> {
        let wanted = |key: &BindKey| key.transport == transport && key.port == port;
        let addresses = self.gateway.addresses();
        let (_, found) = addresses.into_iter().find(|(key, _)| wanted(key))?;
        let address = *found.first()?;
        // All addresses are reached by loopback as well.
        let ip =
            if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        Some(SocketAddr::new(ip, address.port()))
    }

    #[track_caller]
    pub(crate) fn tcp(&self, port: u16) -> SocketAddr {
        self.address(Transport::Tcp, port)
    }

    #[track_caller]
    pub(crate) fn udp(&self, port: u16) -> SocketAddr {
        self.address(Transport::Udp, port)
    }

    /// Whether the system refused to open `port`.
    pub(crate) fn failed(&self, port: u16) -> bool {
        let failed = |(key, state): (&BindKey, &BindState)| {
            key.port == port && matches!(state, BindState::Failed(_))
        };
        self.observed.binds.iter().any(failed)
    }

    /// The conditions of an object of the namespace `default`, as `Type=Status Reason`, at a place
    /// of its status such as `/parents/0`.
    #[track_caller]
    pub(crate) fn conditions(&self, kind: Kind, name: &str, place: &str) -> Vec<String> {
        let status = self.status(kind, name);
        let conditions = status.pointer(&format!("{place}/conditions")).cloned();
        let conditions = conditions.unwrap_or_else(|| panic!("no {place} in {status:#}"));
        let text = |condition: &serde_json::Value, field| {
            condition[field].as_str().expect("a text").to_owned()
        };
        let conditions = conditions.as_array().expect("a list").iter();
        conditions
            .map(|condition| {
                let field = |name| text(condition, name);
                format!("{}={} {}", field("type"), field("status"), field("reason"))
            })
            .collect()
    }

    /// The status of an object of the namespace `default`.
    #[track_caller]
    pub(crate) fn status(&self, kind: Kind, name: &str) -> serde_json::Value {
        let key = ObjectKey::new(kind, "default", name);
        let status = self.builder.status().get(&key).expect("an object with status");
        serde_json::to_value(status).expect("JSON")
    }

    /// Checks some conditions, as [`World::conditions`] writes them.
    #[track_caller]
    pub(crate) fn expect(&self, kind: Kind, name: &str, place: &str, expect: &[&str]) {
        let conditions = self.conditions(kind, name, place);
        for wanted in expect {
            assert!(conditions.iter().any(|have| have == wanted), "{wanted} in {conditions:?}");
        }
    }

    /// The value of a metric, over all its labels of which `label` is one.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let metrics = self.gateway.metrics();
        let lines = metrics.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(label)
        });
        let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        lines.filter_map(value).sum()
    }

    /// Waits until a metric has grown to `least`.
    #[track_caller]
    pub(crate) fn until_metric(
        &self,
        name: &str,
        label: &str,
        least: u64,
    ) -> impl Future<Output = ()> {
        soon(async move {
            while self.metric(name, label) < least {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }
}

fn resources(manifests: &str) -> Vec<Resource> {
    let loaded = Sources::default().load("test.yaml", manifests);
    assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    loaded.resources.into_iter().map(|(resource, _)| resource).collect()
}

/// A Gateway named `gw` with these listeners, in the flow style of YAML.
pub(crate) fn gateway(listeners: &[&str]) -> String {
    let listeners: Vec<String> = listeners.iter().map(|text| format!("  - {{{text}}}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: gw}}\n\
         spec:\n  gatewayClassName: gateway\n  listeners:\n{}---\n",
        listeners.concat()
    )
}

/// A route of one rule.
pub(crate) fn route(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {{{spec}}}\n---\n"
    )
}

/// A Service of the port 80 with one endpoint.
pub(crate) fn service(name: &str, endpoint: SocketAddr) -> String {
    service_of("default", name, endpoint)
}

pub(crate) fn service_of(namespace: &str, name: &str, endpoint: SocketAddr) -> String {
    let (kind, port) = match endpoint.ip() {
        IpAddr::V4(_) => ("IPv4", endpoint.port()),
        IpAddr::V6(_) => ("IPv6", endpoint.port()),
    };
    let ports = |protocol| format!("name: {protocol}, port: {port}, protocol: {protocol}");
    let (tcp, udp) = (
        ports("TCP").replace("name: TCP", "name: tcp"),
        ports("UDP").replace("name: UDP", "name: udp"),
    );
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{ports: [{{name: tcp, port: 80}}, {{name: udp, port: 80, protocol: UDP}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}, namespace: {namespace}, \
         labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: {kind}\nendpoints: [{{addresses: [{}]}}]\nports: [{{{tcp}}}, {{{udp}}}]\n---\n",
        endpoint.ip()
    )
}
