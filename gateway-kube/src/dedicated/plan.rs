//! All Gateways at once: what each is to have, and what was found out of it.
//!
//! In: resolved resources, the state of the created objects, reports of the pods. Out: a [`Plan`] for
//! the keeper, snapshots for the pods, facts for the status. Not here: any IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gateway_core::{
    api::{ConfigMap, Gateway, GatewayStatusAddress, ObjectKey},
    build::Builder,
    resolve::topology::{BindAddress, BindKey, Topology},
    scope::{ControllerScope, Ownership},
    snapshot::{BindState, Observed, Snapshot},
};

use super::{
    name::object_name,
    object::Object,
    objects::{Blueprint, objects, ports},
    parameters::Parameters,
    provision::{Provision, is_same},
};
use crate::config_stream::{Account, BindReport, Report};

/// What every Gateway of ours is to have.
pub(crate) type Plan = BTreeMap<ObjectKey, Wanted>;

/// What one Gateway is to have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) gateway: Arc<Gateway>,
    /// Where its objects are.
    pub(crate) namespace: Box<str>,
    /// Name of its objects and of its service account.
    pub(crate) name: String,
    /// Its objects; none if it is not to be touched just now.
    pub(crate) objects: Option<Vec<Object>>,
    /// How many pods it has at most.
    pub(crate) pods: u32,
    /// Whether its name is that of an older one's objects.
    pub(crate) collides: bool,
    /// Why it cannot have any.
    pub(crate) fault: Option<String>,
}

impl Wanted {
    /// Nothing yet, in the namespace of the Gateway.
    pub(crate) fn beside(gateway: &Arc<Gateway>, name: String) -> Self {
        let namespace = (&*gateway.metadata.namespace).into();
        let gateway = Arc::clone(gateway);
        Self { gateway, namespace, name, objects: None, pods: 0, collides: false, fault: None }
    }

    /// Who its pods are.
    pub(crate) fn account(&self) -> Account {
        Account {
            namespace: (&*self.gateway.metadata.namespace).into(),
            name: (&*self.name).into(),
        }
    }
}

/// Plans for all Gateways of ours.
///
/// A Gateway that is not served (yet, or any more, because somebody broke its spec) keeps what it
/// has: a typing error takes no traffic down.
pub(crate) fn plan(builder: &Builder, blueprint: &Blueprint) -> Plan {
    let (snapshot, topology) = (builder.snapshot(), builder.topology());
    let served: BTreeSet<&ObjectKey> =
        topology.listeners.iter().map(|listener| &listener.gateway).collect();
    let mut plan = Plan::new();
    let mut names: BTreeMap<(Box<str>, String), ObjectKey> = BTreeMap::new();
    for (key, gateway) in ours(snapshot, builder.scope()) {
        let name = object_name(&gateway.metadata.name, &gateway.spec.gateway_class_name);
        let mut wanted = Wanted::beside(gateway, name.clone());
        let place = (key.namespace.clone(), name);
        match names.get(&place) {
            // `a-b` of class `c` and `a` of class `b-c`.
            Some(older) => {
                wanted.collides = true;
                wanted.fault =
                    Some(format!("its objects would have the names of those of {older}"));
            }
            None => {
                names.insert(place, key.clone());
                // Its objects go one by one before it does; none is to come back meanwhile.
                let is_ending = gateway.metadata.deletion_timestamp.is_some();
                if served.contains(key) && !is_ending {
                    fill(&mut wanted, key, snapshot, topology, blueprint);
                }
            }
        }
        plan.insert(key.clone(), wanted);
    }
    plan
}

fn fill(
    wanted: &mut Wanted,
    key: &ObjectKey,
    snapshot: &Snapshot,
    topology: &Topology,
    blueprint: &Blueprint,
) {
    match parameters(snapshot, &wanted.gateway, Parameters::default()) {
        Ok(parameters) => {
            let ports = ports(topology, key);
            wanted.pods = parameters.most_pods();
            wanted.objects = Some(objects(&wanted.gateway, &ports, &parameters, blueprint));
        }
        Err(error) => wanted.fault = Some(error),
    }
}

