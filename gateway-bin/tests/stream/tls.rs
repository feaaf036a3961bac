//! TLSRoutes: passed through, ended here, and beside HTTPS on one port.

use std::{io, io::ErrorKind, net::SocketAddr, sync::Arc};

use gateway_bin::stream::{Cause, Ended, TlsConfigs, TlsOutcome, relay::Relayed};
use gateway_core::{
    backend::{BackendTls, BackendTrust},
    resolve::topology::{Listener, ListenerProtocol, ListenerTls, TlsOptions},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::common::{
    Front, Setup, Target, Wanted, accept, accepting, backend, check_cause, hear, invalid, refusing,
    route, soon, to,
};

const NAMES: [&str; 4] = ["pass.example", "end.example", "web.example", "localhost"];

/// A certificate for all names here, and those who trust it.
struct Certificate {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    pem: String,
}

impl Certificate {
    fn new() -> Self {
        let names: Vec<String> = NAMES.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("an authority");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server: Arc::new(server), client: Arc::new(client), pem: made.cert.pem() }
    }

    async fn connect(&self, front: &Front, name: &'static str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.client));
        soon(connector.connect(name, front.connect().await)).await
    }

    /// A backend that ends TLS itself, and answers `name` and what it heard up to the end.
    async fn backend(&self, name: &'static str) -> SocketAddr {
        let (listener, address) = backend().await;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(socket).await?;
                    let mut heard = Vec::new();
                    stream.read_to_end(&mut heard).await?;
                    stream.write_all(&[name.as_bytes(), &heard].concat()).await?;
                    stream.shutdown().await
                });
            }
        });
        address
    }
}

