//! Secrets and ConfigMaps that break while they are in use: whoever does not need them goes on.

use std::{net::SocketAddr, sync::Arc};

use gateway_core::{api::Kind, resolve::topology::Transport};
use rustls::ClientConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    peers::{Authority, Pair, check_silent_end, config_map, connect, echo, get, say, web},
    world::{World, gateway, route, run, service, soon},
};

/// Three HTTPS listeners on two ports, the first with a Secret of its own, and one each of HTTP and
/// TCP.
async fn manifests(own: &str, shared: &Pair) -> String {
    let https = |name: &str, port: u16, host: &str, secret: &str| {
        format!(
            "name: {name}, port: {port}, protocol: HTTPS, hostname: {host}, \
             tls: {{certificateRefs: [{{name: {secret}}}]}}"
        )
    };
    [
        gateway(&[
            &https("own", 443, "own.example.org", "own"),
            &https("beside", 443, "beside.example.org", "shared"),
            &https("other", 8443, "beside.example.org", "shared"),
            "name: web, port: 80, protocol: HTTP",
            "name: tcp, port: 9000, protocol: TCP",
        ]),
        own.to_owned(),
        shared.secret("shared"),
        route(
            "HTTPRoute",
            "route",
            "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
        ),
        route(
            "TCPRoute",
            "route",
            "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: bytes, port: 80}]}]",
        ),
        service("web", web("web").await),
        service("bytes", echo("bytes").await),
    ]
    .concat()
}

async fn ask(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Option<u16> {
    let stream = connect(address, name, config).await.ok()?;
    get(stream, name, "").await.map(|(status, _)| status)
}

/// All that does not need the Secret `own`.
async fn check_others(world: &World, authority: &Authority) {
    let config = authority.client(None);
    for port in [443, 8443] {
        assert_eq!(ask(world.tcp(port), "beside.example.org", &config).await, Some(200));
    }
    let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
    assert_eq!(get(socket, "own.example.org", "").await.map(|(status, _)| status), Some(200));
    assert_eq!(say(world.tcp(9000), "x").await.as_deref(), Some("bytesx"));
}

/// Reads the answer to one request and leaves the connection open.
async fn ask_on(stream: &mut TlsStream<TcpStream>) -> bool {
    let sent = stream.write_all(b"HEAD / HTTP/1.1\r\nHost: own.example.org\r\n\r\n").await;
    let mut heard = Vec::new();
    while sent.is_ok() && !heard.ends_with(b"\r\n\r\n") {
        let read = soon(tokio::io::AsyncReadExt::read_buf(stream, &mut heard)).await;
        if !matches!(read, Ok(1..)) {
            return false;
        }
    }
    heard.starts_with(b"HTTP/1.1 200")
}

#[test]
fn a_secret_that_breaks_takes_nobody_else_with_it() {
    run(async {
        let authority = Authority::new();
        let (own, shared) =
            (authority.sign(&["own.example.org"]), authority.sign(&["beside.example.org"]));
        let good = own.secret("own");
        let mismatching = Pair { certificate: own.certificate.clone(), key: shared.key.clone() };
        let mut world = World::start(&manifests(&good, &shared).await).await;
        let config = authority.client(None);
        assert_eq!(ask(world.tcp(443), "own.example.org", &config).await, Some(200));
        // It was opened under the good certificate, and stays.
        let mut kept = connect(world.tcp(443), "own.example.org", &config).await.expect("TLS");
        assert!(ask_on(&mut kept).await);
        let broken = [
            good.replace("BEGIN CERTIFICATE", "BEGIN SOMETHING"),
            Pair { certificate: "no PEM at all".to_owned(), key: own.key.clone() }.secret("own"),
            Pair { certificate: own.certificate.clone(), key: "no PEM".to_owned() }.secret("own"),
            mismatching.secret("own"),
            good.replace("kubernetes.io/tls", "Opaque"),
            good.replace("tls.key", "tls.kee"),
            "removed".to_owned(),
        ];
        for secret in broken {
            if secret == "removed" {
                world.remove(Kind::Secret, "own").await;
            } else {
                world.apply(&secret).await;
            }
            let conditions =
                ["Programmed=False Invalid", "ResolvedRefs=False InvalidCertificateRef"];
            world.expect(Kind::Gateway, "gw", "/listeners/0", &conditions);
            for listener in ["/listeners/1", "/listeners/2", "/listeners/3", "/listeners/4"] {
                world.expect(Kind::Gateway, "gw", listener, &["Programmed=True Programmed"]);
            }
            // No old certificate, and not that of a neighbour either.
            check_silent_end(world.tcp(443), "own.example.org").await;
            check_others(&world, &authority).await;
            assert!(ask_on(&mut kept).await);
            world.apply(&good).await;
            assert_eq!(ask(world.tcp(443), "own.example.org", &config).await, Some(200));
        }
    });
}

#[test]
fn authorities_that_break_shut_their_port_and_no_other() {
    run(async {
        let authority = Authority::new();
        let clients = Authority::new();
        let (own, shared) =
            (authority.sign(&["own.example.org"]), authority.sign(&["beside.example.org"]));
        let validation = "  tls: {frontend: {perPort: [{port: 8443, tls: {validation: \
                          {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}]}}\n";
        let manifests = manifests(&own.secret("own"), &shared).await;
        let manifests = manifests.replacen("  listeners:", &format!("{validation}  listeners:"), 1);
        let good = config_map("ca", &clients.pem());
        let mut world = World::start(&(manifests + &good)).await;
        let (known, unknown) =
            (authority.client(Some(&clients.sign(&["client"]))), authority.client(None));
        assert_eq!(ask(world.tcp(8443), "beside.example.org", &known).await, Some(200));
        let broken = [
            good.replace("BEGIN CERTIFICATE", "BEGIN SOMETHING"),
            config_map("ca", "no PEM at all"),
            good.replace("ca.crt", "other"),
            "removed".to_owned(),
        ];
        for map in broken {
            if map == "removed" {
                world.remove(Kind::ConfigMap, "ca").await;
            } else {
                world.apply(&map).await;
            }
            world.expect(
                Kind::Gateway,
                "gw",
                "/listeners/2",
                &["Accepted=False NoValidCACertificate"],
            );
            assert_eq!(world.find_address(Transport::Tcp, 8443), None);
            for listener in ["/listeners/0", "/listeners/1", "/listeners/3", "/listeners/4"] {
                world.expect(Kind::Gateway, "gw", listener, &["Programmed=True Programmed"]);
            }
            for name in ["own.example.org", "beside.example.org"] {
                assert_eq!(ask(world.tcp(443), name, &unknown).await, Some(200));
            }
            assert_eq!(say(world.tcp(9000), "x").await.as_deref(), Some("bytesx"));
            world.apply(&good).await;
            assert_eq!(ask(world.tcp(8443), "beside.example.org", &known).await, Some(200));
            assert_eq!(ask(world.tcp(8443), "beside.example.org", &unknown).await, None);
        }
    });
}
