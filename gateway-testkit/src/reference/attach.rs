//! Which routes attach to which listeners.

use gateway_core::api::{GATEWAY_GROUP, ParentReference, ProtocolType};

use super::{hostname, listener::Listener, route::Route, world::World};

/// What became of one parentRef of a route.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    /// Its place in `spec.parentRefs`.
    pub(super) reference: ParentReference,
    /// The listeners that took the route, or the reason why none did.
    pub(super) listeners: Result<Vec<usize>, &'static str>,
}

/// The parentRefs that are ours to answer, in order.
pub(super) fn parents(world: &World, listeners: &[Listener], route: &Route) -> Vec<Parent> {
    let parents = route.parents.iter().filter(|parent| is_ours(world, route, parent));
    parents
        .map(|parent| {
            let attached = attach(world, listeners, route, parent);
            let listeners = match route.error() {
                Some(reason) => attached.and(Err(reason)),
                None => attached,
            };
            Parent { reference: parent.clone(), listeners }
        })
        .collect()
}

// SPEC: a parent that does not exist, of a kind that is not handled or of a foreign class gets no
// entry.
fn is_ours(world: &World, route: &Route, parent: &ParentReference) -> bool {
    let gateways = world.our_gateways();
    let is_our_gateway = |namespace: &str, name: &str| {
        gateways.iter().any(|it| it.metadata.namespace == namespace && it.metadata.name == name)
    };
    let namespace = parent.namespace(&route.meta.namespace);
    match (parent.group(), parent.kind()) {
        (GATEWAY_GROUP, "Gateway") => is_our_gateway(namespace, &parent.name),
        (GATEWAY_GROUP, "ListenerSet") => world.listener_sets().any(|set| {
            let of = &set.spec.parent_ref;
            set.metadata.namespace == namespace
                && set.metadata.name == parent.name
                && (of.group(), of.kind()) == (GATEWAY_GROUP, "Gateway")
                && is_our_gateway(of.namespace(namespace), &of.name)
        }),
        _ => false,
    }
}

fn attach(
    world: &World,
    listeners: &[Listener],
    route: &Route,
    parent: &ParentReference,
) -> Result<Vec<usize>, &'static str> {
    let named: Vec<_> = listeners
        .iter()
        .enumerate()
        .filter(|(_, listener)| {
            listener.taken
                && listener.owner_kind == parent.kind()
                && listener.owner_namespace == parent.namespace(&route.meta.namespace)
                && listener.owner_name == parent.name
                && parent.section_name.as_ref().is_none_or(|name| *name == listener.spec.name)
                && parent.port.is_none_or(|port| port == listener.spec.port)
        })
        .collect();
    let allowed: Vec<_> = named
        .iter()
        .filter(|(_, listener)| {
            allows_kind(listener, route.kind)
                && allows_namespace(world, listener, &route.meta.namespace)
        })
        .collect();
    let meeting: Vec<_> = allowed.iter().filter(|(_, listener)| meets(listener, route)).collect();
    // SPEC: the reason is that of the furthest step that any listener reached.
    match (named.is_empty(), allowed.is_empty(), meeting.is_empty()) {
        (true, ..) => Err("NoMatchingParent"),
        (_, true, _) => Err("NotAllowedByListeners"),
        (.., true) => Err("NoMatchingListenerHostname"),
        _ => Ok(meeting.into_iter().map(|(place, _)| *place).collect()),
    }
}

fn allows_kind(listener: &Listener, kind: &str) -> bool {
    let carried: &[&str] = match listener.spec.protocol {
        ProtocolType::Http | ProtocolType::Https => &["HTTPRoute", "GRPCRoute"],
        ProtocolType::Tls => &["TLSRoute"],
        ProtocolType::Tcp => &["TCPRoute"],
        ProtocolType::Udp => &["UDPRoute"],
        ProtocolType::Unknown(_) => &[],
    };
    let kinds = listener.spec.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
    let listed = kinds.iter().any(|it| it.group() == GATEWAY_GROUP && it.kind == kind);
    carried.contains(&kind) && (kinds.is_empty() || listed)
}

// SPEC: "Same" is the namespace of the object that holds the listener, also for ListenerSets.
fn allows_namespace(world: &World, listener: &Listener, namespace: &str) -> bool {
    let home = &listener.owner_namespace;
    match listener.spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref()) {
        Some(namespaces) => {
            world.allows(namespaces.from(), namespaces.selector.as_ref(), home, namespace)
        }
        None => home == namespace,
    }
}

fn meets(listener: &Listener, route: &Route) -> bool {
    let meets = |name: &String| hostname::intersect(listener.hostname(), name);
    route.hostnames.is_empty() || route.hostnames.iter().any(meets)
}
