//! Which Secrets and ConfigMaps the Gateway API objects name.
//!
//! In: a snapshot. Out: their keys; nothing else of these kinds is ever asked for. Not here: whether
//! a reference is allowed (`gateway-core` judges that) or its target exists.

mod backend;

use std::collections::BTreeSet;

use gateway_core::{
    api::{
        CORE_GROUP, GATEWAY_GROUP, Gateway, GatewayClass, Kind, Listener, ListenerSet, ObjectKey,
        ParentReference, Resource, SecretObjectReference, is_dns_label, is_dns_subdomain,
    },
    scope::{ControllerScope, Ownership},
    snapshot::{Change, Snapshot},
};

use backend::Backends;

/// The Secrets and ConfigMaps that objects of ours name, those that are yet to be applied included.
pub(crate) fn references<'a>(
    snapshot: &'a Snapshot,
    changes: &'a [Change],
    scope: &ControllerScope,
) -> BTreeSet<ObjectKey> {
    let mut all = Referring::<'a>::default();
    all.classes.extend(snapshot.gateway_classes().values().map(|class| &**class));
    all.gateways.extend(snapshot.gateways().values().map(|gateway| &**gateway));
    all.sets.extend(snapshot.listener_sets().values().map(|set| &**set));
    snapshot.backend_tls_policies().values().for_each(|policy| all.backends.policy(policy));
    snapshot.backends().values().for_each(|backend| all.backends.backend(backend));
    for change in changes {
        match change {
            Change::Upsert(Resource::GatewayClass(class)) => all.classes.push(class),
            Change::Upsert(Resource::Gateway(gateway)) => all.gateways.push(gateway),
            Change::Upsert(Resource::ListenerSet(set)) => all.sets.push(set),
            Change::Upsert(Resource::BackendTlsPolicy(policy)) => all.backends.policy(policy),
            Change::Upsert(Resource::XBackend(backend)) => all.backends.backend(backend),
            _ => {}
        }
    }
    let (ours, mut found) = all.references(scope);
    all.backends.named(snapshot, changes, &ours, &mut found);
    found
}

/// Whether a Gateway is of a class of ours.
pub(crate) fn is_ours(gateway: &Gateway, snapshot: &Snapshot, scope: &ControllerScope) -> bool {
    let class = snapshot.gateway_class("", &gateway.spec.gateway_class_name);
    scope.ownership == Ownership::All
        || class.is_some_and(|class| scope.owns_class(&class.spec.controller_name))
}

/// The objects that may name others.
#[derive(Default)]
struct Referring<'a> {
    classes: Vec<&'a GatewayClass>,
    gateways: Vec<&'a Gateway>,
    sets: Vec<&'a ListenerSet>,
    backends: Backends<'a>,
}

/// What routes of ours are attached to, by namespace and name.
#[derive(Default)]
struct Ours<'a> {
    gateways: BTreeSet<(&'a str, &'a str)>,
    sets: BTreeSet<(&'a str, &'a str)>,
}

impl Ours<'_> {
    /// Whether a route of this namespace with this parent may be attached to something of ours.
    fn has(&self, parent: &ParentReference, namespace: &str) -> bool {
        let place = (parent.namespace(namespace), &*parent.name);
        parent.group() == GATEWAY_GROUP
            && match Kind::find(GATEWAY_GROUP, parent.kind()) {
                Some(Kind::Gateway) => self.gateways.contains(&place),
                Some(Kind::ListenerSet) => self.sets.contains(&place),
                _ => false,
            }
    }
}

impl<'a> Referring<'a> {
    /// What is ours, and what it names.
    fn references(&self, scope: &ControllerScope) -> (Ours<'a>, BTreeSet<ObjectKey>) {
        let mut found = BTreeSet::new();
        let of_ours = |class: &&&GatewayClass| scope.owns_class(&class.spec.controller_name);
        let classes: Vec<_> = self.classes.iter().filter(of_ours).collect();
        for reference in classes.iter().filter_map(|class| class.spec.parameters_ref.as_ref()) {
            let namespace = reference.namespace.as_deref().unwrap_or_default();
            of_config_map(
                reference.group(),
                &reference.kind,
                namespace,
                &reference.name,
                &mut found,
            );
        }
        let classes: BTreeSet<&str> = classes.iter().map(|class| &*class.metadata.name).collect();
        let is_ours = |gateway: &&&Gateway| {
            scope.ownership == Ownership::All || classes.contains(&*gateway.spec.gateway_class_name)
        };
        let mut ours = Ours::default();
        for &gateway in self.gateways.iter().filter(is_ours) {
            let metadata = &gateway.metadata;
            ours.gateways.insert((&*metadata.namespace, &*metadata.name));
            of_gateway(gateway, &metadata.namespace, &mut found);
        }
        for &set in &self.sets {
            let (parent, namespace) = (&set.spec.parent_ref, &*set.metadata.namespace);
            let parent = (parent.namespace.as_deref().unwrap_or(namespace), &*parent.name);
            if ours.gateways.contains(&parent) {
                ours.sets.insert((namespace, &*set.metadata.name));
                of_listeners(&set.spec.listeners, namespace, &mut found);
            }
        }
        (ours, found)
    }
}

