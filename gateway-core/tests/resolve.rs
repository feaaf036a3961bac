//! What the golden corpus cannot say: facts that the program observes, settings of the scope, and
//! the diagnostics.

use std::{net::IpAddr, sync::Arc};

use gateway_core::{
    api::{Condition, ConditionType, Kind, ListenerStatus, ObjectKey},
    backend::{BackendProtocol, InvalidBackend, KeyPair},
    diagnostic::Diagnostic,
    filter::{CustomFilter, Filter},
    resolve::{ObjectStatus, Resolved, resolve, topology::Route},
    scope::{CertificateCheck, ControllerScope},
    snapshot::{BindAddress, BindKey, BindState, Snapshot, Transport},
    source::Sources,
};

const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop, creationTimestamp: 2024-01-02T00:00:00Z}
spec:
  gatewayClassName: any
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
";

fn route(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop}}
spec:
  parentRefs: [{{name: gw}}]
  rules: {rules}
---
"
    )
}

#[track_caller]
fn snapshot(parts: &[&str]) -> Snapshot {
    let loaded = Sources::default().load("test.yaml", parts.concat());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.resources.into_iter().map(|(resource, _)| resource).collect()
}

fn listeners<'r>(resolved: &'r Resolved, kind: Kind, name: &str) -> &'r [ListenerStatus] {
    match resolved.status.get(&ObjectKey::new(kind, "shop", name)) {
        Some(ObjectStatus::Gateway(status)) => &status.listeners,
        Some(ObjectStatus::ListenerSet(status)) => &status.listeners,
        _ => &[],
    }
}

fn show(conditions: &[Condition], kind: &ConditionType) -> String {
    let found = conditions.iter().find(|condition| condition.kind == *kind);
    found.map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

/// `Accepted` and `Programmed` of a Gateway, then `Programmed` of each of its listeners.
fn gateway_state(resolved: &Resolved, name: &str) -> Vec<String> {
    let key = ObjectKey::new(Kind::Gateway, "shop", name);
    let Some(ObjectStatus::Gateway(status)) = resolved.status.get(&key) else { return Vec::new() };
    let mut state = vec![
        show(&status.conditions, &ConditionType::Accepted),
        show(&status.conditions, &ConditionType::Programmed),
    ];
    let programmed = |it: &ListenerStatus| show(&it.conditions, &ConditionType::Programmed);
    state.extend(status.listeners.iter().map(programmed));
    state
}

fn only_route(resolved: &Resolved) -> &Arc<Route> {
    assert_eq!(resolved.topology.routes.len(), 1, "{:?}", resolved.topology.routes);
    resolved.topology.routes.values().next().expect("one was counted")
}

fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

// === Sockets ===

const TWO_GATEWAYS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a-younger, namespace: shop, creationTimestamp: 2024-06-01T00:00:00Z}
spec:
  gatewayClassName: any
  listeners:
  - {name: taken, port: 80, protocol: HTTP}
  - {name: free, port: 80, protocol: HTTP, hostname: free.example}
  - {name: clash, port: 80, protocol: TCP}
  - {name: other, port: 81, protocol: HTTP}
---
";

#[test]
fn on_a_shared_socket_the_older_gateway_serves() {
    let snapshot = snapshot(&[
        GATEWAY,
        &TWO_GATEWAYS.replace("  - {name: clash, port: 80, protocol: TCP}\n", ""),
    ]);
    let shared = resolve(&snapshot, &ControllerScope::all());
    let good = "True Programmed";
    assert_eq!(gateway_state(&shared, "gw"), ["True Accepted", good, good]);
    assert_eq!(
        gateway_state(&shared, "a-younger"),
        ["True Accepted", good, "False PortUnavailable", good, good],
    );
    let taken = listeners(&shared, Kind::Gateway, "a-younger")[0].conditions.iter();
    let message = taken.map(|condition| &*condition.message).find(|text| text.contains("older"));
    assert!(message.is_some_and(|text| text.contains("listener http of Gateway shop/gw")));
    let of_80 = &shared.topology.binds[0];
    assert_eq!((&of_80.key.address, of_80.key.port), (&BindAddress::Default, 80));
    assert_eq!(of_80.listeners.len(), 2);

    let apart = resolve(&snapshot, &ControllerScope::all().shared_sockets(false));
    assert_eq!(gateway_state(&apart, "a-younger")[2], good);
    assert_eq!(apart.topology.binds.len(), 3);
}

