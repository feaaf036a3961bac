//! Gateways, ListenerSets and grants.

use serde_json::{Value, json};

use super::{Bytes, HOSTNAMES, NAMESPACES, metadata, put};

/// A parent that routes may name.
pub(super) struct Parent {
    pub(super) kind: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: String,
    /// The place of the Gateway that gets its listeners.
    pub(super) gateway: usize,
    /// Whether over TLS, and the port, for each of its listeners.
    pub(super) doors: Vec<(bool, u64)>,
}

pub(super) fn gateways(bytes: &mut Bytes<'_>, objects: &mut Vec<Value>) -> Vec<Parent> {
    let mut parents = Vec::new();
    for place in 0..bytes.pick(&[1, 1, 2, 3]) {
        let (namespace, name) = (bytes.pick(&["default", "web"]), format!("g{place}"));
        let listeners = listeners(bytes);
        let doors = doors(&listeners);
        let mut spec = json!({
            "gatewayClassName": if bytes.one_in(32) { "theirs" } else { "gateway" },
            "listeners": listeners,
        });
        if !bytes.one_in(8) {
            let from = namespaces(bytes, &["All", "All", "All", "All", "Same", "Selector", "None"]);
            spec["allowedListeners"] = json!({"namespaces": from});
        }
        objects.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": metadata(bytes, namespace, &name),
            "spec": spec,
        }));
        parents.push(Parent { kind: "Gateway", namespace, name, gateway: place, doors });
    }
    let gateways = parents.len();
    for place in 0..bytes.below(3) {
        let (namespace, name) = (bytes.pick(&NAMESPACES), format!("s{place}"));
        let gateway = bytes.below(gateways);
        let of = &parents[gateway];
        let parent = json!({"name": of.name, "namespace": of.namespace});
        let listeners = listeners(bytes);
        let doors = doors(&listeners);
        objects.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "ListenerSet",
            "metadata": metadata(bytes, namespace, &name),
            "spec": {"parentRef": parent, "listeners": listeners},
        }));
        parents.push(Parent { kind: "ListenerSet", namespace, name, gateway, doors });
    }
    grants(bytes, objects);
    parents
}

/// Listeners of one object: mostly HTTP on one port, so that they collide.
fn listeners(bytes: &mut Bytes<'_>) -> Vec<Value> {
    let mut list = Vec::new();
    for place in 0..=bytes.below(4) {
        let listener = listener(bytes, place, &list);
        list.push(listener);
    }
    list
}

fn listener(bytes: &mut Bytes<'_>, place: usize, before: &[Value]) -> Value {
    let (protocol, port) = match bytes.below(48) {
        0..=30 => ("HTTP", 80),
        31..=36 => ("HTTP", 81),
        37..=44 => ("HTTPS", 443),
        45 => ("TLS", 443),
        46 if before.iter().all(|it| it["protocol"] != "TCP") => ("TCP", 80),
        _ => ("SCTP", 82),
    };
    let hostname = match protocol {
        "TCP" => "",
        _ if !bytes.one_in(3) => "",
        _ => bytes.pick(&HOSTNAMES),
    };
    let mut listener = json!({"name": format!("l{place}"), "port": port, "protocol": protocol});
    put(&mut listener, "hostname", hostname);
    // The schema refuses listeners of one object that are equal in port, protocol and hostname.
    let equal = |it: &Value| {
        ["port", "protocol", "hostname"].iter().all(|key| it.get(key) == listener.get(key))
    };
    if before.iter().any(equal) {
        listener["hostname"] = json!(format!("l{place}.x"));
    }
    if port == 443 {
        let secret = bytes.pick(&["cert", "cert", "cert", "cert", "cert", "missing"]);
        let mut reference = json!({"name": secret});
        put(&mut reference, "namespace", bytes.pick(&["", "", "", "default"]));
        listener["tls"] = json!({"mode": "Terminate", "certificateRefs": [reference]});
    }
    let mut allowed = json!({});
    put(
        &mut allowed,
        "namespaces",
        namespaces(bytes, &["All", "All", "All", "All", "All", "Same", "Selector"]),
    );
    let any: &[&str] = &[];
    let kinds = bytes.pick(&[any, any, any, any, any, any, any, &["HTTPRoute"], &["GRPCRoute"]]);
    let kinds: Vec<_> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
    put(&mut allowed, "kinds", kinds);
    if !bytes.one_in(8) {
        listener["allowedRoutes"] = allowed;
    }
    listener
}

/// Protocols and ports of `listeners`.
fn doors(listeners: &[Value]) -> Vec<(bool, u64)> {
    let door = |it: &Value| (it["protocol"] != "HTTP", it["port"].as_u64().unwrap_or(80));
    listeners.iter().map(door).collect()
}

fn namespaces(bytes: &mut Bytes<'_>, from: &[&str]) -> Value {
    let from = bytes.pick(from);
    if from != "Selector" {
        return json!({"from": from});
    }
    let expression = |operator: &str, values: &[&str]| {
        let mut expression = json!({"key": "team", "operator": operator});
        put(&mut expression, "values", values);
        json!({"matchExpressions": [expression]})
    };
    let selector = match bytes.below(6) {
        0 => json!({"matchLabels": {"team": "web"}}),
        1 => json!({"matchLabels": {"kubernetes.io/metadata.name": "app"}}),
        2 => json!({}),
        3 => expression("In", &["web", "app"]),
        4 => expression("NotIn", &["web"]),
        _ => expression("DoesNotExist", &[]),
    };
    json!({"from": from, "selector": selector})
}

fn grants(bytes: &mut Bytes<'_>, objects: &mut Vec<Value>) {
    for (place, namespace) in NAMESPACES.into_iter().enumerate() {
        if bytes.one_in(6) {
            continue;
        }
        let kinds = ["HTTPRoute", "HTTPRoute", "GRPCRoute", "Gateway", "ListenerSet"];
        let kind = bytes.pick(&kinds);
        let from = bytes.pick(&["default", "default", "web", "app"]);
        let target = if kind.ends_with("Route") { "Service" } else { "Secret" };
        let mut to = json!({"group": "", "kind": target});
        put(&mut to, "name", bytes.pick(&["", "", "v1", "w1", "cert"]));
        objects.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"namespace": namespace, "name": format!("grant{place}")},
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": from}],
                "to": [to],
            },
        }));
    }
}
