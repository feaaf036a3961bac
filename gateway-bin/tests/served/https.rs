//! HTTPS listeners: who answers which server name, and requests that are on the wrong connection.

use gateway_core::api::Kind;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    peers::{Authority, check_silent_end, connect, get, web},
    world::{World, gateway, route, run, service},
};

fn https(name: &str, hostname: &str, secret: &str) -> String {
    let hostname =
        if hostname.is_empty() { String::new() } else { format!("hostname: '{hostname}', ") };
    format!(
        "name: {name}, port: 443, protocol: HTTPS, {hostname}tls: {{certificateRefs: [{{name: {secret}}}]}}"
    )
}

fn section(name: &str, section: &str, more: &str) -> String {
    let spec = format!(
        "parentRefs: [{{name: gw, sectionName: {section}}}], {more}rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
    );
    route("HTTPRoute", name, &spec)
}

/// Server name, host and what must come of it.
const MISDIRECTED: [(&str, &str, u16); 16] = [
    ("example.org", "example.org", 200),
    ("example.org", "second-example.org", 421),
    ("example.org", "unknown-example.org", 404),
    ("second-example.org", "second-example.org", 200),
    ("second-example.org", "example.org", 421),
    ("second-example.org", "unknown-example.org", 421),
    ("third-example.wildcard.org", "third-example.wildcard.org", 200),
    ("third-example.wildcard.org", "fith-example.wildcard.org", 200),
    ("third-example.wildcard.org", "fourth-example.wildcard.org", 421),
    ("third-example.wildcard.org", "second-example.org", 421),
    ("third-example.wildcard.org", "unknown-example.org", 421),
    ("fourth-example.wildcard.org", "fourth-example.wildcard.org", 200),
    ("fourth-example.wildcard.org", "fith-example.wildcard.org", 421),
    ("fourth-example.wildcard.org", "example.org", 421),
    ("unknown-example.org", "example.org", 200),
    ("unknown-example.org", "unknown-example.org", 404),
];

async fn misdirected(authority: &Authority) -> World {
    let names = ["example.org", "second-example.org", "*.wildcard.org", "unknown-example.org"];
    let mut manifests = gateway(&[
        &https("one", "", "cert"),
        &https("two", "second-example.org", "cert"),
        &https("three", "*.wildcard.org", "cert"),
        &https("four", "fourth-example.wildcard.org", "cert"),
    ]) + &authority.sign(&names).secret("cert");
    for (name, section_name, more) in [
        ("r1", "one", "hostnames: [example.org], "),
        ("r2", "two", ""),
        ("r3", "three", ""),
        ("r4", "four", ""),
    ] {
        manifests += &section(name, section_name, more);
        manifests += &service(name, web(name).await);
    }
    World::start(&manifests).await
}

#[test]
fn misdirected_requests_of_http1_are_told_so() {
    run(async {
        let authority = Authority::new();
        let world = misdirected(&authority).await;
        let overlapping = "OverlappingTLSConfig=True OverlappingHostnames";
        world.expect(Kind::Gateway, "gw", "/listeners/3", &[overlapping]);
        let config = authority.client(None);
        for (sni, host, expect) in MISDIRECTED {
            let stream = connect(world.tcp(443), sni, &config).await.expect("TLS");
            let answer = get(stream, host, "").await.expect("an answer");
            assert_eq!(answer.0, expect, "{sni} {host}");
        }
    });
}

#[test]
fn misdirected_requests_of_http2_are_told_so_each_by_itself() {
    run(async {
        let authority = Authority::new();
        let world = misdirected(&authority).await;
        let mut config = std::sync::Arc::unwrap_or_clone(authority.client(None));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = std::sync::Arc::new(config);
        for sni in ["example.org", "second-example.org", "third-example.wildcard.org"] {
            let stream: TlsStream<TcpStream> =
                connect(world.tcp(443), sni, &config).await.expect("TLS");
            let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            // All over one connection, as a browser does whose certificate covers many names.
            for (_, host, expect) in MISDIRECTED.iter().filter(|(of, ..)| *of == sni) {
                let request = http::Request::get(format!("https://{host}/"));
                let request = request.body(()).expect("a request");
                send = send.ready().await.expect("ready");
                let (answer, _) = {
                    let sent: (_, h2::SendStream<bytes::Bytes>) =
                        send.send_request(request, true).expect("sent");
                    sent
                };
                let status = answer.await.expect("an answer").status();
                assert_eq!(status, *expect, "{sni} {host}");
            }
        }
    });
}

#[test]
fn server_names_lead_to_listeners_and_their_certificates() {
    run(async {
        let authority = Authority::new();
        let pairs =
            ["a.example.org", "*.example.org", "c.example.org"].map(|name| authority.sign(&[name]));
        let manifests = [
            gateway(&[
                &https("a", "a.example.org", "cert-0"),
                "name: b, port: 443, protocol: HTTPS, hostname: '*.example.org', \
                 tls: {certificateRefs: [{name: cert-1}, {name: cert-2}]}",
            ]),
            section("a", "a", ""),
            section("b", "b", ""),
            service("a", web("a").await),
            service("b", web("b").await),
            pairs[0].secret("cert-0") + &pairs[1].secret("cert-1") + &pairs[2].secret("cert-2"),
        ];
        let world = World::start(&manifests.concat()).await;
        let config = authority.client(None);
        for (name, backend, pair) in
            [("a.example.org", "a", 0), ("b.example.org", "b", 1), ("c.example.org", "b", 2)]
        {
            let mut stream = connect(world.tcp(443), name, &config).await.expect("TLS");
            let presented = stream.get_ref().1.peer_certificates().expect("a chain")[0].clone();
            assert_eq!(presented, pairs[pair].der().0[0], "{name}");
            let (status, body) = get(&mut stream, name, "").await.expect("an answer");
            assert_eq!((status, body.lines().next()), (200, Some(backend)), "{name}");
        }
        check_silent_end(world.tcp(443), "other.test").await;
    });
}
