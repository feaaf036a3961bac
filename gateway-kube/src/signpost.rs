//! A name in the cluster for each Gateway that has no pods of its own.
//!
//! In: builds, and the addresses that Gateways were given. Out: for each Gateway a Service of its
//! name, and EndpointSlices with its addresses, so that pods reach it as
//! `<gateway>-<class>.<namespace>.svc`. Not here: Gateways with pods of their own, whose Services
//! select these (`dedicated`).

use std::{collections::BTreeSet, net::IpAddr};

use gateway_core::{
    api::{Gateway, ObjectKey},
    build::Builder,
    resolve::topology::Topology,
    snapshot::Observed,
};
use serde_json::{Value, json};

use crate::{
    connect::Connection,
    dedicated::{
        Object, ObjectKind, Port, controller_label,
        keeper::Kept,
        keeping::Keeping,
        metadata, object_name, ours,
        plan::{Plan, Wanted},
        ports, service_port,
    },
    leadership::Leadership,
    notice::Notices,
};

/// The kinds of objects that a Gateway has without pods of its own.
pub(crate) const KINDS: &[ObjectKind] = &[ObjectKind::Service, ObjectKind::EndpointSlice];

/// Keeps a Service for each Gateway.
#[derive(Debug)]
pub struct Signposts {
    controller_name: String,
    keeping: Keeping,
}

impl Signposts {
    /// Starts to keep Services. Nothing is written before this replica leads.
    #[must_use]
    pub fn start(connection: &Connection, controller_name: &str, notices: Notices) -> Self {
        let (client, kept) = (connection.client.clone(), Kept::beside(KINDS));
        let keeping = Keeping::start(client, controller_name, kept, notices);
        Self { controller_name: controller_name.to_owned(), keeping }
    }

    /// Has the Services lead to where the Gateways are now.
    pub fn point(&self, builder: &Builder, observed: &Observed) {
        self.keeping.want(plan(builder, observed, &self.controller_name));
    }

    /// Learns whether this replica is the one that writes.
    pub fn lead(&self, leadership: &Leadership) {
        self.keeping.lead(leadership);
    }
}

/// A Gateway that is not served just now keeps what it has.
fn plan(builder: &Builder, observed: &Observed, controller_name: &str) -> Plan {
    let topology = builder.topology();
    let mut names = BTreeSet::new();
    let mut plan = Plan::new();
    for (key, gateway) in ours(builder.snapshot(), builder.scope()) {
        let name = object_name(&gateway.metadata.name, &gateway.spec.gateway_class_name);
        let is_first = names.insert((key.namespace.clone(), name.clone()));
        let is_ending = gateway.metadata.deletion_timestamp.is_some();
        let objects = (is_first && !is_ending)
            .then(|| objects(gateway, &name, key, topology, observed, controller_name))
            .flatten();
        plan.insert(key.clone(), Wanted { objects, ..Wanted::beside(gateway, name) });
    }
    plan
}

fn objects(
    gateway: &Gateway,
    name: &str,
    key: &ObjectKey,
    topology: &Topology,
    observed: &Observed,
    controller_name: &str,
) -> Option<Vec<Object>> {
    let ports = ports(topology, key);
    if ports.is_empty() {
        return None;
    }
    let metadata = metadata(gateway, controller_name);
    let service_ports: Vec<Value> = ports.iter().map(service_port).collect();
    let service = json!({"spec": {"type": "ClusterIP", "ports": service_ports}});
    let service = Object::new(ObjectKind::Service, gateway, name, &metadata, service);
    let addresses = observed.gateway_addresses.get(key).into_iter().flatten();
    let addresses: BTreeSet<IpAddr> = addresses.filter_map(|of| of.value.parse().ok()).collect();
    let families = [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)];
    let slices = families.into_iter().filter_map(|(family, is_of)| {
        let addresses: Vec<&IpAddr> = addresses.iter().filter(|address| is_of(address)).collect();
        let fields = slice(family, &addresses, &ports)?;
        let name_of_slice = format!("{name}-{}", family.to_lowercase());
        let mut metadata = metadata.clone();
        metadata["labels"]["kubernetes.io/service-name"] = name.into();
        // Else the controller of the cluster might take it for one of its own.
        metadata["labels"]["endpointslice.kubernetes.io/managed-by"] =
            controller_label(controller_name).into();
        Some(Object::new(ObjectKind::EndpointSlice, gateway, &name_of_slice, &metadata, fields))
    });
    Some(std::iter::once(service).chain(slices).collect())
}

