//! Everything that is known at one instant: resources as the user wrote them, and observed facts.
//!
//! In: [`Resource`]s in any order, and what the program found out. Out: look-ups by key, in a fixed
//! order, so that nothing depends on the order of arrival. Not here: any judgement.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::api::{self, GatewayStatusAddress, Kind, OWN_PREFIX, ObjectKey, ObjectMeta, Resource};

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// What the program found out while serving an earlier snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Sockets. One that is missing counts as bound: nobody has tried yet.
    pub binds: BTreeMap<BindKey, BindState>,
    /// Addresses at which clients reach a Gateway, apart from those that its spec names.
    pub gateway_addresses: BTreeMap<ObjectKey, Vec<GatewayStatusAddress>>,
    /// Addresses that a Gateway names and that do not lead to it, each with the reason; sockets that
    /// cannot be opened are in `binds`.
    pub unusable: BTreeMap<(ObjectKey, BindAddress), String>,
    /// Gateways whose data plane does not serve yet, each with the reason. Others count as served.
    pub unready: BTreeMap<ObjectKey, String>,
    /// What the installed CRDs state about themselves; none if nobody has looked.
    pub bundle: Option<Bundle>,
}

/// Which CRDs of the Gateway API are installed, as they state it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Their version, such as `v1.6.1`; empty if they state none.
    pub version: String,
    /// Their release channel, `standard` or `experimental`; empty if they state none.
    pub channel: String,
}

/// Whether a socket could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindState {
    /// It is open.
    Bound,
    /// The operating system refused, with this message.
    Failed(String),
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindKey {
    /// The address.
    pub address: BindAddress,
    /// The port of the listeners, before any offset for unprivileged runs.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindAddress {
    /// The Gateway names none: the implementation's own, for all such Gateways together.
    Default,
    /// The Gateway names none: one of its own, which the implementation assigns.
    Own(ObjectKey),
    /// An address of type IPAddress.
    Ip(IpAddr),
    /// An address of type Hostname, to be looked up.
    Hostname(Box<str>),
}

/// Where the sockets of a Gateway with [`BindAddress::Own`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At an address of its own, on the ports of its listeners.
    Address(IpAddr),
    /// At the address of the program, on ports that stand for those of its listeners. Listeners
    /// whose port is missing have no socket yet.
    Ports(BTreeMap<(u16, Transport), u16>),
}

/// The transport protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP, HTTPS, TLS and TCP listeners.
    Tcp,
    /// UDP listeners.
    Udp,
}

/// One step from a snapshot to the next.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "changes are consumed one by one, never stored")]
pub enum Change {
    /// A resource is new or differs from before.
    Upsert(Resource),
    /// A resource is gone.
    Remove(ObjectKey),
    /// The program found out something.
    Observed(Observed),
}

impl<T: Into<Resource>> From<T> for Change {
    fn from(resource: T) -> Self {
        Self::Upsert(resource.into())
    }
}

