//! ReferenceGrant.

use super::check::{At, Check};
use crate::api::ReferenceGrantSpec;

pub(super) fn reference_grant(check: &mut Check<'_>, spec: &ReferenceGrantSpec, at: &At<'_>) {
    let list = at.field("from");
    check.list_length(&list, spec.from.len(), 1..=16);
    for (index, from) in spec.from.iter().enumerate() {
        let at = list.index(index);
        check.required_group(&at, from.group.as_deref());
        check.kind(&at.field("kind"), &from.kind);
        check.namespace(&at.field("namespace"), &from.namespace);
    }
    let list = at.field("to");
    check.list_length(&list, spec.to.len(), 1..=16);
    for (index, to) in spec.to.iter().enumerate() {
        let at = list.index(index);
        check.required_group(&at, to.group.as_deref());
        check.kind(&at.field("kind"), &to.kind);
        if let Some(name) = &to.name {
            check.object_name(&at, name);
        }
    }
}
