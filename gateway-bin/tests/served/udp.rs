//! UDPRoutes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use gateway_bin::AccessLog;
use gateway_core::{api::Kind, resolve::topology::Transport};
use tokio::{net::UdpSocket, task::yield_now};

use crate::{
    peers::{echo, say, udp_echo},
    world::{World, config, gateway, route, run, service, service_of, soon},
};

const LISTENER: &str = "name: a, port: 5300, protocol: UDP";

fn to(backend: &str) -> String {
    route(
        "UDPRoute",
        "route",
        &format!("parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{backend}]}}]"),
    )
}

async fn client(ip: impl Into<IpAddr>) -> UdpSocket {
    UdpSocket::bind((ip.into(), 0)).await.expect("a port")
}

/// Sends a datagram from a socket that hears no other address, and hears the answer.
async fn ask(to: SocketAddr, text: &str) -> String {
    let client = client(to.ip()).await;
    client.connect(to).await.expect("a socket");
    client.send(text.as_bytes()).await.expect("a socket");
    let mut buffer = [0; 2048];
    let length = soon(client.recv(&mut buffer)).await.expect("an answer");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Sends a datagram that nothing may come of.
async fn check_dropped(world: &World, to: SocketAddr) {
    let before = world.metric("gateway_datagrams_dropped_total", "");
    let client = client(to.ip()).await;
    client.send_to(b"x", to).await.expect("a socket");
    soon(async {
        while world.metric("gateway_datagrams_dropped_total", "") == before {
            yield_now().await;
        }
    })
    .await;
    let heard = client.try_recv(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn datagrams_go_both_ways() {
    run(async {
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let world = World::start(&(manifests + &service("a", udp_echo("a").await))).await;
        world.expect(Kind::UdpRoute, "route", "/parents/0", &["Accepted=True Accepted"]);
        world.expect(Kind::Gateway, "gw", "", &["Programmed=True Programmed"]);
        assert_eq!(ask(world.udp(5300), "hello").await, "ahello");
        assert_eq!(world.metric("gateway_datagrams_total", "to=\"backend\""), 1);
        // It is counted once it is sent, when the client may have heard it already.
        soon(async {
            while world.metric("gateway_datagrams_total", "to=\"client\"") == 0 {
                yield_now().await;
            }
        })
        .await;
        assert_eq!(world.metric("gateway_udp_sessions_total", ""), 1);
    });
}

#[test]
fn sessions_that_were_answered_have_their_line_in_the_log() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut config = config();
        config.access_log = AccessLog::File(path.clone());
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let manifests = manifests + &service("a", udp_echo("a").await);
        let world = World::start_with(&manifests, &config).await;
        assert_eq!(ask(world.udp(5300), "hello").await, "ahello");
        assert_eq!(soon(world.gateway.drain()).await, 0);
        let log = std::fs::read_to_string(path).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
        for (field, expect) in [
            ("protocol", "UDP"),
            ("cause", "closed"),
            ("route", "default/route"),
            ("backend", "default/a:80"),
        ] {
            assert_eq!(line[field], expect, "{log}");
        }
        assert_eq!((line["received_bytes"].as_u64(), line["bytes"].as_u64()), (Some(5), Some(6)));
    });
}

#[test]
fn sessions_are_shared_by_weight_over_all_workers() {
    run(async {
        let backends = "{name: a, port: 80, weight: 70}, {name: b, port: 80, weight: 30}, \
                        {name: c, port: 80, weight: 0}";
        let mut manifests = gateway(&[LISTENER]) + &to(backends);
        for name in ["a", "b", "c"] {
            manifests += &service(name, udp_echo(name).await);
        }
        let world = World::start(&manifests).await;
        let mut shares = BTreeMap::<String, u32>::new();
        for _ in 0..100 {
            *shares.entry(ask(world.udp(5300), "").await).or_default() += 1;
        }
        assert_eq!(shares, [("a".to_owned(), 70), ("b".to_owned(), 30)].into());
    });
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    run(async {
        let manifests = gateway(&[LISTENER]) + &to("{name: a, port: 80}");
        let manifests = manifests + &service("a", udp_echo("a").await);
        let mut config = config();
        config.addresses.default = Ipv4Addr::UNSPECIFIED.into();
        let world = World::start_with(&manifests, &config).await;
        let port = world.udp(5300).port();
        // One client asks at two addresses; each answer is for it only if it comes from there.
        let client = client(Ipv4Addr::UNSPECIFIED).await;
        for ip in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 1]] {
            let asked = SocketAddr::from((ip, port));
            client.send_to(b"x", asked).await.expect("a socket");
            let (_, from) = soon(client.recv_from(&mut [0; 16])).await.expect("an answer");
            assert_eq!(from, asked);
            assert_eq!(ask(asked, "y").await, "ay");
        }

        config.addresses.default = Ipv6Addr::UNSPECIFIED.into();
        let world = World::start_with(&manifests, &config).await;
        // Hosts without IPv6 open no such socket, and then there is nothing to see.
        let Some(served) = world.find_address(Transport::Udp, 5300) else { return };
        for ip in [IpAddr::from([127, 0, 0, 3]), Ipv6Addr::LOCALHOST.into()] {
            assert_eq!(ask((ip, served.port()).into(), "z").await, "az");
        }
    });
}