macro_rules! snapshot {
    ($($variant:ident, $all:ident, $one:ident, $meaning:ident: $doc:literal;)+) => {
        /// All resources by kind, namespace and name, beside what was [`Observed`].
        ///
        /// ```
        /// use gateway_core::{api::Gateway, snapshot::Snapshot};
        /// let snapshot = Snapshot::from_iter([Gateway::new("infra", "public").into()]);
        /// assert!(snapshot.gateway("infra", "public").is_some());
        /// ```
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            /// What the program found out.
            pub observed: Observed,
            $($all: BTreeMap<ObjectKey, Arc<api::$variant>>,)+
        }

        impl Snapshot {
            $(
                #[doc = concat!("All ", $doc, " in the order of their keys.")]
                #[must_use]
                pub fn $all(&self) -> &BTreeMap<ObjectKey, Arc<api::$variant>> {
                    &self.$all
                }

                #[doc = concat!("One of the ", $doc, " by namespace (empty if cluster-scoped) and name.")]
                #[must_use]
                pub fn $one(&self, namespace: &str, name: &str) -> Option<&Arc<api::$variant>> {
                    self.$all.get(&ObjectKey::new(Kind::$variant, namespace, name))
                }
            )+

            /// Puts a resource in the place of the one with the same key. Says whether anything
            /// changed.
            ///
            /// An object of a namespaced kind without namespace is put into `default`.
            pub fn insert(&mut self, mut resource: Resource) -> bool {
                let key = placed_key(&mut resource);
                match resource {
                    $(Resource::$variant(object) => replace(&mut self.$all, key, object),)+
                }
            }

            /// Removes a resource. Says whether it was there.
            pub fn remove(&mut self, key: &ObjectKey) -> bool {
                match key.kind {
                    $(Kind::$variant => self.$all.remove(key).is_some(),)+
                }
            }

            /// Whether a resource says the same as the one that has its key here: status and
            /// bookkeeping of the API server apart, nothing differs.
            pub(crate) fn says(&self, resource: &Resource) -> bool {
                match resource {
                    $(Resource::$variant(new) => self
                        .$all
                        .get(&resource.key())
                        .is_some_and(|old| snapshot!(@$meaning old, new)),)+
                }
            }

            /// The resources of these keys, shared with this snapshot. What is not here is left out.
            #[must_use]
            pub fn subset<'a>(&self, keys: impl IntoIterator<Item = &'a ObjectKey>) -> Self {
                let mut subset = Self::default();
                for key in keys {
                    match key.kind {
                        $(Kind::$variant => {
                            if let Some((key, object)) = self.$all.get_key_value(key) {
                                subset.$all.insert(key.clone(), Arc::clone(object));
                            }
                        })+
                    }
                }
                subset
            }

            /// The changes that make `before` say what this snapshot says. What is observed, status
            /// and bookkeeping of the API server are left out.
            #[must_use]
            pub fn changes_since(&self, before: &Self) -> Vec<Change> {
                let mut changes = Vec::new();
                $(
                    let gone = before.$all.keys().filter(|key| !self.$all.contains_key(*key));
                    changes.extend(gone.cloned().map(Change::Remove));
                    for (key, new) in &self.$all {
                        let object = &**new;
                        let same = before.$all.get(key).is_some_and(|old| {
                            Arc::ptr_eq(old, new) || snapshot!(@$meaning old, object)
                        });
                        if !same {
                            changes.push(Change::Upsert(Resource::$variant(object.clone())));
                        }
                    }
                )+
                changes
            }

            /// The metadata of a resource.
            #[must_use]
            pub fn metadata(&self, key: &ObjectKey) -> Option<&ObjectMeta> {
                match key.kind {
                    $(Kind::$variant => self.$all.get(key).map(|object| &object.metadata),)+
                }
            }

            /// How many resources there are.
            #[must_use]
            pub fn len(&self) -> usize {
                0 $(+ self.$all.len())+
            }
        }
    };
    (@spec $old:ident, $new:ident) => {
        $old.spec == $new.spec && same_metadata(&$old.metadata, &$new.metadata)
    };
    (@whole $old:ident, $new:ident) => {
        **$old == *$new
    };
}

snapshot! {
    GatewayClass, gateway_classes, gateway_class, spec: "GatewayClasses";
    Gateway, gateways, gateway, spec: "Gateways";
    ListenerSet, listener_sets, listener_set, spec: "ListenerSets";
    HttpRoute, http_routes, http_route, spec: "HTTPRoutes";
    GrpcRoute, grpc_routes, grpc_route, spec: "GRPCRoutes";
    TlsRoute, tls_routes, tls_route, spec: "TLSRoutes";
    TcpRoute, tcp_routes, tcp_route, spec: "TCPRoutes";
    UdpRoute, udp_routes, udp_route, spec: "UDPRoutes";
    ReferenceGrant, reference_grants, reference_grant, spec: "ReferenceGrants";
    BackendTlsPolicy, backend_tls_policies, backend_tls_policy, spec: "BackendTLSPolicies";
    XBackendTrafficPolicy, backend_traffic_policies, backend_traffic_policy, spec: "XBackendTrafficPolicies";
    XBackend, backends, backend, spec: "XBackends";
    XMesh, meshes, mesh, spec: "XMeshes";
    Namespace, namespaces, namespace, whole: "Namespaces";
    Service, services, service, spec: "Services";
    EndpointSlice, endpoint_slices, endpoint_slice, whole: "EndpointSlices";
    Secret, secrets, secret, whole: "Secrets";
    ConfigMap, config_maps, config_map, whole: "ConfigMaps";
}

