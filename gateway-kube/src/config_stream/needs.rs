//! What the data plane of one Gateway needs to know.
//!
//! In: a snapshot, and the topology that it came to. Out: for each Gateway a snapshot of its own: the
//! Gateway, what is attached to it, and what that refers to with permission. Not here: sending it.
//!
//! A pod of a Gateway is in the hands of whoever owns its namespace. So it gets no Secret but those
//! that the Gateway, an accepted ListenerSet, or an XBackend that shows a certificate and that an
//! attached route may lead to names with permission, and of a Secret no more than certificate and key.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::{
    api::{
        BackendTlsPolicyValidation, CORE_GROUP, Gateway, Kind, Listener, LocalObjectReference,
        ObjectKey, Secret, SecretObjectReference, XBackendTlsMode,
    },
    backend::{Backend, BackendKey},
    filter::Filter,
    resolve::{
        permits,
        topology::{ListenerId, Route, Topology},
    },
    snapshot::Snapshot,
};

/// The keys of a Secret that a data plane can use.
const SECRET_KEYS: &[&str] = &["tls.crt", "tls.key"];

/// The label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What each Gateway with a listener in the topology needs.
#[must_use]
pub fn needs(snapshot: &Snapshot, topology: &Topology) -> BTreeMap<ObjectKey, Snapshot> {
    needs_of(snapshot, topology, |_| true)
}

/// What each Gateway that is `wanted` needs.
pub(crate) fn needs_of(
    snapshot: &Snapshot,
    topology: &Topology,
    wanted: impl Fn(&ObjectKey) -> bool,
) -> BTreeMap<ObjectKey, Snapshot> {
    let index = Index::new(snapshot);
    let mut all: BTreeMap<&ObjectKey, Needs<'_>> = BTreeMap::new();
    for listener in topology.listeners.iter().filter(|listener| wanted(&listener.gateway)) {
        let needs = all.entry(&listener.gateway).or_insert_with(|| Needs::new(snapshot, &index));
        needs.owner(&listener.owner);
        needs.gateway(&listener.gateway);
    }
    for route in topology.routes.values() {
        for gateway in gateways(route, topology) {
            if let Some(needs) = all.get_mut(gateway) {
                needs.route(route);
            }
        }
    }
    all.into_iter().map(|(gateway, needs)| (gateway.clone(), needs.snapshot(gateway))).collect()
}

/// What a Gateway `had`, without the Secrets and ConfigMaps that the `grants` do not permit any more.
pub(crate) fn still_permitted(gateway: &ObjectKey, had: &Snapshot, grants: &Snapshot) -> Snapshot {
    let mut rest = had.clone();
    had.reference_grants().keys().for_each(|key| _ = rest.remove(key));
    let is_known = |key: &ObjectKey| {
        had.namespaces().contains_key(&ObjectKey::cluster(Kind::Namespace, &key.namespace))
    };
    let known = grants.reference_grants().iter().filter(|(key, _)| is_known(key));
    rest.extend(known.map(|(_, grant)| (**grant).clone().into()));
    let index = Index::new(&rest);
    let mut needs = Needs::new(&rest, &index);
    needs.gateway(gateway);
    rest.listener_sets().keys().for_each(|key| needs.owner(key));
    for (key, policy) in rest.backend_tls_policies() {
        needs.validation(key, Some(&policy.spec.validation));
    }
    rest.backends().keys().for_each(|key| needs.tls_of(key));
    let permitted = needs.keys;
    for key in had.secrets().keys().chain(had.config_maps().keys()) {
        if !permitted.contains(key) {
            rest.remove(key);
        }
    }
    rest
}

fn gateways<'t>(route: &Route, topology: &'t Topology) -> BTreeSet<&'t ObjectKey> {
    let listener = |id: ListenerId| topology.listeners.get(usize::try_from(id.0).ok()?);
    let listeners = route.attachments.iter().filter_map(|at| listener(at.listener));
    listeners.map(|listener| &listener.gateway).collect()
}

