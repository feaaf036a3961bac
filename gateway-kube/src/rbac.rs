//! What the program may do in a cluster: all it does, and nothing else.
//!
//! In: nothing. Out: [`Right`]s, which the manifests in `deploy/` are compared with. Not here: asking
//! for them.

use std::{collections::BTreeSet, fmt};

use gateway_core::api::Kind;

use crate::{
    balanced, dedicated, discover::is_listed, lease::Election, object::has_status, signpost,
};

/// The Secret with the authority of a controller of dedicated Gateways.
pub const AUTHORITY_SECRET: &str = "gateway-config-authority";

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Whether it counts in the program's own namespace alone.
    pub own_namespace: bool,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, maybe with a subresource: `gateways/status`.
    pub resource: String,
    /// What may be done.
    pub verb: String,
    /// The only object that it counts for.
    pub name: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.own_namespace { "in the own namespace" } else { "everywhere" };
        write!(f, "{} {}.{} {place}", self.verb, self.resource, self.group)?;
        self.name.iter().try_for_each(|name| write!(f, ", {name} alone"))
    }
}

/// How Gateways are run and reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All by the program, at its own addresses.
    Shared,
    /// All by the program, each behind a Service of its own.
    Balanced,
    /// Each by pods of its own.
    Dedicated,
}

/// The rights that the program needs under a controller name.
#[must_use]
pub fn rights(shape: Shape, controller_name: &str) -> BTreeSet<Right> {
    let dedicated = shape == Shape::Dedicated;
    let mut all = Rights(BTreeSet::new());
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::XMesh) {
        let (group, resource) = (kind.group(), plural(kind));
        all.everywhere(group, &resource, &["list", "watch"]);
        if kind.is_gateway_api() && is_listed(kind) {
            // Read anew when a status was written at the same time by somebody else.
            all.everywhere(group, &resource, &["get"]);
        }
        if has_status(kind) {
            all.everywhere(group, &format!("{resource}/status"), &["patch"]);
        }
    }
    // Its finalizer.
    all.everywhere(Kind::GatewayClass.group(), &plural(Kind::GatewayClass), &["patch"]);
    let verbs = &["get", "list", "watch"];
    all.everywhere("apiextensions.k8s.io", "customresourcedefinitions", verbs);
    all.everywhere("events.k8s.io", "events", &["create", "patch"]);
    let lease = Election::of(controller_name, "", "").name;
    // What is created has no name yet by which it could be allowed.
    all.own("coordination.k8s.io", "leases", &["create"], None);
    all.own("coordination.k8s.io", "leases", &["get", "update"], Some(&lease));
    for kind in if dedicated { dedicated::KINDS } else { signpost::KINDS } {
        let verbs = &["create", "delete", "get", "list", "patch", "watch"];
        all.everywhere(kind.group(), kind.plural(), verbs);
    }
    // Owner references that keep the owner until all is gone count as a change of the owner.
    all.everywhere(Kind::Gateway.group(), "gateways/finalizers", &["update"]);
    if shape == Shape::Balanced {
        let verbs = &["create", "delete", "get", "list", "patch", "watch"];
        for kind in balanced::KINDS {
            all.own(kind.group(), kind.plural(), verbs, None);
        }
    }
    if shape != Shape::Shared {
        // Addresses of Services of type NodePort.
        all.everywhere("", "nodes", &["list"]);
    }
    if dedicated {
        all.everywhere("authentication.k8s.io", "tokenreviews", &["create"]);
        all.own("", "secrets", &["create"], None);
        all.own("", "secrets", &["get"], Some(AUTHORITY_SECRET));
    }
    all.0
}

struct Rights(BTreeSet<Right>);

impl Rights {
    fn everywhere(&mut self, group: &str, resource: &str, verbs: &[&str]) {
        self.add(false, group, resource, verbs, None);
    }

    fn own(&mut self, group: &str, resource: &str, verbs: &[&str], name: Option<&str>) {
        self.add(true, group, resource, verbs, name);
    }

    fn add(
        &mut self,
        own_namespace: bool,
        group: &str,
        resource: &str,
        verbs: &[&str],
        name: Option<&str>,
    ) {
        self.0.extend(verbs.iter().map(|verb| Right {
            own_namespace,
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: (*verb).to_owned(),
            name: name.map(str::to_owned),
        }));
    }
}

/// The name of a kind in URLs.
fn plural(kind: Kind) -> String {
    let name = kind.as_str().to_lowercase();
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
        _ if name.ends_with('s') => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, plural, rights};
    use gateway_core::api::Kind;

    #[test]
    fn plurals_are_those_of_the_definitions() {
        let all: Vec<String> = Kind::ALL.iter().map(|kind| plural(*kind)).collect();
        for expect in
            ["gatewayclasses", "backendtlspolicies", "xbackendtrafficpolicies", "endpointslices"]
        {
            assert!(all.iter().any(|plural| plural == expect), "{expect} in {all:?}");
        }
    }

    #[test]
    fn nothing_is_without_bounds() {
        let shapes = [Shape::Balanced, Shape::Dedicated].into_iter();
        for right in shapes.flat_map(|shape| rights(shape, "example.net/us")) {
            assert!(!right.resource.contains('*') && !right.verb.contains('*'), "{right}");
            let writes = !matches!(&*right.verb, "get" | "list" | "watch");
            assert!(right.resource != "secrets" || !writes || right.own_namespace, "{right}");
        }
    }
}
