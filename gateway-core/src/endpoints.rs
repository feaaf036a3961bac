//! Where the pods of a backend are: the fast lane beside the route table.
//!
//! In: Services and their EndpointSlices. Out: for each port of a Service the addresses that take
//! traffic now. Not here: weights, health and connections, which the data plane knows; endpoints
//! change far more often than routes and never touch the route table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    api::{Endpoint, EndpointPort, EndpointSlice, Kind, Service, ServicePort, ServiceType},
    backend::BackendKey,
    snapshot::Snapshot,
};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The endpoints of all Services of a snapshot.
///
/// ```
/// use gateway_core::{endpoints::endpoints, snapshot::Snapshot};
/// assert_eq!(endpoints(&Snapshot::default()).iter().count(), 0);
/// ```
#[must_use]
pub fn endpoints(snapshot: &Snapshot) -> Endpoints {
    let services = snapshot.services().values().map(|service| &**service);
    let slices = snapshot.endpoint_slices().values().map(|slice| &**slice);
    Endpoints::new(services, slices)
}

/// The addresses of every backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    addresses: BTreeMap<BackendKey, Arc<[SocketAddr]>>,
}

impl Endpoints {
    /// Finds the endpoints of all ports of `services`.
    ///
    /// A slice belongs to the Service that its label `kubernetes.io/service-name` names, whoever
    /// made it; so Services without selector and headless ones work like any other. Services of
    /// type ExternalName have no endpoints.
    ///
    /// ```
    /// use gateway_core::{
    ///     api::{EndpointSlice, Kind, Service},
    ///     backend::BackendKey,
    ///     endpoints::Endpoints,
    /// };
    /// let service: Service = serde_json::from_value(serde_json::json!({
    ///     "metadata": {"namespace": "default", "name": "shop"},
    ///     "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    /// }))?;
    /// let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
    ///     "metadata": {
    ///         "namespace": "default",
    ///         "name": "shop-1",
    ///         "labels": {"kubernetes.io/service-name": "shop"},
    ///     },
    ///     "addressType": "IPv4",
    ///     "endpoints": [{"addresses": ["10.0.0.7"]}],
    ///     "ports": [{"port": 8080}],
    /// }))?;
    /// let endpoints = Endpoints::new([&service], [&slice]);
    /// let key = BackendKey {
    ///     kind: Kind::Service,
    ///     namespace: "default".into(),
    ///     name: "shop".into(),
    ///     port: 80,
    /// };
    /// assert_eq!(endpoints.get(&key), ["10.0.0.7:8080".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<'a>(
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Self {
        let mut by_service = BTreeMap::<(&str, &str), Vec<&EndpointSlice>>::new();
        for slice in slices {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                by_service.entry((&*slice.metadata.namespace, &**service)).or_default().push(slice);
            }
        }
        let mut addresses = BTreeMap::new();
        for service in services {
            let name = (&*service.metadata.namespace, &*service.metadata.name);
            let slices = by_service.get(&name).map_or(&[][..], |slices| slices);
            for port in ports(service) {
                let Ok(number) = u16::try_from(port.port) else { continue };
                let key = BackendKey {
                    kind: Kind::Service,
                    namespace: name.0.into(),
                    name: name.1.into(),
                    port: number,
                };
                addresses.insert(key, addresses_of(port, slices));
            }
        }
        Self { addresses }
    }

    /// The addresses of a backend, without repetition and in a fixed order; empty if it has none.
    #[must_use]
    pub fn get(&self, backend: &BackendKey) -> &[SocketAddr] {
        self.addresses.get(backend).map_or(&[], |addresses| addresses)
    }

    /// Whether the backend is known, be it without addresses.
    #[must_use]
    pub fn contains(&self, backend: &BackendKey) -> bool {
        self.addresses.contains_key(backend)
    }

    /// Sets the addresses of a backend, for data planes that know them from elsewhere.
    pub fn insert(&mut self, backend: BackendKey, addresses: impl Into<Arc<[SocketAddr]>>) {
        self.addresses.insert(backend, addresses.into());
    }

    /// All backends with their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendKey, &[SocketAddr])> {
        self.addresses.iter().map(|(backend, addresses)| (backend, &**addresses))
    }
}

fn ports(service: &Service) -> &[ServicePort] {
    match service.spec.kind {
        Some(ServiceType::ExternalName) => &[],
        _ => &service.spec.ports,
    }
}

/// Those that are ready; if none is, those that still serve while they end (KEP-1669).
fn addresses_of(port: &ServicePort, slices: &[&EndpointSlice]) -> Arc<[SocketAddr]> {
    let find = |usable: fn(&Endpoint) -> bool| -> BTreeSet<SocketAddr> {
        let of_slice = |slice: &&EndpointSlice| -> Vec<SocketAddr> {
            let numbers = slice.ports.iter().filter_map(|of_slice| number(of_slice, port));
            let endpoints = slice.endpoints.iter().filter(|endpoint| usable(endpoint));
            // SPEC: all addresses of an endpoint are the same place; consumers use the first.
            let addresses = endpoints.filter_map(|endpoint| address(endpoint.addresses.first()?));
            let addresses: Vec<IpAddr> = addresses.collect();
            numbers.flat_map(|port| addresses.iter().map(move |ip| (*ip, port).into())).collect()
        };
        slices.iter().flat_map(of_slice).collect()
    };
    let ready = find(Endpoint::is_ready);
    let found = if ready.is_empty() { find(is_serving_to_the_end) } else { ready };
    found.into_iter().collect()
}

