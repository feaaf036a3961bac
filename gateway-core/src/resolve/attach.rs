//! Which listeners a route attaches to, one parentRef at a time.
//!
//! In: a route's parentRefs, kind, namespace and hostnames. Out: for each ref of ours the listeners
//! or the reason why there are none, and each listener once. Not here: the rules of the route.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::{
    api::{Hostname, Kind, ObjectKey, ParentReference, Reason},
    diagnostic::Code,
    matcher::HostPattern,
    snapshot::Snapshot,
};

use super::{
    note::Notes,
    parents::{Owner, ParentListener, Parents},
    status::Fault,
};

/// What attachment looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'r> {
    pub(super) key: &'r ObjectKey,
    pub(super) parent_refs: &'r [ParentReference],
    /// Whether it asks for default Gateways.
    pub(super) use_default_gateways: bool,
    /// As written; for kinds without hostnames empty.
    pub(super) hostnames: &'r [String],
}

/// What became of one parentRef of ours.
#[derive(Debug)]
pub(super) struct ParentOutcome {
    /// With all defaults filled in.
    pub(super) parent_ref: ParentReference,
    /// A place in [`Parents::gateways`].
    pub(super) gateway: usize,
    pub(super) refused: Option<Fault>,
}

/// Where a route is attached.
#[derive(Debug, Default)]
pub(super) struct Attached {
    pub(super) outcomes: Vec<ParentOutcome>,
    /// Places in [`Parents::listeners`], with the hostnames of the route that count there.
    pub(super) listeners: BTreeMap<usize, SmallVec<[HostPattern; 1]>>,
    /// A hostname of the route is not valid, so that it cannot be attached at all.
    pub(super) invalid: Option<Fault>,
}

/// Attaches a route to the listeners of its parents.
pub(super) fn attach(
    route: Candidate<'_>,
    parents: &Parents,
    snapshot: &Snapshot,
    notes: &mut Notes,
) -> Attached {
    let mut attached = Attached::default();
    let hostnames = match parse_hostnames(route.hostnames) {
        Ok(hostnames) => hostnames,
        Err(fault) => {
            notes.fault(route.key, "spec.hostnames", &fault);
            attached.invalid = Some(fault);
            SmallVec::new()
        }
    };
    for (index, parent_ref) in all_refs(route, parents).enumerate() {
        let namespace = &route.key.namespace;
        let repeated =
            attached.outcomes.iter().any(|o| o.parent_ref.same_as(&parent_ref, namespace));
        let Some(owner) = owner(&parent_ref, parents) else {
            note_missing(route.key, index, &parent_ref, snapshot, notes);
            continue;
        };
        if repeated {
            continue;
        }
        let refused = match attach_one(route.key, &parent_ref, owner, &hostnames, parents, snapshot)
        {
            Ok(listeners) => {
                attached.listeners.extend(listeners);
                None
            }
            Err(fault) => {
                notes.fault(route.key, format!("spec.parentRefs[{index}]"), &fault);
                Some(fault)
            }
        };
        attached.outcomes.push(ParentOutcome { parent_ref, gateway: owner.gateway, refused });
    }
    attached
}

fn parse_hostnames(hostnames: &[String]) -> Result<SmallVec<[HostPattern; 1]>, Fault> {
    let parse = |text: &String| match Hostname::parse(text) {
        Ok(hostname) => Ok(HostPattern::new(hostname.as_str())),
        Err(error) => {
            let message = format!("hostname {text:?} is not valid: {error}");
            Err(Fault::new(Reason::UnsupportedValue, message))
        }
    };
    hostnames.iter().map(parse).collect()
}

/// The refs of the route, then those to default Gateways that it does not name itself.
// SPEC: defaultScope and useDefaultGateways (experimental): the status names such Gateways as
// parents although there is no parentRef.
fn all_refs<'r>(
    route: Candidate<'r>,
    parents: &'r Parents,
) -> impl Iterator<Item = ParentReference> + 'r {
    let namespace = &*route.key.namespace;
    let declared = route.parent_refs.iter().map(move |parent| parent.defaulted(namespace));
    let gateways = parents
        .gateways
        .iter()
        .filter(move |gateway| route.use_default_gateways && gateway.is_default);
    let defaults = gateways.map(|gateway| ParentReference {
        namespace: Some(gateway.key.namespace.to_string()),
        name: gateway.key.name.to_string(),
        ..ParentReference::default()
    });
    let undeclared = defaults.filter(move |default| {
        !route.parent_refs.iter().any(|parent| parent.same_parent_as(default, namespace))
    });
    declared.chain(undeclared.map(move |default| default.defaulted(namespace)))
}