/// What refers to Services without being named by them.
struct Index<'s> {
    slices: BTreeMap<(&'s str, &'s str), Vec<&'s ObjectKey>>,
    policies: BTreeMap<(&'s str, &'s str), Vec<&'s ObjectKey>>,
    grants: BTreeMap<&'s str, Vec<&'s ObjectKey>>,
}

impl<'s> Index<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        let mut index =
            Self { slices: BTreeMap::new(), policies: BTreeMap::new(), grants: BTreeMap::new() };
        for (key, slice) in snapshot.endpoint_slices() {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                index.slices.entry((&*key.namespace, &**service)).or_default().push(key);
            }
        }
        for (key, policy) in snapshot.backend_tls_policies() {
            for target in &policy.spec.target_refs {
                index.policies.entry((&*key.namespace, &*target.name)).or_default().push(key);
            }
        }
        for (key, policy) in snapshot.backend_traffic_policies() {
            for target in &policy.spec.target_refs {
                index.policies.entry((&*key.namespace, &*target.name)).or_default().push(key);
            }
        }
        for key in snapshot.reference_grants().keys() {
            index.grants.entry(&*key.namespace).or_default().push(key);
        }
        index
    }
}

/// What one Gateway needs.
struct Needs<'s> {
    snapshot: &'s Snapshot,
    index: &'s Index<'s>,
    keys: BTreeSet<ObjectKey>,
    backends: BTreeSet<BackendKey>,
}

impl<'s> Needs<'s> {
    fn new(snapshot: &'s Snapshot, index: &'s Index<'s>) -> Self {
        Self { snapshot, index, keys: BTreeSet::new(), backends: BTreeSet::new() }
    }

    /// Whether `key` is new.
    fn add(&mut self, key: &ObjectKey) -> bool {
        if !self.keys.insert(key.clone()) {
            return false;
        }
        // Its labels decide what may be attached, its grants what may be referred to.
        let namespace = &*key.namespace;
        if !namespace.is_empty() && self.keys.insert(ObjectKey::cluster(Kind::Namespace, namespace))
        {
            let grants = self.index.grants.get(namespace).into_iter().flatten();
            self.keys.extend(grants.map(|key| (*key).clone()));
        }
        true
    }

    /// A Gateway or ListenerSet with a listener that is served.
    fn owner(&mut self, owner: &ObjectKey) {
        if !self.add(owner) {
            return;
        }
        let snapshot = self.snapshot;
        let listeners: &[Listener] = match owner.kind {
            Kind::Gateway => {
                snapshot.gateways().get(owner).map_or(&[], |gateway| &gateway.spec.listeners)
            }
            _ => snapshot.listener_sets().get(owner).map_or(&[], |set| &set.spec.listeners),
        };
        let certificates = listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for reference in certificates.flat_map(|tls| &tls.certificate_refs) {
            self.secret(owner, reference);
        }
    }

    /// The Gateway itself, which may have its listeners from ListenerSets alone.
    fn gateway(&mut self, key: &ObjectKey) {
        self.owner(key);
        let tls = self.snapshot.gateways().get(key).and_then(|gateway| gateway.spec.tls.as_ref());
        let Some(tls) = tls else { return };
        let backend = tls.backend.as_ref();
        if let Some(reference) = backend.and_then(|tls| tls.client_certificate_ref.as_ref()) {
            self.secret(key, reference);
        }
        let Some(frontend) = &tls.frontend else { return };
        let per_port = frontend.per_port.iter().filter_map(|port| port.tls.as_ref());
        let all = frontend.default.iter().chain(per_port);
        let validations = all.filter_map(|tls| tls.validation.as_ref());
        for reference in validations.flat_map(|validation| &validation.ca_certificate_refs) {
            let namespace = reference.namespace(&key.namespace);
            self.authority(key, reference.group(), &reference.kind, namespace, &reference.name);
        }
    }

    fn route(&mut self, route: &Route) {
        self.add(&route.key);
        for rule in &route.rules {
            self.filters(&rule.filters);
            for backend in rule.backends.as_slice() {
                self.filters(&backend.filters);
                if let Ok(backend) = &backend.target {
                    self.backend(backend);
                }
            }
        }
    }

