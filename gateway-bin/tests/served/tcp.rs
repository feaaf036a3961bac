//! TCPRoutes.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use gateway_bin::AccessLog;
use gateway_core::{api::Kind, resolve::topology::Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    peers::{echo, get, say, web},
    world::{World, config, gateway, route, run, service, service_of, soon},
};

const LISTENER: &str = "name: a, port: 9000, protocol: TCP";

fn to(backend: &str) -> String {
    route(
        "TCPRoute",
        "route",
        &format!("parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{backend}]}}]"),
    )
}

fn accepted(world: &World, route: &str) {
    world.expect(Kind::TcpRoute, route, "/parents/0", &["Accepted=True Accepted"]);
}

#[test]
fn bytes_go_both_ways_and_a_half_closed_connection_goes_on() {
    run(async {
        let manifests = [gateway(&[LISTENER]), to("{name: a, port: 80}")].concat();
        let world = World::start(&(manifests + &service("a", echo("a:").await))).await;
        accepted(&world, "route");
        world.expect(Kind::Gateway, "gw", "", &["Programmed=True Programmed"]);
        // The client ends what it says before it hears anything.
        assert_eq!(say(world.tcp(9000), "hello").await.as_deref(), Some("a:hello"));
        world.until_metric("gateway_streams_total", "cause=\"finished\"", 1).await;
        assert_eq!(world.metric("gateway_stream_bytes_total", "to=\"backend\""), 5);
        assert_eq!(world.metric("gateway_stream_bytes_total", "to=\"client\""), 7);
    });
}

#[test]
fn connections_are_shared_by_weight_over_all_workers() {
    run(async {
        let backends = "{name: a, port: 80, weight: 7}, {name: b, port: 80, weight: 3}, \
                        {name: c, port: 80, weight: 0}";
        let mut manifests = gateway(&[LISTENER]) + &to(backends);
        for name in ["a", "b", "c"] {
            manifests += &service(name, echo(name).await);
        }
        let world = World::start(&manifests).await;
        let mut shares = BTreeMap::<String, u32>::new();
        for _ in 0..100 {
            let heard = say(world.tcp(9000), "").await.expect("a backend");
            *shares.entry(heard).or_default() += 1;
        }
        assert_eq!(shares, [("a".to_owned(), 70), ("b".to_owned(), 30)].into());
    });
}

#[test]
fn what_has_no_usable_backend_is_refused() {
    run(async {
        let other = "namespace: other";
        for (backend, reason) in [
            ("{name: missing, port: 80}".to_owned(), "BackendNotFound"),
            ("{name: a, port: 81}".to_owned(), "BackendNotFound"),
            ("{name: a, port: 80, kind: Pod}".to_owned(), "InvalidKind"),
            (format!("{{name: a, port: 80, {other}}}"), "RefNotPermitted"),
        ] {
            let endpoint = echo("a").await;
            let services = service("a", endpoint) + &service_of("other", "a", endpoint);
            let world =
                World::start(&[gateway(&[LISTENER]), to(&backend), services].concat()).await;
            accepted(&world, "route");
            let resolved = format!("ResolvedRefs=False {reason}");
            world.expect(Kind::TcpRoute, "route", "/parents/0", &[&resolved]);
            assert_eq!(say(world.tcp(9000), "").await, None, "{backend}");
            world.until_metric("gateway_streams_total", "cause=\"invalid-backend\"", 1).await;
        }
    });
}

#[test]
fn a_grant_lets_in_and_its_end_shuts_out() {
    run(async {
        let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
                     metadata: {name: grant, namespace: other}\n\
                     spec: {from: [{group: gateway.networking.k8s.io, kind: TCPRoute, \
                     namespace: default}], to: [{group: '', kind: Service}]}\n---\n";
        let backend = service_of("other", "a", echo("a").await);
        let route = to("{name: a, namespace: other, port: 80}");
        let mut world =
            World::start(&[&gateway(&[LISTENER]), &route, &backend, grant].concat()).await;
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("a"));
        world.apply(&grant.replace("kind: TCPRoute", "kind: UDPRoute")).await;
        world.expect(
            Kind::TcpRoute,
            "route",
            "/parents/0",
            &["ResolvedRefs=False RefNotPermitted"],
        );
        assert_eq!(say(world.tcp(9000), "").await, None);
    });
}