fn parent_key(parent_ref: &ParentReference) -> Option<ObjectKey> {
    let kind = Kind::find(parent_ref.group(), parent_ref.kind())?;
    let is_parent = matches!(kind, Kind::Gateway | Kind::ListenerSet);
    is_parent.then(|| ObjectKey::new(kind, parent_ref.namespace(""), &parent_ref.name))
}

fn owner<'p>(parent_ref: &ParentReference, parents: &'p Parents) -> Option<&'p Owner> {
    parents.owners.get(&parent_key(parent_ref)?)
}

/// Parents of other controllers and meshes are none of our business; one that nobody has is
/// probably a mistake.
fn note_missing(
    route: &ObjectKey,
    index: usize,
    parent_ref: &ParentReference,
    snapshot: &Snapshot,
    notes: &mut Notes,
) {
    if let Some(key) = parent_key(parent_ref)
        && snapshot.metadata(&key).is_none()
    {
        let field = format!("spec.parentRefs[{index}]");
        notes.warn(route, field, Code::ParentNotFound, format!("{key} does not exist"));
    }
}

type Listeners = SmallVec<[(usize, SmallVec<[HostPattern; 1]>); 2]>;

/// How far a route gets with a listener; the furthest step gives the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// No listener of this name or port.
    #[default]
    Unselected,
    /// Its protocol or its list of kinds leaves this one out.
    Kind,
    /// It does not let the namespace in.
    Namespace,
    /// It has no hostname in common with the route.
    Hostname,
}

fn attach_one(
    route: &ObjectKey,
    parent_ref: &ParentReference,
    owner: &Owner,
    hostnames: &[HostPattern],
    parents: &Parents,
    snapshot: &Snapshot,
) -> Result<Listeners, Fault> {
    if let Some(refused) = &owner.refused {
        let message = format!("the ListenerSet is not taken by its Gateway: {}", refused.message);
        return Err(Fault::new(Reason::NoMatchingParent, message));
    }
    let mut attached = Listeners::new();
    let mut furthest = Step::default();
    for at in owner.listeners.clone() {
        let listener = &parents.listeners[at];
        match meet(route, parent_ref, listener, hostnames, snapshot) {
            Ok(served) => attached.push((at, served)),
            Err(step) => furthest = furthest.max(step),
        }
    }
    if attached.is_empty() {
        let listeners = &parents.listeners[owner.listeners.clone()];
        return Err(refusal(furthest, route, parent_ref, listeners));
    }
    Ok(attached)
}

/// The hostnames of the route that the listener has hosts for, or the step at which they part.
fn meet(
    route: &ObjectKey,
    parent_ref: &ParentReference,
    listener: &ParentListener,
    hostnames: &[HostPattern],
    snapshot: &Snapshot,
) -> Result<SmallVec<[HostPattern; 1]>, Step> {
    let selected = parent_ref.section_name.as_deref().is_none_or(|name| *listener.name == *name)
        && parent_ref.port.is_none_or(|port| i32::from(listener.port) == port);
    if !selected {
        return Err(Step::Unselected);
    }
    if !listener.kinds.contains(&route.kind) {
        return Err(Step::Kind);
    }
    if !listener.namespaces.allows(&route.namespace, snapshot) {
        return Err(Step::Namespace);
    }
    // SPEC: precedence goes by the hostname that the route names, where none is the last, and not
    // by what remains of it on a listener; the listener has its own say before.
    if hostnames.is_empty() {
        return Ok(SmallVec::from_iter([HostPattern::Any]));
    }
    let mut served: SmallVec<[HostPattern; 1]> = SmallVec::new();
    for hostname in hostnames {
        if hostname.intersect(&listener.hostname).is_some() && !served.contains(hostname) {
            served.push(hostname.clone());
        }
    }
    if served.is_empty() { Err(Step::Hostname) } else { Ok(served) }
}

