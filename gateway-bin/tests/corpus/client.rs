//! Clients: what a case writes down as a request, as bytes on a socket of its own.
//!
//! Requests are HTTP/1.1 with exactly the method, target and field lines of the case, gRPC calls
//! HTTP/2. The certificate of the server is not looked at.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{future::ready, stream::once};
use gateway_testkit::corpus::{Request, header_lines};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
};
use tokio_rustls::TlsConnector;

/// What a client gets to hear.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// No socket of the program listens there.
    Refused,
    /// The handshake failed, or the connection ended after it without a word.
    NoHandshake,
    /// The connection ended without an answer, or with one that cannot be read.
    #[expect(dead_code, reason = "it is printed")]
    Nothing(String),
    /// An answer.
    Answer(Answer),
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(its, _)| its == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends `request` to `address` from `client`, an address of its own.
pub(crate) async fn send(request: &Request, address: SocketAddr, client: Ipv4Addr) -> Heard {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((client, 0).into()).expect("an address on loopback");
    let Ok(socket) = socket.connect(address).await else { return Heard::Refused };
    if !request.is_tls() {
        return exchange(request, socket).await;
    }
    let (config, name) = (config(request), server_name(request));
    match TlsConnector::from(Arc::new(config)).connect(name, socket).await {
        Err(_) => Heard::NoHandshake,
        Ok(socket) => match exchange(request, socket).await {
            // With TLS 1.3 a client is done before the server has judged it.
            Heard::Nothing(_) => Heard::NoHandshake,
            heard => heard,
        },
    }
}

async fn exchange(
    request: &Request,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Heard {
    if request.grpc { call(request, socket).await } else { ask(request, socket).await }
}

/// HTTP/1.1.
async fn ask(request: &Request, mut socket: impl AsyncRead + AsyncWrite + Unpin) -> Heard {
    let (method, target) = (request.method(), request.path_and_query());
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", request.authority());
    for line in request.lines() {
        text.push_str(&format!("{line}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    // A refused connection may be reset while something is still to be read from it.
    let _ = socket.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    match parse(&answer) {
        Some(answer) => Heard::Answer(answer),
        None => Heard::Nothing(answer.into_owned()),
    }
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Answer { status, headers: headers.collect::<Option<_>>()? })
}

/// HTTP/2.
async fn call(
    request: &Request,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Heard {
    let scheme = if request.is_tls() { "https" } else { "http" };
    let target = format!("{scheme}://{}{}", request.authority(), request.path_and_query());
    let mut head = http::Request::builder().method(request.method()).uri(target);
    for (name, value) in request.headers() {
        head = head.header(name, value);
    }
    // A message of no bytes, in a stream whose length nobody knows beforehand.
    let message = ready(Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))));
    let call = head.body(StreamBody::new(once(message)));
    let call = call.expect("calls of the corpus are well formed");
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (mut sender, connection) = match shaken {
        Ok(shaken) => shaken,
        Err(error) => return Heard::Nothing(error.to_string()),
    };
    let connection = tokio::spawn(connection);
    let heard = match sender.send_request(call).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let mut headers = header_lines(&head.headers);
            if let Ok(body) = body.collect().await {
                headers.extend(body.trailers().map(header_lines).unwrap_or_default());
            }
            Heard::Answer(Answer { status: head.status.as_u16(), headers })
        }
        Err(error) => Heard::Nothing(error.to_string()),
    };
    drop(sender);
    // However it ends: the answer is here, or none comes.
    let _ = connection.await;
    heard
}

fn server_name(request: &Request) -> ServerName<'static> {
    // Without a name to send any will do.
    let name = request.sni().unwrap_or("unnamed.invalid");
    ServerName::try_from(name.to_owned()).expect("a server name")
}

fn config(request: &Request) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Unverified(provider)));
    let mut config = builder.with_no_client_auth();
    config.enable_sni = request.sni().is_some();
    config.alpn_protocols = vec![if request.grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    config
}

/// Takes any certificate: which one is shown is a matter of other tests.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
