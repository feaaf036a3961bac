//! Objects survive being written and read, with values that nobody knows, and builders give what YAML gives.

#![cfg(feature = "yaml")]

use gateway_core::api::*;
use gateway_core::source::Sources;
use proptest::prelude::*;
use serde_json::{Value, json};

#[track_caller]
fn check_round_trip(object: &Value) -> Resource {
    let (version, kind) =
        (object["apiVersion"].as_str().expect("text"), object["kind"].as_str().expect("text"));
    let resource =
        Resource::from_value(version, kind, object).expect("types fit").expect("the kind is known");
    assert_eq!(&serde_json::to_value(&resource).expect("resources can be written"), object);
    resource
}

#[test]
fn values_that_nobody_knows_survive() {
    let route = check_round_trip(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "useDefaultGateways": "Sometimes",
            "hostnames": ["NOT A HOSTNAME"],
            "rules": [{
                "matches": [{"path": {"type": "Glob", "value": "*"}, "method": "PURGE", "headers": [{"type": "Prefix", "name": "a", "value": "b"}]}],
                "filters": [{"type": "Teleport"}, {"type": "CORS", "cors": {"allowMethods": ["QUERY"]}}],
                "timeouts": {"request": "soon"},
                "backendRefs": [{"name": "a", "port": 99999, "weight": -1, "filters": [{"type": "Teleport"}]}],
            }],
        },
        "status": {"parents": [{
            "parentRef": {"name": "gw"}, "controllerName": "example.net/other",
            "conditions": [{"type": "example.net/Shiny", "status": "True", "reason": "Polished", "message": ""}],
        }]},
    }));
    let Resource::HttpRoute(route) = route else { panic!("an HTTPRoute") };
    assert_eq!(route.spec.rules[0].filters[0].kind, FilterType::Unknown("Teleport".to_owned()));
    assert_eq!(route.spec.rules[0].backend_refs[0].filters[0].kind.as_str(), "Teleport");
    let condition = &route.status.expect("it has a status").parents[0].conditions[0];
    assert_eq!(condition.kind, ConditionType::Unknown("example.net/Shiny".to_owned()));
}

#[test]
fn core_objects_survive() {
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"b": "c"}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}, "spec": {
            "type": "ExternalName", "clusterIP": "None", "clusterIPs": ["None"], "externalName": "example.com",
            "ports": [{"name": "a", "port": 1, "targetPort": "http", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}, {"port": 2, "targetPort": 3}],
            "selector": {"a": "b"}, "sessionAffinity": "ClientIP"}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a", "namespace": "b"},
            "addressType": "IPv6", "ports": [{"name": "a", "port": 1, "protocol": "UDP", "appProtocol": "b"}],
            "endpoints": [{"addresses": ["::1"], "conditions": {"ready": false, "serving": true, "terminating": true}, "hostname": "h", "nodeName": "n", "zone": "z"}]}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}, "type": "Opaque", "data": {"a": "aGk=", "b": "?"}, "stringData": {"c": "d"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": {"a": "b"}, "binaryData": {"c": "aGk="}}),
    ] {
        check_round_trip(&object);
    }
}

#[test]
fn statuses_write_what_clients_rely_on() {
    let status = ListenerStatus { name: "web".to_owned(), ..ListenerStatus::default() };
    let written = serde_json::to_value(status).expect("it can be written");
    assert_eq!(
        written,
        json!({"name": "web", "supportedKinds": [], "attachedRoutes": 0, "conditions": []})
    );
    assert_eq!(
        serde_json::to_value(RouteStatus::default()).expect("it can be written"),
        json!({"parents": []})
    );
    let condition = Condition {
        kind: ConditionType::Accepted,
        status: false.into(),
        reason: Reason::NoMatchingParent,
        message: "no such listener".to_owned(),
        observed_generation: Some(3),
        last_transition_time: None,
    };
    let expected = json!({
        "type": "Accepted", "status": "False", "reason": "NoMatchingParent", "message": "no such listener", "observedGeneration": 3,
    });
    assert_eq!(serde_json::to_value(condition).expect("it can be written"), expected);
}