#[test]
fn the_oldest_route_is_served_and_the_next_takes_over() {
    run(async {
        let aged = |name: &str, year: u32| {
            let created =
                format!("metadata: {{name: {name}, creationTimestamp: '{year}-01-01T00:00:00Z'}}");
            let spec = format!(
                "parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
            );
            route("TCPRoute", name, &spec).replace(&format!("metadata: {{name: {name}}}"), &created)
        };
        let mut manifests = gateway(&[LISTENER]) + &aged("young", 2021) + &aged("old", 2020);
        for name in ["young", "old"] {
            manifests += &service(name, echo(name).await);
        }
        let mut world = World::start(&manifests).await;
        for route in ["young", "old"] {
            accepted(&world, route);
        }
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("old"));
        world.remove(Kind::TcpRoute, "old").await;
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("young"));
    });
}

#[test]
fn routes_attach_to_all_listeners_or_by_section_and_port() {
    run(async {
        let listeners = [
            "name: a, port: 9000, protocol: TCP",
            "name: b, port: 9001, protocol: TCP",
            "name: c, port: 9002, protocol: TCP",
            "name: web, port: 80, protocol: HTTP",
        ];
        let mut manifests = gateway(&listeners);
        for (name, parent) in [
            ("by-section", "name: gw, sectionName: a"),
            ("by-port", "name: gw, port: 9001"),
            ("web", "name: gw, sectionName: web"),
        ] {
            let spec = format!(
                "parentRefs: [{{{parent}}}], rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
            );
            manifests += &route("TCPRoute", name, &spec);
            manifests += &service(name, echo(name).await);
        }
        let mut world = World::start(&manifests).await;
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("by-section"));
        assert_eq!(say(world.tcp(9001), "").await.as_deref(), Some("by-port"));
        // A listener without route is open, and refuses.
        assert_eq!(say(world.tcp(9002), "").await, None);
        world.expect(
            Kind::TcpRoute,
            "web",
            "/parents/0",
            &["Accepted=False NotAllowedByListeners"],
        );
        // Younger than the others by name: it gets what they leave.
        world.apply(&(to("{name: route, port: 80}") + &service("route", echo("all").await))).await;
        assert_eq!(say(world.tcp(9002), "").await.as_deref(), Some("all"));
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("by-section"));
    });
}

#[test]
fn connections_outlive_their_listener_for_the_drain_time() {
    run(async {
        let mut config = config();
        config.drain = Duration::from_millis(300);
        let manifests =
            [gateway(&[LISTENER, "name: b, port: 9001, protocol: TCP"]), to("{name: a, port: 80}")];
        let manifests = manifests.concat() + &service("a", echo("a").await);
        let mut world = World::start_with(&manifests, &config).await;
        let mut old = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
        let mut part = [0; 1];
        soon(old.read_exact(&mut part)).await.expect("a greeting");
        world.apply(&gateway(&["name: b, port: 9001, protocol: TCP"])).await;
        assert_eq!(world.find_address(Transport::Tcp, 9000), None);
        // It goes on first, and is reset in the end: nobody takes it for a whole conversation.
        old.write_all(b"x").await.expect("a connection");
        soon(old.read_exact(&mut part)).await.expect("an echo");
        let error = soon(old.read_exact(&mut part)).await.expect_err("no more bytes");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(say(world.tcp(9001), "").await.as_deref(), Some("a"));
        world.until_metric("gateway_streams_total", "cause=\"closed\"", 1).await;
    });
}

