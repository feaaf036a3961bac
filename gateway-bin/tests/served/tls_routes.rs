//! TLSRoutes: passed through, ended here, and beside HTTPS on one port.

use std::io;

use gateway_core::api::Kind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    peers::{Authority, check_silent_end, connect, converse, echo, get, tls_echo, web},
    world::{World, gateway, route, run, service, service_of, soon},
};

const PASS: &str = "name: pass, port: 443, protocol: TLS, tls: {mode: Passthrough}";

fn tls_route(name: &str, hostname: &str, backend: &str) -> String {
    let spec = format!(
        "parentRefs: [{{name: gw}}], hostnames: ['{hostname}'], rules: [{{backendRefs: [{backend}]}}]"
    );
    route("TLSRoute", name, &spec)
}

fn terminating(name: &str, hostname: &str) -> String {
    format!(
        "name: {name}, port: 443, protocol: TLS, hostname: '{hostname}', \
         tls: {{mode: Terminate, certificateRefs: [{{name: cert}}]}}"
    )
}

#[test]
fn passthrough_leads_by_server_name() {
    run(async {
        let authority = Authority::new();
        let mut manifests = gateway(&[PASS]);
        for (name, host) in [("a", "a.example"), ("b", "*.b.example"), ("c", "c.b.example")] {
            let pair = authority.sign(&[host]);
            manifests += &tls_route(name, host, &format!("{{name: {name}, port: 80}}"));
            manifests += &service(name, tls_echo(name, pair.server()).await);
        }
        let world = World::start(&manifests).await;
        world.expect(Kind::TlsRoute, "a", "/parents/0", &["Accepted=True Accepted"]);
        let config = authority.client(None);
        for (name, expect) in [("a.example", "ax"), ("x.b.example", "bx"), ("c.b.example", "cx")] {
            // The certificate is the backend's own: nothing in between has its key.
            let stream = connect(world.tcp(443), name, &config).await.expect("TLS");
            assert_eq!(converse(stream, "x").await.as_deref(), Some(expect), "{name}");
        }
        check_silent_end(world.tcp(443), "other.example").await;
        check_silent_end(world.tcp(443), "b.example").await;
        world.until_metric("gateway_streams_total", "cause=\"finished\"", 3).await;
        world.until_metric("gateway_streams_total", "cause=\"no-route\"", 2).await;
    });
}

#[test]
fn a_hello_in_pieces_is_read_to_its_end() {
    run(async {
        let authority = Authority::new();
        let pair = authority.sign(&["a.example"]);
        let manifests = gateway(&[PASS]) + &tls_route("a", "a.example", "{name: a, port: 80}");
        let manifests = manifests + &service("a", tls_echo("a", pair.server()).await);
        let world = World::start(&manifests).await;
        // A relay in front of the gateway that passes the client's bytes one by one.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let slow = listener.local_addr().expect("an address");
        let served = world.tcp(443);
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("a connection");
            let gateway = TcpStream::connect(served).await.expect("a listener");
            gateway.set_nodelay(true).expect("a socket");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_gateway, mut to_gateway) = gateway.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_gateway, &mut to_client).await });
            let mut byte = [0; 1];
            while let Ok(1) = from_client.read(&mut byte).await {
                to_gateway.write_all(&byte).await.expect("a gateway");
            }
            to_gateway.shutdown().await.expect("a gateway");
        });
        let stream = connect(slow, "a.example", &authority.client(None)).await.expect("TLS");
        assert_eq!(converse(stream, "x").await.as_deref(), Some("ax"));
    });
}

#[test]
fn terminate_passes_on_what_was_inside() {
    run(async {
        let authority = Authority::new();
        let manifests = [
            gateway(&[&terminating("end", "*.end.example")]),
            authority.sign(&["*.end.example"]).secret("cert"),
            tls_route("a", "a.end.example", "{name: a, port: 80}"),
            service("a", echo("a").await),
        ];
        let world = World::start(&manifests.concat()).await;
        world.expect(Kind::TlsRoute, "a", "/parents/0", &["ResolvedRefs=True ResolvedRefs"]);
        let config = authority.client(None);
        let stream = connect(world.tcp(443), "a.end.example", &config).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        assert_eq!(converse(stream, "x").await.as_deref(), Some("ax"));
        // A listener serves the name, and no route does: no handshake is begun.
        check_silent_end(world.tcp(443), "b.end.example").await;
    });
}

#[test]
fn passthrough_terminate_and_https_share_a_port() {
    run(async {
        let authority = Authority::new();
        let inner = authority.sign(&["pass.example"]);
        let https = "name: web, port: 443, protocol: HTTPS, hostname: web.example, \
                     tls: {certificateRefs: [{name: cert}]}";
        let pass = "name: pass, port: 443, protocol: TLS, hostname: pass.example, \
                    tls: {mode: Passthrough}";
        let manifests = [
            gateway(&[pass, &terminating("end", "end.example"), https]),
            authority.sign(&["end.example", "web.example"]).secret("cert"),
            tls_route("pass", "pass.example", "{name: pass, port: 80}"),
            tls_route("end", "end.example", "{name: end, port: 80}"),
            route(
                "HTTPRoute",
                "web",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
            ),
            service("pass", tls_echo("pass", inner.server()).await),
            service("end", echo("end").await),
            service("web", web("web").await),
        ];
        let mut world = World::start(&manifests.concat()).await;
        let config = authority.client(None);
        let check = async |world: &World| {
            for name in ["pass", "end"] {
                let host = format!("{name}.example");
                let stream = connect(world.tcp(443), &host, &config).await.expect("TLS");
                assert_eq!(converse(stream, "").await.as_deref(), Some(name));
            }
            let mut stream = connect(world.tcp(443), "web.example", &config).await.expect("TLS");
            let (status, body) = get(&mut stream, "web.example", "").await.expect("an answer");
            assert_eq!((status, body.lines().next()), (200, Some("web")));
            check_silent_end(world.tcp(443), "other.example").await;
        };
        check(&world).await;
        // A connection of HTTPS stays while the listeners beside it come and go.
        let mut kept = connect(world.tcp(443), "web.example", &config).await.expect("TLS");
        world.apply(&gateway(&[https])).await;
        check_silent_end(world.tcp(443), "pass.example").await;
        world.apply(&gateway(&[pass, &terminating("end", "end.example"), https])).await;
        check(&world).await;
        assert_eq!(get(&mut kept, "web.example", "").await.map(|(status, _)| status), Some(200));
    });
}

