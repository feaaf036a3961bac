//! The whole way from lists and watches to statuses, against an API server in memory. Time is that
//! of the runtime and passes by itself whenever nothing else is to be done.

mod fake;
mod plane;
mod running;

mod addresses;
mod bad_input;
mod balanced;
mod cached;
mod dedicated;
mod election;
mod status;
mod watching;

use serde_json::{Value, json};

pub(crate) const CLASSES: &str = "gateway.networking.k8s.io/gatewayclasses";
pub(crate) const GATEWAYS: &str = "gateway.networking.k8s.io/gateways";
pub(crate) const LISTENER_SETS: &str = "gateway.networking.k8s.io/listenersets";
pub(crate) const ROUTES: &str = "gateway.networking.k8s.io/httproutes";
pub(crate) const US: &str = "example.net/us";

/// A class of ours.
pub(crate) fn class() -> Value {
    json!({"metadata": {"name": "ours"}, "spec": {"controllerName": US}})
}

/// A Gateway with one listener.
pub(crate) fn gateway(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "gatewayClassName": "ours",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    })
}

/// A route of a Gateway, without backends.
pub(crate) fn route(name: &str, gateway: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "parentRefs": [{"name": gateway}],
            "rules": [{"filters": [{
                "type": "RequestRedirect",
                "requestRedirect": {"hostname": "example.com"},
            }]}],
        },
    })
}

/// The condition of a type.
pub(crate) fn condition<'v>(conditions: &'v Value, kind: &str) -> &'v Value {
    let mut all = conditions.as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
