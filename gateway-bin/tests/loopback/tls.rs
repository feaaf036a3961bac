//! TLS with clients and with backends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use gateway_core::{
    backend::{BackendTls, BackendTrust, KeyPair, SubjectAltName},
    resolve::topology::{ClientValidation, Listener, ListenerProtocol, ListenerTls},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::common::{
    OK, PATIENCE, Path, RawBackend, RawClient, Setup, exchange, listener, run, start, status,
};

/// An authority that signs for any name.
struct Authority(CertifiedIssuer<'static, Key>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, names: &[&str]) -> Arc<KeyPair> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.sign_params(&CertificateParams::new(names).expect("parameters"))
    }

    fn sign_params(&self, params: &CertificateParams) -> Arc<KeyPair> {
        let key = Key::generate().expect("a key");
        let certificate = params.clone().signed_by(&key, &self.0).expect("a certificate");
        Arc::new(KeyPair {
            certificate: certificate.pem().into_bytes().into(),
            private_key: key.serialize_pem().into_bytes().into(),
        })
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn der(pair: &KeyPair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(&pair.certificate).map(|der| der.expect("PEM"));
    (chain.collect(), PrivateKeyDer::from_pem_slice(&pair.private_key).expect("PEM"))
}

fn https(name: &str, hostname: &str, certificates: Vec<Arc<KeyPair>>) -> Listener {
    secured(name, hostname, certificates, None)
}

fn secured(
    name: &str,
    hostname: &str,
    certificates: Vec<Arc<KeyPair>>,
    client_validation: Option<ClientValidation>,
) -> Listener {
    let tls = ListenerTls { certificates, client_validation, options: Default::default() };
    listener(name, hostname, ListenerProtocol::Https(Arc::new(tls)))
}

fn client_config(authority: &Authority, client: Option<&KeyPair>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(authority.roots());
    match client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = der(pair);
            builder.with_client_auth_cert(chain, key).expect("a certificate")
        }
    }
}

/// Connects with a server name; none if the handshake fails.
async fn connect(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Option<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let shaken = TlsConnector::from(Arc::clone(config)).connect(name, socket);
    timeout(PATIENCE, shaken).await.expect("an end in time").ok()
}

async fn request(stream: &mut TlsStream<TcpStream>, host: &str) -> Option<u16> {
    let get = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(get.as_bytes()).await.ok()?;
    let mut buffer = Vec::new();
    let answer = crate::common::read_message(stream, &mut buffer);
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").ok()??;
    Some(status(&answer))
}

fn presented(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a chain")[0].clone().into_owned()
}

#[test]
fn listeners_and_certificates_are_chosen_by_server_name() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let authority = Authority::new();
        let (one, wild, exact) = (
            authority.sign(&["a.example"]),
            authority.sign(&["*.b.example"]),
            authority.sign(&["x.b.example"]),
        );
        let setup = Setup {
            listeners: vec![
                https("a", "a.example", vec![Arc::clone(&one)]),
                https("b", "*.b.example", vec![Arc::clone(&wild), Arc::clone(&exact)]),
            ],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = start(&setup).await;
        let config = Arc::new(client_config(&authority, None));
        for (name, pair) in [("a.example", &one), ("y.b.example", &wild), ("x.b.example", &exact)] {
            let mut stream = connect(running.address, name, &config).await.expect("TLS");
            assert_eq!(presented(&stream), der(pair).0[0], "{name}");
            assert_eq!(request(&mut stream, name).await, Some(200), "{name}");
        }
        assert!(backend.seen()[0].contains("x-forwarded-proto: https\r\n"));
        // No listener has the name: closed without a word of TLS.
        assert!(connect(running.address, "c.example", &config).await.is_none());
        // A name of another listener over this connection.
        let mut stream = connect(running.address, "a.example", &config).await.expect("TLS");
        assert_eq!(request(&mut stream, "y.b.example").await, Some(421));
        // Plain text on a TLS socket gets nothing that looks like HTTP.
        let got = exchange(running.address, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert!(!got.contains("HTTP/"), "{got}");
    });
}

