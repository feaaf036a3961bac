//! References to backends and filters, and what is wrong with them.

use gateway_core::api::{BackendObjectReference, HttpRouteFilter, ServiceType};

use super::{
    route::{Backend, Route, Rule},
    world::{Reach, World},
};

/// `namespace/name:port` of a backend that may be used, or the reason why not.
pub(super) fn resolve(
    world: &World,
    route: &Route,
    reference: &BackendObjectReference,
) -> Result<String, &'static str> {
    let namespace = reference.namespace(&route.meta.namespace);
    let reach = Reach {
        from_kind: route.kind,
        from_namespace: &route.meta.namespace,
        to_group: reference.group(),
        to_kind: reference.kind(),
        to_namespace: namespace,
        to_name: &reference.name,
    };
    if !reference.is_service() {
        return Err("InvalidKind");
    }
    // SPEC: without a grant the target is not looked at, so that nothing leaks.
    if !world.permits(&reach) {
        return Err("RefNotPermitted");
    }
    let found = world
        .services()
        .find(|it| it.metadata.namespace == namespace && it.metadata.name == reference.name)
        .ok_or("BackendNotFound")?;
    if found.spec.kind == Some(ServiceType::ExternalName) {
        return Err("InvalidKind");
    }
    let port = found.spec.ports.iter().find(|it| Some(it.port) == reference.port);
    let port = port.ok_or("BackendNotFound")?;
    match port.app_protocol.as_deref() {
        None => {}
        Some(protocol) if is_spoken(protocol) => {}
        Some(_) => return Err("UnsupportedProtocol"),
    }
    Ok(format!("{namespace}/{}:{}", reference.name, port.port))
}

// SPEC: appProtocol "HTTPS" must be tolerated; the Kubernetes ones for HTTP are to be spoken.
fn is_spoken(protocol: &str) -> bool {
    let known = ["http", "https", "grpc", "h2c", "ws", "wss", "tcp", "tls"];
    let name = protocol.strip_prefix("kubernetes.io/").unwrap_or(protocol);
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What is wrong with the reference of a filter, if anything.
pub(super) fn filter_error(
    world: &World,
    route: &Route,
    filter: &HttpRouteFilter,
) -> Option<&'static str> {
    match filter.kind.as_str() {
        // No kind of filter is brought along.
        "ExtensionRef" => Some("InvalidKind"),
        "RequestMirror" => {
            let backend = &filter.request_mirror.as_ref()?.backend_ref;
            resolve(world, route, backend).err()
        }
        "ExternalAuth" => {
            let backend = &filter.external_auth.as_ref()?.backend_ref;
            resolve(world, route, backend).err()
        }
        _ => None,
    }
}

/// The backend, unless it or one of its filters cannot be used.
pub(super) fn usable(world: &World, route: &Route, backend: &Backend) -> Option<String> {
    let spoiled = backend
        .filters
        .iter()
        .any(|it| it.kind.as_str() != "RequestMirror" && filter_error(world, route, it).is_some());
    let unknown = backend.filters.iter().any(|filter| !filter.kind.is_known());
    resolve(world, route, &backend.reference).ok().filter(|_| !spoiled && !unknown)
}

/// The reason of the route's condition ResolvedRefs.
pub(super) fn resolved_refs(world: &World, route: &Route) -> &'static str {
    let errors: Vec<_> = route.rules.iter().flat_map(|rule| errors(world, route, rule)).collect();
    let order = ["RefNotPermitted", "InvalidKind", "BackendNotFound", "UnsupportedProtocol"];
    order.into_iter().find(|reason| errors.contains(reason)).unwrap_or("ResolvedRefs")
}

fn errors(world: &World, route: &Route, rule: &Rule) -> Vec<&'static str> {
    let filters = rule.backends.iter().flat_map(|backend| &backend.filters).chain(&rule.filters);
    let filters = filters.filter_map(|filter| filter_error(world, route, filter));
    let backends = rule.backends.iter();
    let backends = backends.filter_map(|it| resolve(world, route, &it.reference).err());
    backends.chain(filters).collect()
}