#[test]
fn at_the_end_connections_may_finish_and_the_rest_is_reset() {
    run(async {
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let manifests = manifests + &service("a", echo("a").await);
        let mut config = config();
        let world = World::start_with(&manifests, &config).await;
        let mut socket = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
        soon(socket.read_exact(&mut [0; 1])).await.expect("a greeting");
        let finishing = async {
            socket.write_all(b"last words").await.expect("a connection");
            socket.shutdown().await.expect("a connection");
            let mut heard = String::new();
            socket.read_to_string(&mut heard).await.expect("a clean end");
            heard
        };
        let (broken, heard) = soon(async { tokio::join!(world.gateway.drain(), finishing) }).await;
        assert_eq!((broken, heard.as_str()), (0, "last words"));

        let folder = tempfile::tempdir().expect("a folder");
        config.drain = Duration::from_millis(50);
        config.access_log = AccessLog::File(folder.path().join("log"));
        let world = World::start_with(&manifests, &config).await;
        let mut socket = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
        soon(socket.read_exact(&mut [0; 1])).await.expect("a greeting");
        assert_eq!(soon(world.gateway.drain()).await, 1);
        let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
        assert_eq!((&line["cause"], line["bytes"].as_u64()), (&"closed".into(), Some(1)), "{log}");
        let error = soon(socket.read(&mut [0; 1])).await.expect_err("no clean end");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_port_of_another_kind_is_opened_anew() {
    run(async {
        let tcp = gateway(&[LISTENER]);
        let http = gateway(&["name: a, port: 9000, protocol: HTTP"]);
        let web_route = route(
            "HTTPRoute",
            "route",
            "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
        );
        let services = service("a", echo("a").await) + &service("web", web("web").await);
        let mut world =
            World::start(&[&*tcp, &to("{name: a, port: 80}"), &web_route, &services].concat())
                .await;
        for _ in 0..3 {
            assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("a"));
            world.apply(&http).await;
            let socket = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
            assert_eq!(get(socket, "a.example", "").await.map(|(status, _)| status), Some(200));
            world.apply(&tcp).await;
        }
    });
}

#[test]
fn a_port_that_is_taken_is_told_and_the_others_serve() {
    run(async {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let mut config = config();
        config.addresses.ports.insert(9001, port);
        let manifests = gateway(&[LISTENER, "name: b, port: 9001, protocol: TCP"]);
        let manifests = manifests + &to("{name: a, port: 80}") + &service("a", echo("a").await);
        let world = World::start_with(&manifests, &config).await;
        assert!(world.failed(9001) && !world.failed(9000), "{:?}", world.observed);
        let unprogrammed = world.conditions(Kind::Gateway, "gw", "/listeners/1").join(" ");
        assert!(unprogrammed.contains("Programmed=False"), "{unprogrammed}");
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("a"));
    });
}

#[test]
fn connections_are_limited() {
    run(async {
        let mut config = config();
        config.limits.connections_per_bind = 2;
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let manifests = manifests + &service("a", echo("a").await);
        let world = World::start_with(&manifests, &config).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
            soon(socket.read_exact(&mut [0; 1])).await.expect("a greeting");
            held.push(socket);
        }
        assert!(matches!(say(world.tcp(9000), "").await.as_deref(), None | Some("")));
        assert_eq!(world.metric("gateway_connections_refused_total", ""), 1);
        held.clear();
        soon(async {
            while world.gateway.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        assert_eq!(say(world.tcp(9000), "").await.as_deref(), Some("a"));
    });
}

#[test]
fn every_connection_has_its_line_in_the_log() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut config = config();
        config.access_log = AccessLog::File(path.clone());
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let manifests = manifests + &service("a", echo("a").await);
        let world = World::start_with(&manifests, &config).await;
        assert!(say(world.tcp(9000), "hello").await.is_some());
        assert_eq!(soon(world.gateway.drain()).await, 0);
        let log = std::fs::read_to_string(path).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
        for (field, expect) in [
            ("protocol", "TCP"),
            ("cause", "finished"),
            ("listener", "a"),
            ("gateway", "default/gw"),
            ("kind", "TCPRoute"),
            ("route", "default/route"),
            ("backend", "default/a:80"),
        ] {
            assert_eq!(line[field], expect, "{log}");
        }
        assert_eq!((line["received_bytes"].as_u64(), line["bytes"].as_u64()), (Some(5), Some(6)));
    });
}