#[test]
fn what_has_no_usable_backend_is_dropped() {
    run(async {
        let endpoint = udp_echo("a").await;
        let services = service("a", endpoint) + &service_of("other", "a", endpoint);
        for (backend, reason) in [
            ("{name: missing, port: 80}", "BackendNotFound"),
            ("{name: a, port: 80, kind: Pod}", "InvalidKind"),
            ("{name: a, namespace: other, port: 80}", "RefNotPermitted"),
        ] {
            let manifests = gateway(&[LISTENER]) + &to(backend) + &services;
            let world = World::start(&manifests).await;
            let resolved = format!("ResolvedRefs=False {reason}");
            let expect = ["Accepted=True Accepted", &resolved];
            world.expect(Kind::UdpRoute, "route", "/parents/0", &expect);
            check_dropped(&world, world.udp(5300)).await;
        }
    });
}

#[test]
fn a_grant_lets_in_and_its_end_shuts_out() {
    run(async {
        let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
                     metadata: {name: grant, namespace: other}\n\
                     spec: {from: [{group: gateway.networking.k8s.io, kind: UDPRoute, \
                     namespace: default}], to: [{group: '', kind: Service}]}\n---\n";
        let backend = service_of("other", "a", udp_echo("a").await);
        let route = to("{name: a, namespace: other, port: 80}");
        let mut world =
            World::start(&[&gateway(&[LISTENER]), &route, &backend, grant].concat()).await;
        assert_eq!(ask(world.udp(5300), "x").await, "ax");
        world.apply(&grant.replace("kind: UDPRoute", "kind: TCPRoute")).await;
        world.expect(
            Kind::UdpRoute,
            "route",
            "/parents/0",
            &["ResolvedRefs=False RefNotPermitted"],
        );
        check_dropped(&world, world.udp(5300)).await;
    });
}

#[test]
fn routes_attach_to_all_listeners_or_by_section_and_port_and_the_oldest_serves() {
    run(async {
        let listeners = [
            "name: a, port: 5300, protocol: UDP",
            "name: b, port: 5301, protocol: UDP",
            "name: c, port: 5302, protocol: UDP",
        ];
        let mut manifests = gateway(&listeners);
        for (name, parent) in [
            ("by-section", "name: gw, sectionName: a"),
            ("by-port", "name: gw, port: 5301"),
            ("everywhere", "name: gw"),
        ] {
            let spec = format!(
                "parentRefs: [{{{parent}}}], rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
            );
            manifests += &route("UDPRoute", name, &spec);
            manifests += &service(name, udp_echo(name).await);
        }
        let mut world = World::start(&manifests).await;
        for (port, expect) in [(5300, "by-section"), (5301, "by-port"), (5302, "everywhere")] {
            assert_eq!(ask(world.udp(port), "").await, expect);
        }
        world.remove(Kind::UdpRoute, "by-section").await;
        assert_eq!(ask(world.udp(5300), "").await, "everywhere");
        world.expect(Kind::UdpRoute, "by-port", "/parents/0", &["Accepted=True Accepted"]);
    });
}

#[test]
fn listeners_may_refuse_routes_of_other_namespaces() {
    run(async {
        let far = to("{name: a, port: 80}")
            .replace("{name: route}", "{name: route, namespace: far}")
            .replace("{name: gw}", "{name: gw, namespace: default}");
        let manifests = gateway(&[LISTENER]) + &far;
        let manifests = manifests + &service_of("far", "a", udp_echo("a").await);
        let world = World::start(&manifests).await;
        check_dropped(&world, world.udp(5300)).await;
    });
}

#[test]
fn tcp_and_udp_share_a_number_and_a_listener_that_goes_closes_its_socket() {
    run(async {
        let both = gateway(&[LISTENER, "name: b, port: 5300, protocol: TCP"]);
        let tcp_route = route(
            "TCPRoute",
            "route",
            "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: tcp, port: 80}]}]",
        );
        let services = service("a", udp_echo("udp").await) + &service("tcp", echo("tcp").await);
        let manifests = [&both, &tcp_route, &to("{name: a, port: 80}"), &services];
        let mut world = World::start(&manifests.map(String::as_str).concat()).await;
        assert_eq!(ask(world.udp(5300), "").await, "udp");
        assert_eq!(say(world.tcp(5300), "").await.as_deref(), Some("tcp"));
        let closed = world.udp(5300);
        world.apply(&gateway(&["name: b, port: 5300, protocol: TCP"])).await;
        assert_eq!(world.find_address(Transport::Udp, 5300), None);
        assert_eq!(say(world.tcp(5300), "").await.as_deref(), Some("tcp"));
        // The port is free again.
        soon(async {
            while UdpSocket::bind(closed).await.is_err() {
                yield_now().await;
            }
        })
        .await;
    });
}
