//! What became of a Gateway's objects: whether its pods serve, and at which addresses.
//!
//! In: the Deployment and the Service as the cluster has them. Out: [`Provision`]. Not here: sockets
//! in the pods, of which the pods tell themselves.

use std::collections::BTreeSet;

use gateway_core::api::{AddressType, Gateway, GatewayStatusAddress};
use serde_json::Value;

/// What is known of a Gateway's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provision {
    /// Why it is not served yet; none if it is.
    pub unready: Option<String>,
    /// The addresses of the Service.
    pub addresses: Vec<GatewayStatusAddress>,
    /// Addresses that the Gateway asks for and does not have.
    pub missing: Vec<String>,
}

/// Looks at a Gateway's Service. `nodes` are the addresses of nodes, for Services of type NodePort.
pub(super) fn provision(
    gateway: &Gateway,
    service: Option<&Value>,
    nodes: &BTreeSet<String>,
) -> Provision {
    let addresses = service.map_or_else(Vec::new, |service| addresses(service, nodes));
    let asked = gateway.spec.addresses.iter().filter_map(|address| {
        let value = address.value.as_deref().filter(|value| !value.is_empty())?;
        let has = addresses.iter().any(|has| is_same(value, &has.value));
        (!has).then(|| value.to_owned())
    });
    Provision { unready: None, missing: asked.collect(), addresses }
}

/// Whether two texts are one address: IPv6 has several spellings, host names have two cases.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    match (one.parse::<std::net::IpAddr>(), other.parse::<std::net::IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Why the pods of a Gateway do not serve it yet.
pub(super) fn no_pod(deployment: Option<&Value>) -> Option<String> {
    let Some(deployment) = deployment else {
        return Some("the Deployment of the Gateway is not there yet".to_owned());
    };
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    if deployment["spec"]["replicas"].as_i64() == Some(0) {
        return Some(format!("the Deployment {name} is scaled to 0 pods"));
    }
    if deployment["status"]["availableReplicas"].as_i64().unwrap_or(0) > 0 {
        return None;
    }
    // The Deployment's own words, such as a quota that is used up or a progress deadline.
    let conditions = deployment["status"]["conditions"].as_array();
    let wrong = conditions.into_iter().flatten().find(|condition| {
        let (kind, status) = (condition["type"].as_str(), condition["status"].as_str());
        (kind, status) == (Some("ReplicaFailure"), Some("True"))
            || (kind, status) == (Some("Progressing"), Some("False"))
    });
    let message = wrong.and_then(|condition| condition["message"].as_str());
    let told = message.map_or_else(String::new, |message| format!(": {message}"));
    Some(format!("no pod of the Deployment {name} is available yet{told}"))
}

/// Why a Service does not lead to a Gateway yet.
pub(super) fn no_service(namespace: &str, name: &str, service: Option<&Value>) -> Option<String> {
    service.is_none().then(|| format!("the Service {namespace}/{name} is not there yet"))
}

fn addresses(service: &Value, nodes: &BTreeSet<String>) -> Vec<GatewayStatusAddress> {
    let ip = |value: &str| address(AddressType::IpAddress, value);
    match service["spec"]["type"].as_str() {
        Some("LoadBalancer") => {
            let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
            let entries = ingress.into_iter().flatten().filter_map(|entry| {
                let host = entry["hostname"].as_str().filter(|host| !host.is_empty());
                match entry["ip"].as_str().filter(|ip| !ip.is_empty()) {
                    Some(address) => Some(ip(address)),
                    None => host.map(|host| address(AddressType::Hostname, host)),
                }
            });
            entries.collect()
        }
        Some("NodePort") => nodes.iter().map(|node| ip(node)).collect(),
        _ => {
            let ips = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
            ips.filter_map(Value::as_str).filter(|address| *address != "None").map(ip).collect()
        }
    }
}

fn address(kind: AddressType, value: &str) -> GatewayStatusAddress {
    GatewayStatusAddress { kind: Some(kind), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_core::api::{AddressType, Gateway, GatewaySpecAddress};
    use serde_json::{Value, json};

    use super::{no_pod, provision};

    #[track_caller]
    fn check(asked: &[&str], service: &Value, expect: &[&str], missing: &[&str]) {
        let mut gateway = Gateway::new("infra", "public");
        gateway.spec.addresses = asked
            .iter()
            .map(|value| GatewaySpecAddress {
                kind: Some(AddressType::IpAddress),
                value: Some((*value).to_owned()),
            })
            .collect();
        let nodes = BTreeSet::from(["192.0.2.9".to_owned()]);
        let seen = provision(&gateway, Some(service), &nodes);
        let text = |address: &gateway_core::api::GatewayStatusAddress| {
            format!(
                "{} {}",
                address.kind.as_ref().expect("the kind is always written"),
                address.value
            )
        };
        assert_eq!(seen.addresses.iter().map(text).collect::<Vec<_>>(), expect);
        assert_eq!(seen.missing, missing);
    }

    #[test]
    fn addresses_come_from_where_the_service_has_them() {
        let balanced = |ingress: Value| {
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]},
                "status": {"loadBalancer": {"ingress": ingress}}})
        };
        check(&[], &balanced(json!(null)), &[], &[]);
        let both = json!([{"ip": "203.0.113.1"}, {"hostname": "lb.example.net"}, {}]);
        check(&[], &balanced(both), &["IPAddress 203.0.113.1", "Hostname lb.example.net"], &[]);
        let v6 = balanced(json!([{"ip": "fd00:0::1"}]));
        check(&["fd00::1", "fd00::2"], &v6, &["IPAddress fd00:0::1"], &["fd00::2"]);
        let inside = json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.1", "None"]}});
        check(&[], &inside, &["IPAddress 10.96.0.1"], &[]);
        check(&[], &json!({"spec": {"type": "NodePort"}}), &["IPAddress 192.0.2.9"], &[]);
        check(&["10.0.0.1"], &json!({}), &[], &["10.0.0.1"]);
    }

    #[track_caller]
    fn unready(deployment: Option<&Value>, expect: Option<&str>) {
        assert_eq!(no_pod(deployment).as_deref(), expect);
    }

    #[test]
    fn one_available_pod_is_enough() {
        unready(None, Some("the Deployment of the Gateway is not there yet"));
        let with = |replicas: i64, status: Value| json!({"metadata": {"name": "a"}, "spec": {"replicas": replicas}, "status": status});
        unready(Some(&with(2, json!({}))), Some("no pod of the Deployment a is available yet"));
        unready(Some(&with(2, json!({"availableReplicas": 1}))), None);
        unready(Some(&with(0, json!({}))), Some("the Deployment a is scaled to 0 pods"));
        let failing = json!({"conditions": [
            {"type": "Available", "status": "False", "message": "minimum not available"},
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
        ]});
        let told = "no pod of the Deployment a is available yet: exceeded quota";
        unready(Some(&with(2, failing)), Some(told));
    }
}
