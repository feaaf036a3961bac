//! References between objects.
//!
//! In: the reference as written. Out: its parts after defaulting.
//! Deliberately not here: whether the target exists or may be referred to (`resolve`).
//!
//! Groups are optional everywhere, because the empty group is a legal one (core) and differs from a missing group.

use serde::{Deserialize, Serialize};

use super::meta::{CORE_GROUP, GATEWAY_GROUP};

/// Refers from a route to the Gateway, ListenerSet or Service it wants to attach to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ParentReference {
    /// Group of the parent; default `gateway.networking.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the parent; default `Gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace of the parent; default: that of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// One listener of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// All listeners of the parent on this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl ParentReference {
    /// The group after defaulting.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }

    /// The kind after defaulting.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Gateway")
    }

    /// The namespace after defaulting.
    #[must_use]
    pub fn namespace<'a>(&'a self, route_namespace: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(route_namespace)
    }

    /// Whether both refer to the same part of the same parent once defaults are filled in.
    #[must_use]
    pub fn same_as(&self, other: &Self, route_namespace: &str) -> bool {
        self.same_parent_as(other, route_namespace)
            && self.section_name == other.section_name
            && self.port == other.port
    }

    /// Whether both refer to the same parent, maybe to different parts of it.
    #[must_use]
    pub fn same_parent_as(&self, other: &Self, route_namespace: &str) -> bool {
        self.group() == other.group()
            && self.kind() == other.kind()
            && self.namespace(route_namespace) == other.namespace(route_namespace)
            && self.name == other.name
    }

    /// The reference with every default filled in, as it is repeated in a status.
    #[must_use]
    pub fn defaulted(&self, route_namespace: &str) -> Self {
        Self {
            group: Some(self.group().to_owned()),
            kind: Some(self.kind().to_owned()),
            namespace: Some(self.namespace(route_namespace).to_owned()),
            ..self.clone()
        }
    }
}

/// Refers to something that traffic can be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendObjectReference {
    /// Group of the backend; default: core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the backend; default `Service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace of the backend; default: that of the route. Another one needs a ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the backend; required for a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl BackendObjectReference {
    /// The group after defaulting.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }

    /// The kind after defaulting.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Service")
    }

    /// The namespace after defaulting.
    #[must_use]
    pub fn namespace<'a>(&'a self, route_namespace: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(route_namespace)
    }

    /// Whether the backend is a Service of the core group.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.group() == CORE_GROUP && self.kind() == "Service"
    }
}

/// A backend with its share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatBackendRef", into = "FlatBackendRef")]
pub struct BackendRef {
    /// Where to send the traffic.
    pub reference: BackendObjectReference,
    /// Share of the traffic, relative to the sum of the rule; default 1.
    pub weight: Option<i32>,
}

impl BackendRef {
    /// The weight after defaulting.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// How a [`BackendRef`] is written. Flattening by serde would lose which fields are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlatBackendRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i32>,
}

impl From<FlatBackendRef> for BackendRef {
    fn from(flat: FlatBackendRef) -> Self {
        let FlatBackendRef { group, kind, name, namespace, port, weight } = flat;
        Self { reference: BackendObjectReference { group, kind, name, namespace, port }, weight }
    }
}

impl From<BackendRef> for FlatBackendRef {
    fn from(backend: BackendRef) -> Self {
        let BackendRef {
            reference: BackendObjectReference { group, kind, name, namespace, port },
            weight,
        } = backend;
        Self { group, kind, name, namespace, port, weight }
    }
}

/// Refers to a Secret, usually with a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretObjectReference {
    /// Group of the target; default: core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target; default `Secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target; default: that of the referrer. Another one needs a ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl SecretObjectReference {
    /// The group after defaulting.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }

    /// The kind after defaulting.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Secret")
    }

    /// The namespace after defaulting.
    #[must_use]
    pub fn namespace<'a>(&'a self, own_namespace: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own_namespace)
    }
}

/// Refers to any object; group, kind and name are required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectReference {
    /// Group of the target; `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target; default: that of the referrer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl ObjectReference {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }

    /// The namespace after defaulting.
    #[must_use]
    pub fn namespace<'a>(&'a self, own_namespace: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own_namespace)
    }
}

/// Refers to an object in the namespace of the referrer; group, kind and name are required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// Group of the target; `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
}

impl LocalObjectReference {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}

/// Refers from a cluster-scoped class to its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ParametersReference {
    /// Group of the target; `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target; required if its kind is namespaced, else forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl ParametersReference {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}

/// Refers from a policy to what it applies to, in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalPolicyTargetReference {
    /// Group of the target; `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
}

impl LocalPolicyTargetReference {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}

/// Refers from a policy to an object or a section of it, in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalPolicyTargetReferenceWithSectionName {
    /// Group of the target; `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Section of the target: the listener of a Gateway, the port name of a Service. Default: the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl LocalPolicyTargetReferenceWithSectionName {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(
        group: Option<&str>,
        kind: Option<&str>,
        namespace: Option<&str>,
        name: &str,
    ) -> ParentReference {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        ParentReference {
            group: owned(group),
            kind: owned(kind),
            namespace: owned(namespace),
            name: name.to_owned(),
            ..ParentReference::default()
        }
    }

    #[test]
    fn parents_are_equal_after_defaulting() {
        let short = parent(None, None, None, "gw");
        let long = parent(Some("gateway.networking.k8s.io"), Some("Gateway"), Some("shop"), "gw");
        assert!(short.same_as(&long, "shop"));
        assert!(!short.same_as(&long, "other"));
        let core = parent(Some(""), Some("Gateway"), None, "gw");
        assert!(!short.same_as(&core, "shop"));
        let section = ParentReference { section_name: Some("web".into()), ..short.clone() };
        assert!(!short.same_as(&section, "shop"));
        assert!(short.same_parent_as(&section, "shop"));
        assert_eq!(short.defaulted("shop"), long);
    }
}