fn refusal(
    step: Step,
    route: &ObjectKey,
    parent_ref: &ParentReference,
    listeners: &[ParentListener],
) -> Fault {
    let list = |show: &dyn Fn(&ParentListener) -> String| {
        listeners.iter().map(show).collect::<Vec<_>>().join(", ")
    };
    let parent = format!("{} {}/{}", parent_ref.kind(), parent_ref.namespace(""), parent_ref.name);
    match step {
        Step::Unselected => {
            let section = parent_ref.section_name.as_ref().map(|name| format!(" named {name}"));
            let port = parent_ref.port.map(|port| format!(" on port {port}"));
            let message = format!(
                "{parent} has no listener{}{}; it has {}",
                section.unwrap_or_default(),
                port.unwrap_or_default(),
                list(&|listener| format!("{}:{}", listener.name, listener.port))
            );
            Fault::new(Reason::NoMatchingParent, message)
        }
        Step::Kind => {
            let message = format!(
                "no listener of {parent} that is named takes kind {}; kinds by listener: {}",
                route.kind,
                list(&|listener| {
                    let kinds: Vec<_> = listener.kinds.iter().map(|kind| kind.as_str()).collect();
                    format!("{} {}", listener.name, kinds.join("/"))
                })
            );
            Fault::new(Reason::NotAllowedByListeners, message)
        }
        Step::Namespace => {
            let message = format!(
                "no listener of {parent} lets in routes of namespace {}; see allowedRoutes.namespaces",
                route.namespace
            );
            Fault::new(Reason::NotAllowedByListeners, message)
        }
        Step::Hostname => {
            let message = format!(
                "no hostname of the route is among those of {parent}: {}",
                list(&|listener| format!("{} {}", listener.name, listener.hostname))
            );
            Fault::new(Reason::NoMatchingListenerHostname, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        api::{
            ConditionType, FromNamespaces, Gateway, HttpRoute, Listener, ParentReference, Resource,
            TcpRoute,
        },
        resolve::{ObjectStatus, resolve},
        scope::ControllerScope,
        snapshot::Snapshot,
    };

    /// Listeners: `open` on 80 for all namespaces and `a.example`, `own` on 81 for the Gateway's
    /// namespace and any host, `tcp` on 82.
    #[track_caller]
    fn check(route: Resource, attached: [i32; 3], reason: &str) {
        let open = Listener::http("open", 80).hostname("a.example");
        let gateway = Gateway::new("infra", "gw")
            .listener(open.allow_routes(FromNamespaces::All))
            .listener(Listener::http("own", 81))
            .listener(Listener::tcp("tcp", 82));
        let key = route.key();
        let snapshot = Snapshot::from_iter([gateway.into(), route]);
        let resolved = resolve(&snapshot, &ControllerScope::all());
        let mut counts = Vec::new();
        for (_, status) in &resolved.status {
            if let ObjectStatus::Gateway(status) = status {
                counts.extend(status.listeners.iter().map(|it| it.attached_routes));
            }
        }
        assert_eq!(counts, attached);
        let Some(ObjectStatus::Route(status)) = resolved.status.get(&key) else {
            panic!("{key} has no status");
        };
        let accepted = status.parents[0].conditions.iter();
        let mut accepted = accepted.filter(|it| it.kind == ConditionType::Accepted);
        assert_eq!(accepted.next().map(|it| it.reason.to_string()).as_deref(), Some(reason));
    }

    fn gw() -> ParentReference {
        ParentReference::gateway("gw").in_namespace("infra")
    }

    fn http(namespace: &str, parent: ParentReference, host: &str) -> Resource {
        let route = HttpRoute::new(namespace, "r").parent(parent);
        if host.is_empty() { route } else { route.hostname(host) }.into()
    }

    #[test]
    fn the_reason_is_that_of_the_furthest_step() {
        check(http("infra", gw(), ""), [1, 1, 0], "Accepted");
        check(http("infra", gw(), "b.example"), [0, 1, 0], "Accepted");
        check(http("infra", gw().section("own").on_port(81), ""), [0, 1, 0], "Accepted");
        check(http("infra", gw().section("own").on_port(80), ""), [0; 3], "NoMatchingParent");
        check(http("infra", gw().section("nope"), ""), [0; 3], "NoMatchingParent");
        check(http("infra", gw().on_port(8080), ""), [0; 3], "NoMatchingParent");
        check(http("infra", gw().section("tcp"), ""), [0; 3], "NotAllowedByListeners");
        check(http("shop", gw(), ""), [1, 0, 0], "Accepted");
        check(http("shop", gw().section("own"), ""), [0; 3], "NotAllowedByListeners");
        check(http("shop", gw(), "b.example"), [0; 3], "NoMatchingListenerHostname");
        check(http("shop", gw(), "*.example"), [1, 0, 0], "Accepted");
        check(http("shop", gw(), "Not valid"), [0; 3], "UnsupportedValue");
        let tcp = |parent| TcpRoute::new("infra", "r").parent(parent).into();
        check(tcp(gw()), [0, 0, 1], "Accepted");
        check(tcp(gw().on_port(80)), [0; 3], "NotAllowedByListeners");
    }
}
