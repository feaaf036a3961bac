//! BackendTLSPolicy and the certificate that a Gateway shows: TLS towards backends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gateway_core::api::Kind;
use rcgen::CertificateParams;
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    peers::{
        Authority, Pair, answer, call, config_map, connect, converse, echo, get, provider,
        tls_echo, tls_grpc, tls_web,
    },
    world::{World, gateway, route, run, service, soon},
};

const HTTP: &str = "name: web, port: 80, protocol: HTTP";

fn policy(name: &str, target: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n\
         metadata: {{name: {name}}}\n\
         spec: {{targetRefs: [{{group: '', kind: Service, {target}}}], \
         validation: {{{validation}}}}}\n---\n"
    )
}

fn trusting(map: &str, hostname: &str) -> String {
    format!(
        "hostname: {hostname}, caCertificateRefs: [{{group: '', kind: ConfigMap, name: {map}}}]"
    )
}

fn to(backend: &str) -> String {
    let spec = format!(
        "parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]"
    );
    route("HTTPRoute", "route", &spec)
}

async fn ask(world: &World) -> u16 {
    let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
    get(socket, "a.example", "").await.expect("an answer").0
}

#[test]
fn the_policy_decides_whom_the_gateway_talks_to() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let mut params = CertificateParams::new(["b.example".to_owned()]).expect("parameters");
        let uri = "spiffe://b.example/x".try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let pair = authority.sign_params(&params);
        let names =
            |names: &str| format!("{}, subjectAltNames: [{names}]", trusting("ca", "c.example"));
        let base = [
            gateway(&[HTTP]),
            to("web"),
            config_map("ca", &authority.pem()),
            config_map("other", &other.pem()),
            service("web", tls_web("web", pair.server()).await),
        ];
        for (validation, expect) in [
            (trusting("ca", "b.example"), 200),
            (trusting("ca", "c.example"), 502),
            (trusting("other", "b.example"), 502),
            (names("{type: Hostname, hostname: b.example}"), 200),
            (names("{type: URI, uri: 'spiffe://b.example/x'}"), 200),
            (names("{type: URI, uri: 'spiffe://b.example/y'}"), 502),
            (names("{type: Hostname, hostname: c.example}"), 502),
            (
                names(
                    "{type: Hostname, hostname: x.example}, {type: Hostname, hostname: b.example}",
                ),
                200,
            ),
        ] {
            let manifests = base.concat() + &policy("policy", "name: web", &validation);
            let world = World::start(&manifests).await;
            world.expect(
                Kind::BackendTlsPolicy,
                "policy",
                "/ancestors/0",
                &["Accepted=True Accepted"],
            );
            for _ in 0..3 {
                assert_eq!(ask(&world).await, expect, "{validation}");
            }
        }
    });
}

#[test]
fn the_backend_is_asked_by_the_name_of_the_policy_and_hears_the_host_of_the_client() {
    run(async {
        let authority = Authority::new();
        let pair = authority.sign(&["b.example"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = pair.server();
        let serving = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a connection");
            let stream = TlsAcceptor::from(config).accept(socket).await.expect("a handshake");
            let sni = stream.get_ref().1.server_name().map(str::to_owned);
            answer("web", stream).await.expect("a gateway");
            sni
        });
        let manifests = [
            gateway(&[HTTP]),
            to("web"),
            config_map("ca", &authority.pem()),
            policy("policy", "name: web", &trusting("ca", "b.example")),
            service("web", address),
        ];
        let world = World::start(&manifests.concat()).await;
        let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
        let (status, body) = get(socket, "a.example", "").await.expect("an answer");
        assert_eq!(status, 200);
        assert!(body.to_ascii_lowercase().contains("\nhost: a.example\r\n"), "{body}");
        assert_eq!(serving.await.expect("a backend").as_deref(), Some("b.example"));
    });
}

