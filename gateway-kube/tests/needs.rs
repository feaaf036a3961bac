//! A data plane that knows what its Gateway needs serves what one serves that knows everything.

use std::collections::BTreeMap;

use gateway_core::{
    api::{Gateway, Kind, ObjectKey, Resource},
    build::build,
    resolve::topology::{Attachment, Topology},
    scope::ControllerScope,
    snapshot::Snapshot,
};
use gateway_kube::config_stream::needs;
use gateway_testkit::{
    corpus,
    scenario::{Scenario, bytes_of_seed},
};

/// What is served of a Gateway, so that two topologies can be compared.
#[derive(Debug, Default, PartialEq)]
struct Served {
    listeners: Vec<String>,
    routes: BTreeMap<ObjectKey, (Vec<String>, Vec<String>)>,
}

fn served(topology: &Topology, gateway: &ObjectKey) -> Served {
    let listeners = topology.listeners.iter().filter(|listener| listener.gateway == *gateway);
    let at = |attachment: &Attachment| {
        let place = usize::try_from(attachment.listener.0).expect("it fits");
        let listener = &topology.listeners[place];
        let text = format!("{} {} {:?}", listener.owner, listener.name, attachment.hostnames);
        (listener.gateway == *gateway).then_some(text)
    };
    let routes = topology.routes.values().filter_map(|route| {
        let mut attached: Vec<String> = route.attachments.iter().filter_map(at).collect();
        attached.sort();
        let rules = route.rules.iter().map(|rule| plain(&format!("{rule:?}")));
        (!attached.is_empty()).then(|| (route.key.clone(), (attached, rules.collect())))
    });
    let routes = routes.collect();
    Served { listeners: listeners.map(|listener| format!("{listener:?}")).collect(), routes }
}

/// Why a backend is invalid may differ, since what it refers to is not sent.
fn plain(rule: &str) -> String {
    [
        "InvalidKind",
        "NotFound",
        "NotPermitted",
        "UnsupportedProtocol",
        "InvalidFilter",
        "InvalidTls",
    ]
    .iter()
    .fold(rule.to_owned(), |text, why| text.replace(&format!("Err({why})"), "Err(_)"))
}

#[track_caller]
fn check(name: &str, snapshot: &Snapshot) -> usize {
    let all = build(snapshot, &ControllerScope::all().shared_sockets(false));
    let needs = needs(snapshot, &all.topology);
    for (gateway, needed) in &needs {
        let own = build(needed, &ControllerScope::all());
        assert_eq!(
            served(&own.topology, gateway),
            served(&all.topology, gateway),
            "{name}: {gateway}"
        );
        assert_eq!(needed.gateways().len(), 1, "{name}: {gateway}");
    }
    needs.len()
}

#[test]
fn the_corpus_is_served_the_same() {
    let cases = corpus::load().expect("the corpus can be read");
    let gateways: usize =
        cases.iter().map(|case| check(&case.name, &case.resources.iter().cloned().collect())).sum();
    assert!(gateways > 300, "{gateways}");
}

#[test]
fn made_up_clusters_are_served_the_same() {
    let gateways: usize = (0..300)
        .map(|seed| {
            let scenario = Scenario::from_bytes(&bytes_of_seed(seed, 400), 0);
            check(&format!("seed {seed}"), &scenario.resources.into_iter().collect())
        })
        .sum();
    assert!(gateways > 300, "{gateways}");
}

fn parse(text: &str) -> Snapshot {
    let read = |document: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
        let group = value["apiVersion"].as_str().and_then(|version| version.split_once('/'));
        let kind = Kind::find(group.map_or("", |(group, _)| group), value["kind"].as_str()?);
        Resource::deserialize(kind?, value).ok()
    };
    let documents = text.split("\n---\n").map(|one| read(one).expect("a known object"));
    documents.collect()
}

/// Two Gateways in the hands of different people, and what each must not see.
const SHOP: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: infra, name: shop}
spec:
  gatewayClassName: gateway
  addresses: [{type: IPAddress, value: 203.0.113.7}]
  infrastructure:
    parametersRef: {group: '', kind: ConfigMap, name: parameters}
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    tls:
      certificateRefs: [{name: shop}, {name: granted, namespace: other}, {name: guarded, namespace: other}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: infra, name: bank}
spec:
  gatewayClassName: gateway
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: bank}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {namespace: elsewhere, name: uninvited}
spec:
  parentRef: {name: shop, namespace: infra}
  listeners:
  - {name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: theirs}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {namespace: other, name: grant}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}]
  to: [{group: '', kind: Secret, name: granted}]
";

