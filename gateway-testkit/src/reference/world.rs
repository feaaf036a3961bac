//! The resources by kind, and the questions that several rules ask of them.

use gateway_core::api::{
    FromNamespaces, GATEWAY_GROUP, Gateway, GatewayClass, GrpcRoute, HttpRoute, LabelSelector,
    LabelSelectorOperator, ListenerSet, Namespace, ReferenceGrant, Resource, Secret, Service,
    TcpRoute, TlsRoute, UdpRoute,
};

use super::CONTROLLER;

#[derive(Debug)]
pub(super) struct World {
    resources: Vec<Resource>,
}

macro_rules! by_kind {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        impl World {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = &$kind> {
                self.resources.iter().filter_map(|resource| match resource {
                    Resource::$kind(object) => Some(object),
                    _ => None,
                })
            })+
        }
    };
}

by_kind! {
    gateway_classes: GatewayClass,
    gateways: Gateway,
    listener_sets: ListenerSet,
    http_routes: HttpRoute,
    grpc_routes: GrpcRoute,
    tls_routes: TlsRoute,
    tcp_routes: TcpRoute,
    udp_routes: UdpRoute,
    grants: ReferenceGrant,
    namespaces: Namespace,
    services: Service,
    secrets: Secret,
}

/// A reference that may need a grant.
pub(super) struct Reach<'a> {
    pub(super) from_kind: &'a str,
    pub(super) from_namespace: &'a str,
    pub(super) to_group: &'a str,
    pub(super) to_kind: &'a str,
    pub(super) to_namespace: &'a str,
    pub(super) to_name: &'a str,
}

impl World {
    pub(super) fn new(resources: &[Resource]) -> Self {
        Self { resources: resources.to_vec() }
    }

    /// The Gateways whose class is ours, the oldest first.
    pub(super) fn our_gateways(&self) -> Vec<&Gateway> {
        let ours = |name: &str| {
            let mut classes = self.gateway_classes().filter(|class| class.metadata.name == name);
            classes.any(|class| class.spec.controller_name == CONTROLLER)
        };
        let mut gateways: Vec<_> =
            self.gateways().filter(|gateway| ours(&gateway.spec.gateway_class_name)).collect();
        gateways.sort_by(|a, b| a.metadata.seniority_cmp(&b.metadata));
        gateways
    }

    // SPEC: ReferenceGrant: it lies in the namespace of the target; group, kind and namespace of
    // the referrer and group, kind and perhaps name of the target must be listed.
    pub(super) fn permits(&self, reach: &Reach<'_>) -> bool {
        reach.from_namespace == reach.to_namespace
            || self.grants().filter(|grant| grant.metadata.namespace == reach.to_namespace).any(
                |grant| {
                    grant.spec.from.iter().any(|from| {
                        from.group() == GATEWAY_GROUP
                            && from.kind == reach.from_kind
                            && from.namespace == reach.from_namespace
                    }) && grant.spec.to.iter().any(|to| {
                        to.group() == reach.to_group
                            && to.kind == reach.to_kind
                            && to.name.as_deref().is_none_or(|name| name == reach.to_name)
                    })
                },
            )
    }

    /// Whether objects of `namespace` may attach where `home` is the owner's namespace.
    pub(super) fn allows(
        &self,
        from: &FromNamespaces,
        selector: Option<&LabelSelector>,
        home: &str,
        namespace: &str,
    ) -> bool {
        match from {
            FromNamespaces::All => true,
            FromNamespaces::Same => home == namespace,
            FromNamespaces::Selector => {
                selector.is_some_and(|selector| self.selects(selector, namespace))
            }
            _ => false,
        }
    }

    fn selects(&self, selector: &LabelSelector, namespace: &str) -> bool {
        let label = |key: &str| {
            let mut found = self.namespaces().filter(|it| it.metadata.name == namespace);
            let written =
                found.next().and_then(|it| it.metadata.labels.get(key)).map(String::as_str);
            // SPEC: Kubernetes sets this label on every namespace by itself.
            if key == "kubernetes.io/metadata.name" { Some(namespace) } else { written }
        };
        let labels = selector.match_labels.iter().all(|(key, value)| label(key) == Some(value));
        labels
            && selector.match_expressions.iter().all(|required| {
                let value = label(&required.key);
                let listed = value.is_some_and(|value| required.values.iter().any(|v| v == value));
                match required.operator {
                    LabelSelectorOperator::In => listed,
                    LabelSelectorOperator::NotIn => !listed,
                    LabelSelectorOperator::Exists => value.is_some(),
                    LabelSelectorOperator::DoesNotExist => value.is_none(),
                    LabelSelectorOperator::Unknown(_) => false,
                }
            })
    }
}