#[track_caller]
fn check_same(built: impl Into<Resource>, yaml: &str) {
    let loaded = Sources::default().load("built.yaml", yaml);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    assert_eq!(built.into(), loaded.resources[0].0);
}

#[test]
fn builders_give_what_yaml_gives() {
    check_same(
        Gateway::new("shop", "public")
            .class("example")
            .listener(Listener::http("web", 80).hostname("*.example.com").allow_routes(FromNamespaces::All))
            .listener(Listener::https("tls", 443, "cert").certificate("other"))
            .listener(Listener::tls_passthrough("pass", 8443)),
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec:
  gatewayClassName: example
  listeners:
  - {name: web, port: 80, protocol: HTTP, hostname: '*.example.com', allowedRoutes: {namespaces: {from: All}}}
  - {name: tls, port: 443, protocol: HTTPS, tls: {mode: Terminate, certificateRefs: [{name: cert}, {name: other}]}}
  - {name: pass, port: 8443, protocol: TLS, tls: {mode: Passthrough}}
",
    );
    check_same(
        HttpRoute::new("shop", "cart")
            .parent("public")
            .parent(ParentReference::listener_set("extra").section("web").in_namespace("infra"))
            .hostname("shop.example.com")
            .rule(
                HttpRouteRule::new()
                    .path_prefix("/cart")
                    .method(HttpMethod::Get)
                    .or()
                    .path_exact("/basket")
                    .header("x-canary", "1")
                    .filter(HttpRouteFilter::request_headers(HttpHeaderFilter::default().set("a", "b").remove("c")))
                    .backend("v1", 8080)
                    .weight(9)
                    .backend("v2", 8080)
                    .backend_filter(HttpRouteFilter::replace_prefix("/")),
            )
            .rule(HttpRouteRule::new().filter(HttpRouteFilter::redirect_to_https())),
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: public}, {kind: ListenerSet, name: extra, sectionName: web, namespace: infra}]
  hostnames: [shop.example.com]
  rules:
  - matches:
    - {path: {type: PathPrefix, value: /cart}, method: GET}
    - {path: {type: Exact, value: /basket}, headers: [{name: x-canary, value: '1'}]}
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], remove: [c]}}]
    backendRefs:
    - {name: v1, port: 8080, weight: 9}
    - {name: v2, port: 8080, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
",
    );
    check_same(
        ReferenceGrant::new("shop", "grant").from(Kind::HttpRoute, "infra").to(Kind::Service),
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: shop}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: infra}], to: [{group: '', kind: Service}]}
",
    );
    check_same(
        GrpcRoute::new("shop", "cart").rule(GrpcRouteRule::new().service("shop.Cart").method("Add").backend("v1", 1)),
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: cart, namespace: shop}
spec: {rules: [{matches: [{method: {service: shop.Cart, method: Add}}], backendRefs: [{name: v1, port: 1}]}]}
",
    );
}

proptest! {
    #[test]
    fn every_text_of_an_enum_survives(text in ".{0,12}") {
        let kind = FilterType::from(text.as_str());
        prop_assert_eq!(kind.as_str(), &text);
        prop_assert_eq!(kind.is_known(), FilterType::KNOWN.contains(&text.as_str()));
    }

    #[test]
    fn a_duration_is_as_long_as_its_canonical_text(millis in 0u64..99_999 * 3_600_000) {
        let length = std::time::Duration::from_millis(millis);
        prop_assert_eq!(Duration::from(length).to_std(), Ok(length));
    }

    #[test]
    fn any_text_is_a_duration_or_an_error(text in "[0-9hms. -]{0,16}") {
        if let Ok(length) = Duration::new(text.as_str()).to_std() {
            prop_assert!(length <= std::time::Duration::from_secs(4 * 99_999 * 3_600));
        }
    }

    #[test]
    fn base64_gives_back_what_it_took(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(Base64::encode(&bytes).decode(), Ok(bytes));
    }

    #[test]
    fn any_text_is_a_timestamp_or_nothing(text in "[0-9TZ:.+-]{0,32}") {
        let ten_thousand_years = 10_000 * 366 * 86_400;
        prop_assert!(Timestamp::new(text).seconds().is_none_or(|seconds| seconds.abs() < ten_thousand_years));
    }
}