fn of_gateway(gateway: &Gateway, namespace: &str, found: &mut BTreeSet<ObjectKey>) {
    of_listeners(&gateway.spec.listeners, namespace, found);
    let infrastructure = gateway.spec.infrastructure.as_ref();
    if let Some(reference) = infrastructure.and_then(|of| of.parameters_ref.as_ref()) {
        of_config_map(reference.group(), &reference.kind, namespace, &reference.name, found);
    }
    let Some(tls) = &gateway.spec.tls else { return };
    let backend = tls.backend.as_ref();
    if let Some(reference) = backend.and_then(|tls| tls.client_certificate_ref.as_ref()) {
        of_secret(reference, namespace, found);
    }
    let Some(frontend) = &tls.frontend else { return };
    let per_port = frontend.per_port.iter().filter_map(|port| port.tls.as_ref());
    let validations =
        frontend.default.iter().chain(per_port).filter_map(|tls| tls.validation.as_ref());
    for reference in validations.flat_map(|validation| &validation.ca_certificate_refs) {
        let namespace = reference.namespace(namespace);
        of_config_map(reference.group(), &reference.kind, namespace, &reference.name, found);
    }
}

fn of_listeners(listeners: &[Listener], namespace: &str, found: &mut BTreeSet<ObjectKey>) {
    let certificates = listeners.iter().filter_map(|listener| listener.tls.as_ref());
    for reference in certificates.flat_map(|tls| &tls.certificate_refs) {
        of_secret(reference, namespace, found);
    }
}

fn of_secret(reference: &SecretObjectReference, namespace: &str, found: &mut BTreeSet<ObjectKey>) {
    if (reference.group(), reference.kind()) == (CORE_GROUP, Kind::Secret.as_str()) {
        of_object(Kind::Secret, reference.namespace(namespace), &reference.name, found);
    }
}

/// Parameters and authorities are no secrets: a Secret that is named as one is not read.
fn of_config_map(
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    found: &mut BTreeSet<ObjectKey>,
) {
    if (group, kind) == (CORE_GROUP, Kind::ConfigMap.as_str()) {
        of_object(Kind::ConfigMap, namespace, name, found);
    }
}

