//! ReferenceGrant: permission for references that leave their namespace.

use serde::{Deserialize, Serialize};

use super::meta::{CORE_GROUP, ObjectMeta};

/// Allows objects of other namespaces to refer to objects of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// Name and namespace; the namespace is that of the targets.
    pub metadata: ObjectMeta,
    /// What is allowed.
    pub spec: ReferenceGrantSpec,
}

/// What a ReferenceGrant allows: anything in `from` may refer to anything in `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Who may refer, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<ReferenceGrantFrom>,
    /// What may be referred to, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    /// Group of the referrers; required, `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the referrers.
    pub kind: String,
    /// Namespace of the referrers.
    pub namespace: String,
}

impl ReferenceGrantFrom {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}

/// Objects that may be referred to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    /// Group of the targets; required, `""` is core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the targets.
    pub kind: String,
    /// Name of the target; default: all of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ReferenceGrantTo {
    /// The group; a missing one reads as core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(CORE_GROUP)
    }
}