#[test]
fn what_has_no_usable_backend_ends_without_an_alert() {
    run(async {
        let authority = Authority::new();
        let endpoint = echo("a").await;
        let services = service("a", endpoint) + &service_of("other", "a", endpoint);
        for (backend, reason) in [
            ("{name: missing, port: 80}", "BackendNotFound"),
            ("{name: a, port: 80, kind: Pod}", "InvalidKind"),
            ("{name: a, namespace: other, port: 80}", "RefNotPermitted"),
            ("{name: a, port: 80, weight: 0}", ""),
        ] {
            for listener in [PASS, &terminating("end", "*.example")] {
                let manifests = [
                    &gateway(&[listener]),
                    &tls_route("a", "a.example", backend),
                    &services,
                    &authority.sign(&["*.example"]).secret("cert"),
                ];
                let world = World::start(&manifests.map(String::as_str).concat()).await;
                let resolved = format!("ResolvedRefs=False {reason}");
                let resolved =
                    if reason.is_empty() { "Accepted=True Accepted" } else { &*resolved };
                world.expect(
                    Kind::TlsRoute,
                    "a",
                    "/parents/0",
                    &["Accepted=True Accepted", resolved],
                );
                check_silent_end(world.tcp(443), "a.example").await;
            }
        }
    });
}

#[test]
fn a_grant_lets_in_and_its_end_shuts_out() {
    run(async {
        let authority = Authority::new();
        let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
                     metadata: {name: grant, namespace: other}\n\
                     spec: {from: [{group: gateway.networking.k8s.io, kind: TLSRoute, \
                     namespace: default}], to: [{group: '', kind: Service}]}\n---\n";
        let pair = authority.sign(&["a.example"]);
        let manifests = [
            gateway(&[PASS]),
            tls_route("a", "a.example", "{name: a, namespace: other, port: 80}"),
            service_of("other", "a", tls_echo("a", pair.server()).await),
            grant.to_owned(),
        ];
        let mut world = World::start(&manifests.concat()).await;
        let config = authority.client(None);
        let stream = connect(world.tcp(443), "a.example", &config).await.expect("TLS");
        assert_eq!(converse(stream, "").await.as_deref(), Some("a"));
        world.apply(&grant.replace("kind: TLSRoute", "kind: TCPRoute")).await;
        check_silent_end(world.tcp(443), "a.example").await;
    });
}

#[test]
fn hostnames_of_route_and_listener_intersect() {
    run(async {
        let authority = Authority::new();
        let pair = authority.sign(&["a.example", "x.wild.example", "y.z.wild.example"]);
        let backend = tls_echo("a", pair.server()).await;
        let listeners = [
            "name: exact, port: 443, protocol: TLS, hostname: a.example, tls: {mode: Passthrough}",
            "name: wild, port: 443, protocol: TLS, hostname: '*.wild.example', tls: {mode: Passthrough}",
        ];
        let manifests = [
            gateway(&listeners),
            tls_route("exact", "a.example", "{name: a, port: 80}"),
            tls_route("wild", "*.example", "{name: a, port: 80}"),
            tls_route("none", "other.test", "{name: a, port: 80}"),
            service("a", backend),
        ];
        let world = World::start(&manifests.concat()).await;
        world.expect(
            Kind::TlsRoute,
            "none",
            "/parents/0",
            &["Accepted=False NoMatchingListenerHostname"],
        );
        let config = authority.client(None);
        for name in ["a.example", "x.wild.example", "y.z.wild.example"] {
            let stream = connect(world.tcp(443), name, &config).await.expect("TLS");
            assert_eq!(converse(stream, "").await.as_deref(), Some("a"), "{name}");
        }
        for name in ["b.example", "wild.example", "other.test"] {
            check_silent_end(world.tcp(443), name).await;
        }
    });
}

#[test]
fn plain_text_on_a_port_of_tls_ends() {
    run(async {
        let manifests = gateway(&[PASS]) + &tls_route("a", "a.example", "{name: a, port: 80}");
        let world = World::start(&(manifests + &service("a", echo("a").await))).await;
        let mut socket = TcpStream::connect(world.tcp(443)).await.expect("a listener");
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.expect("sent");
        let mut heard = Vec::new();
        let ended = soon(socket.read_to_end(&mut heard)).await;
        assert!(
            ended.is_ok()
                || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        );
        assert!(heard.is_empty());
        world.until_metric("gateway_tls_handshake_failures_total", "", 1).await;
    });
}