#[test]
fn protocols_are_negotiated() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let authority = Authority::new();
        let setup = Setup {
            listeners: vec![https("a", "", vec![authority.sign(&["a.example"])])],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = start(&setup).await;
        let mut config = client_config(&authority, None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = connect(running.address, "a.example", &Arc::new(config)).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut send = send.ready().await.expect("ready");
        let get = http::Request::get("https://a.example/").body(()).expect("a request");
        let (answer, _) = {
            let sent: (_, h2::SendStream<bytes::Bytes>) =
                send.send_request(get, true).expect("sent");
            sent
        };
        assert_eq!(answer.await.expect("an answer").status(), 200);
    });
}

#[test]
fn new_certificates_serve_new_handshakes_and_no_connection_breaks() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let authority = Authority::new();
        let setup = |pair: &Arc<KeyPair>| Setup {
            listeners: vec![https("a", "", vec![Arc::clone(pair)])],
            paths: vec![Path::new("/", backend.address)],
        };
        let mut pair = authority.sign(&["a.example"]);
        let mut running = start(&setup(&pair)).await;
        let config = Arc::new(client_config(&authority, None));
        let mut old = connect(running.address, "a.example", &config).await.expect("TLS");
        for _ in 0..10 {
            pair = authority.sign(&["a.example"]);
            running.gateway.apply(&setup(&pair).update()).await;
            // A client without memory, so that the handshake is a full one.
            let fresh = Arc::new(client_config(&authority, None));
            let mut new = connect(running.address, "a.example", &fresh).await.expect("TLS");
            assert_eq!(presented(&new), der(&pair).0[0]);
            assert_eq!(request(&mut new, "a.example").await, Some(200));
            assert_eq!(request(&mut old, "a.example").await, Some(200));
        }
    });
}

#[test]
fn clients_are_verified_and_sessions_not_carried_over() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
        let pair = authority.sign(&["open.example", "closed.example", "loose.example"]);
        let validation = |allow_insecure_fallback| {
            Some(ClientValidation { trusted: clients.pem().into(), allow_insecure_fallback })
        };
        let setup = Setup {
            listeners: vec![
                https("open", "open.example", vec![Arc::clone(&pair)]),
                secured("closed", "closed.example", vec![Arc::clone(&pair)], validation(false)),
                secured("loose", "loose.example", vec![Arc::clone(&pair)], validation(true)),
            ],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = start(&setup).await;
        let (good, bad) = (clients.sign(&["client"]), others.sign(&["client"]));
        for (name, client, expect) in [
            ("open.example", None, Some(200)),
            ("closed.example", None, None),
            ("closed.example", Some(&bad), None),
            ("closed.example", Some(&good), Some(200)),
            ("loose.example", None, Some(200)),
            ("loose.example", Some(&bad), Some(200)),
        ] {
            let config = Arc::new(client_config(&authority, client.map(|pair| &**pair)));
            // In TLS 1.3 the client learns of the refusal only after its own part.
            let got = match connect(running.address, name, &config).await {
                Some(mut stream) => request(&mut stream, name).await,
                None => None,
            };
            assert_eq!(got, expect, "{name} {}", client.is_some());
        }
    });
}

#[test]
fn silent_clients_do_not_hold_a_handshake() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let authority = Authority::new();
        let mut config = crate::common::config();
        config.limits.handshake_time = Duration::from_millis(100);
        let setup = Setup {
            listeners: vec![https("a", "", vec![authority.sign(&["a.example"])])],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = crate::common::start_with(&setup, &config).await;
        assert_eq!(RawClient::connect(running.address).await.rest().await, "");
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let mut client = RawClient::connect(running.address).await;
        client.send(hello).await;
        client.rest().await;
        crate::common::wait_until(|| running.gateway.connections() == 0).await;
    });
}

/// A TLS backend that answers `OK` to everything.
async fn tls_backend(pair: &KeyPair, clients: Option<&Authority>) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let (chain, key) = der(pair);
    let config = Arc::new(builder.with_single_cert(chain, key).expect("a certificate"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    let _ = stream.write_all(OK.as_bytes()).await;
                }
            });
        }
    });
    address
}