#[test]
fn behind_load_balancers_addresses_are_no_sockets() {
    let named = "spec:\n  addresses: [{value: 192.0.2.1}, {value: 192.0.2.2}]\n";
    let other = TWO_GATEWAYS.replace("  - {name: clash, port: 80, protocol: TCP}\n", "");
    let mut snapshot = snapshot(&[&GATEWAY.replace("spec:\n", named), &other]);
    let scope = ControllerScope::all().fronted(true);
    let resolved = resolve(&snapshot, &scope);
    let own = |name: &str| BindAddress::Own(ObjectKey::new(Kind::Gateway, "shop", name));
    let seen: Vec<_> =
        resolved.topology.binds.iter().map(|bind| (&bind.key.address, bind.key.port)).collect();
    assert_eq!(seen, [(&own("a-younger"), 80), (&own("a-younger"), 81), (&own("gw"), 80)]);
    assert_eq!(gateway_state(&resolved, "gw")[1], "True Programmed");

    // Another Gateway that does not get the same address is no matter of this one.
    let address = || BindAddress::Ip([192, 0, 2, 2].into());
    let key = |name: &str| ObjectKey::new(Kind::Gateway, "shop", name);
    let why = "the load balancer has another one".to_owned();
    snapshot.observed.unusable.insert((key("a-younger"), address()), why.clone());
    assert_eq!(gateway_state(&resolve(&snapshot, &scope), "gw")[1], "True Programmed");
    snapshot.observed.unusable.insert((key("gw"), address()), why);
    let resolved = resolve(&snapshot, &scope);
    assert_eq!(gateway_state(&resolved, "gw")[1], "False AddressNotUsable");
    let Some(ObjectStatus::Gateway(status)) = resolved.status.get(&key("gw")) else {
        panic!("it has a status")
    };
    assert_eq!(status.addresses.len(), 1, "{:?}", status.addresses);
    assert_eq!(status.addresses[0].value, "192.0.2.1");
}

#[test]
fn protocols_that_cannot_share_a_socket_are_left_to_the_older_gateway() {
    let lone = TWO_GATEWAYS.replace("  - {name: taken, port: 80, protocol: HTTP}\n", "");
    let lone =
        lone.replace("  - {name: free, port: 80, protocol: HTTP, hostname: free.example}\n", "");
    let resolved = resolve(&snapshot(&[GATEWAY, &lone]), &ControllerScope::all());
    assert_eq!(gateway_state(&resolved, "a-younger")[2], "False PortUnavailable");
    let told = lines(&resolved.diagnostics).concat();
    assert!(told.contains("cannot share it; use another port or address ("), "{told}");
}

fn failed(snapshot: &mut Snapshot, address: BindAddress, port: u16) {
    let key = BindKey { address, port, transport: Transport::Tcp };
    let state = BindState::Failed("address in use (os error 98)".into());
    snapshot.observed.binds.insert(key, state);
}

#[test]
fn a_port_that_cannot_be_opened_is_reported() {
    let mut snapshot = snapshot(&[GATEWAY]);
    failed(&mut snapshot, BindAddress::Default, 80);
    let resolved = resolve(&snapshot, &ControllerScope::all());
    let expect = ["True Accepted", "True Programmed", "False PortUnavailable"];
    assert_eq!(gateway_state(&resolved, "gw"), expect);
    assert_eq!(
        lines(&resolved.diagnostics),
        ["error[GW0508]: port 80 cannot be opened: address in use (os error 98) \
          (Gateway shop/gw spec.listeners[0])"],
    );
}