#[test]
fn no_gateway_gets_secrets_of_others() {
    let mut snapshot = parse(SHOP.trim());
    let secrets = [
        ("infra", "shop"),
        ("infra", "bank"),
        ("infra", "unused"),
        ("other", "granted"),
        ("other", "guarded"),
        ("elsewhere", "theirs"),
    ];
    for (namespace, name) in secrets {
        let secret = serde_json::json!({
            "metadata": {"namespace": namespace, "name": name, "annotations": {"note": "x"}},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": "eA==", "tls.key": "eA==", "password": "eA=="},
        });
        snapshot.insert(Resource::deserialize(Kind::Secret, secret).expect("a Secret"));
    }
    let topology = build(
        &snapshot,
        &ControllerScope::all()
            .shared_sockets(false)
            .parameters_check(std::sync::Arc::new(gateway_kube::dedicated::Check)),
    )
    .topology;
    let needs = needs(&snapshot, &topology);
    // The parameters do not exist, so `shop` is not served.
    assert_eq!(needs.len(), 1);

    let mut gateway: Gateway = (**snapshot.gateway("infra", "shop").expect("it is there")).clone();
    gateway.spec.infrastructure = None;
    snapshot.insert(gateway.into());
    let topology = build(&snapshot, &ControllerScope::all().shared_sockets(false)).topology;
    let needs = gateway_kube::config_stream::needs(&snapshot, &topology);
    let of = |name: &str| {
        let needed = &needs[&ObjectKey::new(Kind::Gateway, "infra", name)];
        needed.secrets().keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("shop"), ["Secret infra/shop", "Secret other/granted"]);
    assert_eq!(of("bank"), ["Secret infra/bank"]);
    let shop = &needs[&ObjectKey::new(Kind::Gateway, "infra", "shop")];
    let secret = shop.secret("infra", "shop").expect("it is there");
    assert!(secret.metadata.annotations.is_empty());
    assert_eq!(secret.data.keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    let gateway = shop.gateway("infra", "shop").expect("it is there");
    assert!(gateway.spec.addresses.is_empty());
}

/// Somebody who may not read Secrets names them where authorities are expected.
const CURIOUS: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: infra, name: shop}
spec:
  gatewayClassName: gateway
  tls:
    frontend:
      default:
        validation:
          caCertificateRefs: [{group: '', kind: Secret, name: bank}, {group: '', kind: ConfigMap, name: front}]
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: infra, name: shop}
spec:
  parentRefs: [{name: shop}]
  rules:
  - backendRefs: [{name: app, port: 443}]
---
apiVersion: v1
kind: Service
metadata: {namespace: infra, name: app}
spec:
  ports: [{port: 443}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {namespace: infra, name: app}
spec:
  targetRefs: [{group: '', kind: Service, name: app}]
  validation:
    hostname: app.example
    caCertificateRefs: [{group: '', kind: Secret, name: bank}, {group: '', kind: ConfigMap, name: behind}]
---
apiVersion: v1
kind: Secret
metadata: {namespace: infra, name: bank}
type: kubernetes.io/tls
data: {tls.crt: eA==, tls.key: eA==, ca.crt: eA==}
";

#[test]
fn a_secret_is_no_authority() {
    let mut snapshot = parse(CURIOUS.trim());
    for name in ["front", "behind"] {
        let map = serde_json::json!({
            "metadata": {"namespace": "infra", "name": name},
            "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n"},
        });
        snapshot.insert(Resource::deserialize(Kind::ConfigMap, map).expect("a ConfigMap"));
    }
    let topology = build(&snapshot, &ControllerScope::all().shared_sockets(false)).topology;
    let needs = needs(&snapshot, &topology);
    let needed = &needs[&ObjectKey::new(Kind::Gateway, "infra", "shop")];
    assert_eq!(needed.backend_tls_policies().len(), 1);
    let maps: Vec<String> = needed.config_maps().keys().map(ToString::to_string).collect();
    assert_eq!(maps, ["ConfigMap infra/behind", "ConfigMap infra/front"]);
    assert!(needed.secrets().is_empty());
}

/// A route to the outside, with a certificate to show there.
const OUTSIDE: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: infra, name: shop}
spec:
  gatewayClassName: gateway
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: infra, name: shop}
spec:
  parentRefs: [{name: shop}]
  rules:
  - backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: outside}]
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {namespace: infra, name: outside}
spec:
  type: ExternalHostname
  externalHostname: {hostname: www.example.com}
  port: {port: 443}
  tls:
    mode: ClientAndServer
    clientCertificateRef: {name: client}
    validation:
      hostname: www.example.com
      caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]
---
apiVersion: v1
kind: Secret
metadata: {namespace: infra, name: client}
type: kubernetes.io/tls
data: {tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=, tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCmVBPT0KLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: infra, name: ca}
data: {ca.crt: '-----BEGIN CERTIFICATE-----

    eA==

    -----END CERTIFICATE-----

    '}
";

#[test]
fn a_backend_outside_comes_with_what_its_tls_uses() {
    let check = |mode: &str, expect: &[&str]| {
        let snapshot = parse(OUTSIDE.replace("ClientAndServer", mode).trim());
        let topology = build(&snapshot, &ControllerScope::all().shared_sockets(false)).topology;
        let needs = needs(&snapshot, &topology);
        let needed = &needs[&ObjectKey::new(Kind::Gateway, "infra", "shop")];
        assert_eq!(needed.backends().len(), 1, "{mode}");
        let keys = needed.secrets().keys().chain(needed.config_maps().keys());
        let keys: Vec<String> = keys.map(ToString::to_string).collect();
        assert_eq!(keys, expect, "{mode}");
    };
    check("ClientAndServer", &["Secret infra/client", "ConfigMap infra/ca"]);
    check("ServerOnly", &["ConfigMap infra/ca"]);
    check("None", &[]);
}