/// The parameters of a Gateway and its class; `defaults` are those that neither gives.
pub(crate) fn parameters(
    snapshot: &Snapshot,
    gateway: &Gateway,
    defaults: Parameters,
) -> Result<Parameters, String> {
    let class = snapshot.gateway_class("", &gateway.spec.gateway_class_name);
    let of_class = class.and_then(|class| class.spec.parameters_ref.as_ref());
    let of_class = of_class.and_then(|reference| {
        snapshot.config_map(reference.namespace.as_deref().unwrap_or_default(), &reference.name)
    });
    let own = gateway.spec.infrastructure.as_ref().and_then(|of| of.parameters_ref.as_ref());
    let own =
        own.and_then(|reference| snapshot.config_map(&gateway.metadata.namespace, &reference.name));
    let plain = |map: Option<&Arc<ConfigMap>>| map.map(|map| ConfigMap::clone(map));
    let read = defaults.with(plain(of_class).as_ref(), plain(own).as_ref());
    read.map_err(|error| format!("the parameters of class and Gateway do not go together: {error}"))
}

/// Gateways of ours, the oldest first.
pub(crate) fn ours<'s>(
    snapshot: &'s Snapshot,
    scope: &ControllerScope,
) -> Vec<(&'s ObjectKey, &'s Arc<Gateway>)> {
    let is_ours = |gateway: &Gateway| {
        let class = snapshot.gateway_class("", &gateway.spec.gateway_class_name);
        scope.ownership == Ownership::All
            || class.is_some_and(|class| scope.owns_class(&class.spec.controller_name))
    };
    let mut ours: Vec<_> =
        snapshot.gateways().iter().filter(|(_, gateway)| is_ours(gateway)).collect();
    ours.sort_by(|(_, a), (_, b)| a.metadata.seniority_cmp(&b.metadata));
    ours
}

/// What is known of the Gateways, for their status.
pub(crate) fn observed(
    plan: &Plan,
    topology: &Topology,
    provisions: &BTreeMap<ObjectKey, Provision>,
    reports: &BTreeMap<ObjectKey, Vec<Report>>,
) -> Observed {
    let mut observed = Observed::default();
    for (key, wanted) in plan {
        let unknown = Provision {
            unready: Some("the objects of the Gateway are not known yet".to_owned()),
            ..Provision::default()
        };
        let provision = provisions.get(key).unwrap_or(&unknown);
        if let Some(reason) = wanted.fault.as_ref().or(provision.unready.as_ref()) {
            observed.unready.insert(key.clone(), reason.clone());
        }
        let addresses = as_asked(&wanted.gateway, &provision.addresses);
        observed.gateway_addresses.insert(key.clone(), addresses);
        let failures = failures(reports.get(key).map_or(&[], Vec::as_slice));
        let serves = |bind: &&gateway_core::resolve::topology::Bind| {
            bind.listeners.iter().any(|id| {
                let place = usize::try_from(id.0).ok();
                place.and_then(|at| topology.listeners.get(at)).is_some_and(|of| of.gateway == *key)
            })
        };
        for bind in topology.binds.iter().filter(serves) {
            let state = bind_state(&bind.key, provision, &failures);
            observed.binds.insert(bind.key.clone(), state);
        }
    }
    observed
}

/// The addresses, those that the Gateway asks for as it spells them.
pub(crate) fn as_asked(
    gateway: &Gateway,
    addresses: &[GatewayStatusAddress],
) -> Vec<GatewayStatusAddress> {
    let spelt = |address: &GatewayStatusAddress| {
        let mut asked = gateway.spec.addresses.iter().filter_map(|asked| asked.value.as_deref());
        let same = asked.find(|asked| is_same(asked, &address.value));
        let value = same.unwrap_or(&address.value).to_owned();
        GatewayStatusAddress { value, ..address.clone() }
    };
    addresses.iter().map(spelt).collect()
}

/// The sockets that some pod could not open.
fn failures(reports: &[Report]) -> Vec<(&Report, &BindReport)> {
    let binds =
        reports.iter().flat_map(|report| report.binds.iter().map(move |bind| (report, bind)));
    binds.filter(|(_, bind)| bind.error.is_some()).collect()
}

fn bind_state(
    key: &BindKey,
    provision: &Provision,
    failures: &[(&Report, &BindReport)],
) -> BindState {
    let asked = match &key.address {
        BindAddress::Ip(ip) => Some(ip.to_string()),
        BindAddress::Hostname(name) => Some(name.to_string()),
        BindAddress::Default | BindAddress::Own(_) => None,
    };
    let is_missing =
        |asked: &String| provision.missing.iter().any(|missing| is_same(missing, asked));
    if asked.as_ref().is_some_and(is_missing) {
        return BindState::Failed("the Service of the Gateway does not have it".to_owned());
    }
    let failed =
        failures.iter().find(|(_, bind)| bind.port == key.port && bind.transport == key.transport);
    match failed {
        Some((report, bind)) => {
            let error = bind.error.as_deref().unwrap_or_default();
            BindState::Failed(format!("pod {}: {error}", report.pod))
        }
        None => BindState::Bound,
    }
}