#[test]
fn each_address_says_why_it_does_not_serve_a_listener() {
    let on = |text: &str, addresses: &str| {
        text.replace("  listeners:", &format!("  addresses: [{addresses}]\n  listeners:"))
    };
    let older = on(GATEWAY, "{value: 10.0.0.2}");
    let alone = TWO_GATEWAYS.replace("  - {name: clash, port: 80, protocol: TCP}\n", "");
    let younger = on(&alone, "{value: 10.0.0.1}, {value: 10.0.0.2}");
    let mut snapshot = snapshot(&[&older, &younger]);
    failed(&mut snapshot, BindAddress::Ip([10, 0, 0, 1].into()), 80);
    let resolved = resolve(&snapshot, &ControllerScope::all());
    let told = lines(&resolved.diagnostics).concat();
    let refused = "port 80 cannot be opened: address in use (os error 98); port 80 and hostname";
    assert!(told.contains(refused), "{told}");
}

#[test]
fn an_address_that_cannot_be_used_keeps_the_gateway_from_being_programmed() {
    let addresses = "  addresses: [{value: 10.0.0.1}, {value: 10.0.0.2}]\n  listeners:";
    let mut snapshot = snapshot(&[&GATEWAY.replace("  listeners:", addresses)]);
    let second: IpAddr = [10, 0, 0, 2].into();
    failed(&mut snapshot, BindAddress::Ip(second), 80);
    let resolved = resolve(&snapshot, &ControllerScope::all());
    let expect = ["True Accepted", "False AddressNotUsable", "True Programmed"];
    assert_eq!(gateway_state(&resolved, "gw"), expect);
}

#[test]
fn an_address_that_is_not_assigned_yet_is_waited_for() {
    let mut snapshot = snapshot(&[GATEWAY]);
    let gateway = ObjectKey::new(Kind::Gateway, "shop", "gw");
    snapshot.observed.gateway_addresses.insert(gateway, Vec::new());
    let resolved = resolve(&snapshot, &ControllerScope::of_class("x.example/c"));
    assert!(resolved.status.is_empty(), "the class is not ours");
    let resolved = resolve(&snapshot, &ControllerScope::all());
    assert_eq!(gateway_state(&resolved, "gw")[1], "False AddressNotAssigned");
}

// === Certificates ===

/// Reads the names of a certificate from its text, and refuses texts with `bad`.
#[derive(Debug)]
struct Names;

impl CertificateCheck for Names {
    fn names(&self, pair: &KeyPair) -> Result<Vec<String>, String> {
        let text = String::from_utf8_lossy(&pair.certificate).into_owned();
        let names = text.lines().next().unwrap_or_default();
        if names.contains("bad") {
            return Err("the private key is not that of the certificate".into());
        }
        Ok(names.split(' ').map(str::to_owned).collect())
    }

    fn authorities(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

fn secret(name: &str, certificate_names: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: shop}}
type: kubernetes.io/tls
stringData:
  tls.crt: \"{certificate_names}\\n-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n\"
  tls.key: \"-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----\\n\"
---
"
    )
}

const TLS_GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  gatewayClassName: any
  listeners:
  - {name: a, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: one}]}}
  - {name: b, port: 443, protocol: HTTPS, hostname: b.example, tls: {certificateRefs: [{name: two}]}}
---
";

#[track_caller]
fn check_certificates(one: &str, two: &str, kind: &ConditionType, expect: [&str; 2]) {
    let scope = ControllerScope::all().certificate_check(Arc::new(Names));
    let snapshot = snapshot(&[TLS_GATEWAY, &secret("one", one), &secret("two", two)]);
    let resolved = resolve(&snapshot, &scope);
    let statuses = listeners(&resolved, Kind::Gateway, "gw").iter();
    let got: Vec<String> = statuses.map(|status| show(&status.conditions, kind)).collect();
    assert_eq!(got, expect, "{one} {two}");
}

#[test]
fn certificates_are_looked_into_by_the_program() {
    let overlap = &ConditionType::OverlappingTlsConfig;
    check_certificates("a.example", "b.example", overlap, ["", ""]);
    let both = ["True OverlappingCertificates"; 2];
    check_certificates("*.example", "b.example", overlap, both);
    check_certificates("a.example c.example", "b.example c.example", overlap, both);
    let resolved = &ConditionType::ResolvedRefs;
    let expect = ["False InvalidCertificateRef", "True ResolvedRefs"];
    check_certificates("bad", "b.example", resolved, expect);
}