fn is_serving_to_the_end(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.terminating == Some(true) && conditions.serving == Some(true)
    })
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// The number of a slice's port if it is that of the Service's port, which the name tells: a
/// Service with one port may leave it out, and then it is empty in both.
fn number(of_slice: &EndpointPort, port: &ServicePort) -> Option<u16> {
    let same = of_slice.name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or("");
    let transport = of_slice.protocol.as_ref().is_none_or(|protocol| protocol == port.protocol());
    // A slice without a number means all ports; the Service's own is then the one that is meant.
    let number = of_slice.port.unwrap_or(port.port);
    u16::try_from(number).ok().filter(|number| same && transport && *number != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Endpoints;
    use crate::{api::Kind, backend::BackendKey};

    #[track_caller]
    fn check(spec: &Value, slices: &[Value], port: u16, expect: &[&str]) {
        let metadata = json!({"namespace": "ns", "name": "a"});
        let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec}));
        let service = service.expect("a Service");
        let slice = |slice: &Value| {
            let mut slice = slice.clone();
            slice["metadata"] = json!({
                "namespace": "ns",
                "name": "any",
                "labels": {"kubernetes.io/service-name": "a"},
            });
            serde_json::from_value(slice).expect("an EndpointSlice")
        };
        let slices: Vec<_> = slices.iter().map(slice).collect();
        let endpoints = Endpoints::new([&service], &slices);
        let (namespace, name) = ("ns".into(), "a".into());
        let key = BackendKey { kind: Kind::Service, namespace, name, port };
        let got: Vec<String> = endpoints.get(&key).iter().map(ToString::to_string).collect();
        assert_eq!(got, expect);
    }

    fn slice(addresses: &[&str], ports: &Value) -> Value {
        let endpoints: Vec<_> = addresses.iter().map(|a| json!({"addresses": [a]})).collect();
        json!({"addressType": "IPv4", "endpoints": endpoints, "ports": ports})
    }

    #[test]
    fn target_ports_come_from_the_slice() {
        let spec = json!({"ports": [{"port": 80, "targetPort": 8080}]});
        check(&spec, &[slice(&["10.0.0.1"], &json!([{"port": 8080}]))], 80, &["10.0.0.1:8080"]);
    }

    #[test]
    fn ports_are_told_apart_by_name() {
        let spec = json!({"ports": [
            {"name": "web", "port": 80, "targetPort": "http"},
            {"name": "admin", "port": 81, "targetPort": "admin"},
        ]});
        let ports = json!([{"name": "web", "port": 8080}, {"name": "admin", "port": 9090}]);
        check(&spec, &[slice(&["10.0.0.1"], &ports)], 80, &["10.0.0.1:8080"]);
        check(&spec, &[slice(&["10.0.0.1"], &ports)], 81, &["10.0.0.1:9090"]);
        check(&spec, &[slice(&["10.0.0.1"], &ports)], 82, &[]);
    }

    #[test]
    fn a_named_port_may_have_a_number_for_each_slice() {
        let spec = json!({"ports": [{"name": "web", "port": 80, "targetPort": "http"}]});
        let slices = [
            slice(&["10.0.0.1"], &json!([{"name": "web", "port": 1}])),
            slice(&["10.0.0.2"], &json!([{"name": "web", "port": 2}])),
        ];
        check(&spec, &slices, 80, &["10.0.0.1:1", "10.0.0.2:2"]);
    }

    #[test]
    fn headless_and_both_families() {
        let spec = json!({"clusterIP": "None", "ports": [{"port": 80}]});
        let slices = [
            slice(&["10.0.0.2", "10.0.0.1"], &json!([{"port": 80}])),
            json!({
                "addressType": "IPv6",
                "endpoints": [{"addresses": ["fd00::1"]}],
                "ports": [{"port": 80}],
            }),
        ];
        check(&spec, &slices, 80, &["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
    }

    #[test]
    fn ready_ones_then_those_that_still_serve() {
        let spec = json!({"ports": [{"port": 80}]});
        let endpoint = |address: &str, ready: bool, serving: bool, terminating: bool| {
            json!({
                "addresses": [address],
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            })
        };
        let with = |endpoints: &[Value]| json!({"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}]});
        let ending = endpoint("10.0.0.2", false, true, true);
        let ready = endpoint("10.0.0.1", true, true, false);
        let starting = endpoint("10.0.0.3", false, false, false);
        let all = [ready, ending.clone(), starting.clone()];
        check(&spec, &[with(&all)], 80, &["10.0.0.1:80"]);
        check(&spec, &[with(&[ending, starting.clone()])], 80, &["10.0.0.2:80"]);
        check(&spec, &[with(&[starting])], 80, &[]);
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let spec = json!({"ports": [{"port": 80}]});
        check(&spec, &[slice(&["not an address"], &json!([{"port": 80}]))], 80, &[]);
        check(&spec, &[slice(&["10.0.0.1"], &json!([{"port": 70_000}]))], 80, &[]);
        check(&spec, &[slice(&["10.0.0.1"], &json!([{"port": 80, "protocol": "UDP"}]))], 80, &[]);
        check(&spec, &[slice(&["10.0.0.1"], &json!([{}]))], 80, &["10.0.0.1:80"]);
        let external =
            json!({"type": "ExternalName", "externalName": "x", "ports": [{"port": 80}]});
        check(&external, &[slice(&["10.0.0.1"], &json!([{"port": 80}]))], 80, &[]);
    }
}
