//! What every Gateway is to have, and what the Services say that are there.
//!
//! In: resolved resources. Out: a [`Plan`] with one Service for each Gateway, and the numbers that
//! Services hold. Not here: how numbers are chosen (`allot`), any IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gateway_core::{
    api::{Gateway, IntOrString, ObjectKey, Service, TransportProtocol},
    build::Builder,
    resolve::topology::{Topology, Transport},
    snapshot::Snapshot,
};
use serde_json::json;

use super::{
    Balanced,
    allot::{Allotment, Allotted, allot, held},
};
use crate::dedicated::{
    GATEWAY_NAMESPACE, MANAGED_BY, Object, ObjectKind, Parameters, Port, controller_label,
    foreign_name, label_value, metadata, ours,
    plan::{Plan, Wanted, parameters},
    service as spec, service_port_to,
};

/// The name of a Gateway's Service.
pub(super) fn service_name(gateway: &Gateway) -> String {
    let metadata = &gateway.metadata;
    foreign_name(&metadata.namespace, &metadata.name, &gateway.spec.gateway_class_name)
}

/// The Service of a Gateway.
#[must_use]
pub fn service(
    gateway: &Gateway,
    ports: &Allotted,
    parameters: &Parameters,
    balanced: &Balanced,
    controller_name: &str,
) -> Object {
    let mut metadata = metadata(gateway, controller_name);
    metadata["labels"][GATEWAY_NAMESPACE] = label_value(&gateway.metadata.namespace).into();
    let ports = ports.iter().map(|(port, number)| service_port_to(port, *number)).collect();
    let spec = spec(gateway, ports, &balanced.selector, parameters);
    let place = (&*balanced.namespace, &*service_name(gateway));
    Object::unowned(ObjectKind::Service, place, metadata, json!({"spec": spec}))
}

/// What the Services of Gateways hold that are there, those of others left out.
pub(super) fn stored(snapshot: &Snapshot, balanced: &Balanced, controller_name: &str) -> Allotment {
    let label = controller_label(controller_name);
    let is_one = |service: &&Arc<Service>| {
        let labels = &service.metadata.labels;
        *service.metadata.namespace == *balanced.namespace
            && labels.get(MANAGED_BY) == Some(&label)
            && labels.contains_key(GATEWAY_NAMESPACE)
    };
    let mut services: Vec<&Arc<Service>> = snapshot.services().values().filter(is_one).collect();
    services.sort_by(|a, b| a.metadata.seniority_cmp(&b.metadata));
    held(services.into_iter().map(|service| (&*service.metadata.name, numbers(service))))
}

fn numbers(service: &Service) -> Vec<(Port, u16)> {
    let number = |port: &gateway_core::api::ServicePort| {
        let transport = match port.protocol() {
            TransportProtocol::Tcp => Transport::Tcp,
            TransportProtocol::Udp => Transport::Udp,
            _ => return None,
        };
        let Some(IntOrString::Int(target)) = &port.target_port else { return None };
        let number = u16::try_from(port.port).ok()?;
        Some((Port { number, transport }, u16::try_from(*target).ok()?))
    };
    service.spec.ports.iter().filter_map(number).collect()
}

/// The ports of every Gateway that has a listener.
pub(super) fn ports(topology: &Topology) -> BTreeMap<&ObjectKey, BTreeSet<Port>> {
    let mut all: BTreeMap<&ObjectKey, BTreeSet<Port>> = BTreeMap::new();
    for bind in &topology.binds {
        let port = Port { number: bind.key.port, transport: bind.key.transport };
        for id in &bind.listeners {
            let listener = usize::try_from(id.0).ok().and_then(|at| topology.listeners.get(at));
            if let Some(listener) = listener {
                all.entry(&listener.gateway).or_default().insert(port);
            }
        }
    }
    all
}

/// Plans for all Gateways of ours, and the numbers that they are to have.
///
/// A Gateway that is not served (yet, or any more, because somebody broke its spec) keeps what it
/// has. So do those of `unreadable`.
pub(super) fn plan<'k>(
    builder: &Builder,
    balanced: &Balanced,
    controller_name: &str,
    held: &Allotment,
    unreadable: impl IntoIterator<Item = &'k ObjectKey>,
) -> (Plan, Allotment) {
    let served = ports(builder.topology());
    let ours = ours(builder.snapshot(), builder.scope());
    let mut names: BTreeMap<String, &ObjectKey> = BTreeMap::new();
    let mut faults: BTreeMap<&ObjectKey, String> = BTreeMap::new();
    for (key, gateway) in &ours {
        let name = service_name(gateway);
        match names.get(&name) {
            Some(older) => {
                let fault = format!("its Service would have the name of that of {older}");
                faults.insert(key, fault);
            }
            None => _ = names.insert(name, key),
        }
    }
    let wanting = ours.iter().filter_map(|(key, gateway)| {
        let is_ending = gateway.metadata.deletion_timestamp.is_some();
        let ports = served.get(key).filter(|_| !is_ending && !faults.contains_key(key))?;
        Some((service_name(gateway), ports))
    });
    let wanting: Vec<(String, &BTreeSet<Port>)> = wanting.collect();
    let wanted: Vec<_> = wanting.iter().map(|(name, ports)| (&**name, *ports)).collect();
    let allotment = allot(balanced.ports, &wanted, held);
    let mut plan = Plan::new();
    for (key, gateway) in ours {
        let namespace = (&*balanced.namespace).into();
        let fault = faults.remove(key);
        let beside = Wanted::beside(gateway, service_name(gateway));
        let mut wanted = Wanted { namespace, fault, ..beside };
        if wanted.fault.is_none()
            && let Some(allotted) = allotment.get(&*wanted.name)
        {
            let snapshot = builder.snapshot();
            fill(&mut wanted, allotted, snapshot, balanced, controller_name);
        }
        plan.insert(key.clone(), wanted);
    }
    for key in unreadable {
        let nameless = Arc::new(Gateway::new(&*key.namespace, &*key.name));
        plan.entry(key.clone()).or_insert_with(|| Wanted::beside(&nameless, String::new()));
    }
    (plan, allotment)
}

fn fill(
    wanted: &mut Wanted,
    allotted: &Allotted,
    snapshot: &Snapshot,
    balanced: &Balanced,
    controller_name: &str,
) {
    let gateway = &wanted.gateway;
    // Kubernetes has no Services without ports.
    if allotted.is_empty() {
        wanted.fault = Some(exhausted(balanced));
        return;
    }
    let service_type = balanced.service_type;
    let defaults = Parameters { service_type, ..Parameters::default() };
    match parameters(snapshot, gateway, defaults) {
        Ok(parameters) => {
            let object = service(gateway, allotted, &parameters, balanced, controller_name);
            wanted.objects = Some(vec![object]);
        }
        Err(error) => wanted.fault = Some(error),
    }
}

pub(super) fn exhausted(balanced: &Balanced) -> String {
    format!("no port of the pods is left for it, all of {} are in use", balanced.ports)
}
