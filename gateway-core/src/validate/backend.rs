//! References to backends.

use super::check::{At, Check};
use crate::api::BackendObjectReference;
use crate::diagnostic::Code;

pub(super) fn reference(check: &mut Check<'_>, reference: &BackendObjectReference, at: &At<'_>) {
    check.optional_group(at, reference.group.as_deref());
    check.optional_kind(at, reference.kind.as_deref());
    check.object_name(at, &reference.name);
    check.optional_namespace(at, reference.namespace.as_deref());
    match reference.port {
        Some(port) => check.port(&at.field("port"), port),
        None if reference.is_service() && !reference.name.is_empty() => {
            let message = "a reference to a Service needs a port";
            check.error_help(
                &at.field("port"),
                Code::BackendPortMissing,
                message,
                "give the port of the Service",
            );
        }
        None => {}
    }
}

pub(super) fn weight(check: &mut Check<'_>, weight: Option<i32>, at: &At<'_>) {
    if let Some(weight) = weight {
        check.number(&at.field("weight"), weight, 0..=1_000_000);
    }
}