fn slice(family: &str, addresses: &[&IpAddr], ports: &BTreeSet<Port>) -> Option<Value> {
    if addresses.is_empty() {
        return None;
    }
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address.to_string()], "conditions": {"ready": true}}))
        .collect();
    let port = |port: &Port| {
        let port = service_port(port);
        json!({"name": port["name"], "port": port["port"], "protocol": port["protocol"]})
    };
    let ports: Vec<Value> = ports.iter().map(port).collect();
    Some(json!({"addressType": family, "endpoints": endpoints, "ports": ports}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gateway_core::{
        api::{
            AddressType, Gateway, GatewayClass, GatewayInfrastructure, GatewayStatusAddress, Kind,
            Listener, ObjectKey, Timestamp,
        },
        build::Builder,
        scope::ControllerScope,
        snapshot::{Observed, Snapshot},
    };
    use serde_json::{Value, json};

    use super::plan;

    const CONTROLLER: &str = "example.net/gateway";

    fn gateway(listener: Option<Listener>) -> Gateway {
        let mut gateway = Gateway::new("infra", "public").class("c");
        gateway.spec.listeners.extend(listener);
        gateway.spec.infrastructure = Some(GatewayInfrastructure {
            labels: BTreeMap::from([("team".into(), "shop".into())]),
            annotations: BTreeMap::from([("note".into(), "n".into())]),
            ..GatewayInfrastructure::default()
        });
        gateway
    }

    /// What there is to be for a Gateway at these addresses.
    fn objects(gateway: Gateway, addresses: &[&str]) -> Option<Vec<Value>> {
        let class = GatewayClass::new("c", CONTROLLER);
        let snapshot = Snapshot::from_iter([class.into(), gateway.into()]);
        let builder = Builder::of(snapshot, ControllerScope::of_class(CONTROLLER));
        let key = ObjectKey::new(Kind::Gateway, "infra", "public");
        let address = |value: &&str| GatewayStatusAddress {
            kind: Some(AddressType::IpAddress),
            value: (*value).to_owned(),
        };
        let addresses = addresses.iter().map(address).collect();
        let observed = Observed {
            gateway_addresses: BTreeMap::from([(key.clone(), addresses)]),
            ..Observed::default()
        };
        let wanted = plan(&builder, &observed, CONTROLLER).remove(&key)?;
        Some(wanted.objects?.into_iter().map(|object| object.body).collect())
    }

    #[test]
    fn a_gateway_is_found_by_name() {
        let found = objects(gateway(Some(Listener::http("web", 80))), &["192.0.2.1", "fd00::1"]);
        let found = found.expect("it is served");
        let of = |at: usize, field: &str| found[at][field].clone();
        assert_eq!(found.len(), 3);
        assert_eq!(of(0, "metadata")["labels"]["team"], "shop");
        assert_eq!(of(0, "metadata")["annotations"]["note"], "n");
        assert!(of(0, "spec")["selector"].is_null(), "its addresses are given");
        assert_eq!(of(0, "spec")["ports"][0]["port"], 80);
        assert_eq!(of(1, "metadata")["labels"]["kubernetes.io/service-name"], "public-c");
        assert_eq!(of(1, "addressType"), "IPv4");
        assert_eq!(of(1, "endpoints")[0]["addresses"], json!(["192.0.2.1"]));
        assert_eq!(of(1, "ports")[0]["name"], of(0, "spec")["ports"][0]["name"]);
        assert_eq!(of(2, "metadata")["name"], "public-c-ipv6");
        assert_eq!(of(2, "endpoints")[0]["addresses"], json!(["fd00::1"]));
    }

    #[test]
    fn what_is_not_there_has_no_name() {
        assert_eq!(objects(gateway(None), &["192.0.2.1"]), None, "no port, nothing to reach");
        let mut ending = gateway(Some(Listener::http("web", 80)));
        ending.metadata.deletion_timestamp = Some(Timestamp::new("2026-01-01T00:00:00Z"));
        assert_eq!(objects(ending, &[]), None);
        let nowhere = objects(gateway(Some(Listener::http("web", 80))), &[]);
        assert_eq!(nowhere.map(|objects| objects.len()), Some(1));
    }
}