impl Snapshot {
    /// Whether there is no resource at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one step. Says whether anything changed.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(resource) => self.insert(resource),
            Change::Remove(key) => self.remove(&key),
            Change::Observed(observed) => {
                let changed = self.observed != observed;
                self.observed = observed;
                changed
            }
        }
    }
}

impl FromIterator<Resource> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut snapshot = Self::default();
        snapshot.extend(resources);
        snapshot
    }
}

impl Extend<Resource> for Snapshot {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        for resource in resources {
            self.insert(resource);
        }
    }
}

/// Puts an object of a namespaced kind without namespace into `default`, and gives its key.
pub(crate) fn placed_key(resource: &mut Resource) -> ObjectKey {
    let kind = resource.kind();
    let metadata = resource.metadata_mut();
    if kind.is_namespaced() && metadata.namespace.is_empty() {
        DEFAULT_NAMESPACE.clone_into(&mut metadata.namespace);
    }
    resource.key()
}

fn same_metadata(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    // Others write annotations all the time; only ours can matter.
    let ours = |meta: &ObjectMeta| {
        let ours = meta.annotations.iter().filter(|(key, _)| key.starts_with(OWN_PREFIX));
        ours.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    old.generation == new.generation
        && old.creation_timestamp == new.creation_timestamp
        && old.labels == new.labels
        && ours(old) == ours(new)
}

fn replace<T: PartialEq>(
    objects: &mut BTreeMap<ObjectKey, Arc<T>>,
    key: ObjectKey,
    object: T,
) -> bool {
    match objects.get_mut(&key) {
        Some(old) if **old == object => false,
        Some(old) => {
            *old = Arc::new(object);
            true
        }
        None => {
            objects.insert(key, Arc::new(object));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Snapshot};
    use crate::api::{Gateway, GatewayStatus, Kind, ObjectKey, Resource};

    #[test]
    fn only_a_difference_is_a_change() {
        let gateway = |class| Resource::from(Gateway::new("", "gw").class(class));
        let mut snapshot = Snapshot::default();
        assert!(snapshot.insert(gateway("a")));
        assert!(!snapshot.insert(gateway("a")));
        assert!(snapshot.insert(gateway("b")));
        assert!(snapshot.gateway("default", "gw").is_some());
        let key = ObjectKey::new(Kind::Gateway, "default", "gw");
        assert!(snapshot.remove(&key) && !snapshot.remove(&key));
        assert!(snapshot.is_empty());
    }

    #[test]
    fn changes_lead_from_one_snapshot_to_the_other() {
        let gateway = |name, class| Resource::from(Gateway::new("", name).class(class));
        let before = Snapshot::from_iter([gateway("a", "x"), gateway("b", "x"), gateway("c", "x")]);
        let keys = ["b", "c", "x"].map(|name| ObjectKey::new(Kind::Gateway, "default", name));
        let mut after = before.subset(&keys);
        after.insert(gateway("b", "y"));
        after.insert(gateway("d", "y"));
        let changes = after.changes_since(&before);
        let said = |change: &Change| match change {
            Change::Upsert(resource) => format!("+{}", resource.key().name),
            Change::Remove(key) => format!("-{}", key.name),
            Change::Observed(_) => "observed".to_owned(),
        };
        assert_eq!(changes.iter().map(said).collect::<Vec<_>>(), ["-a", "+b", "+d"]);
        let mut reached = before;
        changes.into_iter().for_each(|change| assert!(reached.apply(change)));
        assert!(after.changes_since(&reached).is_empty());
        assert_eq!(reached.len(), after.len());
    }

    #[test]
    fn a_status_is_no_change() {
        let before = Snapshot::from_iter([Gateway::new("", "gw").into()]);
        let mut gateway = Gateway::new("", "gw");
        gateway.status = Some(GatewayStatus::default());
        gateway.metadata.resource_version = Some("2".to_owned());
        assert!(Snapshot::from_iter([gateway.into()]).changes_since(&before).is_empty());
    }
}
