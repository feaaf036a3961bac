//! ReferenceGrants: which references may leave their namespace.
//!
//! In: all grants. Out: [`Grants::permits`]. Not here: whether the target exists, which the referrer
//! must not learn without a grant.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{Kind, ObjectKey, ReferenceGrant},
    snapshot::Snapshot,
};

/// All grants by the namespace that they lie in.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    by_namespace: BTreeMap<Box<str>, Vec<Arc<ReferenceGrant>>>,
}

/// Who refers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
}

/// What is referred to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referent<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Referrer<'a> {
    pub(crate) fn of(object: &'a ObjectKey) -> Self {
        Self { kind: object.kind, namespace: &object.namespace }
    }
}

impl Grants {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut by_namespace: BTreeMap<Box<str>, Vec<_>> = BTreeMap::new();
        for (key, grant) in snapshot.reference_grants() {
            by_namespace.entry(key.namespace.clone()).or_default().push(Arc::clone(grant));
        }
        Self { by_namespace }
    }

    /// Whether `from` may refer to `to`: within a namespace always, else if a grant in the
    /// namespace of the target says so.
    pub(super) fn permits(&self, from: Referrer<'_>, to: Referent<'_>) -> bool {
        from.namespace == to.namespace
            || self
                .by_namespace
                .get(to.namespace)
                .is_some_and(|grants| grants.iter().any(|grant| grant_permits(grant, from, to)))
    }
}

/// Whether `from` may refer to `to`: within a namespace always, else if a grant in the namespace of
/// the target says so.
///
/// ```
/// use gateway_core::{
///     api::{Kind, ObjectKey},
///     resolve::permits,
///     snapshot::Snapshot,
/// };
/// let gateway = ObjectKey::new(Kind::Gateway, "infra", "public");
/// let secret = |namespace| ObjectKey::new(Kind::Secret, namespace, "certificate");
/// assert!(permits(&Snapshot::default(), &gateway, &secret("infra")));
/// assert!(!permits(&Snapshot::default(), &gateway, &secret("shop")));
/// ```
#[must_use]
pub fn permits(snapshot: &Snapshot, from: &ObjectKey, to: &ObjectKey) -> bool {
    let referent = Referent {
        group: to.kind.group(),
        kind: to.kind.as_str(),
        namespace: &to.namespace,
        name: &to.name,
    };
    let mut grants = snapshot.reference_grants().iter();
    from.namespace == to.namespace
        || grants.any(|(key, grant)| {
            key.namespace == to.namespace && grant_permits(grant, Referrer::of(from), referent)
        })
}

/// Whether `grant`, if it lies in the namespace of `to`, permits `from` to refer to it.
pub(crate) fn grant_permits(grant: &ReferenceGrant, from: Referrer<'_>, to: Referent<'_>) -> bool {
    let trusted = grant.spec.from.iter().any(|entry| {
        entry.group() == from.kind.group()
            && entry.kind == from.kind.as_str()
            && entry.namespace == from.namespace
    });
    trusted
        && grant.spec.to.iter().any(|entry| {
            entry.group() == to.group
                && entry.kind == to.kind
                && entry.name.as_deref().is_none_or(|name| name.is_empty() || name == to.name)
        })
}

#[cfg(test)]
mod tests {
    use super::{Grants, Referent, Referrer};
    use crate::{
        api::{Kind, ReferenceGrant, ReferenceGrantFrom, ReferenceGrantTo},
        snapshot::Snapshot,
    };

    const GATEWAY: &str = "gateway.networking.k8s.io";

    /// Each case is a grant that may differ in one place from the one that permits.
    #[track_caller]
    fn check(namespace: &str, from: [&str; 3], to: (&str, &str, Option<&str>), expect: bool) {
        let mut grant = ReferenceGrant::default();
        grant.metadata.namespace = namespace.into();
        grant.metadata.name = "grant".into();
        grant.spec.from.push(ReferenceGrantFrom {
            group: Some(from[0].into()),
            kind: from[1].into(),
            namespace: from[2].into(),
        });
        grant.spec.to.push(ReferenceGrantTo {
            group: Some(to.0.into()),
            kind: to.1.into(),
            name: to.2.map(Into::into),
        });
        let grants = Grants::new(&Snapshot::from_iter([grant.into()]));
        let referrer = Referrer { kind: Kind::HttpRoute, namespace: "shop" };
        let referent = Referent { group: "", kind: "Service", namespace: "data", name: "api" };
        assert_eq!(grants.permits(referrer, referent), expect);
    }

    #[test]
    fn every_part_of_a_grant_counts() {
        let from = [GATEWAY, "HTTPRoute", "shop"];
        check("data", from, ("", "Service", None), true);
        check("data", from, ("", "Service", Some("api")), true);
        check("data", from, ("", "Service", Some("db")), false);
        check("data", from, ("", "Secret", None), false);
        check("data", from, ("apps", "Service", None), false);
        check("shop", from, ("", "Service", None), false);
        check("data", ["", "HTTPRoute", "shop"], ("", "Service", None), false);
        check("data", [GATEWAY, "GRPCRoute", "shop"], ("", "Service", None), false);
        check("data", [GATEWAY, "HTTPRoute", "data"], ("", "Service", None), false);
    }
}
