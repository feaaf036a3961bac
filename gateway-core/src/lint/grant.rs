//! ReferenceGrants that nobody makes use of.
//!
//! In: all references that leave their namespace. Out: a finding for each grant that permits none.
//! Not here: references without a grant, which `resolve` reports.

use crate::{
    api::{
        BackendObjectReference, Gateway, GrpcRouteFilter, HttpRouteFilter, Kind, Listener,
        ObjectKey, ReferenceGrant, SecretObjectReference,
    },
    diagnostic::{Code, Diagnostic},
    resolve::{Referent, Referrer, grant_permits},
    snapshot::Snapshot,
};

pub(super) fn unused(snapshot: &Snapshot) -> Vec<Diagnostic> {
    if snapshot.reference_grants().is_empty() {
        return Vec::new();
    }
    let references = references(snapshot);
    let idle = snapshot.reference_grants().iter().filter(|(key, grant)| {
        let permits = |(from, to): &(Referrer<'_>, Referent<'_>)| {
            *to.namespace == *key.namespace && grant_permits(grant, *from, *to)
        };
        is_ours(grant) && !references.iter().any(permits)
    });
    let finding = |(key, _): (&ObjectKey, _)| {
        Diagnostic::note(Code::GrantUnused, "nothing refers to what the grant permits")
            .object(key.clone())
            .help("remove it, or see whether namespaces, kinds and names are those that are meant")
    };
    idle.map(finding).collect()
}

/// Whether only kinds that are read here may refer; other grants may serve other programs.
fn is_ours(grant: &ReferenceGrant) -> bool {
    grant.spec.from.iter().all(|from| Kind::find(from.group(), &from.kind).is_some())
}

/// All references that leave their namespace.
fn references(snapshot: &Snapshot) -> Vec<(Referrer<'_>, Referent<'_>)> {
    let mut found = References::default();
    for (key, route) in snapshot.http_routes() {
        for rule in &route.spec.rules {
            rule.filters.iter().for_each(|filter| found.http_filter(key, filter));
            for backend in &rule.backend_refs {
                found.backend(key, &backend.reference);
                backend.filters.iter().for_each(|filter| found.http_filter(key, filter));
            }
        }
    }
    for (key, route) in snapshot.grpc_routes() {
        for rule in &route.spec.rules {
            rule.filters.iter().for_each(|filter| found.grpc_filter(key, filter));
            for backend in &rule.backend_refs {
                found.backend(key, &backend.reference);
                backend.filters.iter().for_each(|filter| found.grpc_filter(key, filter));
            }
        }
    }
    let tls = snapshot.tls_routes().iter().map(|(key, route)| (key, &route.spec.rules));
    let tcp = snapshot.tcp_routes().iter().map(|(key, route)| (key, &route.spec.rules));
    let udp = snapshot.udp_routes().iter().map(|(key, route)| (key, &route.spec.rules));
    for (key, rules) in tls.chain(tcp).chain(udp) {
        let backends = rules.iter().flat_map(|rule| &rule.backend_refs);
        backends.for_each(|backend| found.backend(key, &backend.reference));
    }
    for (key, gateway) in snapshot.gateways() {
        found.gateway(key, gateway);
    }
    for (key, set) in snapshot.listener_sets() {
        found.listeners(key, &set.spec.listeners);
    }
    found.0
}

#[derive(Default)]
struct References<'s>(Vec<(Referrer<'s>, Referent<'s>)>);

impl<'s> References<'s> {
    fn push(&mut self, from: &'s ObjectKey, to: Referent<'s>) {
        if *from.namespace != *to.namespace {
            self.0.push((Referrer::of(from), to));
        }
    }

    fn backend(&mut self, from: &'s ObjectKey, to: &'s BackendObjectReference) {
        let namespace = to.namespace(&from.namespace);
        self.push(from, Referent { group: to.group(), kind: to.kind(), namespace, name: &to.name });
    }

    fn secret(&mut self, from: &'s ObjectKey, to: &'s SecretObjectReference) {
        let namespace = to.namespace(&from.namespace);
        self.push(from, Referent { group: to.group(), kind: to.kind(), namespace, name: &to.name });
    }

    fn http_filter(&mut self, from: &'s ObjectKey, filter: &'s HttpRouteFilter) {
        let mirror = filter.request_mirror.iter().map(|mirror| &mirror.backend_ref);
        let auth = filter.external_auth.iter().map(|auth| &auth.backend_ref);
        mirror.chain(auth).for_each(|backend| self.backend(from, backend));
    }

    fn grpc_filter(&mut self, from: &'s ObjectKey, filter: &'s GrpcRouteFilter) {
        if let Some(mirror) = &filter.request_mirror {
            self.backend(from, &mirror.backend_ref);
        }
    }

    fn listeners(&mut self, from: &'s ObjectKey, listeners: &'s [Listener]) {
        let tls = listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let secrets = tls.flat_map(|tls| &tls.certificate_refs);
        secrets.for_each(|secret| self.secret(from, secret));
    }

    fn gateway(&mut self, key: &'s ObjectKey, gateway: &'s Gateway) {
        self.listeners(key, &gateway.spec.listeners);
        let Some(tls) = &gateway.spec.tls else { return };
        let backend = tls.backend.as_ref().and_then(|tls| tls.client_certificate_ref.as_ref());
        backend.into_iter().for_each(|secret| self.secret(key, secret));
        let Some(frontend) = &tls.frontend else { return };
        let per_port = frontend.per_port.iter().filter_map(|port| port.tls.as_ref());
        let validations =
            frontend.default.iter().chain(per_port).filter_map(|tls| tls.validation.as_ref());
        for to in validations.flat_map(|validation| &validation.ca_certificate_refs) {
            let namespace = to.namespace(&key.namespace);
            let referent =
                Referent { group: to.group(), kind: &to.kind, namespace, name: &to.name };
            self.push(key, referent);
        }
    }
}
