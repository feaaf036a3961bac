//! What the TLS of backends names.
//!
//! In: routes, BackendTLSPolicies and XBackends. Out: the ConfigMaps and Secrets that those of them
//! name which a route leads to that names something of ours as parent. Who can write a policy or an
//! XBackend, but no such route, gets nothing read. Not here: whether the route is accepted or the
//! reference allowed.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::{
    api::{
        BackendObjectReference, BackendTlsPolicy, BackendTlsPolicyValidation, CORE_GROUP,
        EXPERIMENTAL_GROUP, GrpcRouteFilter, GrpcRouteRule, HttpRouteFilter, HttpRouteRule, Kind,
        L4RouteRule, ObjectKey, Resource, XBackend, XBackendTlsMode,
    },
    snapshot::{Change, Snapshot},
};

use super::{Ours, of_config_map, of_secret};

/// A backend: kind, namespace and name.
type Place<'a> = (Kind, &'a str, &'a str);

/// Backends whose TLS names something, each with what it names.
#[derive(Default)]
pub(super) struct Backends<'a> {
    naming: BTreeMap<Place<'a>, BTreeSet<ObjectKey>>,
}

impl<'a> Backends<'a> {
    pub(super) fn policy(&mut self, policy: &'a BackendTlsPolicy) {
        let namespace = &*policy.metadata.namespace;
        let mut found = BTreeSet::new();
        of_validation(&policy.spec.validation, namespace, &mut found);
        if found.is_empty() {
            return;
        }
        for target in &policy.spec.target_refs {
            if (target.group(), &*target.kind) == (CORE_GROUP, Kind::Service.as_str()) {
                let place = (Kind::Service, namespace, &*target.name);
                self.naming.entry(place).or_default().extend(found.iter().cloned());
            }
        }
    }

    pub(super) fn backend(&mut self, backend: &'a XBackend) {
        let Some(tls) = &backend.spec.tls else { return };
        let (namespace, name) = (&*backend.metadata.namespace, &*backend.metadata.name);
        let mut found = BTreeSet::new();
        if tls.mode != XBackendTlsMode::None
            && let Some(validation) = &tls.validation
        {
            of_validation(validation, namespace, &mut found);
        }
        if tls.mode == XBackendTlsMode::ClientAndServer
            && let Some(reference) = &tls.client_certificate_ref
        {
            of_secret(reference, namespace, &mut found);
        }
        if !found.is_empty() {
            self.naming.entry((Kind::XBackend, namespace, name)).or_default().extend(found);
        }
    }

    /// What those of them name that a route to something of ours leads to. Routes are looked at only if there is one.
    pub(super) fn named(
        mut self,
        snapshot: &'a Snapshot,
        changes: &'a [Change],
        ours: &Ours<'_>,
        found: &mut BTreeSet<ObjectKey>,
    ) {
        if self.naming.is_empty() {
            return;
        }
        let mut lead_to = |reference: &'a BackendObjectReference, namespace: &'a str| {
            if let Some(named) = place(reference, namespace).and_then(|at| self.naming.remove(&at))
            {
                found.extend(named);
            }
        };
        visit(snapshot, changes, ours, &mut lead_to);
    }
}

fn of_validation(
    validation: &BackendTlsPolicyValidation,
    namespace: &str,
    found: &mut BTreeSet<ObjectKey>,
) {
    for reference in &validation.ca_certificate_refs {
        of_config_map(reference.group(), &reference.kind, namespace, &reference.name, found);
    }
}

fn place<'r>(reference: &'r BackendObjectReference, namespace: &'r str) -> Option<Place<'r>> {
    let kind = match reference.group() {
        _ if reference.is_service() => Kind::Service,
        EXPERIMENTAL_GROUP if reference.kind() == Kind::XBackend.as_str() => Kind::XBackend,
        _ => return None,
    };
    Some((kind, reference.namespace(namespace), &reference.name))
}

/// Sees each backend that a route names, with the namespace of the route.
type See<'f, 'a> = dyn FnMut(&'a BackendObjectReference, &'a str) + 'f;

fn visit<'a>(
    snapshot: &'a Snapshot,
    changes: &'a [Change],
    ours: &Ours<'_>,
    see: &mut See<'_, 'a>,
) {
    macro_rules! one {
        ($route:ident, $rules:ident) => {
            let namespace = &*$route.metadata.namespace;
            if $route.spec.parent_refs.iter().any(|parent| ours.has(parent, namespace)) {
                $rules(&$route.spec.rules, namespace, see);
            }
        };
    }
    macro_rules! each {
        ($($all:ident, $variant:ident, $rules:ident);+ $(;)?) => {
            $(for route in snapshot.$all().values() {
                one! { route, $rules }
            })+
            for change in changes {
                match change {
                    $(Change::Upsert(Resource::$variant(route)) => {
                        one! { route, $rules }
                    })+
                    _ => {}
                }
            }
        };
    }
    each! {
        http_routes, HttpRoute, of_http;
        grpc_routes, GrpcRoute, of_grpc;
        tls_routes, TlsRoute, of_l4;
        tcp_routes, TcpRoute, of_l4;
        udp_routes, UdpRoute, of_l4;
    }
}

fn of_http<'a>(rules: &'a [HttpRouteRule], namespace: &'a str, see: &mut See<'_, 'a>) {
    let of_filters = |filters: &'a [HttpRouteFilter], see: &mut See<'_, 'a>| {
        for filter in filters {
            filter.request_mirror.iter().for_each(|to| see(&to.backend_ref, namespace));
            filter.external_auth.iter().for_each(|to| see(&to.backend_ref, namespace));
        }
    };
    for rule in rules {
        of_filters(&rule.filters, see);
        for backend in &rule.backend_refs {
            see(&backend.reference, namespace);
            of_filters(&backend.filters, see);
        }
    }
}

fn of_grpc<'a>(rules: &'a [GrpcRouteRule], namespace: &'a str, see: &mut See<'_, 'a>) {
    let of_filters = |filters: &'a [GrpcRouteFilter], see: &mut See<'_, 'a>| {
        let mirrors = filters.iter().filter_map(|filter| filter.request_mirror.as_ref());
        mirrors.for_each(|to| see(&to.backend_ref, namespace));
    };
    for rule in rules {
        of_filters(&rule.filters, see);
        for backend in &rule.backend_refs {
            see(&backend.reference, namespace);
            of_filters(&backend.filters, see);
        }
    }
}

fn of_l4<'a>(rules: &'a [L4RouteRule], namespace: &'a str, see: &mut See<'_, 'a>) {
    for backend in rules.iter().flat_map(|rule| &rule.backend_refs) {
        see(&backend.reference, namespace);
    }
}