#[test]
fn an_authority_that_comes_and_goes_is_followed_and_never_by_plain_text() {
    run(async {
        let authority = Authority::new();
        let pair = authority.sign(&["b.example"]);
        // It answers in plain text, whatever it hears.
        let plain = echo("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let base = [
            gateway(&[HTTP]),
            to("web"),
            policy("policy", "name: web", &trusting("ca", "b.example")),
            service("web", tls_web("web", pair.server()).await),
        ];
        let good = config_map("ca", &authority.pem());
        let empty = good.replace("ca.crt", "other");
        let mut world = World::start(&base.concat()).await;
        let bad =
            ["Accepted=False NoValidCACertificate", "ResolvedRefs=False InvalidCACertificateRef"];
        for (map, expect) in
            [(None, 500), (Some(&good), 200), (Some(&empty), 500), (Some(&good), 200)]
        {
            if let Some(map) = map {
                world.apply(map).await;
            }
            let conditions: &[&str] =
                if expect == 200 { &["Accepted=True Accepted"] } else { &bad };
            world.expect(Kind::BackendTlsPolicy, "policy", "/ancestors/0", conditions);
            let got = ask(&world).await;
            assert!(got == expect || expect == 500 && matches!(got, 500 | 502 | 503), "{got}");
        }
        world.apply(&service("web", plain)).await;
        assert_eq!(ask(&world).await, 502);
    });
}

#[test]
fn a_policy_for_the_port_beats_one_for_the_service_and_among_equals_the_oldest_wins() {
    run(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let pair = authority.sign(&["b.example"]);
        let (good, bad) = (trusting("ca", "b.example"), trusting("other", "b.example"));
        let aged = |name: &str, target: &str, validation: &str, year: u32| {
            let created = format!("{{name: {name}, creationTimestamp: '{year}-01-01T00:00:00Z'}}");
            policy(name, target, validation).replace(&format!("{{name: {name}}}"), &created)
        };
        let base = [
            gateway(&[HTTP]),
            to("web"),
            config_map("ca", &authority.pem()),
            config_map("other", &other.pem()),
            service("web", tls_web("web", pair.server()).await),
        ];
        let conflict = "Accepted=False Conflicted";
        for (policies, loser, expect) in [
            (
                [
                    aged("a", "name: web", &bad, 2020),
                    aged("b", "name: web, sectionName: tcp", &good, 2021),
                ],
                None,
                200,
            ),
            (
                [
                    aged("a", "name: web", &good, 2020),
                    aged("b", "name: web, sectionName: tcp", &bad, 2021),
                ],
                None,
                502,
            ),
            (
                [aged("a", "name: web", &good, 2020), aged("b", "name: web", &bad, 2021)],
                Some("b"),
                200,
            ),
            (
                [aged("a", "name: web", &good, 2021), aged("b", "name: web", &bad, 2020)],
                Some("a"),
                502,
            ),
        ] {
            let world = World::start(&(base.concat() + &policies.concat())).await;
            assert_eq!(ask(&world).await, expect);
            for name in ["a", "b"] {
                let wanted = if loser == Some(name) { conflict } else { "Accepted=True Accepted" };
                world.expect(Kind::BackendTlsPolicy, name, "/ancestors/0", &[wanted]);
            }
        }
    });
}

