//! Gateways, ListenerSets and grants.

use serde_json::{Value, json};

use super::{Bytes, HOSTNAMES, NAMESPACES, metadata, put};

/// A parent that routes may name.
pub(super) struct Parent {
    pub(super) kind: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: String,
}

pub(super) fn gateways(bytes: &mut Bytes<'_>, objects: &mut Vec<Value>) -> Vec<Parent> {
    let mut parents = Vec::new();
    for place in 0..=bytes.below(3) {
        let (namespace, name) = (bytes.pick(&["default", "web"]), format!("g{place}"));
        let mut gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": metadata(bytes, namespace, &name),
            "spec": {
                "gatewayClassName": if bytes.one_in(16) { "theirs" } else { "gateway" },
                "listeners": listeners(bytes, true),
            },
        });
        if !bytes.one_in(3) {
            let from = namespaces(bytes, &["All", "Same", "Selector", "None"]);
            gateway["spec"]["allowedListeners"] = json!({"namespaces": from});
        }
        objects.push(gateway);
        parents.push(Parent { kind: "Gateway", namespace, name });
    }
    let gateways = parents.len();
    for place in 0..bytes.below(3) {
        let (namespace, name) = (bytes.pick(&NAMESPACES), format!("s{place}"));
        let of = &parents[bytes.below(gateways)];
        objects.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "ListenerSet",
            "metadata": metadata(bytes, namespace, &name),
            "spec": {
                "parentRef": {"name": of.name, "namespace": of.namespace},
                "listeners": listeners(bytes, false),
            },
        }));
        parents.push(Parent { kind: "ListenerSet", namespace, name });
    }
    grants(bytes, objects);
    parents
}

/// Listeners of one object. HTTP has the ports 80 and 81, HTTPS 443. A protocol on a foreign port
/// occurs only beside the listener that it clashes with, so that other Gateways are not concerned.
fn listeners(bytes: &mut Bytes<'_>, of_gateway: bool) -> Vec<Value> {
    let mut list: Vec<Value> = Vec::new();
    for place in 0..=bytes.below(4) {
        let (protocol, port) = match bytes.below(16) {
            0..=8 => ("HTTP", 80),
            9..=11 => ("HTTP", 81),
            12 | 13 => ("HTTPS", 443),
            14 => ("TLS", 443),
            _ if of_gateway && list.iter().any(|it| it["port"] == 80) => ("TCP", 80),
            _ => ("SCTP", 82),
        };
        let mut hostname = bytes.pick(&HOSTNAMES);
        // The schema refuses listeners of one object that are equal in port, protocol and hostname.
        if list.iter().any(|it| {
            it["port"] == port && it["protocol"] == protocol && it["hostname"] == hostname
        }) {
            hostname = ["c.x", "d.x", "e.x", "f.x"][place];
        }
        let hostname = if protocol == "TCP" { "" } else { hostname };
        let mut listener = json!({
            "name": format!("l{place}"), "port": port, "protocol": protocol,
            "hostname": hostname,
        });
        if hostname.is_empty()
            && let Some(fields) = listener.as_object_mut()
            && !list.iter().any(|it| it["port"] == port && it.get("hostname").is_none())
        {
            fields.remove("hostname");
        } else if hostname.is_empty() {
            listener["hostname"] = json!(["g.x", "h.x", "i.x", "j.x"][place]);
        }
        if port == 443 {
            let secret = bytes.pick(&["cert", "cert", "cert", "missing"]);
            listener["tls"] = json!({"mode": "Terminate",
                "certificateRefs": [{"name": secret, "namespace": "default"}]});
        }
        if bytes.one_in(2) {
            let mut allowed = json!({});
            put(&mut allowed, "namespaces", namespaces(bytes, &["All", "Same", "Selector"]));
            let kinds: &[&str] = bytes.pick(&[&[][..], &[], &["HTTPRoute"], &["GRPCRoute"]]);
            let kinds: Vec<_> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
            put(&mut allowed, "kinds", kinds);
            listener["allowedRoutes"] = allowed;
        }
        list.push(listener);
    }
    list
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
        if bytes.one_in(2) {
            continue;
        }
        let kind = bytes.pick(&["HTTPRoute", "GRPCRoute", "Gateway", "ListenerSet"]);
        let from = bytes.pick(&NAMESPACES);
        let target = if kind.ends_with("Route") { "Service" } else { "Secret" };
        let mut to = json!({"group": "", "kind": target});
        put(&mut to, "name", bytes.pick(&["", "v1", "w1", "cert"]));
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
