//! What a Gateway needs in the cluster: its own pods and the way to them.
//!
//! In: a Gateway, the ports that it serves, [`Parameters`], and the [`Blueprint`] that all Gateways of
//! a controller share. Out: [`Object`]s, the same for the same input. Not here: applying them, and
//! whether the Gateway is any good, which `gateway-core` judges.
//!
//! Nothing in a pod depends on listeners, so that a new listener restarts nothing.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::{
    api::{AddressType, Gateway, ObjectKey},
    resolve::topology::{Topology, Transport},
};
use serde_json::{Map, Value, json};

use super::{
    name::{labels, object_name, selector},
    object::{Object, ObjectKind},
    parameters::Parameters,
    workload,
};

/// The key of the authority in its ConfigMap, and the name of the file in the pods.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// What all Gateways of a controller have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blueprint {
    /// The name of the controller.
    pub controller_name: String,
    /// The image of the data plane: this program.
    pub image: String,
    /// Where pods get their configuration, such as `https://gateway.gateway-system.svc:15443`.
    pub config_url: String,
    /// The PEM certificates of the authority that vouches for `config_url`.
    pub authority: String,
    /// Further arguments of `gateway run`.
    pub arguments: Vec<String>,
}

/// A port that a Gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

/// The ports of all listeners of a Gateway, those of ListenerSets included.
#[must_use]
pub fn ports(topology: &Topology, gateway: &ObjectKey) -> BTreeSet<Port> {
    let serves = |id: &gateway_core::resolve::topology::ListenerId| {
        let listener = usize::try_from(id.0).ok().and_then(|at| topology.listeners.get(at));
        listener.is_some_and(|listener| listener.gateway == *gateway)
    };
    let binds = topology.binds.iter().filter(|bind| bind.listeners.iter().any(serves));
    binds.map(|bind| Port { number: bind.key.port, transport: bind.key.transport }).collect()
}

/// The objects of a Gateway in the order in which they are applied.
#[must_use]
pub fn objects(
    gateway: &Gateway,
    ports: &BTreeSet<Port>,
    parameters: &Parameters,
    blueprint: &Blueprint,
) -> Vec<Object> {
    let name = object_name(&gateway.metadata.name, &gateway.spec.gateway_class_name);
    let metadata = metadata(gateway, &blueprint.controller_name);
    let object = |kind, fields| Object::new(kind, gateway, &name, &metadata, fields);
    let mut objects = vec![
        // Pods get a token for the configuration alone.
        object(ObjectKind::ServiceAccount, json!({"automountServiceAccountToken": false})),
        object(ObjectKind::ConfigMap, json!({"data": {AUTHORITY_FILE: blueprint.authority}})),
        object(
            ObjectKind::Deployment,
            json!({"spec": workload::deployment(gateway, &name, &metadata, parameters, blueprint)}),
        ),
    ];
    // Kubernetes has no Services without ports.
    if !ports.is_empty() {
        let ports = ports.iter().map(service_port).collect();
        let spec = service(gateway, ports, &selector(gateway), parameters);
        objects.push(object(ObjectKind::Service, json!({"spec": spec})));
    }
    if let Some((bound, amount)) = &parameters.disruption {
        let spec = json!({
            "selector": {"matchLabels": selector(gateway)},
            *bound: amount,
            // Pods that serve nothing are no reason to keep a node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        objects.push(object(ObjectKind::PodDisruptionBudget, json!({"spec": spec})));
    }
    if let Some(scaling) = &parameters.scaling {
        let spec = workload::scaling(&name, scaling);
        objects.push(object(ObjectKind::HorizontalPodAutoscaler, json!({"spec": spec})));
    }
    objects
}

/// Labels and annotations of whatever is created for a Gateway.
pub(crate) fn metadata(gateway: &Gateway, controller_name: &str) -> Value {
    let mut metadata = json!({"labels": labels(gateway, controller_name)});
    let infrastructure = gateway.spec.infrastructure.as_ref();
    if let Some(annotations) = infrastructure.map(|of| &of.annotations).filter(|of| !of.is_empty())
    {
        metadata["annotations"] = json!(annotations);
    }
    metadata
}

/// The spec of the Service through which clients reach a Gateway. `selector` says on which pods.
pub(crate) fn service(
    gateway: &Gateway,
    ports: Vec<Value>,
    selector: &BTreeMap<String, String>,
    parameters: &Parameters,
) -> Value {
    let mut spec = Map::new();
    spec.insert("type".to_owned(), parameters.service_type.into());
    spec.insert("selector".to_owned(), json!(selector));
    spec.insert("ports".to_owned(), ports.into());
    for (field, value) in &parameters.service {
        // What is for load balancers alone is refused elsewhere.
        if parameters.service_type == "LoadBalancer" || *field == "externalTrafficPolicy" {
            spec.insert((*field).to_owned(), value.clone());
        }
    }
    if let Some(address) = wanted_ip(gateway).filter(|_| parameters.service_type == "LoadBalancer")
    {
        spec.insert("loadBalancerIP".to_owned(), address.into());
    }
    Value::Object(spec)
}

/// A port as Services have it.
pub(crate) fn service_port(port: &Port) -> Value {
    service_port_to(port, port.number)
}

/// A port that leads to another one of the pods.
pub(crate) fn service_port_to(port: &Port, target: u16) -> Value {
    let protocol = match port.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    json!({
        "name": format!("{}-{}", protocol.to_lowercase(), port.number),
        "port": port.number,
        "targetPort": target,
        "protocol": protocol,
    })
}

/// The address to ask the load balancer for. A Service has room for one; further ones are usable if
/// the load balancer assigns them for other reasons, such as an annotation.
fn wanted_ip(gateway: &Gateway) -> Option<&str> {
    let addresses = gateway.spec.addresses.iter();
    let mut ips = addresses.filter(|address| *address.kind() == AddressType::IpAddress);
    ips.find_map(|address| address.value.as_deref().filter(|value| !value.is_empty()))
}
