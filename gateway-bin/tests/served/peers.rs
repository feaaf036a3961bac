//! Clients and backends.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client::TlsStream, server::TlsStream as ServerTlsStream,
};

use crate::world::soon;

/// A backend that serves each connection so.
async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// The same over TLS.
async fn serving_tls<F>(
    config: Arc<ServerConfig>,
    serve: impl Fn(ServerTlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    serving(move |socket| {
        let (acceptor, serve) = (TlsAcceptor::from(Arc::clone(&config)), serve.clone());
        async move {
            let stream = acceptor.accept(socket).await?;
            serve(stream).await
        }
    })
    .await
}

/// A backend that greets with its name, repeats what it hears and ends when the client does.
pub(crate) async fn echo(name: &'static str) -> SocketAddr {
    serving(move |socket| repeat(name, socket)).await
}

async fn repeat(name: &str, mut socket: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    socket.write_all(name.as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return socket.shutdown().await,
            length => socket.write_all(&buffer[..length]).await?,
        }
    }
}

/// The same over TLS.
pub(crate) async fn tls_echo(name: &'static str, config: Arc<ServerConfig>) -> SocketAddr {
    serving_tls(config, move |stream| repeat(name, stream)).await
}

/// A backend that answers each datagram with its name and the datagram.
pub(crate) async fn udp_echo(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("a socket");
            let answer = [name.as_bytes(), &buffer[..length]].concat();
            socket.send_to(&answer, client).await.expect("a socket");
        }
    });
    address
}

/// A backend of HTTP/1.1 that answers with its name and closes.
pub(crate) async fn web(name: &'static str) -> SocketAddr {
    serving(move |socket| answer(name, socket)).await
}

/// Answers with the name and, below it, the head of the request.
pub(crate) async fn answer(
    name: &str,
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let body = format!("{name}\n{}", String::from_utf8_lossy(&head));
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

/// Sends `text`, says that it was all, and hears the answer to its end; none if it breaks off.
pub(crate) async fn converse(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    text: &str,
) -> Option<String> {
    soon(async {
        socket.write_all(text.as_bytes()).await.ok()?;
        socket.shutdown().await.ok()?;
        let mut heard = String::new();
        socket.read_to_string(&mut heard).await.ok()?;
        Some(heard)
    })
    .await
}

/// Connects and converses.
pub(crate) async fn say(address: SocketAddr, text: &str) -> Option<String> {
    match TcpStream::connect(address).await {
        Ok(socket) => converse(socket, text).await,
        // The reset was faster than the look at the new connection.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("no listener at {address}: {error}"),
    }
}

/// Asks for `/` in plain text; the status and the body.
pub(crate) async fn get(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    fields: &str,
) -> Option<(u16, String)> {
    soon(async {
        let request =
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut heard = Vec::new();
        // A TLS peer that ends without close_notify has said all that it wanted.
        while let Ok(1..) = socket.read_buf(&mut heard).await {}
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let status = heard.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let body = heard.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((status, body.to_owned()))
    })
    .await
}

/// An authority that signs for any name.
pub(crate) struct Authority(CertifiedIssuer<'static, Key>);

/// PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.sign_params(&CertificateParams::new(names).expect("parameters"))
    }

    pub(crate) fn sign_params(&self, params: &CertificateParams) -> Pair {
        let key = Key::generate().expect("a key");
        let certificate = params.clone().signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    /// What a client needs to trust this authority, with a certificate of its own or none.
    pub(crate) fn client(&self, pair: Option<&Pair>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        Arc::new(match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.der();
                builder.with_client_auth_cert(chain, key).expect("a certificate")
            }
        })
    }
}

impl Pair {
    pub(crate) fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.map(|der| der.expect("PEM")).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM"))
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let (chain, key) = self.der();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("a certificate"))
    }

    /// A Secret of the namespace `default`.
    pub(crate) fn secret(&self, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
             stringData:\n  tls.crt: |\n{}  tls.key: |\n{}---\n",
            indented(&self.certificate),
            indented(&self.key)
        )
    }
}

/// A ConfigMap with the key `ca.crt`.
pub(crate) fn config_map(name: &str, pem: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |\n{}---\n",
        indented(pem)
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Shakes hands with a server name; fails as the handshake does.
pub(crate) async fn connect(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.expect("a listener");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    soon(TlsConnector::from(Arc::clone(config)).connect(name, socket)).await
}

/// Sends a ClientHello with a server name and expects the connection to end without any answer.
#[track_caller]
pub(crate) fn check_silent_end(
    address: SocketAddr,
    name: &'static str,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let server = ServerName::try_from(name).expect("a name");
        let config = Authority::new().client(None);
        let mut client = rustls::ClientConnection::new(config, server).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a hello");
        let mut socket = TcpStream::connect(address).await.expect("a listener");
        socket.write_all(&hello).await.expect("a connection");
        let mut heard = Vec::new();
        let ended = soon(socket.read_to_end(&mut heard)).await;
        assert!(heard.is_empty(), "{heard:?} at {caller}");
        if let Err(error) = ended {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "at {caller}");
        }
    }
}

/// A backend of HTTP/1.1 over TLS that answers as [`answer`] does.
pub(crate) async fn tls_web(name: &'static str, config: Arc<ServerConfig>) -> SocketAddr {
    serving_tls(config, move |stream| answer(name, stream)).await
}

/// A backend of gRPC over TLS: every call succeeds.
pub(crate) async fn tls_grpc(pair: &Pair) -> SocketAddr {
    let mut config = Arc::unwrap_or_clone(pair.server());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let answer = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "0");
                    let sent: Result<h2::SendStream<bytes::Bytes>, _> =
                        respond.send_response(answer.body(()).expect("an answer"), true);
                    sent.expect("a gateway");
                }
            });
        }
    });
    address
}

/// One request over a new connection of HTTP/2; its status and fields.
pub(crate) async fn call(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: http::Request<()>,
) -> http::Response<()> {
    soon(async {
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut send: h2::client::SendRequest<bytes::Bytes> = send.ready().await.expect("ready");
        let (answer, _) = send.send_request(request, true).expect("sent");
        answer.await.expect("an answer").map(drop)
    })
    .await
}

/// All that comes until the connection ends; none if it breaks off. Nothing is answered.
pub(crate) async fn hear(mut socket: TcpStream) -> Option<Vec<u8>> {
    let mut heard = Vec::new();
    soon(socket.read_to_end(&mut heard)).await.ok().map(|_| heard)
}
