//! Through which Gateways a policy takes effect.
//!
//! In: which ports of Services the routes on a Gateway reach. Out: `status.ancestors`. Not here:
//! whether the policy is accepted.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{Kind, ObjectKey, ParentReference, PolicyAncestorStatus, PolicyStatus},
    backend::BackendKey,
};

use super::{Given, parents::Parents, policy::Policies};

/// The most entries that the API lets a status have.
const MAX_ANCESTORS: usize = 16;

/// What a policy applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) service: ObjectKey,
    /// The port numbers of the section; none for the whole Service.
    ports: Option<Vec<u16>>,
}

impl Target {
    pub(super) fn new(service: &ObjectKey, section: Option<&str>, given: Given<'_>) -> Self {
        let ports = section.map(|section| {
            let found = given.snapshot.services().get(service);
            let ports = found.map_or(&[][..], |service| &service.spec.ports).iter();
            ports
                .filter(|port| port.name.as_deref() == Some(section))
                .filter_map(|port| u16::try_from(port.port).ok())
                .collect()
        });
        Self { service: service.clone(), ports }
    }

    fn covers(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

/// Counts, for each port of a Service that a policy names, the routes that reach it by Gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    counts: BTreeMap<BackendKey, BTreeMap<usize, u32>>,
}

impl Reach {
    pub(super) fn add(&mut self, backend: &BackendKey, gateway: usize) {
        *self.counts.entry(backend.clone()).or_default().entry(gateway).or_default() += 1;
    }

    pub(super) fn remove(&mut self, backend: &BackendKey, gateway: usize) {
        let Some(gateways) = self.counts.get_mut(backend) else { return };
        if let Some(count) = gateways.get_mut(&gateway) {
            *count -= 1;
            if *count == 0 {
                gateways.remove(&gateway);
            }
        }
        if gateways.is_empty() {
            self.counts.remove(backend);
        }
    }

    /// The Gateways through which a target is reached.
    fn gateways<'r>(&'r self, target: &'r Target) -> impl Iterator<Item = usize> + 'r {
        let backend = |port| BackendKey {
            kind: Kind::Service,
            namespace: target.service.namespace.clone(),
            name: target.service.name.clone(),
            port,
        };
        self.counts
            .range(backend(0)..=backend(u16::MAX))
            .filter(|(backend, _)| target.covers(backend.port))
            .flat_map(|(_, gateways)| gateways.keys().copied())
    }
}

/// The status of a policy.
// SPEC: one ancestor for each Gateway through which a route reaches the target, the Gateway named
// in full and without section.
pub(super) fn policy_status(
    policy: &ObjectKey,
    policies: &Policies,
    parents: &Parents,
    reach: &Reach,
) -> PolicyStatus {
    let targets = policies.targets(policy);
    let gateways: BTreeSet<usize> =
        targets.iter().flat_map(|target| reach.gateways(target)).collect();
    let conditions = policies.conditions(policy).finish();
    let ancestor = |at: usize| {
        let gateway = &parents.gateways[at];
        let parent_ref = ParentReference {
            namespace: Some(gateway.key.namespace.to_string()),
            name: gateway.key.name.to_string(),
            ..ParentReference::default()
        };
        PolicyAncestorStatus {
            ancestor_ref: parent_ref.defaulted(""),
            controller_name: gateway.controller_name.to_string(),
            conditions: conditions.clone(),
        }
    };
    PolicyStatus { ancestors: gateways.into_iter().take(MAX_ANCESTORS).map(ancestor).collect() }
}
