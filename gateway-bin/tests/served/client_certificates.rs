//! Certificates of clients: who is let in on which port.

use std::{net::SocketAddr, sync::Arc};

use gateway_core::{api::Kind, resolve::topology::Transport};
use rustls::ClientConfig;

use crate::{
    peers::{Authority, Pair, config_map, connect, get, web},
    world::{World, gateway, route, run, service},
};

/// HTTPS on two ports and HTTP on one, with this `spec.tls`.
pub(crate) fn secured(tls: &str) -> String {
    let listeners = gateway(&[
        "name: plain, port: 80, protocol: HTTP",
        "name: one, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}",
        "name: two, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}",
    ]);
    listeners.replace("  listeners:", &format!("  tls: {{{tls}}}\n  listeners:"))
}

pub(crate) fn trusting(map: &str, more: &str) -> String {
    format!(
        "validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: {map}}}]{more}}}"
    )
}

struct Setup {
    server: Authority,
    /// The authorities of the ConfigMaps `ca-0` and `ca-1`.
    clients: [Authority; 2],
    world: World,
}

impl Setup {
    async fn new(tls: &str) -> Self {
        let (server, clients) = (Authority::new(), [Authority::new(), Authority::new()]);
        let manifests = [
            secured(tls),
            server.sign(&["a.example"]).secret("cert"),
            config_map("ca-0", &clients[0].pem()),
            config_map("ca-1", &clients[1].pem()),
            route(
                "HTTPRoute",
                "route",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
            ),
            service("web", web("web").await),
        ];
        let world = World::start(&manifests.concat()).await;
        Self { server, clients, world }
    }

    fn client(&self, pair: Option<&Pair>) -> Arc<ClientConfig> {
        self.server.client(pair)
    }

    /// Whether a request gets through; none if the TLS connection fails.
    async fn ask(&self, port: u16, pair: Option<&Pair>) -> Option<u16> {
        ask(self.world.tcp(port), &self.client(pair)).await
    }
}

async fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<u16> {
    let stream = connect(address, "a.example", config).await.ok()?;
    get(stream, "a.example", "").await.map(|(status, _)| status)
}

#[test]
fn each_port_has_its_own_authority_and_the_default_holds_for_the_rest() {
    run(async {
        let tls = format!(
            "frontend: {{default: {{{}}}, perPort: [{{port: 8443, tls: {{{}}}}}]}}",
            trusting("ca-0", ""),
            trusting("ca-1", "")
        );
        let setup = Setup::new(&tls).await;
        let pairs = [setup.clients[0].sign(&["zero"]), setup.clients[1].sign(&["one"])];
        for (port, pair, expect) in [
            (443, None, None),
            (443, Some(0), Some(200)),
            (443, Some(1), None),
            (8443, None, None),
            (8443, Some(0), None),
            (8443, Some(1), Some(200)),
        ] {
            let pair = pair.map(|place: usize| &pairs[place]);
            assert_eq!(setup.ask(port, pair).await, expect, "{port} {}", pair.is_some());
        }
        setup.world.expect(Kind::Gateway, "gw", "/listeners/1", &["Programmed=True Programmed"]);
    });
}

#[test]
fn a_port_without_validation_asks_for_nothing() {
    run(async {
        let default = trusting("ca-0", "");
        let tls =
            format!("frontend: {{default: {{{default}}}, perPort: [{{port: 8443, tls: {{}}}}]}}");
        let setup = Setup::new(&tls).await;
        assert_eq!(setup.ask(443, None).await, None);
        assert_eq!(setup.ask(8443, None).await, Some(200));
    });
}

#[test]
fn insecure_fallback_lets_in_whoever_comes_and_says_so() {
    run(async {
        let validation = trusting("ca-0", ", mode: AllowInsecureFallback");
        let setup = Setup::new(&format!("frontend: {{default: {{{validation}}}}}")).await;
        let told = "InsecureFrontendValidationMode=True ConfigurationChanged";
        setup.world.expect(Kind::Gateway, "gw", "", &[told]);
        let (good, bad) = (setup.clients[0].sign(&["good"]), setup.clients[1].sign(&["bad"]));
        for pair in [None, Some(&good), Some(&bad)] {
            assert_eq!(setup.ask(443, pair).await, Some(200));
        }
    });
}

#[test]
fn without_any_authority_nobody_is_let_in_and_http_goes_on() {
    run(async {
        let setup =
            Setup::new(&format!("frontend: {{default: {{{}}}}}", trusting("missing", ""))).await;
        let world = &setup.world;
        for listener in ["/listeners/1", "/listeners/2"] {
            let refused = [
                "Accepted=False NoValidCACertificate",
                "ResolvedRefs=False InvalidCACertificateRef",
            ];
            world.expect(Kind::Gateway, "gw", listener, &refused);
        }
        for port in [443, 8443] {
            assert_eq!(world.find_address(Transport::Tcp, port), None);
        }
        let socket = tokio::net::TcpStream::connect(world.tcp(80)).await.expect("a listener");
        assert_eq!(get(socket, "a.example", "").await.map(|(status, _)| status), Some(200));
    });
}

