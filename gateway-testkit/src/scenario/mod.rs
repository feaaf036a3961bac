//! Resources and requests made from bytes: one generator for properties, fuzzing and benches.
//!
//! In: any bytes; each decision takes one, and where they end the plainest choice is made. Out: a
//! small world in which everything collides, because there are only a few hosts, paths, headers
//! and names. What the schema refuses is not made, and neither is what the specification leaves
//! open: two Gateways that use one port for different protocols, or shares of mirrored requests.

mod bytes;
mod gateways;
mod reduce;
mod requests;
mod routes;

use gateway_core::api::Resource;
use serde_json::{Value, json};

pub use bytes::bytes_of_seed;

use self::bytes::Bytes;
use crate::corpus::{Request, case};

/// Resources and the requests to try on them.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The objects, in no order.
    pub resources: Vec<Resource>,
    /// The requests.
    pub requests: Vec<Request>,
}

impl Scenario {
    /// The scenario of `bytes`, with so many requests.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], requests: usize) -> Self {
        let mut bytes = Bytes::new(bytes);
        let mut objects = fixed_objects();
        let shape = gateways::gateways(&mut bytes, &mut objects);
        routes::routes(&mut bytes, &shape, &mut objects);
        let read =
            |value: Value| case::resource(value).expect("the generator writes valid objects");
        Self {
            resources: objects.into_iter().map(read).collect(),
            requests: (0..requests).map(|_| requests::request(&mut bytes, &shape)).collect(),
        }
    }

    /// The scenario as a case of the golden corpus, ready to get a comment and an outcome.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for resource in &self.resources {
            match serde_saphyr::to_string(resource) {
                Ok(document) => text.push_str(&document),
                Err(error) => text.push_str(&format!("# {error}\n")),
            }
            text.push_str("---\n");
        }
        text.push_str("requests:\n");
        for request in &self.requests {
            text.push_str(&format!("- {request}\n"));
        }
        text
    }
}

/// The class, namespaces with labels, and backends.
fn fixed_objects() -> Vec<Value> {
    let class = |name: &str, controller: &str| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": name}, "spec": {"controllerName": controller}})
    };
    let namespace = |name: &str, team: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"team": team}}})
    };
    let service = |namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "http", "port": 8080}]}})
    };
    let pem = |what: &str| format!("-----BEGIN {what}-----\nAA==\n-----END {what}-----\n");
    let certificate = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "cert", "namespace": namespace},
            "stringData": {"tls.crt": pem("CERTIFICATE"), "tls.key": pem("PRIVATE KEY")}})
    };
    vec![
        class("gateway", crate::reference::CONTROLLER),
        class("theirs", "other.example/controller"),
        namespace("default", "core"),
        namespace("web", "web"),
        namespace("app", "app"),
        service("default", "v1"),
        service("default", "v2"),
        service("web", "w1"),
        service("app", "a1"),
        certificate("default"),
        certificate("web"),
        certificate("app"),
    ]
}

const NAMESPACES: [&str; 3] = ["default", "web", "app"];
const HOSTNAMES: [&str; 7] = ["", "a.x", "*.x", "b.a.x", "*.a.x", "x", "*.y"];
const TIMES: [&str; 3] = ["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];

/// Metadata with perhaps a time of creation.
fn metadata(bytes: &mut Bytes<'_>, namespace: &str, name: &str) -> Value {
    match bytes.pick(&TIMES) {
        "" => json!({"namespace": namespace, "name": name}),
        time => json!({"namespace": namespace, "name": name, "creationTimestamp": time}),
    }
}

/// Sets `object[key]` unless `value` is empty or null.
fn put(object: &mut Value, key: &str, value: impl Into<Value>) {
    let value = value.into();
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if !is_empty {
        object[key] = value;
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{
        diagnostic::Severity,
        validate::{Schema, validate},
    };

    use super::{Scenario, bytes_of_seed};
    use crate::reference::{Reference, Verdict};

    #[test]
    fn every_byte_string_is_a_scenario() {
        assert_eq!(Scenario::from_bytes(&[], 3).requests.len(), 3);
        for seed in 0..50 {
            let scenario = Scenario::from_bytes(&bytes_of_seed(seed, 2000), 5);
            assert!(scenario.to_yaml().contains("kind: HTTPRoute"));
        }
    }

    #[test]
    fn the_schema_takes_every_object() {
        for seed in 0..50 {
            let scenario = Scenario::from_bytes(&bytes_of_seed(seed, 3000), 0);
            for resource in &scenario.resources {
                let mut findings = validate(resource, Schema::default());
                findings.retain(|finding| finding.severity == Severity::Error);
                assert!(findings.is_empty(), "{findings:?}\n{}", scenario.to_yaml());
            }
        }
    }

    #[test]
    fn many_requests_reach_a_backend() {
        let (mut requests, mut reached, mut chosen) = (0, 0, 0);
        for seed in 0..100 {
            let scenario = Scenario::from_bytes(&bytes_of_seed(seed, 3000), 50);
            let reference = Reference::new(&scenario.resources);
            for request in &scenario.requests {
                requests += 1;
                if let Verdict::Shares(shares) = reference.verdict(request) {
                    reached += 1;
                    chosen += usize::from(shares.len() > 1);
                }
            }
        }
        assert!(reached * 5 > requests, "{reached} of {requests} find a rule with backends");
        assert!(chosen * 20 > requests, "{chosen} of {requests} have several backends");
    }
}
