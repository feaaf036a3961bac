//! ListenerSets: whose listeners a Gateway takes, and what routes reach them.

use gateway_core::{api::Kind, resolve::topology::Transport};
use tokio::net::TcpStream;

use crate::{
    peers::{Authority, connect, echo, get, say, web},
    world::{World, gateway, route, run, service, service_of},
};

fn allowing(from: &str, listeners: &[&str]) -> String {
    let allowed = format!("  allowedListeners: {{namespaces: {{{from}}}}}\n  listeners:");
    gateway(listeners).replace("  listeners:", &allowed)
}

fn set(namespace: &str, name: &str, listeners: &[&str]) -> String {
    let listeners: Vec<String> = listeners.iter().map(|text| format!("  - {{{text}}}\n")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  parentRef: {{name: gw, namespace: default}}\n  listeners:\n{}---\n",
        listeners.concat()
    )
}

fn web_route(name: &str, parent: &str) -> String {
    let spec = format!(
        "parentRefs: [{{{parent}}}], rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
    );
    route("HTTPRoute", name, &spec)
}

const OF_SET: &str = "group: gateway.networking.k8s.io, kind: ListenerSet, name: more";

async fn ask(world: &World, port: u16, host: &str) -> (u16, String) {
    let socket = TcpStream::connect(world.tcp(port)).await.expect("a listener");
    let (status, body) = get(socket, host, "").await.expect("an answer");
    (status, body.lines().next().unwrap_or("").to_owned())
}

#[test]
fn listeners_of_gateway_and_set_share_ports_and_keep_their_routes_apart() {
    run(async {
        let manifests = [
            allowing("from: Same", &["name: web, port: 80, protocol: HTTP, hostname: gw.example"]),
            set(
                "default",
                "more",
                &[
                    "name: web, port: 80, protocol: HTTP, hostname: set.example",
                    "name: other, port: 8080, protocol: HTTP",
                    "name: tcp, port: 9000, protocol: TCP",
                ],
            ),
            web_route("of-gateway", "name: gw"),
            web_route("of-set", OF_SET),
            web_route("stray", "name: gw, sectionName: other"),
            route(
                "TCPRoute",
                "bytes",
                &format!(
                    "parentRefs: [{{{OF_SET}}}], rules: [{{backendRefs: [{{name: bytes, port: 80}}]}}]"
                ),
            ),
            service("of-gateway", web("gateway").await),
            service("of-set", web("set").await),
            service("bytes", echo("bytes").await),
        ];
        let mut world = World::start(&manifests.concat()).await;
        world.expect(
            Kind::ListenerSet,
            "more",
            "",
            &["Accepted=True Accepted", "Programmed=True Programmed"],
        );
        world.expect(Kind::HttpRoute, "stray", "/parents/0", &["Accepted=False NoMatchingParent"]);
        assert_eq!(ask(&world, 80, "gw.example").await, (200, "gateway".to_owned()));
        assert_eq!(ask(&world, 80, "set.example").await, (200, "set".to_owned()));
        assert_eq!(ask(&world, 8080, "any.example").await, (200, "set".to_owned()));
        assert_eq!(ask(&world, 80, "any.example").await.0, 404);
        assert_eq!(say(world.tcp(9000), "x").await.as_deref(), Some("bytesx"));
        // The set goes, and its listeners with it.
        world.remove(Kind::ListenerSet, "more").await;
        assert_eq!(world.find_address(Transport::Tcp, 8080), None);
        assert_eq!(ask(&world, 80, "set.example").await.0, 404);
        assert_eq!(ask(&world, 80, "gw.example").await, (200, "gateway".to_owned()));
    });
}

#[test]
fn sets_that_are_not_allowed_serve_nothing() {
    run(async {
        let listener = "name: other, port: 8080, protocol: HTTP";
        let own = "name: web, port: 80, protocol: HTTP";
        let far =
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: far, labels: {team: far}}\n---\n";
        for (from, near_is_in, far_is_in) in [
            ("from: None", false, false),
            ("from: Same", true, false),
            ("from: All", true, true),
            ("from: Selector, selector: {matchLabels: {team: far}}", false, true),
        ] {
            let manifests = [
                allowing(from, &[own]),
                set("default", "more", &[listener]),
                set("far", "more", &["name: other, port: 8081, protocol: HTTP"]),
                far.to_owned(),
            ];
            let world = World::start(&manifests.concat()).await;
            let is_open = |port| world.find_address(Transport::Tcp, port).is_some();
            assert_eq!((is_open(8080), is_open(8081)), (near_is_in, far_is_in), "{from}");
            let wanted =
                if near_is_in { "Accepted=True Accepted" } else { "Accepted=False NotAllowed" };
            world.expect(Kind::ListenerSet, "more", "", &[wanted]);
        }
        let world = World::start(&(gateway(&[own]) + &set("default", "more", &[listener]))).await;
        assert_eq!(world.find_address(Transport::Tcp, 8080), None);
    });
}