    fn filters(&mut self, filters: &[Filter]) {
        for filter in filters {
            match filter {
                Filter::RequestMirror(mirror) => self.backend(&mirror.backend),
                Filter::ExternalAuth(auth) => self.backend(&auth.backend),
                _ => {}
            }
        }
    }

    fn backend(&mut self, backend: &Backend) {
        let BackendKey { kind, namespace, name, .. } = &backend.key;
        let key = ObjectKey::new(*kind, namespace, name);
        if !self.backends.insert(backend.key.clone()) || !self.add(&key) {
            return;
        }
        let snapshot = self.snapshot;
        self.tls_of(&key);
        let named = (&**namespace, &**name);
        for slice in self.index.slices.get(&named).into_iter().flatten() {
            self.keys.insert((*slice).clone());
        }
        for policy in self.index.policies.get(&named).into_iter().flatten() {
            self.add(policy);
            if let Some(policy) = snapshot.backend_tls_policies().get(*policy) {
                let key = ObjectKey::new(Kind::BackendTlsPolicy, namespace, &policy.metadata.name);
                self.validation(&key, Some(&policy.spec.validation));
            }
        }
    }

    /// What the TLS of an XBackend names.
    fn tls_of(&mut self, key: &ObjectKey) {
        let backend = self.snapshot.backends().get(key);
        let Some(tls) = backend.and_then(|backend| backend.spec.tls.as_ref()) else { return };
        if tls.mode != XBackendTlsMode::None {
            self.validation(key, tls.validation.as_ref());
        }
        if tls.mode == XBackendTlsMode::ClientAndServer
            && let Some(reference) = &tls.client_certificate_ref
        {
            self.secret(key, reference);
        }
    }

    fn validation(&mut self, from: &ObjectKey, validation: Option<&BackendTlsPolicyValidation>) {
        for reference in validation.into_iter().flat_map(|of| &of.ca_certificate_refs) {
            let LocalObjectReference { kind, name, .. } = reference;
            self.authority(from, reference.group(), kind, &from.namespace, name);
        }
    }

    /// Authorities are in ConfigMaps alone: a Secret that is named as one stays where it is.
    fn authority(&mut self, from: &ObjectKey, group: &str, kind: &str, space: &str, name: &str) {
        if (group, kind) == (CORE_GROUP, Kind::ConfigMap.as_str()) {
            self.refer(from, &ObjectKey::new(Kind::ConfigMap, space, name));
        }
    }

    fn secret(&mut self, from: &ObjectKey, to: &SecretObjectReference) {
        if (to.group(), to.kind()) == (CORE_GROUP, Kind::Secret.as_str()) {
            let namespace = to.namespace(&from.namespace);
            self.refer(from, &ObjectKey::new(Kind::Secret, namespace, &to.name));
        }
    }

    /// Adds an object if the reference to it is permitted.
    fn refer(&mut self, from: &ObjectKey, to: &ObjectKey) {
        if permits(self.snapshot, from, to) {
            self.add(to);
        }
    }

    /// The Gateway comes without what was for its infrastructure: in its pods it has one address.
    fn snapshot(self, gateway: &ObjectKey) -> Snapshot {
        let mut subset = self.snapshot.subset(&self.keys);
        if let Some(whole) = self.snapshot.gateways().get(gateway) {
            let mut bare = Gateway { status: None, ..(**whole).clone() };
            bare.spec.infrastructure = None;
            bare.spec.addresses.clear();
            subset.insert(bare.into());
        }
        let secrets: Vec<Secret> =
            subset.secrets().values().map(|secret| bare_secret(secret)).collect();
        subset.extend(secrets.into_iter().map(Into::into));
        subset
    }
}

/// Certificate and key alone: annotations may repeat the rest.
fn bare_secret(secret: &Secret) -> Secret {
    let mut bare = secret.clone();
    bare.metadata.annotations.clear();
    bare.data.retain(|key, _| SECRET_KEYS.contains(&key.as_str()));
    bare.string_data.retain(|key, _| SECRET_KEYS.contains(&key.as_str()));
    bare
}