// === Backends and filters ===

#[derive(Debug)]
struct Nothing;

impl CustomFilter for Nothing {}

#[track_caller]
fn check_extension(kind: &str, name: &str, served: bool, reason: &str) {
    let scope = ControllerScope::all().with_filter("f.example", "Limit", "slow", Arc::new(Nothing));
    let rules = format!(
        "[{{filters: [{{type: ExtensionRef, extensionRef: {{group: f.example, kind: {kind}, \
         name: {name}}}}}], backendRefs: [{{name: api, port: 80}}]}}]"
    );
    let resolved = resolve(&snapshot(&[GATEWAY, SERVICE, &route("r", &rules)]), &scope);
    let filter = &only_route(&resolved).rules[0].filters[0];
    assert_eq!(matches!(filter, Filter::Custom(_)), served, "{filter:?}");
    assert_eq!(matches!(filter, Filter::Invalid), !served, "{filter:?}");
    let Some(ObjectStatus::Route(status)) =
        resolved.status.get(&ObjectKey::new(Kind::HttpRoute, "shop", "r"))
    else {
        panic!("the route has a status");
    };
    assert_eq!(show(&status.parents[0].conditions, &ConditionType::ResolvedRefs), reason);
}

#[test]
fn filters_of_the_application_are_found_by_name() {
    check_extension("Limit", "slow", true, "True ResolvedRefs");
    check_extension("Limit", "fast", false, "False BackendNotFound");
    check_extension("Quota", "slow", false, "False InvalidKind");
}

/// One backend of kind Service called `api`; expects its protocol or why it is invalid.
#[track_caller]
fn check_service(
    spec: &str,
    external_names: bool,
    expect: Result<(BackendProtocol, Option<&str>), InvalidBackend>,
) {
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: api, namespace: shop}}\nspec: {spec}\n---\n"
    );
    let route = route("r", "[{backendRefs: [{name: api, port: 80}]}]");
    let scope = ControllerScope::all().external_names(external_names);
    let resolved = resolve(&snapshot(&[GATEWAY, &service, &route]), &scope);
    let target = &only_route(&resolved).rules[0].backends.as_slice()[0].target;
    let got = target.as_ref().map(|it| (it.protocol, it.external_hostname.as_deref()));
    assert_eq!(got.map_err(|invalid| *invalid), expect, "{spec}");
}

#[test]
fn services_as_backends() {
    let http = Ok((BackendProtocol::Http1, None));
    check_service("{ports: [{port: 80}]}", false, http);
    check_service("{ports: [{port: 80, protocol: UDP}, {port: 80}]}", false, http);
    check_service("{ports: [{port: 80, appProtocol: kubernetes.io/ws}]}", false, http);
    let h2c = "{ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}";
    check_service(h2c, false, Ok((BackendProtocol::Http2, None)));
    let unsupported = Err(InvalidBackend::UnsupportedProtocol);
    check_service("{ports: [{port: 80, protocol: UDP}]}", false, unsupported);
    check_service("{ports: [{port: 80, appProtocol: kubernetes.io/wss}]}", false, unsupported);
    check_service("{ports: [{port: 81}]}", false, Err(InvalidBackend::NotFound));
    check_service("{}", false, Err(InvalidBackend::NotFound));
    let alias = "{type: ExternalName, externalName: x.example}";
    check_service(alias, false, Err(InvalidBackend::InvalidKind));
    check_service(alias, true, Ok((BackendProtocol::Http1, Some("x.example"))));
}

/// An XBackend called `out` with `spec` beside its type.
#[track_caller]
fn check_external(spec: &str, expect: Result<BackendProtocol, InvalidBackend>) {
    let backend = format!(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackend\n\
         metadata: {{name: out, namespace: shop}}\nspec: {{type: ExternalHostname, {spec}}}\n---\n"
    );
    let route = route(
        "r",
        "[{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: out}]}]",
    );
    let resolved = resolve(&snapshot(&[GATEWAY, &backend, &route]), &ControllerScope::all());
    let target = &only_route(&resolved).rules[0].backends.as_slice()[0].target;
    assert_eq!(target.as_ref().map(|it| it.protocol).map_err(|it| *it), expect, "{spec}");
}