fn of_object(kind: Kind, namespace: &str, name: &str, found: &mut BTreeSet<ObjectKey>) {
    // Names that no object can have would be rejected, again and again.
    if is_dns_label(namespace) && is_dns_subdomain(name) {
        found.insert(ObjectKey::new(kind, namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{
        api::{Kind, Resource},
        scope::ControllerScope,
        snapshot::{Change, Snapshot},
    };
    use serde_json::{Value, json};

    use super::references;

    fn resource(kind: Kind, value: Value) -> Resource {
        Resource::deserialize(kind, value).expect("the object can be read")
    }

    fn gateway(class: &str, name: &str) -> Resource {
        resource(
            Kind::Gateway,
            json!({
                "metadata": {"namespace": "infra", "name": name},
                "spec": {
                    "gatewayClassName": class,
                    "listeners": [{
                        "name": "https", "port": 443, "protocol": "HTTPS",
                        "tls": {"certificateRefs": [
                            {"name": format!("{name}-cert")},
                            {"name": "other-cert", "namespace": "other"},
                            {"name": "Not A Name"},
                            {"kind": "ConfigMap", "name": "no-cert"},
                            {"kind": "Vault", "group": "example.net", "name": "x"},
                        ]},
                    }],
                    "infrastructure": {
                        "parametersRef": {"kind": "ConfigMap", "name": format!("{name}-parameters")},
                    },
                    "tls": {
                        "backend": {"clientCertificateRef": {"name": format!("{name}-client")}},
                        "frontend": {"default": {"validation": {"caCertificateRefs": [
                            {"group": "", "kind": "ConfigMap", "name": format!("{name}-ca")},
                            {"group": "", "kind": "Secret", "name": "no-ca"},
                        ]}}},
                    },
                },
            }),
        )
    }

    fn policy(name: &str, service: &str) -> Resource {
        resource(
            Kind::BackendTlsPolicy,
            json!({
                "metadata": {"namespace": "app", "name": name},
                "spec": {
                    "targetRefs": [{"group": "", "kind": "Service", "name": service}],
                    "validation": {"caCertificateRefs": [
                        {"group": "", "kind": "ConfigMap", "name": format!("{name}-ca")},
                        {"group": "", "kind": "Secret", "name": "no-ca"},
                    ]},
                },
            }),
        )
    }

    fn backend(name: &str, mode: &str) -> Resource {
        resource(
            Kind::XBackend,
            json!({
                "metadata": {"namespace": "app", "name": name},
                "spec": {"tls": {
                    "mode": mode,
                    "clientCertificateRef": {"name": format!("{name}-client")},
                    "validation": {"caCertificateRefs": [
                        {"group": "", "kind": "ConfigMap", "name": format!("{name}-ca")},
                    ]},
                }},
            }),
        )
    }

    fn route(name: &str, backend: &str, parents: &Value) -> Resource {
        let backend =
            json!({"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": backend});
        resource(
            Kind::HttpRoute,
            json!({
                "metadata": {"namespace": "app", "name": name},
                "spec": {"parentRefs": parents, "rules": [{"backendRefs": [backend]}]},
            }),
        )
    }

    #[test]
    fn only_what_objects_of_ours_name_is_asked_for() {
        let resources = [
            resource(
                Kind::GatewayClass,
                json!({"metadata": {"name": "ours"}, "spec": {
                    "controllerName": "example.net/us",
                    "parametersRef": {"kind": "ConfigMap", "namespace": "infra", "name": "class"},
                }}),
            ),
            resource(
                Kind::GatewayClass,
                json!({"metadata": {"name": "theirs"}, "spec": {"controllerName": "example.net/them"}}),
            ),
            gateway("ours", "gw"),
            gateway("theirs", "foreign"),
            resource(
                Kind::ListenerSet,
                json!({
                    "metadata": {"namespace": "team", "name": "set"},
                    "spec": {
                        "parentRef": {"namespace": "infra", "name": "gw"},
                        "listeners": [{"name": "l", "port": 443, "protocol": "HTTPS",
                            "tls": {"certificateRefs": [{"name": "set-cert"}]}}],
                    },
                }),
            ),
            policy("policy", "app"),
            policy("lonely", "nobody"),
            backend("outside", "ClientAndServer"),
            backend("checked", "ServerOnly"),
            backend("plain", "None"),
            backend("lonely", "ClientAndServer"),
            backend("foreign", "ClientAndServer"),
            backend("second", "ServerOnly"),
            // Neither a Gateway of others nor a ListenerSet that does not exist is ours.
            route(
                "strange",
                "foreign",
                &json!([
                    {"namespace": "infra", "name": "foreign"},
                    {"namespace": "infra", "name": "gw", "kind": "Service", "group": ""},
                    {"namespace": "infra", "name": "gw", "kind": "ListenerSet"},
                ]),
            ),
            route(
                "of-set",
                "second",
                &json!([
                    {"namespace": "team", "name": "set", "kind": "ListenerSet"},
                ]),
            ),
            resource(
                Kind::HttpRoute,
                json!({
                    "metadata": {"namespace": "app", "name": "route"},
                    "spec": {"parentRefs": [{"namespace": "infra", "name": "gw"}], "rules": [{
                        "backendRefs": [
                            {"name": "app", "port": 443},
                            {"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "plain"},
                            {"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "outside"},
                        ],
                        "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef":
                            {"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "checked"}}}],
                    }]},
                }),
            ),
        ];
        let scope = ControllerScope::of_class("example.net/us");
        let expect = [
            "Secret app/outside-client",
            "Secret infra/gw-cert",
            "Secret infra/gw-client",
            "Secret other/other-cert",
            "Secret team/set-cert",
            "ConfigMap app/checked-ca",
            "ConfigMap app/outside-ca",
            "ConfigMap app/policy-ca",
            "ConfigMap app/second-ca",
            "ConfigMap infra/class",
            "ConfigMap infra/gw-ca",
            "ConfigMap infra/gw-parameters",
        ];
        // Whatever part of them is applied already.
        for applied in 0..=resources.len() {
            let snapshot = Snapshot::from_iter(resources[..applied].iter().cloned());
            let changes: Vec<Change> =
                resources[applied..].iter().cloned().map(Change::Upsert).collect();
            let found = references(&snapshot, &changes, &scope);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
        }
    }
}
