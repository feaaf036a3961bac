//! What routes are told about their parents, and how many routes each listener has.

use serde_json::{Value, json};

use super::{CONTROLLER, Reference, attach::Parent, backend, listener::Listener, route::Route};
use crate::corpus::ObjectStatus;

pub(super) fn statuses(model: &Reference) -> Vec<ObjectStatus> {
    let routes = model.routes.iter().map(|(route, parents)| route_status(model, route, parents));
    let mut owners: Vec<(&str, &str, &str)> = model.listeners.iter().map(owner).collect();
    owners.dedup();
    let owners = owners.into_iter().map(|it| listeners_status(model, it));
    routes.chain(owners).collect()
}

// SPEC: Accepted and ResolvedRefs are written together, also for a route that is refused.
fn route_status(model: &Reference, route: &Route, parents: &[Parent]) -> ObjectStatus {
    let refs = backend::resolved_refs(&model.world, route);
    let dropped = route.rules.iter().any(|rule| rule.error().is_some());
    let entry = |parent: &Parent| {
        let reason = parent.listeners.as_ref().map_or_else(|reason| *reason, |_| "Accepted");
        let mut conditions = vec![
            condition(route, "Accepted", parent.listeners.is_ok(), reason),
            condition(route, "ResolvedRefs", refs == "ResolvedRefs", refs),
        ];
        if dropped && route.error().is_none() {
            conditions.push(condition(route, "PartiallyInvalid", true, "UnsupportedValue"));
        }
        let reference = parent.reference.defaulted(&route.meta.namespace);
        json!({"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions})
    };
    let parents: Vec<_> = parents.iter().map(entry).collect();
    ObjectStatus { object: route.key(), status: json!({ "parents": parents }) }
}

fn condition(route: &Route, kind: &str, holds: bool, reason: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let generation = route.meta.generation;
    json!({"type": kind, "status": status, "reason": reason, "observedGeneration": generation})
}

fn owner(listener: &Listener) -> (&str, &str, &str) {
    (listener.owner_kind, &listener.owner_namespace, &listener.owner_name)
}

// SPEC: routes of all kinds count, each once, whether or not the listener serves.
fn listeners_status(model: &Reference, of: (&str, &str, &str)) -> ObjectStatus {
    let own = model.listeners.iter().enumerate();
    let own = own.filter(|(_, listener)| owner(listener) == of && listener.taken);
    let entry = |(place, listener): (usize, &Listener)| {
        let attached = model.routes.iter().filter(|(_, parents)| {
            parents
                .iter()
                .flat_map(|parent| parent.listeners.as_deref())
                .flatten()
                .any(|it| *it == place)
        });
        json!({"name": listener.spec.name, "attachedRoutes": attached.count()})
    };
    let listeners: Vec<_> = own.map(entry).collect();
    let (kind, namespace, name) = of;
    let object = format!("{kind} {namespace}/{name}");
    ObjectStatus { object, status: json!({ "listeners": listeners }) }
}
