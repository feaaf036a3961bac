//! A client for one request: the demo's self-check and the tests use it.
//!
//! In: an address and a request. Out: the whole answer. Not here: pooling, redirects.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What came after the body.
    pub trailers: HeaderMap,
}

impl Reply {
    /// A header or trailer as text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).or_else(|| self.trailers.get(name))?.to_str().ok()
    }
}

/// Sends a request on a connection of its own: with HTTP/2 by prior knowledge if the request says
/// so, else with HTTP/1.1 in origin form.
///
/// # Errors
///
/// The connection could not be made or broke, or the answer was no HTTP.
pub async fn send(address: SocketAddr, request: Request<Bytes>) -> io::Result<Reply> {
    send_over(TcpStream::connect(address).await?, request).await
}

/// Sends a request like [`send`], over TLS with the host as server name.
///
/// # Errors
///
/// As [`send`], also if the server's certificate does not come from one in `trusted` (PEM).
pub async fn send_tls(
    address: SocketAddr,
    trusted: &[u8],
    request: Request<Bytes>,
) -> io::Result<Reply> {
    send_tls_as(address, trusted, None, request).await
}

/// Sends a request like [`send_tls`], as a client with this certificate and key (PEM).
///
/// # Errors
///
/// As [`send_tls`], also if the server does not want this client.
pub async fn send_tls_as(
    address: SocketAddr,
    trusted: &[u8],
    client: Option<&[u8]>,
    request: Request<Bytes>,
) -> io::Result<Reply> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    // Not the provider of the process: a library must not set one.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(io::Error::other)?;
            let chain = chain.map_err(io::Error::other)?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
    };
    if request.version() == Version::HTTP_2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let host = request.uri().host().unwrap_or_default().to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    send_over(stream, request).await
}

async fn send_over<S>(stream: S, request: Request<Bytes>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    let request = request.map(Full::new);
    let response = if request.version() == Version::HTTP_2 {
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        sender.send_request(in_origin_form(request)).await
    };
    let (head, body) = response.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
}

/// HTTP/1.1 servers get the host in a header.
fn in_origin_form(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let uri = request.uri().clone();
    if let Some(host) = uri.authority().and_then(|host| host.as_str().parse().ok()) {
        request.headers_mut().insert(http::header::HOST, host);
    }
    if let Some(Ok(path)) = uri.path_and_query().map(|path| path.as_str().parse()) {
        *request.uri_mut() = path;
    }
    request
}
