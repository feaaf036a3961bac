//! References between objects.

use super::check::{At, Check};
use crate::api::{
    LocalObjectReference, ObjectReference, ParametersReference, SecretObjectReference,
};

impl Check<'_> {
    /// A group that may be left out because it has a default.
    pub(super) fn optional_group(&mut self, at: &At<'_>, group: Option<&str>) {
        if let Some(group) = group {
            self.group(&at.field("group"), group);
        }
    }

    /// A group that must be given, even if it is empty.
    pub(super) fn required_group(&mut self, at: &At<'_>, group: Option<&str>) {
        match group {
            Some(group) => self.group(&at.field("group"), group),
            None => {
                let code = crate::diagnostic::Code::Required;
                self.error_help(
                    &at.field("group"),
                    code,
                    "a value is required",
                    "write \"\" for the core group",
                );
            }
        }
    }

    pub(super) fn optional_kind(&mut self, at: &At<'_>, kind: Option<&str>) {
        if let Some(kind) = kind {
            self.kind(&at.field("kind"), kind);
        }
    }

    pub(super) fn object_name(&mut self, at: &At<'_>, name: &str) {
        self.required_text(&at.field("name"), name, 253);
    }

    pub(super) fn optional_namespace(&mut self, at: &At<'_>, namespace: Option<&str>) {
        if let Some(namespace) = namespace {
            self.namespace(&at.field("namespace"), namespace);
        }
    }

    /// A group, kind and name that all must be given.
    pub(super) fn target(&mut self, at: &At<'_>, group: Option<&str>, kind: &str, name: &str) {
        self.required_group(at, group);
        self.kind(&at.field("kind"), kind);
        self.object_name(at, name);
    }

    pub(super) fn local_reference(&mut self, at: &At<'_>, reference: &LocalObjectReference) {
        self.target(at, reference.group.as_deref(), &reference.kind, &reference.name);
    }

    pub(super) fn parameters(&mut self, at: &At<'_>, reference: &ParametersReference) {
        self.target(at, reference.group.as_deref(), &reference.kind, &reference.name);
        self.optional_namespace(at, reference.namespace.as_deref());
    }

    pub(super) fn object_reference(&mut self, at: &At<'_>, reference: &ObjectReference) {
        self.target(at, reference.group.as_deref(), &reference.kind, &reference.name);
        self.optional_namespace(at, reference.namespace.as_deref());
    }

    pub(super) fn secret_reference(&mut self, at: &At<'_>, reference: &SecretObjectReference) {
        self.optional_group(at, reference.group.as_deref());
        self.optional_kind(at, reference.kind.as_deref());
        self.object_name(at, &reference.name);
        self.optional_namespace(at, reference.namespace.as_deref());
    }
}