#[test]
fn backends_are_verified_as_their_policy_says() {
    run(async {
        let (authority, other, clients) = (Authority::new(), Authority::new(), Authority::new());
        let mut params = CertificateParams::new(["b.example".to_owned()]).expect("parameters");
        let uri = "spiffe://b.example/x".try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let pair = authority.sign_params(&params);
        let open = tls_backend(&pair, None).await;
        let closed = tls_backend(&pair, Some(&clients)).await;
        let policy = |hostname: &str, authority: &Authority, names: &[SubjectAltName]| BackendTls {
            hostname: hostname.into(),
            trust: BackendTrust::Certificates(authority.pem().into()),
            subject_alt_names: names.to_vec(),
            client_certificate: None,
        };
        let dns = |name: &str| SubjectAltName::Hostname(name.into());
        let uri = |name: &str| SubjectAltName::Uri(name.into());
        let mut with_client = policy("b.example", &authority, &[]);
        with_client.client_certificate = Some(clients.sign(&["gateway"]));
        for (address, policy, expect) in [
            (open, policy("b.example", &authority, &[]), 200),
            (open, policy("c.example", &authority, &[]), 502),
            (open, policy("b.example", &other, &[]), 502),
            (open, policy("c.example", &authority, &[dns("b.example")]), 200),
            (open, policy("b.example", &authority, &[dns("c.example")]), 502),
            (open, policy("b.example", &authority, &[uri("spiffe://b.example/x")]), 200),
            (open, policy("b.example", &authority, &[uri("spiffe://b.example/y")]), 502),
            (open, policy("c.example", &other, &[dns("b.example")]), 502),
            (open, policy("x", &authority, &[dns("c.example"), dns("b.example")]), 200),
            (closed, policy("b.example", &authority, &[]), 502),
            (closed, with_client, 200),
        ] {
            let shown = format!("{policy:?}");
            let mut path = Path::new("/", address);
            path.tls = Some(Arc::new(policy));
            let running = start(&Setup::http(vec![path])).await;
            let get = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
            assert_eq!(status(&exchange(running.address, get).await), expect, "{shown}");
        }
    });
}

/// The connection is gone before patience is over, however little the client does.
async fn ended_by_the_gateway(running: &crate::common::Running) {
    crate::common::wait_until(|| running.gateway.connections() == 0).await;
}

#[test]
fn a_client_that_negotiates_http2_and_says_nothing_is_dropped() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let authority = Authority::new();
        let setup = Setup {
            listeners: vec![https("a", "", vec![authority.sign(&["a.example"])])],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = crate::common::start_with(&setup, &crate::limits::hasty()).await;
        let mut config = client_config(&authority, None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        for words in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let shaken = connect(running.address, "a.example", &Arc::new(config.clone())).await;
            let mut stream = shaken.expect("TLS");
            stream.write_all(words.as_bytes()).await.expect("sent");
            stream.flush().await.expect("sent");
            ended_by_the_gateway(&running).await;
        }
    });
}

#[test]
fn a_client_that_reads_nothing_over_tls_is_dropped() {
    run(async {
        let body = "x".repeat(10_000);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let backend = RawBackend::answering(answer).await;
        let authority = Authority::new();
        let setup = Setup {
            listeners: vec![https("a", "", vec![authority.sign(&["a.example"])])],
            paths: vec![Path::new("/", backend.address)],
        };
        let running = crate::common::start_with(&setup, &crate::limits::hasty()).await;
        let config = Arc::new(client_config(&authority, None));
        let mut stream = connect(running.address, "a.example", &config).await.expect("TLS");
        let many = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(2_000);
        // The gateway may be gone before all is sent.
        let _ = timeout(PATIENCE, stream.write_all(many.as_bytes())).await;
        let _ = timeout(PATIENCE, stream.flush()).await;
        ended_by_the_gateway(&running).await;
    });
}