#[test]
fn backends_outside_of_the_cluster() {
    let plain = "externalHostname: {hostname: x.example.com}, port: {port: 80}";
    check_external(plain, Ok(BackendProtocol::Http1));
    check_external(&format!("{plain}, protocol: H2C"), Ok(BackendProtocol::Http2));
    check_external(&format!("{plain}, protocol: SCTP"), Err(InvalidBackend::UnsupportedProtocol));
    check_external(&format!("{plain}, tls: {{mode: ServerOnly}}"), Err(InvalidBackend::InvalidTls));
    let inside = "externalHostname: {hostname: db.svc.cluster.local}, port: {port: 80}";
    check_external(inside, Err(InvalidBackend::NotFound));
}

#[test]
fn routes_may_ask_for_default_gateways() {
    let gateway = GATEWAY.replace("  listeners:", "  defaultScope: All\n  listeners:");
    let route = route("r", "[{backendRefs: [{name: api, port: 80}]}]")
        .replace("parentRefs: [{name: gw}]", "useDefaultGateways: All");
    let resolved = resolve(&snapshot(&[&gateway, SERVICE, &route]), &ControllerScope::all());
    only_route(&resolved);
    assert_eq!(listeners(&resolved, Kind::Gateway, "gw")[0].attached_routes, 1);
    let other = resolve(&snapshot(&[GATEWAY, SERVICE, &route]), &ControllerScope::all());
    assert!(other.topology.routes.is_empty());
}

// === Diagnostics ===

#[track_caller]
fn check_diagnostics(parts: &[&str], expect: &[&str]) {
    let resolved = resolve(&snapshot(parts), &ControllerScope::all());
    assert_eq!(lines(&resolved.diagnostics), expect);
}

#[test]
fn each_mistake_names_object_and_field() {
    check_diagnostics(
        &[GATEWAY, &route("r", "[{backendRefs: [{name: nope, port: 80}]}]")],
        &["error[GW0503]: Service shop/nope does not exist \
           (HTTPRoute shop/r spec.rules[0].backendRefs[0])"],
    );
    check_diagnostics(
        &[SERVICE, &route("r", "[{backendRefs: [{name: api, port: 80}]}]")],
        &["warning[GW0501]: Gateway shop/gw does not exist (HTTPRoute shop/r spec.parentRefs[0])"],
    );
    check_diagnostics(
        &[GATEWAY, &route("r", "[{matches: [{path: {type: Exact, value: a}}]}, {}]")],
        &["warning[GW0509]: the rule is dropped: matches[0]: path \"a\" does not start with / \
           (HTTPRoute shop/r spec.rules[0])"],
    );
    check_diagnostics(
        &[&GATEWAY.replace("protocol: HTTP", "protocol: HTTP, tls: {}")],
        &["error[GW0510]: protocol HTTP takes no tls section (Gateway shop/gw spec.listeners[0])"],
    );
    check_diagnostics(
        &[
            GATEWAY,
            SERVICE,
            &route(
                "r",
                "[{filters: [{type: RequestHeaderModifier, requestHeaderModifier: \
                 {set: [{name: Host, value: x}]}}], backendRefs: [{name: api, port: 80}]}]",
            ),
        ],
        &["warning[GW0512]: header Host: the Host of a request is changed by URLRewrite only \
           (HTTPRoute shop/r spec.rules[0].filters[0])"],
    );
    check_diagnostics(
        &[
            GATEWAY,
            SERVICE,
            &route(
                "r",
                "[{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: \
                 {remove: [Content-Length]}}], backendRefs: [{name: api, port: 80}]}]",
            ),
        ],
        &[
            "warning[GW0512]: header Content-Length: the field frames the message and is not changed \
           by routes (HTTPRoute shop/r spec.rules[0].filters[0])",
        ],
    );
}
