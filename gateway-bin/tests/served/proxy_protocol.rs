//! PROXY headers: from proxies in front that are trusted, and to backends that want them.

use std::net::SocketAddr;

use gateway_bin::stream::proxy_protocol::{IpRange, Proxied, Version, parse, write};
use gateway_core::api::Kind;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    peers::{Authority, converse, get, hear, web},
    world::{World, config, gateway, route, run, service},
};

fn header(version: Version, source: &str) -> Vec<u8> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let proxied = Proxied { source: address(source), destination: address("198.51.100.1:443") };
    let mut bytes = Vec::new();
    write(version, &proxied, &mut bytes);
    bytes
}

fn trusting(range: &str) -> gateway_bin::run::Config {
    let range: IpRange = range.parse().expect("a range");
    let mut config = config();
    config.proxies = [range].into_iter().collect();
    config
}

async fn manifests(authority: &Authority) -> String {
    let https = "name: tls, port: 443, protocol: HTTPS, hostname: a.example, \
                 tls: {certificateRefs: [{name: cert}]}";
    let pass = "name: pass, port: 8443, protocol: TLS, tls: {mode: Passthrough}";
    let beside = https.replace("name: tls, port: 443", "name: beside, port: 8443");
    [
        gateway(&["name: web, port: 80, protocol: HTTP", https, pass, &beside]),
        authority.sign(&["a.example"]).secret("cert"),
        route(
            "HTTPRoute",
            "route",
            "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
        ),
        service("web", web("web").await),
    ]
    .concat()
}

#[test]
fn trusted_proxies_may_tell_at_some_ports_only() {
    run(async {
        let manifests = [
            gateway(&[
                "name: web, port: 80, protocol: HTTP",
                "name: own, port: 81, protocol: HTTP",
            ]),
            route(
                "HTTPRoute",
                "route",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
            ),
            service("web", web("web").await),
        ];
        let mut config = trusting("127.0.0.0/8");
        config.proxies = config.proxies.at_ports(vec![80]);
        let world = World::start_with(&manifests.concat(), &config).await;
        let told = header(Version::V2, "192.0.2.7:5000");
        for (port, first, source) in [(80, &told[..], "192.0.2.7"), (81, &[], "127.0.0.1")] {
            let mut socket = TcpStream::connect(world.tcp(port)).await.expect("a listener");
            socket.write_all(first).await.expect("sent");
            let (status, body) = get(socket, "a.example", "").await.expect("an answer");
            assert_eq!(status, 200);
            assert!(body.contains(&format!("x-forwarded-for: {source}\r\n")), "{body}");
        }
    });
}

#[test]
fn trusted_proxies_tell_who_the_client_is() {
    run(async {
        let authority = Authority::new();
        let manifests = manifests(&authority).await;
        let world = World::start_with(&manifests, &trusting("127.0.0.0/8")).await;
        let config = authority.client(None);
        for version in [Version::V1, Version::V2] {
            for source in ["192.0.2.7:5000", "[2001:db8::7]:5000"] {
                let ip = source.parse::<SocketAddr>().expect("an address").ip();
                let expect = format!("x-forwarded-for: {ip}\r\n");
                let mut socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
                socket.write_all(&header(version, source)).await.expect("sent");
                let (status, body) = get(socket, "a.example", "").await.expect("an answer");
                assert_eq!(status, 200);
                assert!(body.contains(&expect), "{body}");
                // Over TLS: on a port of HTTPS alone, and on one that is shared.
                for port in [443, 8443] {
                    let mut socket = TcpStream::connect(world.tcp(port)).await.expect("a listener");
                    socket.write_all(&header(version, source)).await.expect("sent");
                    let name = "a.example".try_into().expect("a name");
                    let connector = TlsConnector::from(std::sync::Arc::clone(&config));
                    let stream = connector.connect(name, socket).await.expect("TLS");
                    let (status, body) = get(stream, "a.example", "").await.expect("an answer");
                    assert_eq!(status, 200);
                    assert!(body.contains(&expect), "{body}");
                }
            }
        }
    });
}

#[test]
fn a_trusted_proxy_must_tell_and_nobody_else_may() {
    run(async {
        let authority = Authority::new();
        let manifests = manifests(&authority).await;
        let world = World::start_with(&manifests, &trusting("127.0.0.0/8")).await;
        let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
        assert_eq!(get(socket, "a.example", "").await, None);
        world.until_metric("gateway_proxy_header_failures_total", "", 1).await;

        // Elsewhere the header is what it looks like: a request that is none.
        for config in [trusting("10.0.0.0/8"), config()] {
            let world = World::start_with(&manifests, &config).await;
            let mut socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
            socket.write_all(&header(Version::V1, "192.0.2.7:5000")).await.expect("sent");
            let answer = get(socket, "a.example", "").await;
            assert!(answer.is_none_or(|(status, _)| status == 400));
            let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
            let (status, body) = get(socket, "a.example", "").await.expect("an answer");
            assert_eq!(status, 200);
            assert!(body.contains("x-forwarded-for: 127.0.0.1\r\n"), "{body}");
        }
    });
}

#[test]
fn backends_are_told_who_the_client_is_if_their_service_asks() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asking = |version: &str| {
            let annotation =
                format!("annotations: {{gateway-rs.github.io/proxy-protocol: {version}}}");
            let service = service("a", address);
            let (head, rest) = service.split_once("---\n").expect("two objects");
            head.replace("namespace: default}", &format!("namespace: default, {annotation}}}"))
                + "---\n"
                + rest
        };
        let base = gateway(&["name: a, port: 9000, protocol: TCP"])
            + &route(
                "TCPRoute",
                "route",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: a, port: 80}]}]",
            );
        let mut world = World::start(&(base + &service("a", address))).await;
        for version in [None, Some("v1"), Some("v2")] {
            if let Some(version) = version {
                world.apply(&asking(version)).await;
            }
            let client = TcpStream::connect(world.tcp(9000)).await.expect("a listener");
            let (source, destination) =
                (client.local_addr().expect("an address"), client.peer_addr().expect("an address"));
            let serving = async {
                let (socket, _) = listener.accept().await.expect("a connection");
                hear(socket).await
            };
            let (_, heard) = tokio::join!(converse(client, "hello"), serving);
            let heard = heard.expect("a clean end");
            match version {
                None => assert_eq!(heard, b"hello"),
                Some(_) => {
                    let header = parse(&heard).expect("a header").expect("a whole header");
                    assert_eq!(header.proxied, Some(Proxied { source, destination }));
                    assert_eq!(&heard[header.length..], b"hello");
                    assert_eq!(heard.starts_with(b"PROXY TCP4 "), version == Some("v1"));
                }
            }
        }
        world.apply(&asking("v3")).await;
        let expect = "ResolvedRefs=False UnsupportedProtocol";
        world.expect(Kind::TcpRoute, "route", "/parents/0", &[expect]);
        assert_eq!(crate::peers::say(world.tcp(9000), "").await, None);
    });
}