/// The first flight of a client.
fn hello(certificate: &Certificate, name: &'static str) -> Vec<u8> {
    let name = ServerName::try_from(name).expect("a name");
    let client = ClientConnection::new(Arc::clone(&certificate.client), name);
    let mut bytes = Vec::new();
    client.expect("a client").write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

/// The certificate of every listener; none: the handshake cannot be done.
#[derive(Clone)]
struct Configs(Option<Arc<ServerConfig>>);

impl TlsConfigs for Configs {
    fn server_config(&self, _: &Listener) -> Option<Arc<ServerConfig>> {
        self.0.clone()
    }
}

fn with_certificate() -> Arc<ListenerTls> {
    // What is in it is the business of `TlsConfigs`.
    let (certificates, options) = (Vec::new(), TlsOptions::default());
    Arc::new(ListenerTls { certificates, client_validation: None, options })
}

fn terminate() -> ListenerProtocol {
    ListenerProtocol::TlsTerminate(with_certificate())
}

/// A front over whose HTTPS listeners every client is answered with the listener's name.
async fn start(setup: Setup, config: Option<&Certificate>) -> Front {
    let world = setup.start();
    let (streams, table, bind) = (world.streams, world.table, world.bind);
    let configs = Configs(config.map(|certificate| Arc::clone(&certificate.server)));
    accepting(move |client| {
        let (streams, table) = (streams.clone(), table.clone());
        let (bind, configs) = (bind.clone(), configs.clone());
        async move {
            let until = std::future::pending();
            let https = match streams.tls(client, &bind, &table, &configs, until).await {
                TlsOutcome::Ended(ended) => return ended,
                TlsOutcome::Https(https) => https,
            };
            let config = configs.server_config(&https.listener).expect("a certificate");
            let stream = TlsAcceptor::from(config).accept(https.client).await;
            let mut stream = stream.expect("a handshake");
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.expect("close_notify");
            let answer = format!("{} {:?}", https.listener.name, https.sni);
            stream.write_all(answer.as_bytes()).await.expect("a client");
            stream.shutdown().await.expect("a client");
            let (cause, relayed) = (Cause::Finished, Relayed::default());
            Ended { cause, relayed, matched: None, sni: None, backend: None, endpoint: None }
        }
    })
    .await
}

fn passthrough(routes: Vec<Wanted>) -> Setup {
    Setup::tls(vec![("", ListenerProtocol::TlsPassthrough)], routes)
}

async fn exchange(mut stream: TlsStream<TcpStream>, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("a connection");
    // With close_notify, and the FIN behind it: the answer comes after both.
    stream.shutdown().await.expect("a connection");
    let mut heard = String::new();
    soon(stream.read_to_string(&mut heard)).await.expect("a clean end");
    heard
}

#[tokio::test]
async fn passthrough_to_the_backend_that_has_the_certificate() {
    let certificate = Certificate::new();
    let routes = vec![route("pass.example", &[to(certificate.backend("a ").await)])];
    let mut front = start(passthrough(routes), None).await;
    let stream = certificate.connect(&front, "pass.example").await.expect("a handshake");
    assert_eq!(exchange(stream, "hello").await, "a hello");
    check_cause(&front.ended().await, Cause::Finished);
}

#[tokio::test]
async fn terminate_and_plain_bytes_to_the_backend() {
    let certificate = Certificate::new();
    let (listener, address) = backend().await;
    let routes = vec![route("end.example", &[to(address)])];
    let setup = Setup::tls(vec![("*.example", terminate())], routes);
    let mut front = start(setup, Some(&certificate)).await;
    let mut stream = certificate.connect(&front, "end.example").await.expect("a handshake");
    stream.write_all(b"question").await.expect("a connection");
    stream.shutdown().await.expect("a connection");
    let mut server = accept(&listener).await;
    let mut heard = String::new();
    soon(server.read_to_string(&mut heard)).await.expect("a clean end");
    assert_eq!(heard, "question");
    server.write_all(b"answer").await.expect("the other direction lives");
    drop(server);
    let mut heard = String::new();
    soon(stream.read_to_string(&mut heard)).await.expect("close_notify");
    assert_eq!(heard, "answer");
    let ended = front.ended().await;
    check_cause(&ended, Cause::Finished);
    assert_eq!((ended.relayed.to_backend, ended.relayed.to_client), (8, 6));
}

#[tokio::test]
async fn much_through_a_listener_that_ends_tls() {
    let certificate = Certificate::new();
    let (listener, address) = backend().await;
    let routes = vec![route("end.example", &[to(address)])];
    let setup = Setup::tls(vec![("", terminate())], routes);
    let mut front = start(setup, Some(&certificate)).await;
    let stream = certificate.connect(&front, "end.example").await.expect("a handshake");
    tokio::spawn(async move {
        let (mut read, mut write) = accept(&listener).await.into_split();
        // An echo whose peer has to read while it sends.
        tokio::io::copy(&mut read, &mut write).await
    });
    let bytes: Vec<u8> =
        (0..4u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let sending = async {
        write.write_all(&bytes).await.expect("a connection");
        write.shutdown().await.expect("a connection");
    };
    let ((), read) = soon(async { tokio::join!(sending, read.read_to_end(&mut heard)) }).await;
    read.expect("a clean end");
    assert!(heard == bytes, "bytes differ");
    check_cause(&front.ended().await, Cause::Finished);
}

#[tokio::test]
async fn one_port_for_passthrough_terminate_and_https() {
    let certificate = Certificate::new();
    let listeners = vec![
        ("pass.example", ListenerProtocol::TlsPassthrough),
        ("end.example", terminate()),
        ("web.example", ListenerProtocol::Https(with_certificate())),
    ];
    let passed = route("pass.example", &[to(certificate.backend("passed ").await)]);
    let (listener, address) = backend().await;
    let mut ended = route("end.example", &[to(address)]);
    (ended.name, ended.listener) = ("ended", 1);
    let plain = async move {
        let mut server = accept(&listener).await;
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.expect("a clean end");
        server.write_all(b"ended").await.expect("a connection");
    };
    tokio::spawn(plain);
    let front = start(Setup::tls(listeners, vec![passed, ended]), Some(&certificate)).await;
    let expect = [
        ("pass.example", "passed x"),
        ("end.example", "ended"),
        ("web.example", "listener-2 Some(\"web.example\")"),
    ];
    for (name, answer) in expect {
        let stream = certificate.connect(&front, name).await.expect("a handshake");
        assert_eq!(exchange(stream, "x").await, answer);
    }
    assert_eq!(hear(said(&front, &hello(&certificate, "localhost")).await).await, Some(vec![]));
}

#[tokio::test]
async fn the_hello_reaches_the_backend_as_it_was_sent() {
    let certificate = Certificate::new();
    let whole = hello(&certificate, "pass.example");
    let (head, body) = whole.split_at(5);
    // The same message in two records, and something behind it that is no part of it.
    let mut two = [head, &body[..7], head, &body[7..], b"early data"].concat();
    (two[3], two[4]) = (0, 7);
    let rest = u16::try_from(body.len() - 7).expect("short").to_be_bytes();
    two[5 + 7 + 3..5 + 7 + 5].copy_from_slice(&rest);

    let (listener, address) = backend().await;
    let front = start(passthrough(vec![route("pass.example", &[to(address)])]), None).await;
    for bytes in [&whole, &two] {
        let mut client = front.connect().await;
        for byte in bytes {
            client.write_all(&[*byte]).await.expect("a connection");
            // Lets the front see this byte alone.
            tokio::task::yield_now().await;
        }
        let mut heard = vec![0; bytes.len()];
        let mut server = accept(&listener).await;
        soon(server.read_exact(&mut heard)).await.expect("the hello");
        assert!(heard == *bytes, "bytes differ");
    }
}

/// A connection over which `bytes` were said.
async fn said(front: &Front, bytes: &[u8]) -> TcpStream {
    let mut client = front.connect().await;
    client.write_all(bytes).await.expect("a connection");
    client
}

/// A hello without server name.
fn nameless() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn refused_clients_hear_nothing() {
    let certificate = Certificate::new();
    let (listener, _) = backend().await;
    let never = to(listener.local_addr().expect("an address"));
    let cases: Vec<(&str, Vec<Target>, Vec<u8>, Cause)> = vec![
        ("*.example", vec![never.clone()], nameless(), Cause::NoListener),
        ("*.example", vec![never.clone()], hello(&certificate, "localhost"), Cause::NoListener),
        ("*.example", vec![never.clone()], hello(&certificate, "web.example"), Cause::NoRoute),
        ("", vec![never.clone()], nameless(), Cause::NoRoute),
        ("", vec![], hello(&certificate, "pass.example"), Cause::NoBackend),
        ("", vec![invalid(1)], hello(&certificate, "pass.example"), Cause::InvalidBackend),
        ("", vec![never], b"GET / HTTP/1.1\r\n\r\n".to_vec(), Cause::BadHello),
    ];
    for (hostname, targets, bytes, cause) in cases {
        for protocol in [ListenerProtocol::TlsPassthrough, terminate()] {
            let routes = vec![route("pass.example", &targets)];
            let setup = Setup::tls(vec![(hostname, protocol)], routes);
            let mut front = start(setup, Some(&certificate)).await;
            assert_eq!(hear(said(&front, &bytes).await).await, Some(vec![]), "{cause:?}");
            check_cause(&front.ended().await, cause);
        }
    }
    let unusable =
        Setup::tls(vec![("", terminate())], vec![route("pass.example", &[to(refusing().await)])]);
    let mut front = start(unusable, None).await;
    let client = said(&front, &hello(&certificate, "pass.example")).await;
    assert_eq!(hear(client).await, Some(vec![]));
    check_cause(&front.ended().await, Cause::Handshake);
}

#[tokio::test]
async fn a_hello_that_does_not_come_is_not_waited_for() {
    let certificate = Certificate::new();
    let routes = vec![route("pass.example", &[to(refusing().await)])];
    let mut front = start(passthrough(routes), None).await;
    let whole = hello(&certificate, "pass.example");
    let mut client = said(&front, &whole[..whole.len() - 1]).await;
    tokio::time::pause();
    assert_eq!(client.read(&mut [0]).await.expect("a clean end"), 0);
    check_cause(&front.ends.recv().await.expect("the front goes on"), Cause::BadHello);
}

#[tokio::test]
async fn garbage_and_halves_leave_others_served() {
    let certificate = Certificate::new();
    let routes = vec![route("pass.example", &[to(certificate.backend("a").await)])];
    let front = start(passthrough(routes), None).await;
    let whole = hello(&certificate, "pass.example");
    // Hellos that never end stay open all the while.
    let mut halves = Vec::new();
    for end in 0..200 {
        halves.push(said(&front, &whole[..end.min(whole.len() - 1)]).await);
    }
    let mut noise = 7u32;
    for length in 1..100 {
        let mut garbage: Vec<u8> = (0..length)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        // Every other one begins as TLS does.
        if length > 6 && length % 2 == 0 {
            garbage.splice(..6, [22, 3, 1, 0, 1, 9]);
        }
        let mut client = said(&front, &garbage).await;
        client.shutdown().await.expect("a connection");
        let heard = hear(client).await;
        assert!(heard.is_none_or(|heard| heard.is_empty()), "an answer to {garbage:?}");
    }
    for end in [1, 5, 9, whole.len() - 1] {
        let mut client = said(&front, &whole[..end]).await;
        client.shutdown().await.expect("a connection");
        assert_eq!(hear(client).await, Some(vec![]));
    }
    let stream = certificate.connect(&front, "pass.example").await.expect("a handshake");
    assert_eq!(exchange(stream, "b").await, "ab");
    drop(halves);
}

#[tokio::test]
async fn a_cut_stream_is_not_passed_on_as_a_whole_one() {
    let certificate = Certificate::new();
    let (listener, address) = backend().await;
    let setup = Setup::tls(vec![("", terminate())], vec![route("end.example", &[to(address)])]);
    let mut front = start(setup, Some(&certificate)).await;
    let mut stream = certificate.connect(&front, "end.example").await.expect("a handshake");
    stream.write_all(b"pay 10").await.expect("a connection");
    let mut server = accept(&listener).await;
    let mut heard = [0; 6];
    soon(server.read_exact(&mut heard)).await.expect("a connection");
    // A FIN without close_notify: whoever sent it need not be the client.
    let (mut socket, _) = stream.into_inner();
    socket.shutdown().await.expect("a connection");
    let error = soon(server.read(&mut heard)).await.expect_err("no clean end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    check_cause(&front.ended().await, Cause::ClientBroke);
}

/// A front that ends TLS and begins it anew for a backend under `policy`.
async fn reencrypting(certificate: &Certificate, listener: &TcpListener, trust: &str) -> Front {
    let policy = BackendTls {
        hostname: "localhost".into(),
        trust: BackendTrust::Certificates(trust.into()),
        subject_alt_names: Vec::new(),
        client_certificate: None,
    };
    let endpoints = Some(vec![listener.local_addr().expect("an address")]);
    let target = Target { weight: 1, endpoints, tls: Some(Arc::new(policy)) };
    let setup = Setup::tls(vec![("", terminate())], vec![route("end.example", &[target])]);
    start(setup, Some(certificate)).await
}

#[tokio::test]
async fn a_backend_under_a_policy_is_spoken_to_over_tls() {
    let certificate = Certificate::new();
    let (listener, _) = backend().await;
    let front = reencrypting(&certificate, &listener, &certificate.pem).await;
    let acceptor = TlsAcceptor::from(Arc::clone(&certificate.server));
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(accept(&listener).await).await.expect("a handshake");
        let connection = stream.get_ref().1;
        assert_eq!(connection.server_name(), Some("localhost"));
        assert_eq!(connection.alpn_protocol(), None);
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("close_notify");
        stream.write_all(&heard).await.expect("a connection");
        stream.shutdown().await.expect("a connection");
    });
    let stream = certificate.connect(&front, "end.example").await.expect("a handshake");
    assert_eq!(exchange(stream, "hello").await, "hello");
    serving.await.expect("the backend lives");

    // Another authority: the bytes of the client go nowhere.
    let (listener, _) = backend().await;
    let mut front = reencrypting(&certificate, &listener, &Certificate::new().pem).await;
    let acceptor = TlsAcceptor::from(Arc::clone(&certificate.server));
    let serving = tokio::spawn(async move { acceptor.accept(accept(&listener).await).await });
    let mut stream = certificate.connect(&front, "end.example").await.expect("a handshake");
    assert!(soon(stream.read(&mut [0])).await.is_err());
    check_cause(&front.ended().await, Cause::UpstreamTls);
    assert!(serving.await.expect("the backend lives").is_err());
}
