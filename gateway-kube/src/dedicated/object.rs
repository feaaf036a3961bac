//! Objects that are created for Gateways, as the API server takes them.
//!
//! In: what `objects` and `workload` put together. Out: [`Object`]s with their kinds. Not here: what
//! is in them, and how they are applied.

use std::fmt;

use gateway_core::api::{GATEWAY_GROUP, Gateway, Kind};
use kube::core::ApiResource;
use serde_json::{Map, Value, json};

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $group:literal, $version:literal, $plural:literal;)+) => {
        /// The kinds of objects that are created for a Gateway, in the order in which they are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ObjectKind {
            $($(#[$meta])* $kind,)+
        }

        impl ObjectKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The kind as Kubernetes spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)+ }
            }

            /// Its API group; empty for the core group.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)+ }
            }

            /// The version in use.
            #[must_use]
            pub const fn version(self) -> &'static str {
                match self { $(Self::$kind => $version,)+ }
            }

            /// Its name in URLs and in RBAC rules.
            #[must_use]
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)+ }
            }
        }
    };
}

kinds! {
    /// Who the pods are.
    ServiceAccount = "", "v1", "serviceaccounts";
    /// The authority by which the pods know the controller.
    ConfigMap = "", "v1", "configmaps";
    /// The pods.
    Deployment = "apps", "v1", "deployments";
    /// The way to the pods.
    Service = "", "v1", "services";
    /// How many pods may be taken away at a time.
    PodDisruptionBudget = "policy", "v1", "poddisruptionbudgets";
    /// How the number of pods follows the load.
    HorizontalPodAutoscaler = "autoscaling", "v2", "horizontalpodautoscalers";
    /// The addresses behind a Service without pods.
    EndpointSlice = "discovery.k8s.io", "v1", "endpointslices";
}

impl ObjectKind {
    /// Group and version as in `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    pub(crate) fn resource(self) -> ApiResource {
        ApiResource {
            group: self.group().to_owned(),
            version: self.version().to_owned(),
            api_version: self.api_version(),
            kind: self.as_str().to_owned(),
            plural: self.plural().to_owned(),
        }
    }
}

/// Identity of a created object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Who it is.
    pub id: ObjectId,
    /// All fields that we say something about, and no others.
    pub body: Value,
}

impl Object {
    /// An object of a Gateway, beside it and owned by it. Puts `fields` beside type and metadata.
    /// `metadata` has at least labels.
    pub(crate) fn new(
        kind: ObjectKind,
        gateway: &Gateway,
        name: &str,
        metadata: &Value,
        fields: Value,
    ) -> Self {
        let mut metadata = metadata.clone();
        metadata["ownerReferences"] = json!([owner(gateway)]);
        Self::unowned(kind, (&gateway.metadata.namespace, name), metadata, fields)
    }

    /// An object in some namespace, of some name. Only those of one namespace can own each other.
    pub(crate) fn unowned(
        kind: ObjectKind,
        (namespace, name): (&str, &str),
        mut metadata: Value,
        fields: Value,
    ) -> Self {
        let mut all = Map::new();
        all.insert("apiVersion".to_owned(), kind.api_version().into());
        all.insert("kind".to_owned(), kind.as_str().into());
        metadata["name"] = name.into();
        metadata["namespace"] = namespace.into();
        all.insert("metadata".to_owned(), metadata);
        if let Value::Object(fields) = fields {
            all.extend(fields);
        }
        let id = ObjectId { kind, namespace: namespace.into(), name: name.into() };
        Self { id, body: Value::Object(all) }
    }
}

/// What makes Kubernetes remove an object along with its Gateway.
fn owner(gateway: &Gateway) -> Value {
    json!({
        "apiVersion": format!("{GATEWAY_GROUP}/v1"),
        "kind": Kind::Gateway.as_str(),
        "name": gateway.metadata.name,
        "uid": gateway.metadata.uid.as_deref().unwrap_or_default(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
