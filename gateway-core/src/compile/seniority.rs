//! Which of two routes was first.

use std::cmp::Ordering;

use crate::{api::ObjectKey, resolve::topology::Route};

/// Orders the older route first, then by `namespace/name`, then by kind.
// SPEC: oldest by creation time, then alphabetical by "{namespace}/{name}", over all kinds of
// routes. A route without creation time counts as the youngest.
pub(super) fn seniority_cmp(a: &Route, b: &Route) -> Ordering {
    let age = |route: &Route| route.created.unwrap_or(i64::MAX);
    age(a)
        .cmp(&age(b))
        .then_with(|| joined_name(&a.key).cmp(joined_name(&b.key)))
        .then_with(|| a.key.kind.cmp(&b.key.kind))
}

fn joined_name(key: &ObjectKey) -> impl Iterator<Item = u8> + '_ {
    key.namespace.bytes().chain([b'/']).chain(key.name.bytes())
}
