//! Objects as the API server sends them.
//!
//! In: JSON of any shape. Out: [`Read`]: a resource without what nobody looks at, and beside it the
//! [`Version`] that a status is written against. Not here: whether the object makes sense.

use gateway_core::api::{Kind, ObjectKey, Resource};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::unreadable::{self, Unreadable};

/// Annotations that repeat the object.
const REPEATED: &[&str] = &["kubectl.kubernetes.io/last-applied-configuration"];

/// What an object came to.
#[derive(Debug)]
pub(crate) enum Read {
    /// It can be read.
    Whole(Box<Resource>, Version),
    /// It cannot.
    Unreadable(Box<Unreadable>),
}

/// The stored form of an object as far as its status goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// Opaque; a write names it, so that it fails if somebody else wrote since.
    pub(crate) resource_version: String,
    /// Counts changes of the spec.
    pub(crate) generation: Option<i64>,
    /// The status as JSON text; empty if there is none. Text takes a fraction of the memory of a
    /// tree, and keeps what we do not know.
    pub(crate) status: Box<str>,
}

impl Version {
    /// Of an object as it was sent.
    pub(crate) fn of(object: &DynamicObject) -> Self {
        let status = object.data.get("status").filter(|status| !status.is_null());
        Self {
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            generation: object.metadata.generation,
            status: status.map(Value::to_string).unwrap_or_default().into(),
        }
    }

    /// Whether it was stored before `other`; never if the API server counts in a way of its own.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        let count = |of: &Self| of.resource_version.parse::<u64>();
        matches!((count(self), count(other)), (Ok(this), Ok(that)) if this < that)
    }

    /// The status; null if there is none.
    pub(crate) fn status(&self) -> Value {
        // INVARIANT: the text was made from a value.
        serde_json::from_str(&self.status).unwrap_or_default()
    }
}

/// The identity of an object.
pub(crate) fn key(kind: Kind, object: &DynamicObject) -> ObjectKey {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    ObjectKey::new(kind, namespace, object.metadata.name.as_deref().unwrap_or_default())
}

/// Reads an object of `kind`.
pub(crate) fn read(kind: Kind, mut object: DynamicObject) -> Read {
    let version = if has_status(kind) { Version::of(&object) } else { Version::default() };
    let key = key(kind, &object);
    let metadata = &mut object.metadata;
    metadata.managed_fields = None;
    // The snapshot keeps neither: a status is no input, and each write of it changes the version.
    metadata.resource_version = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| !REPEATED.contains(&name.as_str()));
    }
    // INVARIANT: metadata was read from JSON.
    let metadata = serde_json::to_value(&object.metadata).unwrap_or_else(|_| json!({}));
    let mut data = object.data;
    if let Value::Object(fields) = &mut data {
        fields.remove("status");
        fields.insert("metadata".to_owned(), metadata);
    }
    drop_nulls(&mut data);
    match Resource::deserialize(kind, &data) {
        Ok(resource) => Read::Whole(Box::new(resource), version),
        Err(error) => Read::Unreadable(Box::new(unreadable::examine(key, version, &data, &error))),
    }
}

/// A field that is null says the same as one that is missing. The API server sends empty lists so.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Whether we write the status of objects of this kind.
pub(crate) fn has_status(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GatewayClass
            | Kind::Gateway
            | Kind::ListenerSet
            | Kind::HttpRoute
            | Kind::GrpcRoute
            | Kind::TlsRoute
            | Kind::TcpRoute
            | Kind::UdpRoute
            | Kind::BackendTlsPolicy
            | Kind::XBackendTrafficPolicy
    )
}

#[cfg(test)]
mod tests {
    use gateway_core::api::{Kind, Resource};
    use kube::core::DynamicObject;
    use serde_json::{Value, json};

    use super::{Read, read};

    fn sent(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("the object has metadata")
    }

    #[test]
    fn what_nobody_looks_at_is_dropped_and_the_status_is_kept_apart() {
        let object = sent(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "namespace": "shop",
                "name": "cart",
                "generation": 3,
                "resourceVersion": "17",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "note": "kept",
                },
            },
            "spec": {"hostnames": ["shop.example.com"], "unknown": {"a": 1}},
            "status": {"parents": [], "unknown": 1},
        }));
        let Read::Whole(resource, version) = read(Kind::HttpRoute, object) else {
            panic!("the route can be read");
        };
        let Resource::HttpRoute(route) = *resource else { panic!("it is a route") };
        assert_eq!(route.spec.hostnames, ["shop.example.com"]);
        assert_eq!(route.metadata.annotations.keys().collect::<Vec<_>>(), ["note"]);
        assert_eq!((route.status, route.metadata.resource_version), (None, None));
        assert_eq!((&*version.resource_version, version.generation), ("17", Some(3)));
        assert_eq!(version.status(), json!({"parents": [], "unknown": 1}));
    }

    #[test]
    fn empty_lists_may_be_null() {
        let object = sent(json!({
            "metadata": {"namespace": "a", "name": "b", "labels": null},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"], "conditions": null}],
            "ports": null,
        }));
        let Read::Whole(resource, _) = read(Kind::EndpointSlice, object) else {
            panic!("the slice can be read");
        };
        let Resource::EndpointSlice(slice) = *resource else { panic!("it is a slice") };
        assert_eq!((slice.endpoints.len(), slice.ports.len()), (1, 0));
    }

    #[test]
    fn hostile_shapes_are_unreadable_and_nothing_worse() {
        for spec in [json!({"rules": 7}), json!({"hostnames": {"a": []}}), json!([1])] {
            let object = sent(json!({"metadata": {"namespace": "a", "name": "b"}, "spec": spec}));
            let Read::Unreadable(found) = read(Kind::HttpRoute, object) else {
                panic!("{spec} cannot be read");
            };
            assert_eq!(found.key.to_string(), "HTTPRoute a/b");
            let error = &found.fault.error;
            assert!(error.contains("invalid type") && error.starts_with("spec"), "{error}");
        }
    }
}