/// TLS 1.2 and 1.3 both resume; neither may carry over who somebody is.
#[test]
fn a_session_of_another_authority_authenticates_nobody() {
    run(async {
        let tls = format!(
            "frontend: {{default: {{{}}}, perPort: [{{port: 8443, tls: {{{}}}}}]}}",
            trusting("ca-0", ""),
            trusting("ca-1", "")
        );
        let setup = Setup::new(&tls).await;
        let pair = setup.clients[0].sign(&["zero"]);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            // One client for both ports: what it knows of a session it offers to both, since they
            // have one name.
            let builder = ClientConfig::builder_with_provider(crate::peers::provider())
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(setup.server.roots());
            let (chain, key) = pair.der();
            let config = builder.with_client_auth_cert(chain, key).expect("a certificate");
            let config = Arc::new(config);
            for _ in 0..2 {
                assert_eq!(ask(setup.world.tcp(443), &config).await, Some(200), "{version:?}");
            }
            let resumed = connect(setup.world.tcp(443), "a.example", &config).await.expect("TLS");
            let kind = resumed.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Resumed), "{version:?}");
            assert_eq!(ask(setup.world.tcp(8443), &config).await, None, "{version:?}");
        }
    });
}

/// What the backend is told about a client, if anything.
async fn told(
    address: SocketAddr,
    config: Option<&Arc<ClientConfig>>,
    fields: &str,
) -> Option<String> {
    let answer = match config {
        Some(config) => {
            let stream = connect(address, "a.example", config).await.expect("TLS");
            get(stream, "a.example", fields).await
        }
        None => {
            let socket = tokio::net::TcpStream::connect(address).await.expect("a listener");
            get(socket, "a.example", fields).await
        }
    };
    let (status, body) = answer.expect("an answer");
    assert_eq!(status, 200);
    let mut told = body.lines().filter_map(|line| line.strip_prefix("x-forwarded-client-cert: "));
    let first = told.next().map(str::to_owned);
    assert_eq!(told.next(), None, "{body}");
    first
}

#[test]
fn backends_hear_who_a_verified_client_is_and_never_from_the_client() {
    run(async {
        let (server, clients, others) = (Authority::new(), Authority::new(), Authority::new());
        let mut params =
            rcgen::CertificateParams::new(["client.example".to_owned()]).expect("parameters");
        let uri = "spiffe://client.example/a".try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let (good, bad) = (clients.sign_params(&params), others.sign_params(&params));
        let manifests = |mode: &str| {
            let validation = trusting("ca", mode);
            [
                secured(&format!("frontend: {{perPort: [{{port: 443, tls: {{{validation}}}}}]}}")),
                server.sign(&["a.example"]).secret("cert"),
                config_map("ca", &clients.pem()),
                route(
                    "HTTPRoute",
                    "route",
                    "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
                ),
            ]
            .concat()
        };
        let forged = "X-Forwarded-Client-Cert: Hash=00\r\n";
        let mut config = crate::world::config();
        for (is_on, trusted_hops) in [(false, 0), (true, 0), (true, 1)] {
            config.limits.client_certificates = is_on;
            config.limits.trusted_hops = trusted_hops;
            let backend = service("web", web("web").await);
            let mut world = World::start_with(&(manifests("") + &backend), &config).await;
            let known = server.client(Some(&good));
            // Twice, so that the second session is a resumed one.
            for fields in ["", forged] {
                let told = told(world.tcp(443), Some(&known), fields).await;
                let names = ";URI=spiffe://client.example/a;DNS=client.example";
                match told {
                    Some(told) if is_on => {
                        let hash =
                            told.strip_prefix("Hash=").and_then(|rest| rest.strip_suffix(names));
                        assert!(hash.is_some_and(|hash| hash.len() == 64), "{told}");
                    }
                    told => assert!(told.is_none() && !is_on, "{told:?}"),
                }
            }
            let unknown = server.client(None);
            assert_eq!(told(world.tcp(8443), Some(&unknown), forged).await, None);
            assert_eq!(told(world.tcp(80), None, forged).await, None);
            // Whoever is let in without being verified is nobody.
            world.apply(&manifests(", mode: AllowInsecureFallback")).await;
            let strange = server.client(Some(&bad));
            assert_eq!(told(world.tcp(443), Some(&strange), forged).await, None);
            assert_eq!(told(world.tcp(443), Some(&unknown), forged).await, None);
            assert_eq!(
                told(world.tcp(443), Some(&server.client(Some(&good))), "").await.is_some(),
                is_on
            );
        }
    });
}