#[test]
fn in_a_conflict_the_gateway_wins_and_then_the_older_set() {
    run(async {
        let aged = |name: &str, listeners: &[&str], year: u32| {
            let created =
                format!("creationTimestamp: '{year}-01-01T00:00:00Z', namespace: default");
            set("default", name, listeners)
                .replace("namespace: default}\nspec", &format!("{created}}}\nspec"))
        };
        let same = "name: web, port: 80, protocol: HTTP, hostname: a.example";
        let manifests = [
            allowing("from: Same", &[same]),
            aged("young", &[same, "name: tcp, port: 9000, protocol: HTTP"], 2021),
            aged("old", &["name: tcp, port: 9000, protocol: TCP"], 2020),
            web_route("gateway", "name: gw"),
            web_route("young", &OF_SET.replace("more", "young")),
            route(
                "TCPRoute",
                "old",
                &format!(
                    "parentRefs: [{{{}}}], rules: [{{backendRefs: [{{name: old, port: 80}}]}}]",
                    OF_SET.replace("more", "old")
                ),
            ),
            service("gateway", web("gateway").await),
            service("young", web("young").await),
            service("old", echo("old").await),
        ];
        let world = World::start(&manifests.concat()).await;
        let lost = [
            "Accepted=False HostnameConflict",
            "Programmed=False HostnameConflict",
            "Conflicted=True HostnameConflict",
        ];
        world.expect(Kind::ListenerSet, "young", "/listeners/0", &lost);
        let lost = lost.map(|text| text.replace("Hostname", "Protocol"));
        let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
        world.expect(Kind::ListenerSet, "young", "/listeners/1", &lost);
        assert_eq!(ask(&world, 80, "a.example").await, (200, "gateway".to_owned()));
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("old"));
    });
}

#[test]
fn a_set_needs_a_grant_of_its_own_for_a_certificate_elsewhere() {
    run(async {
        let authority = Authority::new();
        let secret = authority.sign(&["a.example"]).secret("cert");
        let secret = secret.replace("{name: cert}", "{name: cert, namespace: far}");
        let listener = "name: web, port: 443, protocol: HTTPS, \
                        tls: {certificateRefs: [{name: cert, namespace: far}]}";
        let grant = |kind: &str| {
            format!(
                "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
                 metadata: {{name: grant, namespace: far}}\n\
                 spec: {{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: default}}], \
                 to: [{{group: '', kind: Secret}}]}}\n---\n"
            )
        };
        let manifests = [
            allowing("from: Same", &["name: web, port: 80, protocol: HTTP"]),
            set("default", "more", &[listener]),
            web_route("route", OF_SET),
            service("route", web("web").await),
            service_of("far", "unused", ([127, 0, 0, 1], 9).into()),
            secret,
            grant("Gateway"),
        ];
        let mut world = World::start(&manifests.concat()).await;
        world.expect(
            Kind::ListenerSet,
            "more",
            "/listeners/0",
            &["ResolvedRefs=False RefNotPermitted"],
        );
        world.expect(Kind::ListenerSet, "more", "", &["Accepted=False ListenersNotValid"]);
        let config = authority.client(None);
        if let Some(address) = world.find_address(Transport::Tcp, 443) {
            assert!(connect(address, "a.example", &config).await.is_err());
        }
        world.apply(&grant("ListenerSet")).await;
        world.expect(
            Kind::ListenerSet,
            "more",
            "/listeners/0",
            &["ResolvedRefs=True ResolvedRefs"],
        );
        let stream = connect(world.tcp(443), "a.example", &config).await.expect("TLS");
        assert_eq!(get(stream, "a.example", "").await.map(|(status, _)| status), Some(200));
    });
}