#[test]
fn calls_mirrors_authorization_and_terminated_streams_are_encrypted_alike() {
    run(async {
        let authority = Authority::new();
        let pair = authority.sign(&["b.example"]);
        let mirrored = Arc::new(AtomicUsize::new(0));
        let rule = "backendRefs: [{name: web, port: 80}]";
        let filters = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 80}}}, \
                       {type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: auth, port: 80}}}]";
        let mut manifests = vec![
            gateway(&[
                HTTP,
                "name: end, port: 443, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}",
            ]),
            authority.sign(&["a.example"]).secret("cert"),
            route(
                "HTTPRoute",
                "route",
                &format!(
                    "parentRefs: [{{name: gw}}], hostnames: [a.example], rules: [{{{rule}, {filters}}}]"
                ),
            ),
            route(
                "GRPCRoute",
                "calls",
                "parentRefs: [{name: gw}], hostnames: [grpc.example], rules: [{backendRefs: [{name: grpc, port: 80}]}]",
            ),
            route(
                "TLSRoute",
                "stream",
                "parentRefs: [{name: gw}], hostnames: [a.example], rules: [{backendRefs: [{name: stream, port: 80}]}]",
            ),
            service("web", tls_web("web", pair.server()).await),
            service("auth", tls_web("auth", pair.server()).await),
            service("mirror", counting(&pair, &mirrored).await),
            service("grpc", tls_grpc(&pair).await),
            service("stream", tls_echo("stream", pair.server()).await),
            config_map("ca", &authority.pem()),
        ];
        let services = ["web", "auth", "mirror", "grpc", "stream"];
        for name in services {
            manifests.push(policy(name, &format!("name: {name}"), &trusting("ca", "b.example")));
        }
        let mut world = World::start(&manifests.concat()).await;
        let config = authority.client(None);
        let grpc_call = || {
            let request = http::Request::post("http://grpc.example/shop.Cart/Get");
            request.header("content-type", "application/grpc").body(()).expect("a request")
        };
        assert_eq!(ask(&world).await, 200);
        soon(async {
            while mirrored.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
        assert_eq!(call(socket, grpc_call()).await.headers()["grpc-status"], "0");
        let stream = connect(world.tcp(443), "a.example", &config).await.expect("TLS");
        assert_eq!(converse(stream, "x").await.as_deref(), Some("streamx"));

        // And each of them fails when the backend is not who it should be.
        for name in services {
            let wrong = trusting("ca", "c.example");
            world.apply(&policy(name, &format!("name: {name}"), &wrong)).await;
        }
        let refused = ask(&world).await;
        assert!((500..600).contains(&refused) || refused == 403, "{refused}");
        let socket = TcpStream::connect(world.tcp(80)).await.expect("a listener");
        assert_eq!(call(socket, grpc_call()).await.headers()["grpc-status"], "14");
        let stream = connect(world.tcp(443), "a.example", &config).await.expect("TLS");
        assert_eq!(converse(stream, "x").await, None);
        world.until_metric("gateway_streams_total", "cause=\"upstream-tls\"", 1).await;
        assert_eq!(mirrored.load(Ordering::SeqCst), 1);
    });
}

/// A backend over TLS that counts the requests that reach it.
async fn counting(pair: &Pair, count: &Arc<AtomicUsize>) -> std::net::SocketAddr {
    let (config, count) = (pair.server(), Arc::clone(count));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            if answer("mirror", stream).await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    address
}

#[test]
fn the_gateway_shows_its_certificate_to_backends_that_ask() {
    run(async {
        let (authority, clients) = (Authority::new(), Authority::new());
        let pair = authority.sign(&["b.example"]);
        let (chain, key) = pair.der();
        let roots = Arc::new(clients.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate");
        let shown = |secret: &str| {
            let tls = format!(
                "  tls: {{backend: {{clientCertificateRef: {{name: {secret}}}}}}}\n  listeners:"
            );
            gateway(&[HTTP]).replace("  listeners:", &tls)
        };
        let manifests = [
            shown("client"),
            to("web"),
            config_map("ca", &authority.pem()),
            policy("policy", "name: web", &trusting("ca", "b.example")),
            clients.sign(&["gateway"]).secret("client"),
            authority.sign(&["stranger"]).secret("stranger"),
            service("web", tls_web("web", Arc::new(config)).await),
        ];
        let mut world = World::start(&manifests.concat()).await;
        world.expect(Kind::Gateway, "gw", "", &["ResolvedRefs=True ResolvedRefs"]);
        assert_eq!(ask(&world).await, 200);
        world.apply(&shown("stranger")).await;
        assert_eq!(ask(&world).await, 502);
        world.apply(&shown("missing")).await;
        let conditions =
            ["Accepted=True Accepted", "ResolvedRefs=False InvalidClientCertificateRef"];
        world.expect(Kind::Gateway, "gw", "", &conditions);
        assert!(ask(&world).await >= 500);
        world.apply(&gateway(&[HTTP])).await;
        assert_eq!(ask(&world).await, 502);
    });
}
